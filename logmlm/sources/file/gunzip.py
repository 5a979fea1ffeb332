"""A gzip file, unpacked piece by piece from its beginning on, also while it is written."""

from __future__ import annotations

import os
import zlib

_GZIP = 16 + zlib.MAX_WBITS
_PACKED_BYTES = 16 * 1024


class GzipDecompressor:
    """Unpacks the members of a gzip file one after the other (RFC 1952, section 2.2).

    It goes on where it stopped when the file has grown. Zeros between and behind members are
    padding. The descriptor stays the caller's.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        self._packed = b""
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False

    @property
    def is_whole(self) -> bool:
        """Whether what was unpacked ends where a member ends."""
        return not self._begun

    def read(self, length: int) -> bytes:
        """Unpack the next bytes, `length` at most; none where the file ends for now.

        Raises:
            zlib.error: what stands there is no gzip.

        """
        while True:
            self._begun = self._begun or bool(self._packed)
            unpacked = self._member.decompress(self._packed, length)
            self._packed = self._member.unconsumed_tail
            if self._member.eof:
                self._packed, self._begun = self._member.unused_data, False
                self._member = zlib.decompressobj(_GZIP)
            if unpacked:
                return unpacked
            if not self._packed and not self._take():
                return b""
            if not self._begun:
                self._packed = self._packed.lstrip(b"\0")

    def _take(self) -> bool:
        self._packed = os.pread(self._descriptor, _PACKED_BYTES, self._offset)
        self._offset += len(self._packed)
        return bool(self._packed)
