"""This process and those that it starts: how many, who ends them, and what is collected when."""

from __future__ import annotations

import gc
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def available_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


COLLECT_EVERY = (50_000, 20, 20)
"""Python's thresholds of collecting; its own 700 are for programs that make fewer objects."""


def freeze_gc() -> None:
    """Exclude all objects that exist now (libraries, a model) from garbage collection.

    A daemon makes thousands of objects for every few hundred lines, and looking through those of
    torch again and again for garbage was a fifth of its time (`tests/bench/RESULTS.md`).
    """
    gc.unfreeze()  # of a model that was exchanged, what refers to itself is garbage now
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_EVERY)


@contextmanager
def gc_frozen() -> Iterator[None]:
    """Freeze the garbage collector for the block: for loops that create millions of objects."""
    before = gc.get_threshold()
    freeze_gc()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


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


def descriptor_limit() -> int:
    """Return how many descriptors this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open descriptors to the hard one, which needs no privilege.

    The soft one is 1,024 nearly everywhere, for programs that use select(2); see systemd.exec(5).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
