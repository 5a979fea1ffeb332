"""SIGTERM and SIGINT as a flag that can be waited for, SIGHUP as a wish to be taken."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
GRACE_S = 4.0
"""How long the work at hand may take after the first SIGTERM or SIGINT."""
STOP_S = 8.0
"""How long all that a stop does may take: the work at hand, then the last alerts and positions,
then letting go of the source. The rest of 10 s is for the interpreter's own end: kafka-python's
producers alone may take 2 s of it."""


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Have SIGTERM end the process with exit code 0, where nothing was begun or all is done."""
    before = signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class ShutdownTimeout(BaseException):
    """Raised in the main thread `GRACE_S` after the first signal to stop.

    No `Exception`, as KeyboardInterrupt is none: nothing on the way may take it for an error
    of its own.
    """


class ShutdownSignal:
    """Set by the first SIGTERM or SIGINT while it is entered, in the main thread.

    A handler writes to a pipe instead of setting a `threading.Event`, whose lock the main
    thread may hold at that very moment. What is still at work `grace_s` after the signal is
    ended by `ShutdownTimeout`; what comes after the work shares what is `time_left` of `stop_s`,
    and is ended by nothing but its own care.
    """

    def __init__(self, grace_s: float = GRACE_S, stop_s: float = STOP_S) -> None:
        self._grace_s = grace_s
        self._stop_s = stop_s
        self._deadline = math.inf
        self._is_set = self._reload_wanted = False
        self._before: dict[signal.Signals, Any] = {}
        self._read_end = self._write_end = -1

    def __enter__(self) -> ShutdownSignal:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        handlers = dict.fromkeys(STOPPING, self._stop)
        handlers |= {signal.SIGHUP: self._reload, signal.SIGALRM: self._end}
        self._before = {number: signal.signal(number, each) for number, each in handlers.items()}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read_end)
        os.close(self._write_end)

    def is_set(self) -> bool:
        """Whether a signal to stop came."""
        return self._is_set

    def time_left(self) -> float:
        """Seconds until all has to be over; infinite before a signal, and never negative."""
        return max(0.0, self._deadline - time.monotonic())

    def disarm(self) -> None:
        """From now on nothing is ended by `ShutdownTimeout`; time is counted once a signal came."""
        self._grace_s = 0.0  # also of a signal that comes only now: 0 sets no alarm
        signal.setitimer(signal.ITIMER_REAL, 0)

    def consume_reload(self) -> bool:
        """Whether a reload was wished for since this was asked last."""
        wanted, self._reload_wanted = self._reload_wanted, False
        if wanted and not self._is_set:
            with suppress(BlockingIOError):
                os.read(self._read_end, 4096)  # so that the next wait is one again
        return wanted

    def request_reload(self) -> None:
        """Wish for a reload, and end a wait; any thread may call this."""
        self._reload_wanted = True
        self._wake()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a signal comes."""
        select.select([self._read_end], [], [], seconds)

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's own signature
        if not self._is_set:
            self._is_set = True
            self._wake()
            self._count()
            signal.setitimer(signal.ITIMER_REAL, self._grace_s)

    def _count(self) -> None:
        self._deadline = min(self._deadline, time.monotonic() + self._stop_s)

    def _reload(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's own signature
        self.request_reload()

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's own signature
        raise ShutdownTimeout

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._write_end, b"\0")
