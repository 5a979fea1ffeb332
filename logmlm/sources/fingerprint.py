"""How a file is told from others: by what it holds, not by its path (after Vector)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

HEAD_BYTES = 1024
"""How many bytes tell a file, if the configuration does not say."""
MARK_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digest of a file's first `length` bytes; it grows with a file that is still short."""

    length: int
    digest: str

    @classmethod
    def of(cls, head: bytes) -> Fingerprint:
        """Fingerprint of a file that begins with `head`."""
        return cls(len(head), hashlib.sha256(head).hexdigest()[:32])

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins with `head` begins with these bytes."""
        return len(head) >= self.length and Fingerprint.of(head[: self.length]) == self


@dataclass(frozen=True, slots=True)
class TailChecksum:
    """Digest of the `length` bytes of a file that end at `end`: the last that were looked at.

    Files may begin alike; a file that has these bytes in this place too is the same, or a copy.
    """

    end: int
    length: int
    digest: str

    @classmethod
    def of(cls, end: int, behind: bytes) -> TailChecksum:
        """Mark of a file in which `behind` ends at `end`."""
        return cls(end, len(behind), hashlib.sha256(behind).hexdigest()[:32])

    @property
    def is_strong(self) -> bool:
        """Whether so much was read that another log hardly holds the same by chance."""
        return self.length >= MARK_BYTES

    def fits(self, behind: bytes) -> bool:
        """Whether these are the bytes that the mark was made of."""
        return TailChecksum.of(self.end, behind) == self


def partition_name(head: bytes) -> str:
    """Name of the partition of a file that begins with `head`: 16 hex digits of a SHA-256.

    It is that of the first line, or of all of `head` where it holds no whole one, so that a file
    has the same name whatever was in it when it was first seen, packed or not, on any machine.
    """
    return hashlib.sha256(head.partition(b"\n")[0]).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class FileId:
    """A file on disk, as long as it lives; a later file may get the same numbers."""

    device: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileId:
        """Numbers of the file that `status` describes."""
        return cls(status.st_dev, status.st_ino)
