"""Raw lines, and a stream cut into them in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from logmlm.records import BlankCrlfLines, BlankLines, LogLine
from logmlm.sources.base import decode_line

MARK = "\ufeff"
"""A byte-order mark, which some programs write at the beginning of a file; no part of its text."""
_LINE_END = len(b"\r\n")
LEAST_RUN = 16
"""So many empty lines, or more, that follow each other are dealt with at once."""
# One more, as the first line end may be that of the line before.
_RUN = re.compile(b"\n{%d,}+|(?:\r\n){%d,}+" % (LEAST_RUN + 1, LEAST_RUN + 1))
_HAS_RUN = b"\n" * (LEAST_RUN + 1), b"\r\n" * (LEAST_RUN + 1)
_NEWLINE = ord(b"\n")
RUNS: dict[int, type[BlankLines]] = {each.line_bytes: each for each in (BlankLines, BlankCrlfLines)}
"""What a run of empty lines is, by the bytes that each takes."""


def pieces(content: bytes, is_line_start: bool = True) -> Iterator[tuple[bytes, int]]:
    """Cut content into runs of empty lines, and what lies between, each with a number.

    That is how many bytes each empty line of a run takes, and 0 for what is no run. Runs that are
    shorter than `LEAST_RUN` stay in what lies between. `is_line_start` tells whether a line begins
    with the content.
    """
    at = 0
    for run in _RUN.finditer(content) if any(each in content for each in _HAS_RUN) else ():
        line_bytes = 1 if content[run.start()] == _NEWLINE else _LINE_END
        begins = content[run.start() - 1] == _NEWLINE if run.start() else is_line_start
        start = run.start() if begins else run.start() + line_bytes
        if at < start:
            yield content[at:start], 0
        yield content[start : run.end()], line_bytes
        at = run.end()
    if at < len(content):
        yield content[at:], 0


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line's text, its start, and the start of the next one, in bytes; `cut` if too long.

    Of a run of empty lines, which is one, each takes `line_bytes` bytes; 0 says that it is no run.
    """

    text: str
    start: int
    end: int
    cut: bool
    line_bytes: int = 0

    @classmethod
    def of(cls, raw: bytes, start: int, end: int, max_line_bytes: int) -> RawLine:
        """Take a line with its line end; of a long one, `max_line_bytes` and two more will do."""
        content = len(raw.removesuffix(b"\n").removesuffix(b"\r").lstrip(b"\0"))
        text = decode_line(raw, max_line_bytes)
        text = text if start else text.removeprefix(MARK)
        return cls(text, start, end, content > max_line_bytes)

    @property
    def lines(self) -> int:
        """How many lines these are."""
        return (self.end - self.start) // self.line_bytes if self.line_bytes else 1

    def log_line(self, partition: str, received_at: float) -> LogLine:
        """Return the line, or the run, as one of a partition."""
        kind = RUNS[self.line_bytes] if self.line_bytes else LogLine
        return kind(self.text, partition, self.start, self.end, received_at)


class Splitter:
    """Cuts what a stream brings into lines; memory is bounded by one line of `max_line_bytes`.

    `position` is the start of the line at hand, counted from that of the stream.
    """

    def __init__(self, max_line_bytes: int, position: int = 0) -> None:
        self.position = position
        self._max_line_bytes = max_line_bytes
        self._line = bytearray()
        self._length = 0

    @property
    def held_bytes(self) -> int:
        """How many bytes of the line at hand are kept."""
        return len(self._line)

    def add(self, chunk: bytes) -> list[RawLine]:
        """Lines that `chunk` ends; many empty ones that follow each other are one run."""
        lines: list[RawLine] = []
        for piece, line_bytes in pieces(chunk, not self._length):
            lines += self._run(piece, line_bytes) if line_bytes else self._add(piece)
        return lines

    def rest(self) -> list[RawLine]:
        """Finish the line at hand, if there is one: the stream has ended."""
        return [self._finish()] if self._length else []

    def _run(self, piece: bytes, line_bytes: int) -> list[RawLine]:
        start, self.position = self.position, self.position + len(piece)
        return [RawLine("", start, self.position, False, line_bytes)]

    def _add(self, piece: bytes) -> list[RawLine]:
        *whole, rest = piece.split(b"\n")
        lines = []
        for each in whole:
            self._keep(each)
            self._keep(b"\n")
            lines.append(self._finish())
        self._keep(rest)
        return lines

    def _keep(self, piece: bytes) -> None:
        self._length += len(piece)
        if not self._line:
            piece = piece.lstrip(b"\0")  # nothing of a line, however many they are
        room = self._max_line_bytes + _LINE_END - len(self._line)
        self._line += piece[:room]

    def _finish(self) -> RawLine:
        start, self.position = self.position, self.position + self._length
        line = RawLine.of(bytes(self._line), start, self.position, self._max_line_bytes)
        self._line.clear()
        self._length = 0
        return line


CHUNK_BYTES = 64 * 1024
