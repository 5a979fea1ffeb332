"""What every sink promises."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from logmlm.records import Delivery, Notification

_LAST_SECOND = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


class Sink(Protocol):
    """Sends notifications to one receiver."""

    name: str
    """The receiver's name; its queue of alerts is kept under it."""

    def send(self, notification: Notification) -> Delivery:
        """Try once, in bounded time; a receiver out of reach is `later`, never an error.

        Raises:
            StorageError: the receiver is this process's own output, and that is gone.

        """
        ...


def rfc3339(seconds: float) -> str:
    """UTC epoch seconds as RFC 3339; years outside 1970 to 9999 are brought to the nearest."""
    time = datetime.fromtimestamp(min(max(seconds, 0.0), _LAST_SECOND), tz=UTC)
    return time.isoformat().replace("+00:00", "Z")
