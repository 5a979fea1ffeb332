"""Sink: push alerts to a Prometheus Alertmanager, by its API version 2.

https://prometheus.io/docs/alerting/latest/clients/
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from logmlm.alerting.sinks.http import HttpPoster
from logmlm.config.sinks import AlertmanagerConfig
from logmlm.records import Alert, DeliveryResult, Notification
from logmlm.system.text import format_rfc3339

RESOLVED_FOR_S = 300.0
"""Time for which a resolved alert is still sent: Alertmanager may have missed the first one."""


class AlertmanagerSink:
    """Posts the alerts of a notification to `/api/v2/alerts`; see `HttpPoster`.

    An alert that fires ends by itself if it is not sent again within five resend intervals, so
    that none fires for ever if this process does not come back.
    """

    def __init__(self, config: AlertmanagerConfig, *, clock: Callable[[], float]) -> None:
        """Read the files of secrets and certificates.

        Raises:
            ConfigError: a file can't be read, or holds nothing that can be used.

        """
        self.name = config.name
        self._clock = clock
        self._lives_s = 5 * config.resend_interval
        self._poster = HttpPoster(config, clock=clock, path="/api/v2/alerts")

    def send(self, notification: Notification) -> DeliveryResult:
        """Post once, in bounded time."""
        alerts = [self._alert(alert) for alert in notification.alerts]
        return self._poster.post(json.dumps(alerts).encode())

    def close(self) -> None:
        """Close the connections."""
        self._poster.close()

    def _alert(self, alert: Alert) -> dict[str, Any]:
        ends_at = self._clock() + self._lives_s if alert.ends_at is None else alert.ends_at
        return {
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": format_rfc3339(min(alert.starts_at, ends_at)),
            "endsAt": format_rfc3339(ends_at),
        }
