"""Times in lines that differ in digits alone: how one is read, so are all the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import tzinfo

from logmlm.formats.timestamps import (
    LAST_S,
    SECOND,
    Clock,
    fraction,
    is_local,
    named_zone,
    read_groups,
    second_start,
)
from logmlm.shapes import has_digit

ReadStamp = Callable[[str, float], float | None]
"""Reads the time of a line, against `now`: UTC epoch seconds, or None."""


def stamp_reader(
    clock: Clock, zone: tzinfo, example: str, places: Mapping[str, slice]
) -> ReadStamp:
    """A function that reads lines with stamps like the example's as the clock would.

    `places` are those of the time groups in the line, by their names; all digits in them may
    differ from the example's. For one thread.
    """
    zone_name = example[places.get("_zone", slice(0))]
    iso = places.get("timestamp", slice(0))
    if clock is read_groups and is_local(example[iso]) and not has_digit(zone_name):
        return _Local(iso, named_zone(zone_name, zone)).read
    return _Any(clock, zone, places).read


class _Local:
    """Reads times like `2026-11-21 14:57:34.129`, in a zone that is always the same."""

    def __init__(self, place: slice, zone: tzinfo) -> None:
        middle = place.start + SECOND
        self._whole, self._part = slice(place.start, middle), slice(middle, place.stop)
        self._zone = zone
        self._second = ""
        self._start: float | None = None

    def read(self, text: str, _: float) -> float | None:
        second = text[self._whole]
        if second != self._second:
            self._second, self._start = second, self._start_of(second)
        if self._start is None:
            return None
        seconds = self._start + fraction(text[self._part])
        return seconds if seconds <= LAST_S else None

    def _start_of(self, second: str) -> float | None:
        try:
            return None if second[-2] > "5" else second_start(second, self._zone)
        except (ValueError, OverflowError):
            return None


class _Any:
    """Reads times with a format's clock, equal ones that come in turn but once."""

    def __init__(self, clock: Clock, zone: tzinfo, places: Mapping[str, slice]) -> None:
        self._clock = clock
        self._zone = zone
        self._places = places
        self._all = slice(
            min((place.start for place in places.values()), default=0),
            max((place.stop for place in places.values()), default=0),
        )
        self._stamp = ""
        self._now: float | None = None
        self._time: float | None = None

    def read(self, text: str, now: float) -> float | None:
        stamp = text[self._all]
        if stamp != self._stamp or now != self._now:
            groups = {name: text[place] for name, place in self._places.items()}
            self._stamp, self._now = stamp, now
            self._time = self._clock(groups, now, self._zone)
        return self._time
