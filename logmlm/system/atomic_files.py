"""Files that are either the old one or the new one, never half of each."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from logmlm.errors import StorageError

PRIVATE = 0o600
"""Mode of a file that its owner alone may read, whatever the umask."""
PRIVATE_DIRECTORY = 0o700
ORDINARY = 0o666
"""Mode of a file that a user asked for by name; the umask decides who else may read it."""

logger = logging.getLogger(__name__)


def private_opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=)`; one that is made is its owner's alone."""
    return os.open(path, flags, PRIVATE)


@contextmanager
def atomic_path(path: Path, mode: int = PRIVATE) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes its place.

    A link stays one: what it names is replaced. On any error the temporary file is removed and
    the old file stays as it was. `mode` is that of the file, less what the umask takes.

    Raises:
        StorageError: the file can't be written (disk full, missing rights).

    """
    place = Path(os.path.realpath(path))  # resolve() gives up on links that go round
    if is_special_file(place):
        raise StorageError(f"can't write {path}: it is no regular file, and is left as it is")
    temporary = _temporary(place)
    try:
        with as_storage_error(path):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
            yield temporary
            sync(temporary)
            temporary.replace(place)
            sync(place.parent)
    finally:
        with suppress(OSError):  # it is gone, or its directory was never there
            temporary.unlink()


@lru_cache(maxsize=64)
def _temporary(place: Path) -> Path:
    """A path beside `place`, the same each time.

    pathlib interns the names that it is given: a new one each time would fill Python's table of
    interned strings until it is rebuilt, larger, elsewhere in memory.
    """
    return place.with_name(f".{place.name}.{secrets.token_hex(4)}")


def ensure_writable_dir(path: Path) -> None:
    """Require that the directory `path` is writable, or can be created; create nothing.

    Raises:
        StorageError: it can't.

    """
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    if not there.is_dir():
        raise StorageError(f"can't make the folder {path}: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(f"can't write into {there}: this user has no right to")


def is_special_file(path: Path) -> bool:
    """Whether a pipe, a device or a socket is there, which nothing can take the place of."""
    return path.exists() and not (path.is_file() or path.is_dir())


@contextmanager
def as_storage_error(path: Path) -> Iterator[None]:
    """Translate an OSError within the block to a StorageError about writing `path`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"can't write {path}: {error.strerror or error}") from error


def write_text(path: Path, text: str, mode: int = PRIVATE) -> None:
    """Write `text` to `path` atomically, as UTF-8; lone surrogates are written as JSON does.

    Raises:
        StorageError: the file can't be written.

    """
    with atomic_path(path, mode) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any, mode: int = PRIVATE) -> None:
    """Write `value` to `path` atomically, as JSON.

    Raises:
        StorageError: the file can't be written.

    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, mode)


def replace_directory(fresh: Path, directory: Path) -> None:
    """Put the directory `fresh` in the place of `directory`; an OSError leaves both as they were.

    Between two moves there is neither: what is killed there is mended by `recover_directory`.
    """
    old = _set_aside(directory)
    with _turn(directory.parent):
        if directory.exists():
            shutil.rmtree(old, ignore_errors=True)
            directory.replace(old)
        try:
            fresh.replace(directory)
        except OSError:
            if old.exists():
                old.replace(directory)
            raise
    sync(directory.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_directory(directory: Path) -> bool:
    """Restore the old directory after a killed `replace_directory`; return whether it did.

    A swap that goes on is waited for. Where it can't be moved, the log says so.
    """
    with suppress(OSError):  # then whoever opens it says what is wrong
        place = directory.resolve()  # a link stays one
        old = _set_aside(place)
        if not place.exists() and old.is_dir():
            with _turn(place.parent):
                return not place.exists() and _moved_back(old, place)
    return False


def _moved_back(old: Path, place: Path) -> bool:
    try:
        old.replace(place)
    except OSError as error:
        logger.warning("putting a new %s there was cut off (%s); move %s there", place, error, old)
        return False
    logger.warning("putting a new %s there was cut off; the old one is back", place)
    return True


def _set_aside(directory: Path) -> Path:
    """Where a directory is while another takes its place."""
    return directory.with_name(f".{directory.name}.old")


@contextmanager
def _turn(parent: Path) -> Iterator[None]:
    """One swap or restoration at a time in a directory, as far as its file system has locks."""
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Wait until a file's or a directory's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
