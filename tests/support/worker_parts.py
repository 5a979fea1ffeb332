"""What processes are asked to do in tests; it imports little, so that they start soon."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from logmlm.errors import DataError

Report = Callable[[Any], None]


def work(request: tuple[str, Any], report: Report) -> Any:
    """Square a number, refuse it, wait, or be killed; what is reported tells who did it."""
    kind, value = request
    report((value, os.getpid()))
    if kind == "refuse":
        raise DataError(f"no window in {value}")
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "wait":
        time.sleep(value)
    return value * value
