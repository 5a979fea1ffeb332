"""From lines to whole events: continuation lines joined, timestamps completed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from logmlm.formats.line_format import LineFormat, is_partial
from logmlm.records import Fields, LogLine

Assembled = tuple[LogLine, Fields, float]
"""A joined line, the fields of its first line, and its time in UTC epoch seconds."""


class Assembler:
    """Joins continuation lines and completes timestamps, for each partition by itself.

    The last event of a partition is held back until the next one starts or `flush` or
    `flush_due` is called, except where a format has one line per event. Of an event no more
    than `max_lines` lines and `max_chars` characters are kept (its first line always is);
    what is over is counted in `discarded`, and the event's `end` still passes it.
    """

    def __init__(
        self, line_format: LineFormat, max_lines: int = 500, max_chars: int = 65536
    ) -> None:
        self.discarded: Counter[str] = Counter()
        """Lines left out, by reason: blank, unmatched, orphan_continuation, too_long."""
        self._format = line_format
        self._max_lines = max_lines
        self._max_chars = max_chars
        self._pending: dict[str, _Pending] = {}
        self._last_timestamp: dict[str, float] = {}

    def add(self, line: LogLine) -> list[Assembled]:
        """Return the events that `line` completes, in the order of their lines.

        A timestamp is the line's own, or what its source knows, or that of the line before it
        in its partition, or `received_at`.
        """
        fields = self._format.parse(line.text, line.received_at)
        if fields is None:
            self._continue(line)
            return []
        pending = self._pending.get(line.partition)
        if pending is not None and pending.goes_on_with(fields):
            self._extend(pending, line, fields)
            return [] if is_partial(fields) else self.flush(line.partition)
        complete = self.flush(line.partition)
        self._pending[line.partition] = self._start(line, fields)
        if self._format.continuation == "discard" and not is_partial(fields):
            complete += self.flush(line.partition)
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

    def _release(self, partitions: Iterable[str]) -> list[Assembled]:
        held = (self._pending.pop(partition, None) for partition in partitions)
        return [one.assembled() for one in held if one is not None]

    def _start(self, line: LogLine, fields: Fields) -> _Pending:
        timestamp = line.written_at if fields.timestamp is None else fields.timestamp
        if timestamp is None:
            timestamp = self._last_timestamp.get(line.partition, line.received_at)
        else:
            self._last_timestamp[line.partition] = timestamp
        texts, messages = [line.text], [fields.message]
        return _Pending(line, fields, timestamp, texts, messages, line.end, line.received_at)

    def _continue(self, line: LogLine) -> None:
        """Join a line that does not match to the one before it, or count it."""
        pending = self._pending.get(line.partition)
        if self._format.continuation == "join" and pending is not None:
            self._extend(pending, line, None)
            return
        is_alone = self._format.continuation == "join"
        reason = "orphan_continuation" if is_alone else "unmatched"
        self.discarded[reason if line.text.strip() else "blank"] += _lines_in(line)

    def _extend(self, pending: _Pending, line: LogLine, fields: Fields | None) -> None:
        pending.end, pending.received_at = line.end, line.received_at
        chars = pending.chars + 1 + len(line.text)
        if len(pending.texts) >= self._max_lines or chars > self._max_chars:
            self.discarded["too_long"] += _lines_in(line)
            return
        pending.texts.append(line.text)
        pending.chars = chars
        if fields is not None:
            pending.messages.append(fields.message)


def _lines_in(line: LogLine) -> int:
    """How many lines were joined to this one before (see `Joiner`), itself among them."""
    return line.text.count("\n") + 1


@dataclass(slots=True)
class _Pending:
    """An event whose last line may still be to come."""

    line: LogLine
    fields: Fields
    timestamp: float
    texts: list[str]
    messages: list[str]
    end: int
    received_at: float
    chars: int = 0

    def __post_init__(self) -> None:
        self.chars = len(self.line.text)

    def goes_on_with(self, fields: Fields) -> bool:
        """Whether this is the first part of a line that `fields` is the next part of."""
        streams = [one.attributes.get("log.iostream") for one in (self.fields, fields)]
        return is_partial(self.fields) and streams[0] == streams[1]

    def assembled(self) -> Assembled:
        """Return the event as far as it came."""
        line, fields = self.line, self.fields
        if len(self.texts) > 1:
            line = replace(line, text="\n".join(self.texts))
        if is_partial(fields):
            fields = replace(fields, message="".join(self.messages).strip())
        return replace(line, end=self.end), fields, self.timestamp
