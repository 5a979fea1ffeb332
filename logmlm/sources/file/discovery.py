"""Which files there are to read: those of the patterns, and those beside one that is missed."""

from __future__ import annotations

import logging
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from logmlm.config.globs import is_excluded, matches
from logmlm.errors import ConfigError
from logmlm.sources.fingerprint import FileId

MAX_CACHED_PATHS = 1 << 17
"""More files than a daemon can follow; a cache that is too small for all of them holds none."""
_ROOT = Path("/")
_KINDS = (
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)
logger = logging.getLogger(__name__)


def reject_directories(patterns: Iterable[str]) -> None:
    """See that no pattern is the name of something of which nothing would be read.

    Raises:
        ConfigError: one is a directory, a named pipe, a socket or a device, or stands for standard
            input elsewhere.

    """
    for pattern in patterns:
        if pattern == "-":
            raise ConfigError(
                "- is standard input, which can't be followed; write 'source: {stdin: {}}'"
                " into a config and use 'logmlm run --config FILE' (of a file of that name: ./-)"
            )
        if (kind := kind_of(Path(pattern))) is not None:
            raise ConfigError(
                f"{pattern} is a {kind}, which can't be followed: it holds nothing that could be"
                " read again after a restart; read it through standard input ('source: {stdin: {}}'"
                f" and 'logmlm run --config FILE < {pattern}')"
            )
        if Path(pattern).is_dir():
            within = f"{pattern.rstrip('/')}/*.log"
            raise ConfigError(f"{pattern} is a directory; name the files in it, such as {within}")


def reject_files(patterns: Iterable[str]) -> None:
    """See that no pattern for directories is the name of a file.

    Raises:
        ConfigError: one is.

    """
    for pattern in patterns:
        if Path(pattern).is_file():
            raise ConfigError(f"{pattern} is a file; name the directory that files are moved to")


class FileDiscovery:
    """The files that match one of `include` and none of `exclude`, looked for anew each time.

    A pattern of `exclude` is held against the whole path and against the name alone.
    """

    def __init__(
        self, include: Sequence[str], exclude: Sequence[str], rotated: Sequence[str] = ()
    ) -> None:
        """`rotated` are directories, or patterns of some, where rotations move files."""
        reject_directories(include)
        reject_files(rotated)
        self._include = include
        self._rotated = rotated
        self._exclude = exclude
        self._awaited: set[str] = set()
        self._literal: set[str] = set()
        self._told: set[Path] = set()

    def files(self) -> dict[FileId, Path]:
        """Regular files that are there now, each once, though it may have several names."""
        found: set[str] = set()
        for pattern in self._include:
            if os.path.lexists(pattern):  # it stays a path when it is rotated away for a moment
                self._literal.add(pattern)
            paths = [pattern] if pattern in self._literal else matches(pattern)
            found.update(paths)
            if not paths and pattern not in self._awaited:
                self._awaited.add(pattern)
                logger.warning("no file matches %s yet; waiting for one", pattern)
        wanted = [_path(path) for path in sorted(found) if not is_excluded(path, self._exclude)]
        regular = _regular(wanted)
        if len(regular) < len(wanted):
            self._tell_of_others(wanted)
        return regular

    def rotated_beside(self, paths: Iterable[str]) -> dict[FileId, Path]:
        """Find files that a rotation may have made of `paths`, also in other directories.

        These are the directories of the patterns, and those where rotations move files.
        """
        patterns = [*filter(None, map(os.path.dirname, self._include)), *self._rotated]
        folders = {place for each in patterns if "**" not in each for place in matches(each)}
        return rotation_candidates(paths, sorted(folders))

    def _tell_of_others(self, paths: Iterable[Path]) -> None:
        """Say once of each path that it is a pipe, a socket or a device, which is not followed."""
        for path in paths:
            if path not in self._told and (kind := kind_of(path)) is not None:
                self._told.add(path)
                logger.warning("%s is a %s, which is not read", path, kind)


def kind_of(path: Path) -> str | None:
    """Name the kind of something that can't be followed; None of files, and of directories."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)


def rotation_candidates(paths: Iterable[str], elsewhere: Iterable[str] = ()) -> dict[FileId, Path]:
    """Find the files that a rotation may have made of each of `paths`, packed or not.

    They lie beside it or in a directory of `elsewhere`, and have the same name up to its last dot:
    `app.log.1`, `app-20260101.log.gz`.
    """
    stems: dict[Path, set[str]] = defaultdict(set)
    for path in map(_path, paths):
        stems[path.parent].add(path.stem)
    every = {stem for found in stems.values() for stem in found}
    for folder in elsewhere if every else ():
        stems[_path(folder)] |= every
    return _regular(
        _path(f"{parent}/{name}" if parent != _ROOT else f"/{name}")
        for parent, wanted in sorted(stems.items())
        for name in _names(parent)
        if any(name[:end] in wanted for end in range(1, len(name) + 1))
    )


def by_mtime(files: Mapping[FileId, Path]) -> list[tuple[FileId, Path]]:
    """Sort files by when they were written: the rest of one is in what was written last."""
    return sorted(files.items(), key=lambda item: _written_at(item[1]), reverse=True)


def path_text(path: Path) -> str:
    """Text of an absolute path; bytes that are no UTF-8 are written out."""
    return _text(path if path.is_absolute() else path.absolute())


@lru_cache(maxsize=MAX_CACHED_PATHS)
def _text(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@lru_cache(maxsize=MAX_CACHED_PATHS)
def _path(text: str) -> Path:
    """Make a path, and keep it.

    pathlib interns the parts of each new path. Made anew with each look, they fill Python's table
    of interned strings, which is then rebuilt, 4 MB, elsewhere in memory: a step in what is taken.
    """
    return Path(text)


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _names(directory: Path) -> list[str]:
    try:
        return sorted(path.name for path in directory.iterdir())
    except OSError:
        return []


def _regular(paths: Iterable[Path]) -> dict[FileId, Path]:
    files: dict[FileId, Path] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue  # it went away between the listing and now, or is a broken link
        if stat.S_ISREG(status.st_mode):
            files.setdefault(FileId.of(status), path)
    return files
