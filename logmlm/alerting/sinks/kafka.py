"""Sink: write alerts to a Kafka topic, as Alertmanager's JSON, keyed by fingerprint."""

from __future__ import annotations

from functools import partial
from typing import Any

from kafka.errors import (
    AuthorizationError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from logmlm.alerting.sinks.webhook import payload
from logmlm.config.kafka import KafkaSinkConfig
from logmlm.errors import UnreachableError
from logmlm.records import Alert, DeliveryResult, Notification
from logmlm.system.kafka import (
    KAFKA,
    KafkaClientFactory,
    KafkaLogCapture,
    client_options,
    close_with_timeout,
    connect,
)
from logmlm.system.text import dump_json

_REFUSED = (
    AuthorizationError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
CLOSE_TIMEOUT_S = 1.0


class KafkaSink:
    """Writes a record for each alert, and waits until all replicas in sync have it.

    The key is the fingerprint, so that one partition holds all alerts of a label set; `id` is the
    same on every replay. A record that is too large, and a topic that may not be written to, are
    refused for good; every other failure is tried again.
    """

    def __init__(self, config: KafkaSinkConfig, *, clients: KafkaClientFactory = KAFKA) -> None:
        """Read the secrets' files; no broker is called yet.

        Raises:
            ConfigError: a secret or certificate can't be read.

        """
        client_options(config)
        self.name = config.name
        self._config = config
        self._clients = clients
        self._producer: Any = None

    def send(self, notification: Notification) -> DeliveryResult:
        """Write the alerts; never longer than the connection's and the answer's timeout."""
        try:
            producer = self._open()
            sent = [
                producer.send(self._config.topic, key=key, value=value)
                for key, value in records(notification, self.name)
            ]
            for future in sent:
                future.get(self._config.timeout)
        except _REFUSED as error:
            return DeliveryResult("refused", type(error).__name__)
        except UnreachableError as error:
            return DeliveryResult("later", str(error))
        except KafkaError as error:
            self.close()
            return DeliveryResult(
                "later", f"{type(error).__name__}: {KafkaLogCapture.install().cause()}"
            )
        return DeliveryResult("accepted")

    def close(self) -> None:
        """Close the connection."""
        if self._producer is not None:
            close_with_timeout(
                partial(self._producer.close, timeout=2 * self._config.timeout), CLOSE_TIMEOUT_S
            )
            self._producer = None

    def _open(self) -> Any:
        if self._producer is None:
            timeout_ms = round(self._config.timeout * 1000)
            self._producer = connect(
                self._clients.producer,
                self._config,
                acks="all",
                max_block_ms=timeout_ms,
                request_timeout_ms=timeout_ms,
                delivery_timeout_ms=timeout_ms,
                metrics_enabled=False,
            )
        return self._producer


def records(notification: Notification, receiver: str) -> list[tuple[bytes, bytes]]:
    """Key and value of each alert's record."""
    plain = payload(notification, receiver)["alerts"]
    return [
        (alert.fingerprint.encode(), _value(alert, found))
        for alert, found in zip(notification.alerts, plain, strict=True)
    ]


def _value(alert: Alert, found: dict[str, Any]) -> bytes:
    return dump_json({"id": alert.id, **found}).encode("utf-8", "replace")
