"""One benchmark's figure: a ratio, measured by turns in the same run."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROUNDS = 5
"""Turns of each side; machines are shared, so one turn says little."""


class SkippedError(Exception):
    """The benchmark can't run here; the text says what is missing and what brings it."""


@dataclass(frozen=True)
class Options:
    """`data` is a folder with `hdfs/` and `loghub2k/`, which users may not have."""

    data: Path | None = None

    def needs(self, name: str) -> Path:
        """A file of the data.

        Raises:
            SkippedError: there is none.

        """
        if self.data is None or not (self.data / name).exists():
            raise SkippedError(f"needs {name}; name its folder with --data DIR")
        return self.data / name


@dataclass(frozen=True)
class Figure:
    """`ratio` is the median of the turns, `low` and `high` the least and the greatest.

    `what` says in words what was divided by what; `rows` are further measurements by name.
    """

    ratio: float
    low: float
    high: float
    what: str
    rows: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, ratios: Sequence[float], what: str, rows: dict[str, Any] | None = None) -> Figure:
        """The figure of these turns."""
        return cls(statistics.median(ratios), min(ratios), max(ratios), what, rows or {})

    def __str__(self) -> str:
        """The ratio with its spread, as a row shows it."""
        return spread([self.low, self.ratio, self.high])


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, least and greatest: `2.80 (2.60 to 2.90)`."""
    median, low, high = (f"{f(values):,.{digits}f}" for f in (statistics.median, min, max))
    return f"{median} ({low} to {high})"


@contextmanager
def one_core() -> Iterator[None]:
    """Both sides have one core, and torch one thread.

    Two hardware threads of one core take longer for the same work side by side, so CPU time would
    tell against the side that uses both; and where others use the cores, torch's threads burn
    time waiting for each other.
    """
    import torch

    threads, cores = torch.get_num_threads(), os.sched_getaffinity(0)
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)


def by_turns(
    what: str,
    theirs: Callable[[], object],
    ours: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
) -> Figure:
    """How many times as fast `ours` is: theirs and ours alternate, and each pair gives a ratio."""
    turns = seconds_by_turns([theirs, ours], clock)
    theirs_s, ours_s = (round(statistics.median(each), 4) for each in zip(*turns, strict=True))
    return Figure.of([a / b for a, b in turns], what, {"theirs_s": theirs_s, "ours_s": ours_s})


def seconds_by_turns(
    works: Sequence[Callable[[], object]], clock: Callable[[], float]
) -> list[list[float]]:
    """Seconds of each work in each of `ROUNDS` turns, in which they come one after the other."""
    return [[_seconds(work, clock) for work in works] for _ in range(ROUNDS)]


def _seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    work()
    return clock() - started
