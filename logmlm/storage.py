"""Files that are either the old one or the new one, never half of each."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from logmlm.errors import StorageError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes its place.

    On any error the temporary file is removed and the old file stays as it was.

    Raises:
        StorageError: the file can't be written (disk full, missing rights).

    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise StorageError(f"can't write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it is gone, or its directory was never there
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8; lone surrogates are written as JSON does.

    Raises:
        StorageError: the file can't be written.

    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically, as JSON.

    Raises:
        StorageError: the file can't be written.

    """
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def sync(path: Path) -> None:
    """Wait until a file's or a directory's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
