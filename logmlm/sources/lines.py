"""Raw lines, and a stream cut into them in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

from logmlm.sources.base import decode

MARK = "\ufeff"
"""A byte-order mark, which some programs write at the beginning of a file; no part of its text."""
_LINE_END = len(b"\r\n")


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line's text, its start, and the start of the next one, in bytes; `cut` if too long."""

    text: str
    start: int
    end: int
    cut: bool

    @classmethod
    def of(cls, raw: bytes, start: int, end: int, max_line_bytes: int) -> RawLine:
        """Take a line with its line end; of a long one, `max_line_bytes` and two more will do."""
        content = len(raw.removesuffix(b"\n").removesuffix(b"\r").lstrip(b"\0"))
        text = decode(raw, max_line_bytes)
        text = text if start else text.removeprefix(MARK)
        return cls(text, start, end, content > max_line_bytes)


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
        """Lines that `chunk` ends."""
        *whole, rest = chunk.split(b"\n")
        lines = []
        for piece in whole:
            self._keep(piece)
            self._keep(b"\n")
            lines.append(self._finish())
        self._keep(rest)
        return lines

    def rest(self) -> list[RawLine]:
        """Finish the line at hand, if there is one: the stream has ended."""
        return [self._finish()] if self._length else []

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
