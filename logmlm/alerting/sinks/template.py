"""JSON body templates for receivers of any kind, with placeholders `${...}` in their texts.

The template is parsed before its texts are filled, so that no log line can break the JSON or add
to it. There is no logic; a placeholder is one of

    ${NAME}                 a value; ${NAME|80} is cut to 80 characters
    ${NAME:a=x,b=y}         x where the value is a, y where it is b, else the value itself

and a NAME is `status`, `receiver`, `group_key`, `dedup_key` (32 hex digits of the group key),
`severity` (the worst), `count` (of alerts), `summary`, `description`, `starts_at`, `ends_at`,
`labels` (as text), `labels.X`, `annotations.X`, or `secret.X`. The values of an alert are those of
the one with the worst severity and, among these, the highest score.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from logmlm.errors import ConfigError
from logmlm.records import Alert, Notification
from logmlm.system.text import format_rfc3339

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)?)(?:\|(\d{1,6}))?(?::([^{}]*))?\}")
_ANY = re.compile(r"\$\{[^}]*\}?")
_NAMES = frozenset(
    {"status", "receiver", "group_key", "dedup_key", "severity", "count", "summary"}
    | {"description", "starts_at", "ends_at", "labels"}
)
_PREFIXES = ("labels", "annotations")
_SEVERITIES = ("info", "warning", "critical")


class BodyTemplate:
    """A JSON document with placeholders; `secrets` are the values of `${secret.X}`."""

    def __init__(self, path: Path, secrets: Mapping[str, str]) -> None:
        """Read a template and check its placeholders.

        Raises:
            ConfigError: it can't be read, is no JSON, or has a placeholder that means nothing.

        """
        try:
            self._document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"can't read {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is no JSON: {error}") from error
        self._secrets = {f"secret.{name}": value for name, value in secrets.items()}
        _map(self._document, lambda text: self._check(path, text))

    def render(self, notification: Notification, receiver: str) -> bytes:
        """Return the body of a notification, with all placeholders filled."""
        values = _values(notification, receiver) | self._secrets
        filled = _map(
            self._document, lambda text: _PLACEHOLDER.sub(lambda m: _fill(m, values), text)
        )
        return json.dumps(filled).encode()

    def _check(self, path: Path, text: str) -> str:
        for found in _ANY.findall(text):
            match = _PLACEHOLDER.fullmatch(found)
            name = match[1] if match else ""
            known = name in _NAMES or (name.partition(".")[0] in _PREFIXES and "." in name)
            if not known and name not in self._secrets:
                raise ConfigError(f"{path}: {found} is no placeholder; see configs/slack.json")
        return text


def _map(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map(inner, change) for inner in value]
    if isinstance(value, dict):
        return {key: _map(inner, change) for key, inner in value.items()}
    return value


def _fill(match: re.Match[str], values: Mapping[str, str]) -> str:
    name, length, choices = match.groups()
    value = values.get(name, "")
    if choices is not None:
        pairs = (choice.partition("=")[::2] for choice in choices.split(","))
        value = dict(pairs).get(value, value)
    return value if length is None else value[: int(length)]


def _values(notification: Notification, receiver: str) -> dict[str, str]:
    worst = max(notification.alerts, key=_severity_rank)
    notes = worst.annotations
    digest = hashlib.sha256(notification.group_key.encode("utf-8", "backslashreplace"))
    count = sum(int(alert.annotations.get("count", "1")) for alert in notification.alerts)
    return {
        "status": notification.status,
        "receiver": receiver,
        "group_key": notification.group_key,
        "dedup_key": digest.hexdigest()[:32],
        "severity": worst.labels.get("severity", ""),
        "count": str(count),
        "summary": notes.get("summary", ""),
        "description": notes.get("description", ""),
        "starts_at": format_rfc3339(worst.starts_at),
        "ends_at": "" if worst.ends_at is None else format_rfc3339(worst.ends_at),
        "labels": "  ".join(f"{name}={value}" for name, value in worst.labels.items()),
        **{f"labels.{name}": value for name, value in worst.labels.items()},
        **{f"annotations.{name}": value for name, value in notes.items()},
    }


def _severity_rank(alert: Alert) -> tuple[int, float]:
    severity = alert.labels.get("severity", "")
    rank = _SEVERITIES.index(severity) if severity in _SEVERITIES else -1
    return rank, float(alert.annotations.get("score", "0"))
