"""The protocol of a sink."""

from __future__ import annotations

from typing import Protocol

from logmlm.records import Alert, DeliveryResult, Notification
from logmlm.system.text import dump_json, format_rfc3339


class Sink(Protocol):
    """Sends notifications to one receiver."""

    name: str
    """The receiver's name, which is also the name of its queue."""

    def send(self, notification: Notification) -> DeliveryResult:
        """Send once, in bounded time; a receiver out of reach is `later`, never an error.

        Raises:
            StorageError: the receiver is this process's own output, and that is gone.

        """
        ...

    def close(self) -> None:
        """Close the connections; the next `send` connects again."""
        ...


def json_line(alert: Alert) -> str:
    """Return an alert as one line of JSON, for programs that read the output."""
    fields = {
        "id": alert.id,
        "fingerprint": alert.fingerprint,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": format_rfc3339(alert.starts_at),
        "ends_at": None if alert.ends_at is None else format_rfc3339(alert.ends_at),
    }
    return dump_json(fields)
