"""The service manager that started this process, told how it is: sd_notify(3).

One datagram for each message goes to the socket that `$NOTIFY_SOCKET` names. Without one, or
where it does not answer, nothing is said and nothing fails.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping

STATUS_EVERY_S = 5.0
MICROSECONDS = 1_000_000

logger = logging.getLogger(__name__)


class SystemdNotifier:
    """Says to systemd that the daemon is ready, reloading, stopping, and still at work.

    `monotonic` tells the seconds of CLOCK_MONOTONIC, which the reload protocol wants as they
    are (systemd.service(5), Type=notify-reload).
    """

    def __init__(self, environment: Mapping[str, str], monotonic: Callable[[], float]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._beat_every = _watchdog_s(environment) / 2
        self._monotonic = monotonic
        self._beat_at = self._status_at = -float("inf")
        self._status = ""
        self._has_failed = False

    def ready(self, status: str) -> None:
        """Say that the daemon is at work: for the first time, or again after a reload."""
        self._send("READY=1", f"STATUS={_one_line(status)}")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it."""
        now = int(self._monotonic() * MICROSECONDS)
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Say that the daemon ends of its own will, or was told to."""
        self._send("STOPPING=1", "STATUS=stopping")

    def heartbeat(self, status: Callable[[], str]) -> None:
        """Say that the loop went round: as often as the watchdog wants it, and what it did.

        The watchdog hears of it when half of its time is over, and the status is asked for and
        told every `STATUS_EVERY_S` at most.
        """
        if self._address is None:
            return
        now = self._monotonic()
        if self._beat_every and now - self._beat_at >= self._beat_every:
            self._beat_at = now
            self._send("WATCHDOG=1")
        if now - self._status_at >= STATUS_EVERY_S:
            self._status_at = now
            self._tell(_one_line(status()))

    def _tell(self, status: str) -> None:
        if status != self._status:
            self._status = status
            self._send(f"STATUS={status}")

    def _send(self, *assignments: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
                messenger.setblocking(False)  # a manager that is busy must not hold up the loop
                messenger.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            if not self._has_failed:
                logger.warning("the service manager can't be told: %s", error.strerror)
            self._has_failed = True


def _address(text: str) -> str | None:
    """Where to send to; `@` stands for the zero byte of an abstract socket (unix(7))."""
    if text.startswith("@"):
        return "\0" + text[1:]
    return text if text.startswith("/") else None


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """How long the manager waits for a sign of life; 0 if it does not (sd_watchdog_enabled)."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / MICROSECONDS if text.isascii() and text.isdigit() else 0.0


def _one_line(text: str) -> str:
    return text.replace("\n", " ")
