"""SIGTERM and SIGINT as a flag that can be waited for."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Set by the first SIGTERM or SIGINT while it is entered, in the main thread.

    A handler writes to a pipe instead of setting a `threading.Event`, whose lock the main
    thread may hold at that very moment.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._before: dict[signal.Signals, Any] = {}
        self._read_end = self._write_end = -1

    def __enter__(self) -> Stop:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._before = {number: signal.signal(number, self._handle) for number in STOPPING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read_end)
        os.close(self._write_end)

    def is_set(self) -> bool:
        """Whether a signal came."""
        return self._is_set

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a signal comes."""
        select.select([self._read_end], [], [], seconds)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's own signature
        if not self._is_set:
            self._is_set = True
            os.write(self._write_end, b"\0")
