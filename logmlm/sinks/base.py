"""What every sink promises."""

from __future__ import annotations

from typing import Protocol

from logmlm.records import Delivery, Notification


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
