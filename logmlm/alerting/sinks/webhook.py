"""Sink: post alerts by HTTP, as Alertmanager's webhook JSON, version 4, or by a template.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

from logmlm.alerting.sinks.http import HttpPoster
from logmlm.alerting.sinks.template import BodyTemplate
from logmlm.config.sinks import WebhookConfig
from logmlm.records import Alert, DeliveryResult, Notification
from logmlm.system.secret_file import read_secret
from logmlm.system.text import format_rfc3339

_STILL_FIRING = "0001-01-01T00:00:00Z"


class WebhookSink:
    """Posts each notification, signed where there is a key; see `HttpPoster`."""

    def __init__(self, config: WebhookConfig, *, clock: Callable[[], float]) -> None:
        """Read the files of secrets, certificates and the template.

        Raises:
            ConfigError: a file can't be read, or holds nothing that can be used.

        """
        self.name = config.name
        self._clock = clock
        self._key = b""
        if config.hmac_secret_file is not None:
            self._key = read_secret("hmac_secret_file", config.hmac_secret_file).encode()
        self._template: BodyTemplate | None = None
        if config.template_file is not None:
            secrets = {
                name: read_secret(f"template_secrets.{name}", path)
                for name, path in config.template_secrets.items()
            }
            self._template = BodyTemplate(config.template_file, secrets)
        self._poster = HttpPoster(config, clock=clock, sign=self._sign)

    def send(self, notification: Notification) -> DeliveryResult:
        """Post once, in bounded time."""
        if self._template is not None:
            return self._poster.post(self._template.render(notification, self.name))
        return self._poster.post(json.dumps(payload(notification, self.name)).encode())

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()

    def _sign(self, body: bytes) -> dict[str, str]:
        if not self._key:
            return {}
        timestamp = str(int(self._clock()))
        return {
            "X-Logmlm-Timestamp": timestamp,
            "X-Logmlm-Signature": signature(self._key, timestamp, body),
        }


def signature(key: bytes, timestamp: str, body: bytes) -> str:
    """Return `v1=` and the HMAC-SHA256 of `timestamp.body` (RFC 2104), in hexadecimal."""
    signed = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(key, signed, hashlib.sha256).hexdigest()


def payload(notification: Notification, receiver: str) -> dict[str, Any]:
    """Return Alertmanager's webhook JSON for a notification."""
    return {
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": notification.truncated,
        "status": notification.status,
        "receiver": receiver,
        "groupLabels": dict(notification.group_labels),
        "commonLabels": _common([alert.labels for alert in notification.alerts]),
        "commonAnnotations": _common([alert.annotations for alert in notification.alerts]),
        "externalURL": "",
        "alerts": [_alert(alert) for alert in notification.alerts],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "status": "firing" if alert.ends_at is None else "resolved",
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": format_rfc3339(alert.starts_at),
        "endsAt": _STILL_FIRING if alert.ends_at is None else format_rfc3339(alert.ends_at),
        "generatorURL": "",
        "fingerprint": alert.fingerprint,
    }


def _common(maps: list[Mapping[str, str]]) -> dict[str, str]:
    return dict(set.intersection(*(set(one.items()) for one in maps)))
