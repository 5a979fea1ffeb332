"""A rotated file that was compressed: the rest of it is read, as if it had stayed as it was."""

from __future__ import annotations

import logging
import os
import zlib
from pathlib import Path

from logmlm.sources.file.gunzip import GzipDecompressor
from logmlm.sources.file.tail import COMPARED_BYTES, FileTail
from logmlm.sources.fingerprint import MARK_BYTES, FileId, Fingerprint, TailChecksum
from logmlm.sources.lines import CHUNK_BYTES, RawLine, Splitter

MAGIC = b"\x1f\x8b"
"""The first bytes of a gzip file (RFC 1952, section 2.3.1)."""
_TRAILER_BYTES = 4

logger = logging.getLogger(__name__)


class GzipTail:
    """Reads whole lines out of a gzip file, from `position` of its unpacked content on.

    It is unpacked from its beginning on, a chunk at each `read`, so that a great archive holds
    nobody up. One that ends in its midst may still be written: it goes on when it has grown.
    What can't be unpacked is said and counts as its end.
    """

    def __init__(self, descriptor: int, max_line_bytes: int) -> None:
        self.file_id = FileId.of(os.fstat(descriptor))
        self._descriptor = descriptor
        self._decompressor = GzipDecompressor(descriptor)
        self._max_line_bytes = max_line_bytes
        self._splitter = Splitter(max_line_bytes)
        self._head = self._behind = b""
        self._begin = self._offset = 0
        self._skipped = False
        self.is_broken = False
        """Whether something in it is no gzip."""
        self._seen_size: int | None = None

    @property
    def position(self) -> int:
        """The start of the line that comes next."""
        return self._splitter.position

    @property
    def size(self) -> int:
        """The size of the unpacked content, modulo 2**32; of the last member, if it has many."""
        packed = os.fstat(self._descriptor).st_size
        trailer = os.pread(self._descriptor, _TRAILER_BYTES, max(0, packed - _TRAILER_BYTES))
        return int.from_bytes(trailer, "little")

    @property
    def status(self) -> os.stat_result:
        """What the file system says of the file."""
        return os.fstat(self._descriptor)

    @property
    def unread(self) -> int:
        """How many bytes are still to be handed over, as far as the archive says it."""
        return 0 if self.at_end else max(0, self.size - self.position)

    @property
    def pending(self) -> int:
        """None: what is left once all was unpacked is handed over."""
        return 0

    @property
    def at_end(self) -> bool:
        """Whether all that it holds now was unpacked."""
        is_read = self._seen_size == os.fstat(self._descriptor).st_size
        return self.is_broken or self._skipped or is_read

    @property
    def damaged(self) -> bool:
        """Whether it could not be unpacked, or ends, for now, in its midst."""
        return self.is_broken or (self._seen_size is not None and not self._decompressor.is_whole)

    @property
    def is_named(self) -> bool:
        """Whether it can be found under some name: it was not deleted."""
        return os.fstat(self._descriptor).st_nlink > 0

    def head(self, length: int) -> bytes:
        """Unpack the first bytes, `length` at most.

        Raises:
            OSError: not one can be unpacked.

        """
        piece = b"any"
        while piece and len(self._head) < length and self._offset == 0:
            try:
                piece = self._decompressor.read(length - len(self._head))
            except zlib.error as error:
                if not self._head:
                    raise OSError(None, f"it is no gzip file ({error})") from error
                break  # `read` meets it again, and says so
            self._head += piece
        return self._head[:length]

    def again(self) -> GzipTail:
        """The same file, at its beginning."""
        return GzipTail(os.dup(self._descriptor), self._max_line_bytes)

    def reaches(self, position: int) -> bool:  # noqa: ARG002  the trailer says it modulo 2**32
        """Yes, as far as can be told without unpacking it."""
        return True

    def contains_mark(self, mark: TailChecksum) -> bool:
        """Whether it holds the bytes of `mark`, as far as can be told without much unpacking."""
        if mark.end <= COMPARED_BYTES:
            return mark.fits(self.head(mark.end)[mark.end - mark.length :])
        return self.size >= mark.end % 2**32

    def mark(self) -> TailChecksum | None:
        """Mark of what was unpacked; None before that came to where reading began."""
        return TailChecksum.of(self._offset, self._behind) if self._offset > self._begin else None

    def ends_at(self, position: int) -> bool:
        """Whether nothing stands behind `position`, so that there is nothing to unpack."""
        return position % 2**32 == self.size

    def was_replaced(self, fingerprint: Fingerprint, mark: TailChecksum | None) -> bool:  # noqa: ARG002  it is never written anew
        """No."""
        return False

    def read(self) -> list[RawLine]:
        """Whole lines of the next chunk; none if no newline is in it or nothing is left."""
        return self._splitter.add(self._next_chunk())

    def rest(self) -> list[RawLine]:
        """The last line, though it has no newline."""
        return self._splitter.rest()

    def move_to(self, position: int) -> None:
        """Go on at `position`, the start of a line, before anything was read."""
        self._begin = position
        self._splitter = Splitter(self._max_line_bytes, position)

    def skip_to_end(self, until: int | None = None) -> None:  # noqa: ARG002  see Tail
        """Leave out everything."""
        self.move_to(self.size)
        self._skipped = True

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _next_chunk(self) -> bytes:
        """Unpack the next piece; of it, what lies behind the position that reading began at."""
        start = self._offset
        chunk = self._head[start:] if start < len(self._head) else self._unpack()
        self._offset += len(chunk)
        self._behind = (self._behind + chunk)[-MARK_BYTES:]
        return chunk[max(0, self._begin - start) :]

    def _unpack(self) -> bytes:
        size = os.fstat(self._descriptor).st_size  # before the read: what comes later is news
        try:
            chunk = self._decompressor.read(CHUNK_BYTES)
        except zlib.error as error:
            self.is_broken = True
            self._say(str(error))
            return b""
        if not chunk:
            self._seen_size = size
            if self.damaged:
                self._say("it ends in its midst, or is still being written")
        return chunk

    def _say(self, why: str) -> None:
        logger.warning("an archive is damaged after %d unpacked bytes: %s", self._offset, why)


AnyFileTail = FileTail | GzipTail


def open_tail(path: Path, max_line_bytes: int) -> AnyFileTail:
    """Open a regular file, packed or not, at its beginning.

    Raises:
        OSError: it can't be opened.

    """
    # O_NONBLOCK: should the path have become a pipe meanwhile, opening it must not wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if os.pread(descriptor, len(MAGIC), 0) == MAGIC:
        return GzipTail(descriptor, max_line_bytes)
    return FileTail(descriptor, max_line_bytes)
