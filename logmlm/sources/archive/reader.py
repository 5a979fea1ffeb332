"""Finished logs, read once from beginning to end: plain, .gz, .xz, .zst, or `-` for stdin."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from glob import has_magic
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import zstandard

from logmlm.config.globs import matches
from logmlm.errors import DataError, StorageError
from logmlm.records import BlankLines, LogLine, line_count
from logmlm.sources.archive.blocks import MAX_LINE_BYTES, Block, blocks, log_lines
from logmlm.sources.archive.zstd import ZstdReader
from logmlm.sources.binary_check import SNIFF_BYTES, why_not_text
from logmlm.sources.fingerprint import HEAD_BYTES, partition_name

STDIN = "-"
_ADVICE = "fetch it again, or take what can be read with --keep-going"
_USED = "what came before is used"
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError)

WarnFunction = Callable[[str], None]


def expand(patterns: Sequence[str]) -> tuple[str, ...]:
    """Files for paths and globs, each once; what is a path, or matches nothing, stays as it is."""
    found: list[str] = []
    for pattern in patterns:
        paths = [] if Path(pattern).exists() else matches(pattern)
        found += paths or [pattern]
    return tuple(dict.fromkeys(found))


def read_lines(
    paths: Sequence[str], now: float, keep_going: bool = False, warn: WarnFunction | None = None
) -> Iterator[LogLine]:
    """All lines of the files in the order given; each file is a partition of its own.

    `start` and `end` count bytes of the unpacked file; `received_at` is the file's modification
    time (`now` for stdin). A line over `MAX_LINE_BYTES` is cut there. A damaged archive ends the
    reading, unless `keep_going`: then what could be read is used, and `warn` gets the sentence.

    Raises:
        DataError: a file is empty, binary or damaged.
        StorageError: a file is missing or can't be read.

    """
    require_nonempty(paths, warn)
    for path in paths:
        cut = 0
        try:
            for lines in _lines_of(path, now, advice=_USED if keep_going else _ADVICE):
                if lines[-1].end - lines[0].start > MAX_LINE_BYTES:
                    cut += sum(map(_is_cut, lines))
                yield from lines
        except DataError as error:
            if not keep_going:
                raise
            if warn is not None:
                warn(str(error))
        if cut and warn is not None:
            warn(f"{path}: lines over {MAX_LINE_BYTES >> 20} MiB were cut, {cut} of them")


def _is_cut(line: LogLine) -> bool:
    is_long = line.end - line.start > MAX_LINE_BYTES + len("\r\n")  # NULs before it do not count
    return is_long and len(line.text.encode("utf-8", "replace")) >= MAX_LINE_BYTES


def require_nonempty(paths: Sequence[str], warn: WarnFunction | None = None) -> None:
    """See that the files are there and one at least holds something; `warn` of those that do not.

    Raises:
        DataError: all are empty.
        StorageError: a file is missing or can't be read.

    """
    empty = [path for path in paths if path != STDIN and _is_empty(path)]
    if empty == list(paths):
        raise DataError(f"{', '.join(empty)}: empty; name a log that holds lines")
    if empty and warn is not None:
        warn(f"{', '.join(empty)}: empty")


def verify_archives(paths: Iterable[str]) -> None:
    """Read archives among `paths` to their ends, where their checksums are.

    Raises:
        DataError: one is damaged.
        StorageError: one can't be read.

    """
    for path in paths:
        if is_compressed(path):
            deque(_lines_of(path, 0.0, advice="fetch it again"), maxlen=0)


def read_range(
    path: str, start: int = 0, end: int | None = None, keep_going: bool = False
) -> Iterator[LogLine]:
    """Lines of one file that begin at byte `start`, where one begins, or later, and before `end`.

    As `read_lines`, but `number` counts from `start`, and damage is an error with `keep_going` too.
    Of a packed file nothing but the whole can be had.

    Raises:
        DataError: the file is binary or damaged.
        StorageError: it can't be read.

    """
    lines = _lines_of(path, 0.0, start, _USED if keep_going else _ADVICE)
    for line in chain.from_iterable(lines):
        if end is not None and line.start >= end:
            return
        if end is not None and line.end > end and isinstance(line, BlankLines):
            yield line.part(0, (end - line.start) // line.line_bytes)
            return
        yield line


def line_start_after(path: str, position: int) -> int:
    """Where the first line of a plain file begins at byte `position`, which is not 0, or later.

    Raises:
        StorageError: it can't be read.

    """
    try:
        with Path(path).open("rb") as stream:
            position -= 1
            stream.seek(position)
            for line in iter(partial(stream.readline, MAX_LINE_BYTES), b""):
                position += len(line)
                if line.endswith(b"\n"):
                    break
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from error
    return position


def is_compressed(path: str) -> bool:
    """Whether a file is an archive, by its name."""
    return Path(path).suffix in _OPENERS


def partition_of(path: str) -> str:
    """Name of the partition that a file is where it is followed, so that windows have the same ids.

    It differs for a file whose first line another followed file has too, and for one with a first
    line over `HEAD_BYTES` where the daemon's `fingerprint.bytes` is another.

    Raises:
        StorageError: the file can't be read.

    """
    if path == STDIN:
        return STDIN
    try:
        with _opened(path) as stream:
            return partition_name(stream.read(HEAD_BYTES))
    except (*_DAMAGE, OSError) as error:
        raise StorageError(f"can't read {path}: {error}") from error


def _is_empty(path: str) -> bool:
    """Whether a file, never a pipe, holds nothing; a StorageError if it can't be read.

    It is not opened: a pipe could be read only once.
    """
    try:
        status = Path(path).stat()
    except FileNotFoundError as error:
        what = "no file matches" if has_magic(path) else "there is no file"
        raise StorageError(f"{what} {path}; check the path") from error
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from error
    if stat.S_ISDIR(status.st_mode):
        raise StorageError(f"{path} is a directory; name the files in it: '{path}/*.log'")
    if stat.S_ISSOCK(status.st_mode):
        raise StorageError(f"{path} is a socket, which is no file; send what it brings to '-'")
    if not os.access(path, os.R_OK, effective_ids=True):
        raise StorageError(f"can't read {path}: this user has no right to")
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def _lines_of(
    path: str, now: float, position: int = 0, advice: str = _ADVICE
) -> Iterator[list[LogLine]]:
    received_at = now if path == STDIN else Path(path).stat().st_mtime
    name = "standard input" if path == STDIN else path
    try:
        with _opened(path) as stream:
            if position:
                stream.seek(position)
            number, found = 1, blocks(stream)
            for block in found if position else _text(found, name, is_compressed(path)):
                lines = log_lines(block, path, position, received_at, number)
                number, position = number + line_count(lines), lines[-1].end
                yield lines
    except _DAMAGE as error:
        if str(error).startswith("Not a gzipped file") and not position:
            advice = "if it is plain text, name it without .gz; if not, fetch it again"
        raise DataError(
            f"{name} is damaged after {position} unpacked bytes ({error}); {advice}"
        ) from error
    except OSError as error:
        raise StorageError(f"can't read {name} past byte {position}: {error.strerror}") from error


def _text(found: Iterator[Block], name: str, is_packed: bool) -> Iterator[Block]:
    """The blocks, the first `SNIFF_BYTES` of them looked at before any is handed on."""
    first: list[Block] = []
    head, damage = b"", None
    try:
        while len(head) < SNIFF_BYTES and (block := next(found, None)):
            first.append(block)
            head += block[0]
    except (*_DAMAGE, OSError) as error:
        damage = error
    reason = why_not_text(head)
    if reason and damage is None:
        if is_packed:  # a damaged one may hold anything; it says so itself, at its end
            deque(found, maxlen=0)
        raise DataError(f"{name} is no text: {reason}")
    yield from () if reason else first
    if damage is not None:
        raise damage
    yield from found


@contextmanager
def _opened(path: str) -> Iterator[io.BufferedIOBase]:
    if path == STDIN:
        yield cast(io.BufferedIOBase, sys.stdin.buffer)
        return
    # No buffer is laid around these: it would drop what was unpacked before the damage.
    with _OPENERS.get(Path(path).suffix, _plain)(path) as stream:
        yield stream


def _plain(path: str) -> AbstractContextManager[Any]:
    return Path(path).open("rb")


def _zstd(path: str) -> AbstractContextManager[Any]:
    return io.BufferedReader(ZstdReader(path))


_OPENERS: Mapping[str, Callable[[str], AbstractContextManager[Any]]] = MappingProxyType(
    {".gz": gzip.open, ".xz": lzma.open, ".zst": _zstd}
)
