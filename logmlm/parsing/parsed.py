"""What was found in lines, where not all that a line says is asked for at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from logmlm.records import DeferredFields, Fields, LogLine


class ParsedLine(NamedTuple):
    """What of a line is asked for at once; `rest` finds the other fields when an alert asks.

    `key` is what windows group by; `masked` is what masks made of the message, None where that was
    not found out. Only lines that end with themselves are parsed so.
    """

    line: LogLine
    timestamp: float | None
    key: str
    masked: str | None
    rest: DeferredFields

    @property
    def fields(self) -> Fields:
        """All that the line format finds in the line."""
        return self.rest.fields(self.line)

    @property
    def partial(self) -> bool:
        """No such line goes on in the next."""
        return False


LineFields = Fields | ParsedLine


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """What was found in each of N lines, column by column, each of N.

    `deferred` finds the rest, as in `ParsedLine`. The lines whose places are `irregular`, in order,
    have all their fields there, or None if they do not match the format; the other columns say
    nothing of them.
    """

    times: list[float | None]
    keys: list[str]
    masked: list[str | None]
    deferred: list[DeferredFields | Fields | None]
    irregular: list[int]
    overruns: int = 0
    """How often a pattern of the user's was given up on these lines."""

    def part(self, start: int, end: int) -> ParsedBatch:
        """What was found in lines of which none is odd."""
        part = slice(start, end)
        return ParsedBatch(
            self.times[part], self.keys[part], self.masked[part], self.deferred[part], []
        )

    def at(self, place: int, line: LogLine) -> LineFields | None:
        """What was found in one line."""
        rest = self.deferred[place]
        if rest is None or isinstance(rest, Fields):
            return rest
        return ParsedLine(line, self.times[place], self.keys[place], self.masked[place], rest)


def batch_of_fields(fields: list[Fields | None]) -> ParsedBatch:
    """What was found, and nothing waits."""
    lines = len(fields)
    nothing = [None] * lines
    return ParsedBatch([*nothing], [""] * lines, [*nothing], [*fields], list(range(lines)))
