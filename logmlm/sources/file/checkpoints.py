"""What is known of each followed file, durable: who it is, and how far it was dealt with."""

from __future__ import annotations

import json
import logging
import os
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from logmlm.errors import StorageError
from logmlm.records import Checkpoint
from logmlm.sources.file.starts import Start, Starts
from logmlm.sources.fingerprint import FileId, Fingerprint, TailChecksum, partition_name
from logmlm.system.atomic_files import PRIVATE, write_text

VERSION = 2
"""Version 1 had no checksum."""
_SEEN_EVERY_S = 3600.0
logger = logging.getLogger(__name__)


class _DamagedError(Exception):
    """What is saved is not what was written."""


@dataclass(frozen=True, slots=True)
class TrackedFile:
    """A file that is or was followed; `path` is where it was seen last, at `seen_at`.

    `target` is the same path without symbolic links; they may point elsewhere later. `mark` is of
    the last bytes that were looked at, and `met_at` is the first path; an older version kept
    neither. `size` is that of the file when it was open last, 0 once it was read to its end and let
    go; `missed` says that it was told to be gone. `before` is the partition whose file was at that
    path before, if one was.
    """

    partition: str
    path: str
    file_id: FileId
    fingerprint: Fingerprint
    checkpoint: Checkpoint
    seen_at: float
    target: str = ""
    mark: TailChecksum | None = None
    met_at: str = ""
    size: int = 0
    missed: bool = False
    before: str = ""

    @property
    def was_moved(self) -> bool:
        """Whether it has another path than at first."""
        return self.met_at not in ("", self.path)

    @property
    def is_well_known(self) -> bool:
        """Whether so much of it was read that nothing but it, or a copy, holds the same."""
        return self.mark is not None and self.mark.is_strong

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the file was seen: its path, that without links, and its first one."""
        return tuple(filter(None, dict.fromkeys((self.path, self.target, self.met_at))))


class CheckpointStore:
    """The known files, by partition, in one JSON file that is replaced whole.

    It has a checksum; where that does not fit, the version before it is used. `starts` are kept in
    the same file, which older versions read without them.
    """

    def __init__(self, path: Path) -> None:
        """Load what was saved at `path`, if anything was.

        Raises:
            StorageError: the file can't be read or is of a newer version, or it and the version
                before it are damaged.

        """
        self.first_start = not path.exists()
        self._path = path
        # Made once: pathlib interns the parts of every path that is made, for good or not.
        self._before, self._fresh = _before(path), path.with_name(path.name + ".new")
        self._files, self.starts = ({}, Starts()) if self.first_start else _load(path)
        self._saved_starts = list(self.starts)
        if self.first_start and self._before.exists():
            logger.warning("%s is gone, though %s is there; beginning anew", path, self._before)
        self._by_fingerprint: dict[Fingerprint, dict[str, None]] = {}
        self._lengths: Counter[int] = Counter()
        for known in self._files.values():
            self._index(known)
        self._changed = self.first_start
        self._texts: dict[str, tuple[TrackedFile, str]] = {}

    def __getitem__(self, partition: str) -> TrackedFile:
        """Return what is known of `partition`; KeyError if nothing is."""
        return self._files[partition]

    def __iter__(self) -> Iterator[TrackedFile]:
        return iter(list(self._files.values()))

    def matches(self, head: bytes) -> list[TrackedFile]:
        """Whose bytes `head` begins with; those of which most was read first."""
        begins = [Fingerprint.of(head[:each]) for each in self._lengths if each <= len(head)]
        found = [name for begin in begins for name in self._by_fingerprint.get(begin, ())]
        return sorted((self._files[name] for name in found), key=_how_well, reverse=True)

    def get(self, partition: str) -> TrackedFile | None:
        """Return what is known of `partition`; None if nothing is."""
        return self._files.get(partition)

    def name(self, head: bytes) -> str:
        """Name a new partition after its first bytes, unlike all known ones."""
        first, number = partition_name(head), 1
        name = first
        while name in self._files:
            number += 1
            name = f"{first}-{number}"
        return name

    def put(self, known: TrackedFile) -> None:
        """Keep `known` in place of what was known of its partition."""
        before = self._files.get(known.partition)
        if before == known:
            return
        if before is None or before.fingerprint != known.fingerprint:
            if before is not None:
                self._take_out(before)
            self._index(known)
        self._files[known.partition] = known
        self._changed = True

    def remember(self, partition: str, mark: TailChecksum | None) -> None:
        """Keep the mark of a partition's file if it is of more than the one before."""
        known = self._files[partition]
        if mark is not None and (known.mark is None or mark.end > known.mark.end):
            self.put(replace(known, mark=mark))

    def see(self, partition: str, path: str, now: float) -> None:
        """Note where a partition's file is now; the time is kept to the hour."""
        known = self._files[partition]
        is_recent = abs(now - known.seen_at) <= _SEEN_EVERY_S
        if not is_recent or known.path != path:
            seen_at = known.seen_at if is_recent else now
            self.put(replace(known, path=path, seen_at=seen_at))

    def forget(self, partition: str) -> None:
        """Drop what is known of `partition`."""
        self._take_out(self._files.pop(partition))
        self._texts.pop(partition, None)
        self._changed = True

    def save(self) -> None:
        """Write the file if anything changed.

        Raises:
            StorageError: it can't be written.

        """
        starts = list(self.starts)
        if self._changed or starts != self._saved_starts:
            files = f"[{', '.join(map(self._text, self))}]"
            if self._path.exists():
                self._keep()
            checksum = zlib.crc32(files.encode())
            head = f'"version": {VERSION}, "checksum": {checksum}'
            write_text(self._path, f'{{{head}, "files": {files}{_with_starts(starts)}}}\n')
            self._changed, self._saved_starts = False, starts

    def _index(self, known: TrackedFile) -> None:
        self._by_fingerprint.setdefault(known.fingerprint, {})[known.partition] = None
        self._lengths[known.fingerprint.length] += 1

    def _take_out(self, known: TrackedFile) -> None:
        partitions = self._by_fingerprint[known.fingerprint]
        del partitions[known.partition]
        if not partitions:
            del self._by_fingerprint[known.fingerprint]
        self._lengths -= Counter({known.fingerprint.length: 1})  # no entry is kept at 0

    def _text(self, known: TrackedFile) -> str:
        """A file as JSON, made once: of many that were rotated, few change from save to save."""
        written, text = self._texts.get(known.partition, (None, ""))
        if written is not known:
            text = _dumped(asdict(known))
            self._texts[known.partition] = known, text
        return text

    def _keep(self) -> None:
        """Keep what is saved as the version before."""
        try:
            self._fresh.touch(PRIVATE)
            shutil.copyfile(self._path, self._fresh)
            os.replace(self._fresh, self._before)  # noqa: PTH105  Path.replace makes a path
        except OSError as error:
            why = error.strerror or error
            raise StorageError(f"can't write {self._before}: {why}") from error


def _how_well(known: TrackedFile) -> tuple[int, int, float]:
    end = known.mark.end if known.mark else known.checkpoint.safe
    return end, known.fingerprint.length, known.seen_at


def _with_starts(starts: list[Start]) -> str:
    if not starts:
        return ""
    text = _dumped([asdict(start) for start in starts])
    return f', "starts_checksum": {zlib.crc32(text.encode())}, "starts": {text}'


def _load(path: Path) -> tuple[dict[str, TrackedFile], Starts]:
    """Read the file, or the one before it where this one is damaged."""
    try:
        return _read(path)
    except _DamagedError as error:
        before = _before(path)
        try:
            files, starts = _read(before)
        except (_DamagedError, StorageError):
            raise StorageError(f"{error}; {_advice(path)}") from error
        logger.warning("%s; going on from %s, which reads some lines again", error, before.name)
        # `reached` may be another model's: what was scored after it is scored again.
        return {name: _uncut(known) for name, known in files.items()}, starts


def _uncut(known: TrackedFile) -> TrackedFile:
    return replace(known, checkpoint=known.checkpoint.rewound())


def _read(path: Path) -> tuple[dict[str, TrackedFile], Starts]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        version = stored["version"]
        if version > VERSION:
            raise StorageError(
                f"{path} was written by a newer logmlm (version {version}); {_advice(path)}"
            )
        checked = version > 1 or "checksum" in stored
        if checked and stored["checksum"] != _checksum(stored["files"]):
            raise _DamagedError(f"{path} is damaged (its checksum is another)")
        files = TypeAdapter(list[TrackedFile]).validate_python(stored["files"])
        found = stored.get("starts", [])
        if found and stored["starts_checksum"] != _checksum(found):
            raise _DamagedError(f"{path} is damaged (its checksum of starts is another)")
        starts = TypeAdapter(list[Start]).validate_python(found)
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, ValidationError, RecursionError) as error:
        raise _DamagedError(f"{path} is damaged ({type(error).__name__})") from error
    return {known.partition: known for known in files}, Starts(starts)


def _checksum(files: Any) -> int:
    return zlib.crc32(_dumped(files).encode())


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _before(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def _advice(path: Path) -> str:
    return f"move {path} away to begin anew (as start_at says)"
