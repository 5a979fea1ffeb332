"""Files that are followed: new lines, new files, rotation by rename, truncation."""

from __future__ import annotations

import glob
import logging
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from logmlm.errors import StorageError
from logmlm.records import Checkpoint, LogLine
from logmlm.sourceconfig import FileSourceConfig
from logmlm.sources.base import Steady
from logmlm.sources.checkpoints import Checkpoints, KnownFile
from logmlm.sources.fingerprint import FileId, Fingerprint
from logmlm.sources.tail import CHUNK_BYTES, RawLine, Tail, open_tail

SCAN_EVERY_S = 1.0
BATCH_BYTES = 4 * CHUNK_BYTES
FORGET_AFTER_S = 7 * 86400.0

logger = logging.getLogger(__name__)


class FileSource(Steady):
    """Follows the files of `include`, each a partition named after its first bytes.

    - A file is known once it holds a newline or `fingerprint.bytes` bytes, and stays the same
      partition wherever it is moved.
    - Rotated by rename: the old file is read to its end, and let go when it left `include` and
      nothing came for `rotate_wait`; its last line then needs no newline.
    - Truncated or written anew in place: what comes is a new partition, read from its
      beginning; if a copy of the old content is in `include`, that is read to its end.
    - Rotated while nobody looked: the old file is looked for beside its old path.

    `clock` tells UTC epoch seconds; `wait` waits so many seconds, or less.
    """

    name = "file"
    exhausted = False

    def __init__(
        self,
        config: FileSourceConfig,
        checkpoints: Checkpoints,
        *,
        clock: Callable[[], float],
        wait: Callable[[float], object],
    ) -> None:
        self.cut_lines = 0
        """Lines that were over `max_line_bytes`."""
        self._config = config
        self._checkpoints = checkpoints
        self._clock = clock
        self._wait = wait
        self._head_bytes = max(
            [config.fingerprint.bytes, *(known.fingerprint.length for known in checkpoints)]
        )
        self._tails: dict[str, Tail] = {}
        self._turns: deque[str] = deque()
        self._left_at: dict[str, int] = {}
        self._replaced: dict[str, FileId] = {}
        self._gone: dict[str, tuple[int, float]] = {}
        self._last_words: list[LogLine] = []
        self._unreadable: set[Path] = set()
        self._awaited: set[str] = set()
        self._next_scan: float | None = None
        self._some_left = True

    def poll(self, timeout: float) -> list[LogLine]:
        """Lines that are there now; if there are none, those there after `timeout` seconds.

        Raises:
            StorageError: an open file can't be read any more, or what is known not be saved.

        """
        try:
            lines = self._read()
            if not lines:
                self._wait(timeout)
                lines = self._read()
        except OSError as error:
            raise StorageError(f"can't go on reading the followed files: {error}") from error
        return lines

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Every known partition, with the position that was committed last."""
        return {known.partition: known.checkpoint for known in self._checkpoints}

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Keep these positions durably.

        Raises:
            StorageError: they can't be written.

        """
        for known in self._checkpoints:
            checkpoint = checkpoints.get(known.partition, known.checkpoint)
            self._checkpoints.put(replace(known, checkpoint=checkpoint))
        self._checkpoints.save()

    def origin(self, partition: str) -> str:
        """Path where the partition's file was seen last."""
        return self._checkpoints[partition].path

    def close(self) -> None:
        """Let go of all files."""
        for partition in list(self._tails):
            self._release(partition)

    def _read(self) -> list[LogLine]:
        now = self._clock()
        # A clock that was set back must not stop the scanning.
        if self._next_scan is None or not 0 < self._next_scan - now <= SCAN_EVERY_S:
            self._scan(now)
            self._next_scan = now + SCAN_EVERY_S
        lines, self._last_words = self._last_words, []
        budget, idle = BATCH_BYTES, 0
        while budget > 0 and idle < len(self._turns):
            partition = self._turns[0]
            self._turns.rotate(-1)
            if self._tails[partition].at_end:
                idle += 1
                continue
            lines += self._lines(partition, self._read_tail(partition), now)
            budget, idle = budget - CHUNK_BYTES, 0
        return lines

    def _read_tail(self, partition: str) -> list[RawLine]:
        tail, known = self._tails[partition], self._checkpoints[partition]
        if tail.was_replaced(known.fingerprint):
            self._release_replaced(partition)
            return []
        lines = tail.read()
        if known.fingerprint.length < self._config.fingerprint.bytes:
            head = tail.head(self._config.fingerprint.bytes)
            self._checkpoints.put(replace(known, fingerprint=Fingerprint.of(head)))
        return lines

    def _lines(self, partition: str, raw: Iterable[RawLine], now: float) -> list[LogLine]:
        lines = []
        for line in raw:
            self.cut_lines += line.cut
            lines.append(LogLine(line.text, partition, line.start, line.end, now))
        return lines

    def _scan(self, now: float) -> None:
        """Look which files are there, meet the new ones and let go of those that left."""
        for partition, tail in list(self._tails.items()):
            if tail.was_replaced(self._checkpoints[partition].fingerprint):
                self._release_replaced(partition)
        included = _regular(self._included())
        opened = {tail.file_id: partition for partition, tail in self._tails.items()}
        for file_id, path in included.items():
            if file_id in opened:
                self._checkpoints.see(opened[file_id], _printable(path), now)
            else:
                self._meet(path, now)
        for partition, tail in list(self._tails.items()):
            if tail.file_id in included:
                self._gone.pop(partition, None)
            else:
                self._let_go_when_quiet(partition, tail, now)
        if self._some_left:
            self._look_beside(now)
        self._checkpoints.first_start = False
        self._forget_lost(now)
        self._checkpoints.save()

    def _included(self) -> list[Path]:
        found: set[str] = set()
        for pattern in self._config.include:
            matches = glob.glob(pattern, recursive=True)  # noqa: PTH207  Path.glob wants a root
            found.update(matches)
            if not matches and pattern not in self._awaited:
                self._awaited.add(pattern)
                logger.warning("no file matches %s yet; waiting for one", pattern)
        return [Path(path) for path in sorted(found) if not self._is_excluded(path)]

    def _is_excluded(self, path: str) -> bool:
        return any(
            fnmatch(path, pattern) or fnmatch(Path(path).name, pattern)
            for pattern in self._config.exclude
        )

    def _meet(self, path: Path, now: float, only: str | None = None) -> None:
        """Open a file and go on with it, or begin with it unless it has to be `only`."""
        tail = None
        try:
            tail = open_tail(path, self._config.max_line_bytes)
            if self._recognize(path, tail, now, only):
                tail = None
            self._unreadable.discard(path)
        except OSError as error:
            if path not in self._unreadable:
                logger.warning("can't read %s: %s; trying again", path, error.strerror)
            self._unreadable.add(path)
        finally:
            if tail is not None:
                tail.close()

    def _recognize(self, path: Path, tail: Tail, now: float, only: str | None) -> bool:
        """Say whether the file is taken; a copy of an open file and a too short one are not."""
        head = tail.head(self._head_bytes)
        if b"\n" not in head and len(head) < self._config.fingerprint.bytes:
            return False
        known = self._checkpoints.find(head, tail.file_id)
        if only is not None and (known is None or known.partition != only):
            return False
        if known is not None and known.partition in self._tails:
            if not self._is_lookalike(known, tail):
                return False
            known = None
        if known is not None and self._replaced.get(known.partition) == tail.file_id:
            known = None  # the same file was seen to lose this content, and has it anew
        if known is not None:
            tail.move_to(self._left_at.get(known.partition, known.checkpoint.safe))
            known = None if tail.position > tail.size else known
        self._follow(known or self._begin(tail, head, now), path, tail, now)
        return True

    def _is_lookalike(self, known: KnownFile, tail: Tail) -> bool:
        """Whether a file that begins like an open one is no copy of it: a copy is not longer."""
        is_short = known.fingerprint.length < self._config.fingerprint.bytes
        return is_short and tail.size > self._tails[known.partition].size

    def _begin(self, tail: Tail, head: bytes, now: float) -> KnownFile:
        tail.move_to(0)
        if self._checkpoints.first_start and self._config.start_at == "end":
            tail.skip_to_end()
        fingerprint = Fingerprint.of(head[: self._config.fingerprint.bytes])
        checkpoint = Checkpoint(tail.position, tail.position, None)
        name = self._checkpoints.name(fingerprint)
        return KnownFile(name, "", tail.file_id, fingerprint, checkpoint, now)

    def _follow(self, known: KnownFile, path: Path, tail: Tail, now: float) -> None:
        known = replace(known, path=_printable(path), file_id=tail.file_id, seen_at=now)
        self._checkpoints.put(known)
        self._tails[known.partition] = tail
        self._turns.append(known.partition)
        logger.info("following %s from byte %d on", path, tail.position)

    def _let_go_when_quiet(self, partition: str, tail: Tail, now: float) -> None:
        position, since = self._gone.get(partition, (-1, now))
        if position != tail.position or not tail.at_end:
            self._gone[partition] = (tail.position, now)
        elif now - since >= self._config.rotate_wait:
            self._last_words += self._lines(partition, tail.rest(), now)
            self._release(partition)

    def _look_beside(self, now: float) -> None:
        """Find files that were moved or copied out of `include` while nobody looked."""
        self._some_left = False
        for known in self._checkpoints:
            if known.partition not in self._tails:
                path = Path(known.path)
                beside = sorted(path.parent.glob(glob.escape(path.stem) + "*"))
                for candidate in _regular(beside).values():
                    self._meet(candidate, now, only=known.partition)

    def _forget_lost(self, now: float) -> None:
        for known in self._checkpoints:
            if known.partition not in self._tails and now - known.seen_at > FORGET_AFTER_S:
                self._left_at.pop(known.partition, None)
                self._replaced.pop(known.partition, None)
                self._checkpoints.forget(known.partition)

    def _release_replaced(self, partition: str) -> None:
        """Let go of a truncated file; a copy of what it held may be beside it."""
        self._replaced[partition] = self._tails[partition].file_id
        self._release(partition)
        self._some_left, self._next_scan = True, None

    def _release(self, partition: str) -> None:
        tail = self._tails.pop(partition)
        self._turns.remove(partition)
        self._gone.pop(partition, None)
        self._left_at[partition] = tail.position
        tail.close()


def _regular(paths: Iterable[Path]) -> dict[FileId, Path]:
    """Regular files among `paths`, each once, though it may have several names."""
    files: dict[FileId, Path] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue  # it went away between the listing and now, or is a broken link
        if stat.S_ISREG(status.st_mode):
            files.setdefault(FileId.of(status), path)
    return files


def _printable(path: Path) -> str:
    return os.fsencode(path.absolute()).decode("utf-8", "backslashreplace")
