"""Zstandard archives, unpacked as they are read; an archive that was cut off is an error.

zstandard's own reader ends without a word where the archive does.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES = 1_024
"""So much is unpacked at once. Four bytes may hold a block of 128 KiB (RFC 8878, 3.1.1.2), so that
this bounds a piece to 32 MiB."""


class ZstdReader(io.RawIOBase):
    """The unpacked bytes of all frames of a file, one frame after another.

    Raises:
        OSError: the file can't be read.
        EOFError: while reading: the last frame is cut off.
        zstandard.ZstdError: while reading: what is there is no Zstandard frame.

    """

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115  closed by `close`
        self._pieces = self._unpacked()
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` as far as one piece goes; 0 at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        target = memoryview(buffer)
        count = min(len(target), len(self._piece))
        target[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        super().close()

    def _unpacked(self) -> Iterator[bytes]:
        decompressor = zstandard.ZstdDecompressor()
        frame = None
        while packed := self._file.read(CHUNK_BYTES):
            while packed:
                frame = frame or decompressor.decompressobj()
                yield frame.decompress(packed)
                packed, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
        if frame is not None:
            raise EOFError("Compressed file ended before the end-of-stream marker was reached")
