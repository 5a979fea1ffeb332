"""Lines that were cut into parts, with lines of another stream between the parts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from logmlm.parsing.parsed import LineFields
from logmlm.records import BlankLines, Fields, LogLine

AssembledLine = tuple[LogLine, LineFields, float]
"""A joined line, what was found in its first line, and its time in UTC epoch seconds."""

MAX_PENDING_EVENTS = 500
"""So many events wait at most for the rest of a line that was cut."""
MOST_CHARS = 1 << 20
LONGEST_S = 5.0
"""Seconds of event time after which a part is no longer waited for: parts are written at once."""


@dataclass(slots=True)
class Rest:
    """What was joined to an event's first line; `chars` counts the first line too."""

    last: LogLine
    chars: int
    texts: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def add(self, line: LogLine, found: LineFields | None, max_lines: int, max_chars: int) -> bool:
        """Add a line, if that makes neither too many lines nor too many characters."""
        self.last = line
        chars = self.chars + 1 + len(line.text)
        if len(self.texts) + 1 >= max_lines or chars > max_chars:
            return False
        self.chars = chars
        self.texts.append(line.text)
        if found is not None:
            self.messages.append(found.fields.message)
        return True

    def add_blank(self, lines: BlankLines, max_lines: int, max_chars: int) -> int:
        """Add as many empty lines as there is room for, and return how many these are."""
        self.last = lines
        fitting = fitting_blank(lines, max_lines - 1 - len(self.texts), max_chars - self.chars)
        self.chars += fitting
        self.texts += [""] * fitting
        return fitting


def fitting_blank(lines: BlankLines, room_lines: int, room_chars: int) -> int:
    """Return how many empty lines there is room for; each costs the newline before it."""
    return max(0, min(lines.lines, room_lines, room_chars))


def joined(line: LogLine, found: LineFields, timestamp: float, rest: Rest | None) -> AssembledLine:
    """Return an event with what was joined to it; a message in parts is put together."""
    if rest is not None:
        line = line._replace(text="\n".join((line.text, *rest.texts)), end=rest.last.end)
    if isinstance(found, Fields) and found.partial:
        messages = [] if rest is None else rest.messages
        found = replace(found, message="".join((found.message, *messages)).strip())
    return line, found, timestamp


@dataclass(slots=True)
class _Held:
    event: AssembledLine
    rest: Rest | None = None


class InterleavedParts:
    """Events of one partition from the first part of a cut line to its last one.

    Each stream has a buffer of its own; what is whole waits until no line is open, so that events
    come in the order of their first lines. Reading can begin again before the first of these lines
    or behind the last one, and nowhere between.
    """

    def __init__(self) -> None:
        self._held: list[_Held] = []
        self._open: dict[str | None, _Held] = {}
        self._chars = 0
        self._end = 0
        self._began = self._latest = 0.0

    @property
    def span(self) -> tuple[int, int]:
        """From where to where no line can be read without those before it."""
        return self._held[0].event[0].start, self._end

    @property
    def is_over(self) -> bool:
        """Whether no line is open any more, or too much waits for one."""
        return (
            not self._open
            or len(self._held) > MAX_PENDING_EVENTS
            or self._chars > MOST_CHARS
            or self._latest - self._began > LONGEST_S
        )

    def part_of(self, found: LineFields) -> _Held | None:
        """Return the open line that a line of this stream goes on with."""
        return self._open.get(_stream(found))

    def open_with(self, event: AssembledLine) -> None:
        """Hold an event; a partial one is open."""
        line, found, time = event
        held = _Held(event)
        if not self._held:
            self._began = time
        self._latest = max(self._latest, time)
        self._held.append(held)
        self._chars += len(line.text)
        self._end = line.end
        if found.partial:
            self._open[_stream(found)] = held

    def extend(
        self, held: _Held, line: LogLine, found: LineFields, max_lines: int, max_chars: int
    ) -> bool:
        """Add a part to an open line; whether there was room for it."""
        if held.rest is None:
            held.rest = Rest(held.event[0], len(held.event[0].text))
        fits = held.rest.add(line, found, max_lines, max_chars)
        self._end = line.end
        if not found.partial:
            del self._open[_stream(found)]
        return fits

    def release(self) -> list[AssembledLine]:
        """Return all events as far as they came, in the order of their first lines."""
        events: list[AssembledLine] = []
        end = 0
        for held in self._held:
            line, found, time = joined(*held.event, held.rest)
            end = max(end, line.end)
            events.append((line._replace(end=end), found, time))
        return events


def _stream(found: LineFields) -> str | None:
    return found.fields.attributes.get("log.iostream")
