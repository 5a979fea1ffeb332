"""Followed files that are closed while nothing comes, so that others can be opened."""

from __future__ import annotations

import os
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from logmlm.sources.fingerprint import FileId


@dataclass(frozen=True, slots=True)
class _State:
    size: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> _State:
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class _ClosedFile:
    file_id: FileId
    path: Path
    state: _State


class ClosedFiles:
    """Files that were read to their end and closed, each with the state that it had then.

    A file is opened again once its size or its time of change is another.
    """

    def __init__(self) -> None:
        self._files: dict[str, _ClosedFile] = {}
        self._partitions: dict[FileId, str] = {}

    def __contains__(self, partition: str) -> bool:
        return partition in self._files

    def add(self, partition: str, path: Path, status: os.stat_result) -> None:
        """Keep the state of a file that is closed now; `status` is from before it was read."""
        file_id = FileId.of(status)
        self._files[partition] = _ClosedFile(file_id, path, _State.of(status))
        self._partitions[file_id] = partition

    def partition_of(self, file_id: FileId) -> str | None:
        """Return the partition of a closed file; None if it is none."""
        return self._partitions.get(file_id)

    def size(self, partition: str, path: Path | None = None) -> int | None:
        """Look at a closed file, at `path` if it was moved there.

        Returns its size; None if it changed or is gone.
        """
        closed = self._files[partition]
        try:
            status = (path or closed.path).stat()
        except OSError:
            return None
        is_same = FileId.of(status) == closed.file_id and _State.of(status) == closed.state
        return status.st_size if is_same else None

    def are_unchanged(self) -> bool:
        """Whether each closed file is as it was."""
        return all(self.size(partition) is not None for partition in self._files)

    def gone(self, present: Container[FileId]) -> list[str]:
        """Return the partitions of the closed files that are not among those that are present."""
        return [name for name, closed in self._files.items() if closed.file_id not in present]

    def forget(self, partition: str) -> None:
        """Drop a file that was opened again, or is not followed any more."""
        closed = self._files.pop(partition, None)
        if closed is not None and self._partitions.get(closed.file_id) == partition:
            del self._partitions[closed.file_id]
