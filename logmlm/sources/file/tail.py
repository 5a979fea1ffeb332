"""One open file, read from a position on as it grows, in bounded pieces."""

from __future__ import annotations

import os

from logmlm.sources.fingerprint import MARK_BYTES, FileId, Fingerprint, TailChecksum
from logmlm.sources.lines import CHUNK_BYTES, RawLine, pieces

COMPARED_BYTES = 64 * 1024
"""Where a file is held against another, so many bytes at its beginning and at its end are."""


class FileTail:
    """Reads whole lines from `position` on; the last one waits for its newline.

    Memory is bounded by a chunk and one line of `max_line_bytes`. All reads name their place
    (pread), so nothing but `position` and how far a newline was looked for is state, and the
    last bytes before that, by which a file that was written anew is noticed.
    """

    def __init__(self, descriptor: int, max_line_bytes: int) -> None:
        self.position = 0
        self._descriptor = descriptor
        self._max_line_bytes = max_line_bytes
        self.file_id = FileId.of(os.fstat(descriptor))
        self._searched = 0
        self._behind = b""
        self._checked: tuple[object, ...] = ()
        self._is_settled = False

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        # A quarter of what fstat takes; all reads name their place, so the offset is free.
        return os.lseek(self._descriptor, 0, os.SEEK_END)

    @property
    def status(self) -> os.stat_result:
        """What the file system says of the file."""
        return os.fstat(self._descriptor)

    @property
    def unread(self) -> int:
        """How many bytes are still to be handed over."""
        return max(0, self.size - self.position)

    @property
    def pending(self) -> int:
        """How many bytes were looked at and are not handed over: a line without its newline."""
        return self._searched - self.position

    @property
    def at_end(self) -> bool:
        """Whether everything that the file holds was looked at."""
        return self._searched >= os.lseek(self._descriptor, 0, os.SEEK_END)

    @property
    def is_named(self) -> bool:
        """Whether it can be found under some name: it was not deleted."""
        return os.fstat(self._descriptor).st_nlink > 0

    def head(self, length: int) -> bytes:
        """Read the file's first bytes, `length` at most."""
        return os.pread(self._descriptor, length, 0)

    def reaches(self, position: int) -> bool:
        """Whether the file is long enough that it can be read on at `position`."""
        return position <= self.size

    def ends_at(self, position: int) -> bool:  # noqa: ARG002  see PackedTail
        """No: it may grow."""
        return False

    def contains_mark(self, mark: TailChecksum) -> bool:
        """Whether it holds the bytes of `mark`."""
        return mark.fits(os.pread(self._descriptor, mark.length, mark.end - mark.length))

    def mark(self) -> TailChecksum:
        """Mark of what was looked at."""
        return TailChecksum.of(self._searched, self._behind)

    def again(self) -> FileTail:
        """The same file, at its beginning."""
        return FileTail(os.dup(self._descriptor), self._max_line_bytes)

    def is_prefix_of(self, other: FileTail) -> bool:
        """Whether another file holds all of this one in the same place; looks at both ends."""
        size = self.size
        ends = max(0, size - COMPARED_BYTES)
        return size <= other.size and all(
            os.pread(self._descriptor, min(COMPARED_BYTES, size - at), at)
            == os.pread(other._descriptor, min(COMPARED_BYTES, size - at), at)
            for at in {0, ends}
        )

    def was_replaced(self, fingerprint: Fingerprint, mark: TailChecksum | None) -> bool:
        """Whether content that was seen is gone: truncated, perhaps written anew.

        `mark` is of what was seen when it was met, though it may not be read yet. A file whose
        size and time of change are those of the last two calls is not read again: a change
        within one tick of the clock would show in the second.
        """
        status = os.fstat(self._descriptor)
        state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, self._searched)
        is_known = self._checked == (*state, fingerprint, mark)
        if is_known and self._is_settled:
            return False
        if self._has_other_content(fingerprint, mark):
            return True
        self._checked, self._is_settled = (*state, fingerprint, mark), is_known
        return False

    def _has_other_content(self, fingerprint: Fingerprint, mark: TailChecksum | None) -> bool:
        start = self._searched - len(self._behind)
        return (
            self.size < self._searched
            or (mark is not None and mark.end > self._searched and not self.contains_mark(mark))
            or os.pread(self._descriptor, len(self._behind), start) != self._behind
            or not fingerprint.matches(self.head(fingerprint.length))
        )

    def read(self) -> list[RawLine]:
        """Whole lines of the next chunk; none if no newline is in it or nothing came."""
        chunk, start = os.pread(self._descriptor, CHUNK_BYTES, self._searched), self._searched
        lines = self._lines(chunk) if start == self.position else self._finish_long(chunk)
        self._behind = (self._behind + chunk[: self._searched - start])[-MARK_BYTES:]
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
        start = max(0, position - MARK_BYTES)
        self._behind = os.pread(self._descriptor, position - start, start)

    def skip_to_end(self, until: int | None = None) -> None:
        """Go on behind the last newline that the file has now, or of the bytes before `until`.

        A line without its newline is read whole once it has it, if it is not over the limit.
        """
        size = self.size if until is None else until
        start = max(0, size - self._max_line_bytes)
        newline = os.pread(self._descriptor, size - start, start).rfind(b"\n")
        self.move_to(start + newline + 1 if newline >= 0 or not start else size)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _lines(self, chunk: bytes) -> list[RawLine]:
        lines: list[RawLine] = []
        for piece, line_bytes in pieces(chunk[: chunk.rfind(b"\n") + 1]):
            if line_bytes:
                lines.append(self._run(len(piece), line_bytes))
            else:
                lines += [self._line(raw, len(raw) + 1) for raw in piece.split(b"\n")[:-1]]
        if not lines:
            self._searched += len(chunk)
        return lines

    def _run(self, length: int, line_bytes: int) -> RawLine:
        start, self.position = self.position, self.position + length
        self._searched = self.position
        return RawLine("", start, self.position, False, line_bytes)

    def _finish_long(self, chunk: bytes) -> list[RawLine]:
        newline = chunk.find(b"\n")
        if newline < 0:
            self._searched += len(chunk)
            return []
        length = self._searched + newline + 1 - self.position
        return [self._line(self._piece(length), length)]

    def _piece(self, length: int) -> bytes:
        """Read the beginning of the line at hand; NULs before it, however many, are left out."""
        most, end = self._max_line_bytes + len(b"\r\n"), self.position + length
        start = self.position
        while True:
            piece = os.pread(self._descriptor, min(end - start, most), start)
            text = piece.lstrip(b"\0")
            if len(text) == len(piece) or start + len(piece) >= end:
                return text
            start += len(piece) - len(text)

    def _line(self, raw: bytes, length: int) -> RawLine:
        start, self.position = self.position, self.position + length
        self._searched = self.position
        return RawLine.of(raw, start, self.position, self._max_line_bytes)
