"""Signs that lines are misread: times that the format can't read, bytes that are no UTF-8."""

from __future__ import annotations

import re
from collections.abc import Sequence

from logmlm.parsing.formats import LineFormat, PatternFormat
from logmlm.parsing.parsed import ParsedBatch
from logmlm.records import Fields, LogLine, line_count

SUSPICIOUS_SHARE = 0.1
"""More lines than this share with one sign are worth a warning."""
DECODED_LINES = 10_000
"""So many of the first lines are searched for bytes that are no UTF-8."""
_SHOWN = 120
_ESCAPED_BYTE = re.compile(r"\\x[89a-f][0-9a-f]").search
"""How `sources.base.decode` writes a byte that is no UTF-8."""


class InputCheck:
    """Counts such signs over the lines of one format; costs one pass over the column of times."""

    def __init__(self, line_format: LineFormat) -> None:
        self._name = line_format.name
        self._has_times = _has_times(line_format)
        self._events = self._timeless = 0
        self._decoded = self._undecodable = 0
        self._timeless_line = self._undecodable_line = ""

    def add(self, lines: Sequence[LogLine], found: ParsedBatch) -> None:
        """Count lines, with what the format found in them."""
        if self._decoded < DECODED_LINES:
            self._search(lines[: DECODED_LINES - self._decoded])
        if not self._has_times:
            return
        self._events += len(lines)
        if None in found.times:
            for line, time, rest in zip(lines, found.times, found.deferred, strict=False):
                if time is None:
                    self._count(line, rest)

    def find_warnings(self) -> list[str]:
        """Return a sentence for each sign that more than `SUSPICIOUS_SHARE` of the lines show."""
        found = []
        if self._timeless > SUSPICIOUS_SHARE * self._events:
            found.append(
                f"format '{self._name}' reads no time in {self._timeless:,} of {self._events:,}"
                f" lines, such as '{self._timeless_line}'; they take the time of the line before,"
                " or of receipt: see what `logmlm parse` shows, and correct the format or its"
                " timestamp_format"
            )
        if self._undecodable > SUSPICIOUS_SHARE * self._decoded:
            found.append(
                f"{self._undecodable:,} of {self._decoded:,} lines hold bytes that are no UTF-8,"
                f" written as \\xNN, such as '{self._undecodable_line}'; convert the log, for"
                " example with `iconv -f LATIN1 -t UTF-8`"
            )
        return found

    def _search(self, lines: Sequence[LogLine]) -> None:
        self._decoded = min(DECODED_LINES, self._decoded + line_count(lines))
        for line in lines:
            if "\\x" in line.text and _ESCAPED_BYTE(line.text):
                self._undecodable += 1
                self._undecodable_line = self._undecodable_line or line.text[:_SHOWN]

    def _count(self, line: LogLine, rest: object) -> None:
        """Count a line without a time, unless it is no event or its source knows the time."""
        if rest is None:
            self._events -= 1
        elif line.written_at is None and not (isinstance(rest, Fields) and rest.timestamp):
            self._timeless += 1
            self._timeless_line = self._timeless_line or line.text[:_SHOWN]


def _has_times(line_format: LineFormat) -> bool:
    """Return whether lines of the format are meant to have times."""
    if isinstance(line_format, PatternFormat):
        return bool(line_format.time_groups)
    return line_format.name != "plain"
