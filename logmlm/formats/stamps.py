"""Times in lines that differ in digits alone: how one is read, so are all the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo

from logmlm.formats.timestamps import (
    LAST_S,
    MINUTE,
    Clock,
    is_local,
    minute_start,
    named_zone,
    read_groups,
)
from logmlm.shapes import has_digit

ReadStamp = Callable[[str, float], float | None]
"""Reads a line's stamp, which reaches from the beginning of its first time group to the end of
its last one, against `now`: UTC epoch seconds, or None."""


def stamp_reader(
    clock: Clock, zone: tzinfo, example: str, places: Mapping[str, slice]
) -> ReadStamp:
    """A function that reads all stamps of the example's shape as the clock would. For one thread.

    `places` are those of the time groups in it, by their names.
    """
    zone_name = example[places.get("_zone", slice(0))]
    iso = places.get("timestamp", slice(0))
    is_iso = clock is read_groups and iso.start == 0 and is_local(example[iso])
    if is_iso and not has_digit(zone_name):
        return _Local(iso.stop, named_zone(zone_name, zone)).read
    return _Any(clock, zone, places).read


class _Local:
    """Reads stamps that begin like `2026-11-21 14:57:34.129`, and say nothing else in digits."""

    def __init__(self, end: int, zone: tzinfo) -> None:
        self._end = end
        self._zone = zone
        self._minute = ""
        self._start: float | None = None

    def read(self, stamp: str, _: float) -> float | None:
        minute = stamp[:MINUTE]
        if minute != self._minute:
            self._minute, self._start = minute, self._start_of(minute)
        if self._start is None or stamp[MINUTE] > "5":
            return None
        seconds = self._start + float(stamp[MINUTE : self._end].replace(",", "."))
        return seconds if seconds <= LAST_S else None

    def _start_of(self, minute: str) -> float | None:
        try:
            return minute_start(minute, self._zone)
        except (ValueError, OverflowError):
            return None


class _Any:
    """Reads stamps with a format's clock, equal ones that come in turn but once."""

    def __init__(self, clock: Clock, zone: tzinfo, places: Mapping[str, slice]) -> None:
        self._clock = clock
        self._zone = zone
        self._places = places
        self._last: tuple[str, float] | None = None
        self._time: float | None = None

    def read(self, stamp: str, now: float) -> float | None:
        if (stamp, now) != self._last:
            groups = {name: stamp[place] for name, place in self._places.items()}
            self._last, self._time = (stamp, now), self._clock(groups, now, self._zone)
        return self._time
