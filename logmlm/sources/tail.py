"""One open file, read from a position on as it grows, in bounded pieces."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from logmlm.sources.base import decode
from logmlm.sources.fingerprint import FileId, Fingerprint

CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class RawLine:
    """A line's text, its start, and the start of the next one, in bytes; `cut` if too long."""

    text: str
    start: int
    end: int
    cut: bool


class Tail:
    """Reads whole lines from `position` on; the last one waits for its newline.

    Memory is bounded by a chunk and one line of `max_line_bytes`. All reads name their place
    (pread), so nothing but `position` and how far a newline was looked for is state.
    """

    def __init__(self, descriptor: int, max_line_bytes: int) -> None:
        self.position = 0
        self._descriptor = descriptor
        self._max_line_bytes = max_line_bytes
        self.file_id = FileId.of(os.fstat(descriptor))
        self._searched = 0

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return os.fstat(self._descriptor).st_size

    @property
    def at_end(self) -> bool:
        """Whether everything that the file holds was looked at."""
        return self._searched >= self.size

    def head(self, length: int) -> bytes:
        """Read the file's first bytes, `length` at most."""
        return os.pread(self._descriptor, length, 0)

    def was_replaced(self, fingerprint: Fingerprint) -> bool:
        """Whether the content that was read is gone: truncated, perhaps written anew."""
        return self.size < self._searched or not fingerprint.matches(self.head(fingerprint.length))

    def read(self) -> list[RawLine]:
        """Whole lines of the next chunk; none if no newline is in it or nothing came."""
        chunk = os.pread(self._descriptor, CHUNK_BYTES, self._searched)
        if self._searched > self.position:
            return self._finish_long(chunk)
        lines: list[RawLine] = []
        for raw in chunk.split(b"\n")[:-1]:
            lines.append(self._line(raw, len(raw) + 1))
        if not lines:
            self._searched += len(chunk)
        return lines

    def rest(self) -> list[RawLine]:
        """Read the last line of a file that will get no more, though it has no newline."""
        length = self.size - self.position
        if length <= 0:
            return []
        return [self._line(self._piece(length), length)]

    def move_to(self, position: int) -> None:
        """Go on at `position`, the start of a line."""
        self.position = self._searched = position

    def skip_to_end(self) -> None:
        """Go on behind the last newline that the file has now."""
        size = self.size
        start = max(self.position, size - self._max_line_bytes)
        newline = os.pread(self._descriptor, size - start, start).rfind(b"\n")
        self.move_to(start + newline + 1 if newline >= 0 else size)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _finish_long(self, chunk: bytes) -> list[RawLine]:
        newline = chunk.find(b"\n")
        if newline < 0:
            self._searched += len(chunk)
            return []
        length = self._searched + newline + 1 - self.position
        return [self._line(self._piece(length), length)]

    def _piece(self, length: int) -> bytes:
        return os.pread(
            self._descriptor, min(length, self._max_line_bytes + len(b"\r\n")), self.position
        )

    def _line(self, raw: bytes, length: int) -> RawLine:
        start, self.position = self.position, self.position + length
        self._searched = self.position
        content = len(raw.removesuffix(b"\n").removesuffix(b"\r"))
        cut = content > self._max_line_bytes
        return RawLine(decode(raw, self._max_line_bytes), start, self.position, cut)


def open_tail(path: Path, max_line_bytes: int) -> Tail:
    """Open a regular file at its beginning.

    Raises:
        OSError: it can't be opened.

    """
    # O_NONBLOCK: should the path have become a pipe meanwhile, opening it must not wait.
    return Tail(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), max_line_bytes)
