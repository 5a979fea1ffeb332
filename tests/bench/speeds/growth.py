"""What a line costs after 10^4 to 10^7 lines, and with 10^2 to 10^6 open windows.

From source lines to windows, without the model: format, key, template, sessions. Pipelines of all
ages take the same number of lines by turns, so that a machine that is shared slows all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from itertools import count, islice

from logmlm.config import FormatConfig, WindowConfig
from logmlm.formats import get_format
from logmlm.reader import EventReader
from logmlm.records import LogLine
from logmlm.windows import Windower
from speeds.figure import ROUNDS, Figure, Options

LINES = (10**4, 10**5, 10**6, 10**7)
KEYS = (10**2, 10**4, 10**6)
LAP = 10_000
BATCH = 1_000
"""Lines that a source hands over at once."""
KEY = r"job (\d+)"
SESSION = 10
"""Lines of a key, after which its session ends."""


class Worker:
    """A pipeline that has `keys` windows open at any time."""

    def __init__(self, keys: int) -> None:
        # One line a millisecond; a key comes again after `keys` lines, and never after its last.
        gap = 2.0 * keys / 1000
        window = WindowConfig(kind="session", key=KEY, gap=gap, max_age=1e9)
        form = get_format(FormatConfig(name="plain"))
        self._reader = EventReader(form, KEY, lambda message: message[:4])
        self._windower = Windower(window)
        self._lines = self._made(keys)

    @property
    def open_windows(self) -> int:
        return self._windower.open_windows

    def take(self, lines: int) -> float:
        """Seconds of CPU for so many more lines, their making aside."""
        spent = 0.0
        for _ in range(0, lines, BATCH):
            batch = list(islice(self._lines, BATCH))
            began = time.process_time()
            self._windower.add(self._reader.add(batch))
            spent += time.process_time() - began
        return spent

    @staticmethod
    def _made(keys: int) -> Iterator[LogLine]:
        for number in count():
            turn, place = divmod(number, keys)
            job = turn // SESSION * keys + place
            yield LogLine(
                f"step of job {job} was done", "p", number, number + 1, 1e9 + number / 1000
            )


def measure(_options: Options) -> Figure:
    by_age = {f"after {lines:,} lines": (Worker(100), lines) for lines in LINES}
    by_keys = {f"{keys:,} open": (Worker(keys), 3 * keys) for keys in KEYS}
    everyone = by_age | by_keys
    for worker, lines in everyone.values():
        worker.take(lines)
    costs: dict[str, list[float]] = {name: [] for name in everyone}
    for _ in range(2 * ROUNDS):
        for name, (worker, _) in everyone.items():
            costs[name].append(worker.take(LAP) / LAP * 1e6)
    laps = list(zip(*costs.values(), strict=True))
    ratios = [min(lap[0] / lap[len(LINES) - 1], lap[len(LINES)] / lap[-1]) for lap in laps]
    return Figure(
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        "cost a line at the least over that at the most lines, or open windows: the lower of both",
        {f"us_a_line_{name}": round(statistics.median(cost), 2) for name, cost in costs.items()},
    )
