"""The number of a database's last transaction, in a small file beside it.

SQLite reads a truncated or damaged write-ahead log up to the last transaction before the damage
and drops the others silently (https://www.sqlite.org/walformat.html#recovery). The number shows
that they are missing.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from logmlm.errors import StorageError
from logmlm.system.atomic_files import private_opener, sync

SUFFIX = "-tally"
_BYTES = 30


class CommitCounter:
    """The file `NAME-tally` beside the database at `path`, for any number of processes.

    It has one line, written over in place: it never needs more room, and one sector of a disk
    is written whole or not at all. It is made where there is none, which accepts what the
    database holds.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            StorageError: it can't be opened or made.

        """
        self.path = path.with_name(path.name + SUFFIX)
        with self._translated():
            if not self.path.exists():
                _make(self.path, path.stat())
            self._file = os.open(self.path, os.O_RDWR)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def noted(self) -> int:
        """Return the number that was noted last.

        Raises:
            StorageError: the file can't be read, or is damaged.

        """
        with self._locked(fcntl.LOCK_SH):
            return self._read()

    def note(self, number: int) -> None:
        """Note that transaction `number` is on the disk, if none after it was noted; synced.

        Raises:
            StorageError: the file can't be written, or is damaged.

        """
        with self._locked(fcntl.LOCK_EX):
            if number > self._read():
                os.pwrite(self._file, _line(number), 0)
                os.fdatasync(self._file)

    def _read(self) -> int:
        line = os.pread(self._file, 2 * _BYTES, 0)
        number = int(line[:20]) if line[:20].isdigit() else 0
        if line != _line(number):
            raise StorageError(
                f"{self.path} is damaged: move it away to go on with what the database beside it"
                " holds; whether its last transactions are missing can't be told then"
            )
        return number

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        with self._translated():
            fcntl.flock(self._file, how)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"can't use {self.path}: {error.strerror or error}") from error


def _make(path: Path, like: os.stat_result) -> None:
    """Make the file whole, with the database's owner, if no other process does so first."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(new, "xb", opener=private_opener) as file:
            file.write(_line(0))
        with suppress(PermissionError):
            os.chown(new, like.st_uid, like.st_gid)
        sync(new)
        with suppress(FileExistsError):
            path.hardlink_to(new)
        sync(path.parent)
    finally:
        new.unlink(missing_ok=True)


def _line(number: int) -> bytes:
    digits = b"%020d" % number
    return digits + b" %08x\n" % zlib.crc32(digits)
