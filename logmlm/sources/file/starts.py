"""Where reading of a file starts that was there at the very first look, and is begun later."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from logmlm.sources.fingerprint import MARK_BYTES, FileId, TailChecksum


@dataclass(frozen=True, slots=True)
class Start:
    """A file as it was at the first look: its size on disk, and the bytes before that.

    Without `mark` it could not be read.
    """

    file_id: FileId
    size: int
    mark: TailChecksum | None = None

    @classmethod
    def of(cls, file_id: FileId, path: Path) -> Start | None:
        """Look at a file; None if it is gone."""
        try:
            size = path.stat().st_size
        except OSError:
            return None
        try:
            mark = TailChecksum.of(size, _behind(path, size, MARK_BYTES))
        except OSError:
            return cls(file_id, size)
        return cls(file_id, size, mark)

    def is_there(self, path: Path) -> bool:
        """Whether the file at `path` still holds what it held.

        Raises:
            OSError: it can't be read.

        """
        if path.stat().st_size < self.size:
            return False
        return self.mark is None or self.mark.fits(_behind(path, self.size, self.mark.length))


class Starts:
    """The starts of files that are not begun yet, by their numbers on disk."""

    def __init__(self, starts: Collection[Start] = ()) -> None:
        self._starts = {start.file_id: start for start in starts}
        self._absent: set[FileId] = set()

    def __iter__(self) -> Iterator[Start]:
        return iter(list(self._starts.values()))

    def get(self, file_id: FileId) -> Start | None:
        """Return the start of a file; None if it has none."""
        return self._starts.get(file_id)

    def note(self, file_id: FileId, path: Path) -> None:
        """Let a file start where it ends now."""
        start = Start.of(file_id, path)
        if start is not None and start.size:
            self._starts[file_id] = start

    def check(self, file_id: FileId, path: Path) -> None:
        """Drop the start of a file that holds something else by now.

        Raises:
            OSError: it can't be read.

        """
        start = self._starts.get(file_id)
        if start is not None and not start.is_there(path):
            self.drop(file_id)

    def drop(self, file_id: FileId) -> None:
        """Forget the start of a file that was begun, or is not the same any more."""
        self._starts.pop(file_id, None)

    def keep(self, present: Collection[FileId]) -> None:
        """Drop those of files that two looks in a row did not find: their numbers are free."""
        absent = self._starts.keys() - set(present)
        for file_id in absent & self._absent:
            self.drop(file_id)
        self._absent = absent


def _behind(path: Path, end: int, length: int) -> bytes:
    # O_NONBLOCK: should the path have become a pipe meanwhile, opening it must not wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        start = max(0, end - length)
        return os.pread(descriptor, end - start, start)
    finally:
        os.close(descriptor)
