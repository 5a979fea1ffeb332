"""From lines to whole events: continuation lines joined, timestamps completed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from logmlm.parsing.formats.attributes import further_records
from logmlm.parsing.formats.fragments import AssembledLine, InterleavedParts, Rest, joined
from logmlm.parsing.formats.line_format import LineFormat
from logmlm.parsing.formats.timestamps import DAY_S, HALF_YEAR_S
from logmlm.parsing.parsed import LineFields, ParsedBatch
from logmlm.records import BlankLines, Fields, LogLine

MOST_SPANS = 65_536
"""So many places are remembered, in each partition, where reading can't begin."""


@runtime_checkable
class ContainerFormat(Protocol):
    """A line format whose messages may come in parts, and may be records themselves."""

    def whole(self, fields: Fields) -> Fields:
        """Return the fields of a message whose parts were joined."""
        ...


class EventAssembler:
    """Joins continuation lines and completes timestamps, for each partition by itself.

    The last event of a partition is held back until the next one starts or `flush` or
    `flush_due` is called, except where a format has one line per event. Of an event no more
    than `max_lines` lines and `max_chars` characters are kept (its first line always is);
    what is over is counted in `discarded`, and the event's `end` still passes it.

    Parts of a line that was cut are joined for each stream by itself (see `InterleavedParts`):
    events come in the order of their first lines.

    Years that lines don't name are guessed line by line, by when each was received. Of `finished`
    logs that is not known, only when they were read or last written; one that runs past that day
    of the year goes on there with the next year, not with the one before.
    """

    def __init__(
        self,
        line_format: LineFormat,
        max_lines: int = 500,
        max_chars: int = 65536,
        finished: bool = False,
    ) -> None:
        self.discarded: Counter[str] = Counter()
        """Lines left out, by reason: blank, comment, unmatched, orphan_continuation,
        too_long."""
        self.joined = 0
        """Lines that were joined to the one before."""
        self.further_records = 0
        """Records of lines that hold several, the first of which alone is read."""
        self._format = line_format
        self.lenient = 0
        """Lines that are not of the format, but begin with a date: events of their own."""
        self._dated = getattr(line_format, "lenient", None)
        self._comment = getattr(line_format, "comment", None)
        self._joins = line_format.continuation == "join"
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._partitions: dict[str, _Partition] = {}
        self._finished = finished
        self._whole = line_format.whole if isinstance(line_format, ContainerFormat) else None

    def add(self, line: LogLine, found: LineFields | None) -> list[AssembledLine]:
        """Return the events that `line` completes, in the order of their lines.

        `found` is the result of the line format for `line`: None if the line does not match. A
        timestamp is the line's own, or the one that its source knows, or that of the line before
        it in its partition, or `received_at`.
        """
        if found is None:
            found = self._by_date(line)
        if found is None:
            self._continue(line)
            return []
        if isinstance(found, Fields) and type(found.attributes) is dict:  # as of JSON
            self.further_records += further_records(found.attributes)
        partition = self._partition(line.partition)
        held = partition.event
        complete = [] if held is None else [partition.release(held)]
        if found.partial or partition.interleaved is not None:
            return complete + self._group_parts(partition, line, found)
        event = line, found, self._time_of(partition, line, found.timestamp)
        if self._joins and not line.is_whole:
            partition.event = event
        else:
            complete.append(event)
        return complete

    def _group_parts(
        self, partition: _Partition, line: LogLine, found: LineFields
    ) -> list[AssembledLine]:
        """Add a line to those among which one is cut; return them once they are whole."""
        knot = partition.interleaved
        if knot is None:
            knot = partition.interleaved = InterleavedParts()
        held = knot.part_of(found)
        if held is None:
            knot.open_with((line, found, self._time_of(partition, line, found.timestamp)))
        elif knot.extend(held, line, found, self._max_lines, self._max_chars):
            self.joined += _lines_in(line)
        else:
            self.discarded["too_long"] += _lines_in(line)
        return self._untied(partition) if knot.is_over else []

    def _untied(self, partition: _Partition) -> list[AssembledLine]:
        """Release the events of a partition among which one was cut."""
        knot, partition.interleaved = partition.interleaved, None
        if knot is None:
            return []
        events = knot.release()
        if len(events) > 1:
            partition.spans.append(knot.span)
        return [(line, self._unfolded(found), time) for line, found, time in events]

    def _unfolded(self, found: LineFields) -> LineFields:
        """What is in a message whose parts were joined."""
        if not isinstance(found, Fields) or not found.partial:
            return found
        whole = replace(found, partial=False)
        return whole if self._whole is None else self._whole(whole)

    def add_batch(
        self, lines: Sequence[LogLine], found: ParsedBatch
    ) -> tuple[list[AssembledLine], list[float]]:
        """Do as `add` does with several lines of one partition, all or none `is_whole`.

        Of all lines the rest waits. Returns the events that come before these lines', and the times
        of the lines' own: of all lines, or of all but those at their end that are held back or
        among the former.
        """
        partition = self._partition(lines[0].partition)
        held = partition.event
        if partition.interleaved is not None:
            parsed = [(line, found.at(place, line)) for place, line in enumerate(lines)]
            return [event for pair in parsed for event in self.add(*pair)], []
        before = [] if held is None else [partition.release(held)]
        times = self._times(partition, lines, found.times)
        if self._joins and not lines[-1].is_whole and (last := found.at(-1, lines[-1])):
            partition.event = lines[-1], last, times.pop()
        return before, times

    def flush(self, partition: str | None = None) -> list[AssembledLine]:
        """Release what is held back, of one partition or of all: at the end of the input."""
        asked = self._partitions.values() if partition is None else self._named(partition)
        return self._released(asked)

    def flush_due(self, idle: Mapping[str, float], quiet_s: float = 1.0) -> list[AssembledLine]:
        """Release what is held back in partitions that are idle for `quiet_s` seconds or longer.

        `idle` says for how many seconds nothing more has waited in a partition.
        """
        due = (name for name, seconds in idle.items() if seconds >= quiet_s)
        return self._released(one for name in due for one in self._named(name))

    def has_pending(self, partition: str) -> bool:
        """Whether something of a partition is held back."""
        return any(one.has_pending for one in self._named(partition))

    def held_partitions(self) -> list[str]:
        """Partitions of which something is held back."""
        return [name for name, one in self._partitions.items() if one.has_pending]

    def is_inside(self, partition: str, position: int) -> bool:
        """Whether reading can't begin at `position`: a line that was cut goes on behind it.

        Nothing before `position` is asked for again.
        """
        return any(one.is_inside(position) for one in self._named(partition))

    def adopt(self, before: EventAssembler) -> None:
        """Know where reading can't begin, as the assembler did that read these lines before."""
        for name, one in before._partitions.items():
            self._partition(name).spans.extend(one.spans)

    def drop(self, partition: str) -> None:
        """Forget a partition, with what is held back of it."""
        self._partitions.pop(partition, None)

    def _released(self, partitions: Iterable[_Partition]) -> list[AssembledLine]:
        events: list[AssembledLine] = []
        for one in partitions:
            if one.event is not None:
                events.append(one.release(one.event))
            events += self._untied(one)
        return events

    def _partition(self, name: str) -> _Partition:
        partition = self._partitions.get(name)
        if partition is None:
            partition = self._partitions[name] = _Partition()
        return partition

    def _named(self, name: str) -> list[_Partition]:
        partition = self._partitions.get(name)
        return [] if partition is None else [partition]

    def _times(
        self, partition: _Partition, lines: Sequence[LogLine], own: Sequence[float | None]
    ) -> list[float]:
        """The times of lines in turn, whose own are told."""
        told = [time for time in own if time is not None]
        highest = max([*told, partition.time or 0.0])
        if len(told) == len(own) and min(told) >= highest - HALF_YEAR_S:
            partition.time = told[-1]
            return told
        return [self._time_of(partition, *pair) for pair in zip(lines, own, strict=True)]

    def _time_of(self, partition: _Partition, line: LogLine, timestamp: float | None) -> float:
        """The time of a line: its own, or one that stands in for it."""
        before = partition.time
        if timestamp is None:
            timestamp = line.written_at
        if timestamp is None:
            return line.received_at if before is None else before
        if self._finished and before is not None and timestamp < before - HALF_YEAR_S:
            timestamp = self._in_order(partition, line, timestamp, before)
        partition.time = timestamp
        return timestamp

    def _in_order(
        self, partition: _Partition, line: LogLine, timestamp: float, before: float
    ) -> float:
        """The time of a line that leads back by most of a year, guessed by the line before it.

        That must put it within a day of the line before, until the partition once ran past its
        time: a machine without a clock starts on 1 January each time, and no year has begun.
        """
        reach = HALF_YEAR_S if partition.is_past else DAY_S
        fields = self._format.parse(line.text, before + reach - DAY_S)
        again = None if fields is None else fields.timestamp
        if again is None or abs(again - before) > reach:
            return timestamp
        partition.is_past = True
        return again

    def _by_date(self, line: LogLine) -> LineFields | None:
        """Read a line that does not match but begins with a date: it continues no other line."""
        if self._dated is None or not line.text[:1].strip():
            return None
        if self._comment is not None and self._comment.match(line.text):
            return None
        found: LineFields | None = self._dated.parse(line.text, line.received_at)
        self.lenient += found is not None
        return found

    def _continue(self, line: LogLine) -> None:
        """Join a line that does not match to the one before it, or count it."""
        if self._comment is not None and self._comment.match(line.text):
            self.discarded["comment"] += _lines_in(line)
            return
        partition = self._partitions.get(line.partition)
        joins = self._joins and not line.is_whole
        if joins and partition is not None and partition.event is not None:
            self._extend(partition, partition.event[0], line, None)
            return
        reason = "orphan_continuation" if joins else "unmatched"
        self.discarded[reason if line.text.strip() else "blank"] += _lines_in(line)

    def _extend(
        self, partition: _Partition, first: LogLine, line: LogLine, found: LineFields | None
    ) -> None:
        """Join a line to the event held back, which begins with `first`, or count it."""
        if partition.rest is None:
            partition.rest = Rest(first, len(first.text))
        if isinstance(line, BlankLines):
            kept = partition.rest.add_blank(line, self._max_lines, self._max_chars)
            self.joined += kept
            if kept < line.lines:
                self.discarded["blank"] += line.lines - kept
        elif partition.rest.add(line, found, self._max_lines, self._max_chars):
            self.joined += _lines_in(line)
        else:
            self.discarded["too_long" if line.text.strip() else "blank"] += _lines_in(line)


def _lines_in(line: LogLine) -> int:
    """How many lines were joined to this one before (see `MultilineJoiner`), itself among them."""
    if isinstance(line, BlankLines):
        return line.lines
    return line.text.count("\n") + 1


class _Partition:
    """A partition's last time, and its event whose last line may still be to come."""

    __slots__ = ("event", "interleaved", "is_past", "rest", "spans", "time")

    def __init__(self) -> None:
        self.time: float | None = None
        self.is_past = False
        """Whether it ran past the time by which its years are guessed."""
        self.event: AssembledLine | None = None
        self.rest: Rest | None = None
        self.interleaved: InterleavedParts | None = None
        self.spans: deque[tuple[int, int]] = deque(maxlen=MOST_SPANS)
        """Where cut lines stand among others, from where to where, in order."""

    @property
    def has_pending(self) -> bool:
        """Whether something is held back."""
        return self.event is not None or self.interleaved is not None

    def is_inside(self, position: int) -> bool:
        """See `EventAssembler`."""
        while self.spans and self.spans[0][1] <= position:
            self.spans.popleft()
        return bool(self.spans) and self.spans[0][0] < position

    def release(self, held: AssembledLine) -> AssembledLine:
        """Return the `event` that is held back, as far as it came, and hold back nothing."""
        self.event, rest = None, self.rest
        self.rest = None
        return held if rest is None else joined(*held, rest)
