"""Times in lines that differ in digits alone: how one is read, so are all the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from math import inf
from typing import Protocol, TypeVar

from logmlm.parsing.digit_shapes import has_digit
from logmlm.parsing.formats.timestamps import (
    DAY_S,
    LAST_S,
    MILLISECONDS,
    SECOND,
    TimestampParser,
    fraction,
    is_local,
    named_zone,
    read_groups,
    second_start,
)

MOST_STAMPS = 4_096
Time = TypeVar("Time")
_SECONDS = {f"{second:02}": float(second) for second in range(60)}


class TimestampReader(Protocol):
    """Reads the times of lines."""

    def read(self, texts: Sequence[str], nows: Sequence[float]) -> list[float | None]:
        """UTC epoch seconds in each text, or None, by when it was received."""
        ...


def make_timestamp_reader(
    clock: TimestampParser, zone: tzinfo, example: str, places: Mapping[str, slice]
) -> TimestampReader:
    """What reads lines with stamps like the example's as the clock would.

    `places` are those of the time groups in the line, by their names; all digits in them may
    differ from the example's. For one thread.
    """
    zone_name = example[places.get("_zone", slice(0))]
    iso = places.get("timestamp", slice(0))
    is_iso = "_half" not in places and is_local(example[iso])
    if clock is read_groups and is_iso and not has_digit(zone_name):
        return _FixedZoneReader(iso, named_zone(zone_name, zone))
    reader = _GenericReader(clock, zone, places)
    if clock is not read_groups or "_second" not in places or "_fraction" in places:
        return reader
    return _MinuteReader(reader, places)


class _BoundedMemo(dict[str, Time]):
    """What was found of texts at one time, each once; `MOST_STAMPS` and one reading's at most."""

    def __init__(self, find: Callable[[str], Time]) -> None:
        super().__init__()
        self._find = find
        self.now = -inf

    def at(self, now: float) -> _BoundedMemo[Time]:
        """Itself, with nothing left of another time."""
        if now != self.now or len(self) > MOST_STAMPS:
            self.clear()
            self.now = now
        return self

    def __missing__(self, text: str) -> Time:
        self[text] = found = self._find(text)
        return found


class _FixedZoneReader:
    """Reads times like `2026-11-21 14:57:34.129`, in a zone that is always the same."""

    def __init__(self, place: slice, zone: tzinfo) -> None:
        middle = place.start + SECOND
        self._whole, self._part = slice(place.start, middle), slice(middle, place.stop)
        self._zone = zone
        self._starts = _BoundedMemo(self._start_of)
        is_short = place.stop - middle == len(".129")
        self._fraction = MILLISECONDS.__getitem__ if is_short else fraction

    def read(self, texts: Sequence[str], _: Sequence[float]) -> list[float | None]:
        starts, whole, part = self._starts.at(0.0), self._whole, self._part
        behind = self._fraction
        times = [starts[text[whole]] + behind(text[part]) for text in texts]
        return [*times] if max(times) <= LAST_S else [t if t <= LAST_S else None for t in times]

    def _start_of(self, second: str) -> float:
        """Where a second begins; never, if there is none such."""
        try:
            return inf if second[-2] > "5" else second_start(second, self._zone)
        except (ValueError, OverflowError):
            return inf


class _GenericReader:
    """Reads times with a format's clock; equal ones that were received at one time but once."""

    def __init__(self, clock: TimestampParser, zone: tzinfo, places: Mapping[str, slice]) -> None:
        self._clock = clock
        self._zone = zone
        start = min((place.start for place in places.values()), default=0)
        stop = max((place.stop for place in places.values()), default=0)
        self.all = slice(start, stop)
        """Where the stamp is."""
        self._places = {n: slice(at.start - start, at.stop - start) for n, at in places.items()}
        self._times = _BoundedMemo(self._time_of)

    def read(self, texts: Sequence[str], nows: Sequence[float]) -> list[float | None]:
        if nows.count(nows[0]) < len(nows):
            return _one_by_one(self, texts, nows)
        times, whole = self._times.at(nows[0]), self.all
        return [times[text[whole]] for text in texts]

    def _time_of(self, stamp: str) -> float | None:
        groups = {name: stamp[place] for name, place in self._places.items()}
        return self._clock(groups, self._times.now, self._zone)


class _MinuteReader:
    """Reads times in whole seconds: each minute once, by another reader of such times."""

    def __init__(self, reader: _GenericReader, places: Mapping[str, slice]) -> None:
        self._reader = reader
        second = places["_second"]
        before, behind = slice(reader.all.start, second.start), slice(second.stop, reader.all.stop)
        self._slices = before, second, behind
        self._has_year = "_year" in places
        self._starts = _BoundedMemo(self._start_of)

    def read(self, texts: Sequence[str], nows: Sequence[float]) -> list[float | None]:
        if nows.count(nows[0]) < len(nows):
            return _one_by_one(self, texts, nows)
        starts, before, second, behind = self._starts.at(nows[0]), *self._slices
        times = [
            starts[text[before] + text[behind]] + _SECONDS.get(text[second], inf) for text in texts
        ]
        # A year that lines don't name is guessed by their seconds.
        latest = LAST_S if self._has_year else min(LAST_S, nows[0] + DAY_S)
        return [*times] if max(times) <= latest else self._reader.read(texts, nows)

    def _start_of(self, minute: str) -> float:
        """Where a minute begins, by what is left of its stamps; never, if there is none such."""
        before, *_ = self._slices
        width = before.stop - before.start
        text = " " * before.start + minute[:width] + "00" + minute[width:]
        time = self._reader.read([text], [self._starts.now])[0]
        return inf if time is None else time


def _one_by_one(
    reader: TimestampReader, texts: Sequence[str], nows: Sequence[float]
) -> list[float | None]:
    return [reader.read([text], [now])[0] for text, now in zip(texts, nows, strict=True)]
