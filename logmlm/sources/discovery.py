"""Which files there are to read: those of the patterns, and those beside one that is missed."""

from __future__ import annotations

import logging
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path

from logmlm.errors import ConfigError
from logmlm.globs import matches
from logmlm.sources.fingerprint import FileId

_ROOT = Path("/")
logger = logging.getLogger(__name__)


def refuse_directories(patterns: Iterable[str]) -> None:
    """See that no pattern is the name of a directory, of which nothing would be read.

    Raises:
        ConfigError: one is.

    """
    for pattern in patterns:
        if Path(pattern).is_dir():
            within = f"{pattern.rstrip('/')}/*.log"
            raise ConfigError(f"{pattern} is a directory; name the files in it, such as {within}")


class Discovery:
    """The files that match one of `include` and none of `exclude`, looked for anew each time.

    A pattern of `exclude` is held against the whole path and against the name alone.
    """

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        refuse_directories(include)
        self._include = include
        self._exclude = exclude
        self._awaited: set[str] = set()

    def files(self) -> dict[FileId, Path]:
        """Regular files that are there now, each once, though it may have several names."""
        found: set[str] = set()
        for pattern in self._include:
            paths = matches(pattern)
            found.update(paths)
            if not paths and pattern not in self._awaited:
                self._awaited.add(pattern)
                logger.warning("no file matches %s yet; waiting for one", pattern)
        return _regular(
            _path(path) for path in sorted(found) if not is_excluded(path, self._exclude)
        )


def is_excluded(path: str, exclude: Iterable[str]) -> bool:
    """Whether a pattern is that of the whole path, or of its name alone."""
    name = path.rpartition("/")[2]
    return any(fnmatch(path, pattern) or fnmatch(name, pattern) for pattern in exclude)


def beside(paths: Iterable[str]) -> dict[FileId, Path]:
    """Find the files beside each of `paths` that a rotation may have made of it, packed or not.

    They have the same name up to its last dot: `app.log.1`, `app-20260101.log.gz`.
    """
    stems: dict[Path, set[str]] = defaultdict(set)
    for path in map(_path, paths):
        stems[path.parent].add(path.stem)
    return _regular(
        _path(f"{parent}/{name}" if parent != _ROOT else f"/{name}")
        for parent, wanted in sorted(stems.items())
        for name in _names(parent)
        if any(name[:end] in wanted for end in range(1, len(name) + 1))
    )


def newest_first(files: Mapping[FileId, Path]) -> list[tuple[FileId, Path]]:
    """Sort files by when they were written: the rest of one is in what was written last."""
    return sorted(files.items(), key=lambda item: _written_at(item[1]), reverse=True)


def printable(path: Path) -> str:
    """Text of an absolute path; bytes that are no UTF-8 are written out."""
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")


@lru_cache(maxsize=4096)
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
