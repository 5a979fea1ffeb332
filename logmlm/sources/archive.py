"""Finished logs, read once from beginning to end: plain, .gz, .xz, .zst, or `-` for stdin."""

from __future__ import annotations

import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from glob import glob
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, cast

import zstandard

from logmlm.errors import DataError
from logmlm.records import LogLine

MAX_LINE_BYTES = 1 << 20
STDIN = "-"
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)

Warn = Callable[[str], None]


def expand(patterns: Sequence[str]) -> tuple[str, ...]:
    """Files for paths and globs; a pattern that is no glob, or matches nothing, stays as it is."""
    found: list[str] = []
    for pattern in patterns:
        found += sorted(glob(pattern, recursive=True)) or [pattern]  # noqa: PTH207  Path.glob takes no absolute pattern
    return tuple(dict.fromkeys(found))


def read_lines(
    paths: Sequence[str], now: float, keep_going: bool = False, warn: Warn | None = None
) -> Iterator[LogLine]:
    """All lines of the files in the order given; each file is a partition of its own.

    `start` and `end` count bytes of the unpacked file; `received_at` is the file's modification
    time (`now` for stdin). A line over `MAX_LINE_BYTES` is cut there. A damaged archive ends the
    reading, unless `keep_going`: then what could be read is used, and `warn` gets the sentence.

    Raises:
        DataError: a file is missing, unreadable, empty, binary or damaged.

    """
    for path in paths:
        check_readable(path)
    for path in paths:
        try:
            yield from _lines_of(path, now)
        except DataError as error:
            if not keep_going:
                raise
            if warn is not None:
                warn(str(error))


def check_readable(path: str) -> None:
    """Raise a `DataError` for a path that can't be read or holds nothing."""
    if path == STDIN:
        return
    file = Path(path)
    if file.is_dir():
        raise DataError(f"{path} is a directory; name the log files in it, such as {path}/*.log")
    try:
        with file.open("rb") as stream:
            if not stream.read(1):
                raise DataError(f"{path} is empty")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror}") from error


def _lines_of(path: str, now: float) -> Iterator[LogLine]:
    received_at = now if path == STDIN else Path(path).stat().st_mtime
    position = 0
    with _opened(path) as stream:
        try:
            for number, (raw, length) in enumerate(_raw_lines(stream), start=1):
                if number == 1 and b"\0" in raw:
                    raise DataError(f"{path} is binary (its first line holds a NUL), not a log")
                text = raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
                yield LogLine(text, path, position, position + length, received_at, number)
                position += length
        except _DAMAGE as error:
            raise DataError(
                f"{path} is damaged after {position} unpacked bytes ({error});"
                " use --keep-going to use what could be read"
            ) from error
        except OSError as error:
            raise DataError(f"can't read {path} past byte {position}: {error.strerror}") from error


def _raw_lines(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Each line's first `MAX_LINE_BYTES`, and the line's whole length in bytes."""
    while raw := stream.readline(MAX_LINE_BYTES):
        length = len(raw)
        piece = raw
        while not piece.endswith(b"\n") and (piece := stream.readline(MAX_LINE_BYTES)):
            length += len(piece)
        yield raw, length


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    opener = _OPENERS.get(Path(path).suffix, _plain)
    with opener(path) as stream:
        yield cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, stream)))


def _plain(path: str) -> AbstractContextManager[Any]:
    return Path(path).open("rb")


def _zstd(path: str) -> AbstractContextManager[Any]:
    opened: AbstractContextManager[Any] = zstandard.open(path, "rb")
    return opened


_OPENERS: Mapping[str, Callable[[str], AbstractContextManager[Any]]] = MappingProxyType(
    {".gz": gzip.open, ".xz": lzma.open, ".zst": _zstd}
)
