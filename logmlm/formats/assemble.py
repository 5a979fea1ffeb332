"""From lines to whole events: continuation lines joined, timestamps completed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from logmlm.formats.line_format import LineFormat
from logmlm.formats.timestamps import DAY_S, HALF_YEAR_S
from logmlm.records import Fields, LogLine

Assembled = tuple[LogLine, Fields, float]
"""A joined line, the fields of its first line, and its time in UTC epoch seconds."""


class Assembler:
    """Joins continuation lines and completes timestamps, for each partition by itself.

    The last event of a partition is held back until the next one starts or `flush` or
    `flush_due` is called, except where a format has one line per event. Of an event no more
    than `max_lines` lines and `max_chars` characters are kept (its first line always is);
    what is over is counted in `discarded`, and the event's `end` still passes it.

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
        """Lines left out, by reason: blank, unmatched, orphan_continuation, too_long."""
        self._format = line_format
        self._joins = line_format.continuation == "join"
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._pending: dict[str, _Pending] = {}
        self._last_timestamp: dict[str, float] = {}
        self._finished = finished
        self._past: set[str] = set()
        """Partitions that ran past the time by which their years are guessed."""

    def add(self, line: LogLine) -> list[Assembled]:
        """Return the events that `line` completes, in the order of their lines.

        A timestamp is the line's own, or what its source knows, or that of the line before it
        in its partition, or `received_at`.
        """
        return self.add_parsed(line, self._format.parse(line.text, line.received_at))

    def add_parsed(self, line: LogLine, fields: Fields | None) -> list[Assembled]:
        """Do as `add` does, with what the format found in the line."""
        if fields is None:
            self._continue(line)
            return []
        pending = self._pending.get(line.partition)
        if pending is None:
            complete = []
        elif pending.fields.partial and pending.goes_on_with(fields):
            self._extend(pending, line, fields)
            return [] if fields.partial else self.flush(line.partition)
        else:
            complete = [pending.assembled()]
        timestamp = self._time_of(line, fields)
        if self._joins or fields.partial:
            self._pending[line.partition] = _Pending(line, fields, timestamp)
        else:
            self._pending.pop(line.partition, None)
            complete.append((line, fields, timestamp))
        return complete

    def flush(self, partition: str | None = None) -> list[Assembled]:
        """Release what is held back, of one partition or of all: at the end of the input."""
        return self._release([partition] if partition is not None else list(self._pending))

    def flush_due(self, now: float, quiet_s: float = 1.0) -> list[Assembled]:
        """Release what is held back and got its last line `quiet_s` before `now` or earlier."""
        held = self._pending.items()
        return self._release([name for name, one in held if one.received_at <= now - quiet_s])

    def holds(self, partition: str) -> bool:
        """Whether something of a partition is held back."""
        return partition in self._pending

    def drop(self, partition: str) -> None:
        """Forget a partition, with what is held back of it."""
        self._pending.pop(partition, None)
        self._last_timestamp.pop(partition, None)
        self._past.discard(partition)

    def _release(self, partitions: Iterable[str]) -> list[Assembled]:
        held = (self._pending.pop(partition, None) for partition in partitions)
        return [one.assembled() for one in held if one is not None]

    def _time_of(self, line: LogLine, fields: Fields) -> float:
        timestamp = line.written_at if fields.timestamp is None else fields.timestamp
        before = self._last_timestamp.get(line.partition)
        if timestamp is None:
            return line.received_at if before is None else before
        if self._finished and before is not None and timestamp < before - HALF_YEAR_S:
            timestamp = self._in_order(line, timestamp, before)
        self._last_timestamp[line.partition] = timestamp
        return timestamp

    def _in_order(self, line: LogLine, timestamp: float, before: float) -> float:
        """The time of a line that leads back by most of a year, guessed by the line before it.

        That must put it within a day of the line before, until the partition once ran past its
        time: a machine without a clock starts on 1 January each time, and no year has begun.
        """
        reach = HALF_YEAR_S if line.partition in self._past else DAY_S
        fields = self._format.parse(line.text, before + reach - DAY_S)
        again = None if fields is None else fields.timestamp
        if again is None or abs(again - before) > reach:
            return timestamp
        self._past.add(line.partition)
        return again

    def _continue(self, line: LogLine) -> None:
        """Join a line that does not match to the one before it, or count it."""
        pending = self._pending.get(line.partition)
        if self._joins and pending is not None:
            self._extend(pending, line, None)
            return
        reason = "orphan_continuation" if self._joins else "unmatched"
        self.discarded[reason if line.text.strip() else "blank"] += _lines_in(line)

    def _extend(self, pending: _Pending, line: LogLine, fields: Fields | None) -> None:
        if not pending.extend(line, fields, self._max_lines, self._max_chars):
            self.discarded["too_long"] += _lines_in(line)


def _lines_in(line: LogLine) -> int:
    """How many lines were joined to this one before (see `Joiner`), itself among them."""
    return line.text.count("\n") + 1


class _Pending:
    """An event whose last line may still be to come."""

    __slots__ = ("fields", "last", "line", "rest", "timestamp")

    def __init__(self, line: LogLine, fields: Fields, timestamp: float) -> None:
        self.line = self.last = line
        self.fields = fields
        self.timestamp = timestamp
        self.rest: _Rest | None = None

    @property
    def received_at(self) -> float:
        """When its last line was received."""
        return self.last.received_at

    def goes_on_with(self, fields: Fields) -> bool:
        """Whether this, a part of a line, is followed by `fields` as its next part."""
        streams = [one.attributes.get("log.iostream") for one in (self.fields, fields)]
        return streams[0] == streams[1]

    def extend(self, line: LogLine, fields: Fields | None, max_lines: int, max_chars: int) -> bool:
        """Join a line to it, if it does not grow too long."""
        self.last = line
        rest = self.rest or _Rest(len(self.line.text))
        chars = rest.chars + 1 + len(line.text)
        if len(rest.texts) + 1 >= max_lines or chars > max_chars:
            return False
        self.rest = rest
        rest.chars = chars
        rest.texts.append(line.text)
        if fields is not None:
            rest.messages.append(fields.message)
        return True

    def assembled(self) -> Assembled:
        """Return the event as far as it came."""
        line, fields = self.line, self.fields
        if self.last is line and not fields.partial:
            return line, fields, self.timestamp
        rest = self.rest or _Rest(0)
        text = "\n".join((line.text, *rest.texts))
        line = replace(line, text=text, end=self.last.end)
        if fields.partial:
            fields = replace(fields, message="".join((fields.message, *rest.messages)).strip())
        return line, fields, self.timestamp


@dataclass(slots=True)
class _Rest:
    """What was joined to an event's first line; `chars` counts the first line too."""

    chars: int
    texts: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
