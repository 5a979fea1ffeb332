"""Files that are followed: new lines, new files, rotation, truncation."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path

from logmlm.config.sources import FileSourceConfig
from logmlm.errors import StorageError
from logmlm.records import Checkpoint, LogLine
from logmlm.sources.base import NoRebalance, PartitionChanges
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.discovery import FileDiscovery, by_mtime, path_text, rotation_candidates
from logmlm.sources.file.gzip_tail import AnyFileTail, GzipTail
from logmlm.sources.file.tracker import FileTracker, open_limit
from logmlm.sources.fingerprint import FileId
from logmlm.sources.idle import IdleTimes
from logmlm.sources.lines import CHUNK_BYTES, RawLine

SCAN_EVERY_S = 1.0
SCANS_SHARE = 0.005
MAX_SCAN_S = 10.0
"""Looking which files are there takes this share of a core at most: with many files it is done less
often, but at least each `MAX_SCAN_S` seconds."""
RECHECK_S = 0.4
"""After a look at all files that found nothing, the next one can wait so long, ..."""
MAX_RECHECK_S = 1.0
"""... and so long where there are so many that it would take more than `SCANS_SHARE` of a core."""
BATCH_BYTES = CHUNK_BYTES // 2
"""With so many or more, a poll ends: the fewer lines are held at once, the less memory it takes."""
FORGET_AFTER_S = 7 * 86400.0


class FileSource(NoRebalance):
    """Follows the files of `include`, each a partition named after its first bytes.

    - A file is known once it holds a newline or `fingerprint.bytes` bytes, and stays the same
      partition wherever it is moved, and whatever symbolic link leads to it.
    - Files that begin alike are told apart by their numbers on disk, and by what was read last;
      one that holds nothing but what another holds is taken for a copy as long as that is so.
    - Rotated by rename, or deleted: the old file is read to its end, and let go when it left
      `include` and nothing came for `rotate_wait`; its last line then needs no newline.
    - Truncated or written anew in place: what comes is a new partition, read from its
      beginning; what the old one still held is read out of a copy, if there is one.
    - Rotated while nobody looked: the rest of the old file is looked for beside its old path, and
      where `include` and `rotated` point to, for `rotate_wait`, in a file that begins as it did,
      packed by gzip or not. If it is not found, that is said.

    - A partition has ended when nothing came for `rotate_wait` to a file that left `include` or
      has another name than at first, or to an archive.

    `clock` tells UTC epoch seconds, `monotonic` durations; `wait` waits so many seconds, or less.
    `discarded` counts lines over `max_line_bytes` (`cut`), archives that could not be read to
    their end (`damaged_archive`), files that are no text (`no_text`), files that went while nobody
    looked, with what is not read of them (`lost_file`), and files of which all or the beginning is
    not read, because another holds the same (`lookalike`).
    """

    name = "file"
    exhausted = False
    replayable = True

    def __init__(
        self,
        config: FileSourceConfig,
        checkpoints: CheckpointStore,
        *,
        clock: Callable[[], float],
        wait: Callable[[float], object],
        monotonic: Callable[[], float] = time.monotonic,
        open_limit: Callable[[], int] = open_limit,
    ) -> None:
        """Open nothing yet; at most `open_limit()` files are open at once."""
        self.discarded: Counter[str] = Counter()
        self._config = config
        self._checkpoints = checkpoints
        self._clock = clock
        self._wait = wait
        self._idle = IdleTimes(monotonic)
        self._discovery = FileDiscovery(config.include, config.exclude, config.rotated)
        self._tracker = FileTracker(config, checkpoints, self.discarded, open_limit)
        self._quiet: dict[str, tuple[int, float]] = {}
        self._ended: set[str] = set()
        self._told: dict[str, int] = {}
        self._orphans: set[str] = set()
        self._damaged: set[str] = set()
        self._last_words: list[LogLine] = []
        self._next_scan: float | None = None
        self._looking_since: float | None = None
        self._is_idle = True
        self._looked_at = -inf
        self._look_after_s = RECHECK_S
        self._scan_after_s = SCAN_EVERY_S
        self._has_doubted = self._has_told_missing = checkpoints.first_start
        self._has_adjoined = False
        self._follows = {each.partition: each.before for each in checkpoints if each.before}

    def begin(self) -> None:
        """Look which files are there; of one that comes later, all lines are new.

        Raises:
            StorageError: what is found can't be saved.

        """
        self._scan_when_due(self._clock())

    def poll(self, timeout: float) -> list[LogLine]:
        """Lines that are there now; if there are none, those there after `timeout` seconds.

        Raises:
            StorageError: an open file can't be read any more, or what is known not be saved.

        """
        try:
            lines = [] if self._has_just_looked() else self._read()
            if not lines and self._is_idle:  # within a great line, reading just goes on
                self._wait(timeout)
                is_dear = self._look_after_s > RECHECK_S
                lines = [] if is_dear and self._has_just_looked() else self._read()
        except OSError as error:
            raise StorageError(f"can't go on reading the followed files: {error}") from error
        return lines

    def changes(self) -> PartitionChanges:
        """Partitions that have ended or begun; none comes from elsewhere, or goes there."""
        ended, self._ended = frozenset(self._ended), set()
        begun = self._tracker.begun()
        follows, self._follows = self._follows, {}
        follows |= {each.partition: each.before for each in begun if each.before}
        gained = {each.partition: each.checkpoint for each in begun}
        return PartitionChanges(gained=gained, ended=ended, follows=follows)

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Every known partition, with the position that was committed last."""
        return {known.partition: known.checkpoint for known in self._checkpoints}

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> bool:
        """Keep these positions durably.

        Raises:
            StorageError: they can't be written.

        """
        self._tracker.remember()
        for known in self._checkpoints:
            checkpoint = checkpoints.get(known.partition, known.checkpoint)
            if checkpoint != known.checkpoint:
                self._checkpoints.put(replace(known, checkpoint=checkpoint))
        self._checkpoints.save()
        return True

    def idle(self, partitions: Collection[str]) -> Mapping[str, float]:
        """Look at the end of each of these files; one that is gone for good is idle too."""
        for partition in partitions:
            size = self._size_at_end(partition)
            if size is None:
                self._idle.forget([partition])
            else:
                self._idle.confirm(partition, size)
        return self._idle.of(partitions)

    def is_idle(self) -> bool:
        """Whether every open file is read to its end, and no replaced one is looked for."""
        waits = self._orphans or self._last_words or self._next_scan is None
        return self._tracker.is_read() and not waits

    def lag(self) -> Mapping[str, int]:
        """Bytes of each open file that were not handed over yet."""
        tails = self._tracker.tails
        if self._has_just_looked():  # then each of them was read to its end
            return {partition: tail.pending for partition, tail in tails.items()}
        return {partition: tail.unread for partition, tail in tails.items()}

    def describe(self, partition: str) -> str:
        """Path where the partition's file was seen last."""
        known = self._checkpoints.get(partition)
        return "a file that is gone" if known is None else known.path

    def close(self) -> None:
        """Let go of all files."""
        for partition in list(self._tracker.tails):
            self._release(partition)

    def _size_at_end(self, partition: str) -> int | None:
        """Return the size of a file that is read to its end; None where more may come at once."""
        tail = self._tracker.tails.get(partition)
        if tail is None:
            if partition in self._tracker.closed:
                return self._tracker.closed.size(partition)
            # A copy may hold the rest of a file that was replaced, as long as it is looked for.
            return None if partition in self._orphans else self._tracker.left_at(partition)
        try:
            return tail.size if tail.at_end else None
        except OSError:
            return None  # the next poll says it

    def _read(self) -> list[LogLine]:
        now = self._clock()
        self._scan_when_due(now)
        lines, self._last_words = self._last_words, []
        began, read, idle = time.thread_time(), 0, 0
        most = len(self._tracker) if self._tracker.has_more() else 0
        while read < BATCH_BYTES and idle < most:
            partition = self._tracker.next_turn()
            if self._tracker.tails[partition].at_end:
                idle += 1
                continue
            raw = self._read_tail(partition)
            lines += self._lines(partition, raw, now)
            read, idle = read + (raw[-1].end - raw[0].start if raw else CHUNK_BYTES), 0
        self._is_idle = read < BATCH_BYTES
        self._looked_at = -inf if lines else self._idle.now()
        spent = time.thread_time() - began
        self._look_after_s = min(max(RECHECK_S, spent / SCANS_SHARE), MAX_RECHECK_S)
        return lines

    def _has_just_looked(self) -> bool:
        return self._is_idle and 0 <= self._idle.now() - self._looked_at < self._look_after_s

    def _read_tail(self, partition: str) -> list[RawLine]:
        if self._tracker.was_replaced(partition):
            self._release_replaced(partition)
            return []
        lines = self._tracker.tails[partition].read()
        self._tracker.extend_fingerprint(partition)
        return lines

    def _lines(self, partition: str, raw: Iterable[RawLine], now: float) -> list[LogLine]:
        lines = []
        for line in raw:
            self.discarded["cut"] += line.cut
            lines.append(line.log_line(partition, now))
        return lines

    def _scan_when_due(self, now: float) -> None:
        # A clock that was set back must not stop the scanning.
        if self._next_scan is None or not 0 < self._next_scan - now <= self._scan_after_s:
            began = time.thread_time()
            self._scan(now)
            spent = time.thread_time() - began
            self._scan_after_s = min(max(SCAN_EVERY_S, spent / SCANS_SHARE), MAX_SCAN_S)
            self._next_scan = now + self._scan_after_s

    def _scan(self, now: float) -> None:
        """Look which files are there, meet the new ones and let go of those that left."""
        for partition in list(self._tracker.tails):
            if self._tracker.was_replaced(partition):
                self._release_replaced(partition)
        included = self._discovery.files()
        self._tracker.keep_waiting(included)
        self._tracker.make_room(included, self._may_close)
        for partition in self._tracker.closed.gone(included):
            self._look_for_rest(partition)
        self._open_new(included, now)
        for partition in self._tracker.replaced():
            self._look_for_rest(partition)
        for partition, tail in list(self._tracker.tails.items()):
            is_gone = tail.file_id not in included
            if is_gone or isinstance(tail, GzipTail) or self._checkpoints[partition].was_moved:
                self._end_when_quiet(partition, tail, now, is_gone)
            else:
                self._quiet.pop(partition, None)
        if not self._has_adjoined:
            self._has_adjoined = True
            self._note_first_look(included)
        self._forget_lost(now)
        self._checkpoints.save()

    def _note_first_look(self, included: Mapping[FileId, Path]) -> None:
        """Note what only the first look of a process can tell."""
        self._tracker.adjoin()
        if self._checkpoints.first_start:
            self._checkpoints.first_start = False
            self._tracker.note_starts(included)

    def _open_new(self, included: Mapping[FileId, Path], now: float) -> None:
        """Open what is not open yet: known numbers first, then copies, then what is new."""
        opened = {tail.file_id: name for name, tail in self._tracker.tails.items()}
        strangers = {}
        for file_id, path in included.items():
            partition = opened.get(file_id) or self._unchanged(file_id, path)
            if partition is None:
                strangers[file_id] = path
            else:
                self._checkpoints.see(partition, path_text(path), now)
        others = {
            each: path
            for each, path in self._rotation_candidates().items()
            if each not in opened and (each in strangers or each not in included)
        }
        known = {each.file_id for each in self._tracker.unopened()}
        done = {
            file_id
            for file_id, path in (strangers | others).items()
            if file_id in known and self._tracker.resume_same_inode(path, now)
        }
        for file_id, path in by_mtime(others):
            if file_id not in strangers and file_id not in done:
                self._tracker.resume_rotated(path, now)
        for file_id, path in strangers.items():
            if file_id not in done:
                self._tracker.open_new(path, now)
        if not self._has_doubted:
            self._has_doubted = True
            self._check_for_copies(included, now)

    def _unchanged(self, file_id: FileId, path: Path) -> str | None:
        """Return the partition of a closed file that is as it was; None of any other."""
        closed = self._tracker.closed
        partition = closed.partition_of(file_id)
        is_closed = partition is not None and closed.size(partition, path) is not None
        return partition if is_closed else None

    def _may_close(self, partition: str) -> bool:
        """Whether a file that is read to its end can be closed: if its end need not be awaited."""
        tail = self._tracker.tails[partition]
        is_awaited = isinstance(tail, GzipTail) or self._checkpoints[partition].was_moved
        return not is_awaited or self._told.get(partition) == tail.position

    def _check_for_copies(self, included: Mapping[FileId, Path], now: float) -> None:
        """Look, once, for copies of files that were truncated while nobody looked."""
        known = {each.file_id for each in self._checkpoints}
        places = (path for each in self._checkpoints for path in each.paths)
        for file_id, path in rotation_candidates(places).items():
            if file_id not in known and file_id not in included:
                self._tracker.check_for_copy(path, now)

    def _end_when_quiet(self, partition: str, tail: AnyFileTail, now: float, is_gone: bool) -> None:
        """Say of a file that will hardly get more that it has ended; let it go if it is gone."""
        at = self._idle.now()
        position, since = self._quiet.get(partition, (-1, at))
        if isinstance(tail, GzipTail) and tail.is_broken:
            self._count_damage(partition)
        if position != tail.position or not tail.at_end:
            self._quiet[partition] = (tail.position, at)
        elif at - since >= self._config.rotate_wait:
            self._end(partition, tail)
            if is_gone:
                self._last_words += self._lines(partition, tail.rest(), now)
                self._ended.add(partition)
                self._tracker.let_go(partition)
                self._quiet.pop(partition, None)

    def _end(self, partition: str, tail: AnyFileTail) -> None:
        if self._told.get(partition) != tail.position:
            self._told[partition] = tail.position
            self._ended.add(partition)
        if isinstance(tail, GzipTail) and tail.damaged:
            self._count_damage(partition)

    def _count_damage(self, partition: str) -> None:
        self.discarded["damaged_archive"] += partition not in self._damaged
        self._damaged.add(partition)

    def _rotation_candidates(self) -> dict[FileId, Path]:
        """Find files that may have been moved, copied or packed out of `include` unseen.

        A packer may be at work on one, so they are looked for more than once.
        """
        now = self._idle.now()
        if self._looking_since is None:
            self._looking_since = now
        if now - self._looking_since >= self._config.rotate_wait:
            if not self._has_told_missing:
                self._has_told_missing = True
                self._tracker.tell_missing()
            closed = self._tracker.closed
            gone = self._orphans - self._tracker.tails.keys()
            self._ended |= {partition for partition in gone if partition not in closed}
            self._orphans.clear()
            return {}
        closed = self._tracker.closed
        lost = [each for each in self._tracker.unopened() if each.partition not in closed]
        return self._discovery.rotated_beside(path for each in lost for path in each.paths)

    def _forget_lost(self, now: float) -> None:
        for known in self._tracker.unopened():
            is_old = now - known.seen_at > FORGET_AFTER_S
            if is_old and known.partition not in self._ended:
                self._tracker.forget(known.partition)
                self._told.pop(known.partition, None)
                self._damaged.discard(known.partition)

    def _release_replaced(self, partition: str) -> None:
        """Let go of a truncated file; a copy of what it held may be beside it."""
        self._tracker.release_replaced(partition)
        self._quiet.pop(partition, None)
        self._next_scan = None
        self._look_for_rest(partition)

    def _look_for_rest(self, partition: str) -> None:
        """Look for what is left of a file under other names, for `rotate_wait`."""
        self._tracker.closed.forget(partition)
        self._orphans.add(partition)
        self._looking_since = None

    def _release(self, partition: str) -> None:
        self._tracker.release(partition)
        self._quiet.pop(partition, None)
