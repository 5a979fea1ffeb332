"""Batches side by side: each pass on one thread, as many passes as there are cores.

Threads within a pass wait for each other at every layer of models this small, and where other
work shares the cores, as parsing does, they wait by burning its time: on two busy cores two
threads were measured to take ten times the CPU time of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch

from logmlm.system.processes import available_cpus

T = TypeVar("T")
R = TypeVar("R")


def map_batches(work: Callable[[T], R], batches: Sequence[T], device: torch.device) -> Iterator[R]:
    """What `work` gives for each batch, in order; on a CPU side by side."""
    workers = min(len(batches), available_cpus()) if device.type == "cpu" else 1
    with single_threaded():
        if workers < 2:
            yield from map(work, batches)
            return
        single = partial(torch.set_num_threads, 1)
        with ThreadPoolExecutor(workers, initializer=single) as pool:
            yield from pool.map(work, batches)


@contextmanager
def single_threaded() -> Iterator[None]:
    """One CPU thread: models this small gain nothing from more, and sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
