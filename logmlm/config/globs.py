"""Glob patterns: which paths one matches, and whether one leaves a path out."""

from __future__ import annotations

import glob
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from functools import lru_cache

_RECURSIVE = "**"
_Id = tuple[int, int]


def matches(pattern: str) -> list[str]:
    """Return the paths that match a pattern, sorted, as `glob.glob(recursive=True)` finds them.

    Symbolic links to directories are followed. A directory is known by its device and inode, so
    that it is read once below a `**`, whatever links lead to it: a loop of links ends there, and a
    file is not found again under a second name. The directory's own name goes before a link's.
    A pattern that is the path of something that is there stands for that alone: brackets are common
    in names.
    """
    return [pattern] if os.path.lexists(pattern) else sorted(set(_expand(pattern)))


def _expand(pattern: str) -> Iterator[str]:
    parts = pattern.split("/")
    if _RECURSIVE not in parts:
        yield from glob.iglob(pattern)  # noqa: PTH207  Path.glob takes no absolute pattern
        return
    place = parts.index(_RECURSIVE)
    behind = parts[place + 1 :]
    while behind[:1] == [_RECURSIVE]:  # two in a row find what one does
        behind.pop(0)
    before = "/".join(parts[:place]) + "/" if place else ""
    rest = "/".join(behind)
    # "d/**" finds directories too; nobody here asks for them, but their files.
    for base in _bases(before):
        for directory in _directories(base):
            yield from _expand(f"{glob.escape(directory)}{rest or '*'}")


def _bases(before: str) -> list[str]:
    if before in ("", "/"):
        return [before]
    return sorted(glob.iglob(before))  # noqa: PTH207  as above


def _directories(base: str) -> Iterator[str]:
    """Yield `base` and the directories below it, each with its slash, links after the others."""
    seen: set[_Id] = set()
    waiting, links = deque([base]), deque[str]()
    while waiting or links:
        directory = (waiting or links).popleft()
        identity = _identity(directory)
        if identity is None or identity in seen:
            continue
        seen.add(identity)
        yield directory
        for name, is_link in _children(directory):
            (links if is_link else waiting).append(f"{directory}{name}/")


def _identity(directory: str) -> _Id | None:
    try:
        status = os.stat(directory or ".")  # noqa: PTH116  a Path would lose the trailing slash
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _children(directory: str) -> list[tuple[str, bool]]:
    """Return the directories in one that are not hidden, and whether each is a link."""
    try:
        with os.scandir(directory or ".") as entries:
            return sorted(
                (entry.name, entry.is_symlink())
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir()
            )
    except OSError:
        return []


def is_excluded(path: str, exclude: Iterable[str]) -> bool:
    """Whether a pattern is that of the whole path, or of its name alone."""
    name = path.rpartition("/")[2]
    patterns = tuple(exclude)
    matches_glob = _any_of(patterns)
    return (
        path in patterns
        or name in patterns
        or matches_glob(path) is not None
        or matches_glob(name) is not None
    )


@lru_cache(maxsize=64)
def _any_of(patterns: tuple[str, ...]) -> Callable[[str], re.Match[str] | None]:
    """Compile glob patterns to one expression; with none it matches nothing."""
    return re.compile("|".join(map(translate, patterns)) or r"(?!)").match
