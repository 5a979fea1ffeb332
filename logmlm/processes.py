"""What starting processes of our own takes: how many, and that Ctrl-C ends them once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def available_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """What starts meanwhile ignores Ctrl-C: this process ends it, so that one message is enough."""
    if threading.current_thread() is not threading.main_thread():  # signals are the main one's
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
