"""Events and windows for tests of windowing."""

from __future__ import annotations

from collections.abc import Sequence

from logmlm.config.training import WindowConfig
from logmlm.detection.windows import Windower
from logmlm.records import Event, Fields, LogLine, Window

Summary = tuple[str, list[float], str, bool]
"""A window's key and times, what closed it, and whether it is complete."""


def event(
    number: int, key: str, time: float, partition: str = "p", lag: float = 0.0, host: str = ""
) -> Event:
    """The partition's line with this number; 3 discarded bytes follow every other line."""
    start, length = number * 10, 10 if number % 2 else 7
    line = LogLine(f"{key} {time}", partition, start, start + length, time + lag, number)
    fields = Fields(time, "", line.text, {"host.name": host} if host else {})
    return Event(line, fields, time, key, "t1")


def summaries(windows: Sequence[Window]) -> list[Summary]:
    return [(w.key, [e.timestamp for e in w.events], w.closed_by, w.complete) for w in windows]


def undisturbed(config: WindowConfig, events: Sequence[Event]) -> list[Window]:
    windower = Windower(config)
    return windower.add(events) + windower.close_all()
