"""What the daemon is told: where lines come from, where alerts go, where it keeps its state.

How lines are read and scored stands in the model directory, never here, so that training and
serving cannot differ. Source keys have the names of Vector and OpenTelemetry.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from logmlm.config import Duration, Section, Size, Strings

COMPRESSED = ("*.gz", "*.bz2", "*.xz", "*.zst")
RESERVED_LABELS = frozenset({"alertname", "severity", "source", "model"})
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class OneOf(Section):
    """A section with exactly one of its keys given; an empty one stands for its defaults."""

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: {} if inner is None else inner for key, inner in value.items()}

    @model_validator(mode="after")
    def _exactly_one(self) -> OneOf:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of " + ", ".join(type(self).model_fields))
        return self


class FingerprintConfig(Section):
    """How a file is told from others: by its first `bytes`, not by its path."""

    bytes: Annotated[Size, Field(ge=16, le=65536)] = 1024


class FileSourceConfig(Section):
    """Files that are followed: new lines, rotation by rename, truncation.

    `start_at` counts for the files that are there at the very first start; a file that comes
    later is read from its beginning. A file that left `include` (rotated away) is let go when
    nothing came for `rotate_wait`. A line over `max_line_bytes` is cut.
    """

    include: Annotated[Strings, Field(min_length=1)]
    exclude: Strings = COMPRESSED
    start_at: Literal["beginning", "end"] = "end"
    max_line_bytes: Size = 100 * 1024
    rotate_wait: Duration = 30.0
    fingerprint: FingerprintConfig = Field(default_factory=FingerprintConfig)


class StdinSourceConfig(Section):
    """Lines from standard input, until its end. Nothing can be read again after a stop."""

    max_line_bytes: Size = 100 * 1024


class SourceConfig(OneOf):
    """Where lines come from: one kind of source."""

    file: FileSourceConfig | None = None
    stdin: StdinSourceConfig | None = None


class StdoutConfig(Section):
    """Alerts on standard output: one JSON object a line, or a block of text for people."""

    name: Annotated[str, Field(min_length=1)] = "stdout"
    format: Literal["json", "text"] = "json"


class WebhookConfig(Section):
    """Alerts as Alertmanager's webhook JSON, version 4.

    The URL may be a secret (many receivers put a token there): `url_file` names a file that
    holds it. `headers` are sent along; `bearer_token_file` holds a token. After `max_retries`
    failed tries an alert goes to the dead letters.
    """

    name: Annotated[str, Field(min_length=1)] = "webhook"
    url: SecretStr | None = None
    url_file: Path | None = None
    bearer_token_file: Path | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeout: Duration = 10.0
    max_retries: Annotated[int, Field(ge=0)] = 100

    @model_validator(mode="after")
    def _one_url(self) -> WebhookConfig:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either 'url' or 'url_file'")
        return self

    @field_validator("url")
    @classmethod
    def _url_is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            check_url(url.get_secret_value())
        return url

    @field_validator("headers")
    @classmethod
    def _headers_are_clean(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name):
                raise ValueError(f"'{name}' is no header's name")
            if not (value.get_secret_value().isascii() and value.get_secret_value().isprintable()):
                raise ValueError(f"the value of header '{name}' has characters that can't be sent")
        return headers


class SinkConfig(OneOf):
    """Where alerts go: one kind of sink."""

    stdout: StdoutConfig | None = None
    webhook: WebhookConfig | None = None

    @property
    def name(self) -> str:
        """The sink's name, which is its queue's name too."""
        return next(sink.name for sink in (self.stdout, self.webhook) if sink is not None)


class RunModelConfig(Section):
    """The model directory, and the device that scores (`auto` takes a GPU if there is one)."""

    path: Path
    device: Annotated[str, Field(min_length=1)] = "auto"


class RunConfig(Section):
    """What `logmlm run` is told.

    `state_dir` None means systemd's state directory, or the user's. `labels` are put on every
    alert; they should be few and of few values, like `service` and `host`.
    """

    model: RunModelConfig
    source: SourceConfig
    sinks: Annotated[tuple[SinkConfig, ...], Field(min_length=1)] = (
        SinkConfig(stdout=StdoutConfig()),
    )
    state_dir: Path | None = None
    labels: Annotated[dict[str, str], Field(max_length=16)] = Field(default_factory=dict)

    @field_validator("labels")
    @classmethod
    def _labels_have_names(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
                raise ValueError(f"'{name}' is no label's name; use letters, digits and _")
            if name in RESERVED_LABELS:
                raise ValueError(f"label '{name}' is set by logmlm itself")
        return labels

    @field_validator("sinks")
    @classmethod
    def _names_differ(cls, sinks: tuple[SinkConfig, ...]) -> tuple[SinkConfig, ...]:
        name, count = Counter(sink.name for sink in sinks).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{count} sinks are named '{name}'; give each a 'name' of its own")
        return sinks


def check_url(url: str) -> str:
    """Return `url` if it is an http or https address; raise ValueError, without it, if not."""
    if not re.fullmatch(r"https?://[^\s/]+\S*", url):
        raise ValueError("should be an address that starts with http:// or https://")
    return url
