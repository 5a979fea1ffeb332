"""The files that are open, each with who it is: met, recognized, let go."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from logmlm.config.sources import FileSourceConfig
from logmlm.records import Checkpoint
from logmlm.sources.binary_check import why_not_text
from logmlm.sources.file.checkpoints import CheckpointStore, TrackedFile
from logmlm.sources.file.closed_files import ClosedFiles
from logmlm.sources.file.discovery import path_text, rotation_candidates
from logmlm.sources.file.duplicates import DuplicateFiles
from logmlm.sources.file.gzip_tail import AnyFileTail, GzipTail, open_tail
from logmlm.sources.file.tail import COMPARED_BYTES, FileTail
from logmlm.sources.fingerprint import MARK_BYTES, FileId, Fingerprint, TailChecksum
from logmlm.sources.rotation import rotation_successors
from logmlm.system.processes import descriptor_limit

NO_TEXT = "no_text"
LOST_FILE = "lost_file"
_OLDER = re.compile(r"[.-][0-9]+(\.[A-Za-z0-9]+)?$")
"""Ends the name of a file that a rotation has made: app.log.3, app-20260101.gz."""
Identify = Callable[[AnyFileTail, bytes, Path, float], TrackedFile | None]
"""Says whose lines an opened file holds, by the file, its first bytes, its path and the time."""

RESERVED_DESCRIPTORS = 128
"""For the state, receivers, probes, brokers and what libraries open."""

logger = logging.getLogger(__name__)


def open_limit() -> int:
    """Return how many files may be open at once."""
    return descriptor_limit() - RESERVED_DESCRIPTORS


class FileTracker:
    """Open files by partition, read in turn; `checkpoints` keeps what is known of each.

    A file is taken once it holds a newline or `fingerprint.bytes` bytes. It goes on where it
    was left, or where its checkpoint says. Each known file is one on disk: that of its number
    before all, if it still holds what was read; then one that a rotation made of it. Another
    file that holds the same is a copy as long as it holds nothing else, and is not read.
    """

    def __init__(
        self,
        config: FileSourceConfig,
        checkpoints: CheckpointStore,
        discarded: Counter[str],
        open_limit: Callable[[], int],
    ) -> None:
        self._open_limit = open_limit
        self._is_full = False
        self.tails: dict[str, AnyFileTail] = {}
        self._config = config
        self._checkpoints = checkpoints
        self._head_bytes = max(
            [config.fingerprint.bytes, *(known.fingerprint.length for known in checkpoints)]
        )
        self._turns: deque[str] = deque()
        self._read_since: set[str] = set()
        self._last_read: dict[str, None] = {}
        self._refused = 0
        self.closed = ClosedFiles()
        self._left_at: dict[str, int] = {}
        self._replaced: dict[str, FileId] = {}
        self._unreadable: set[Path] = set()
        self._no_text: set[FileId] = set()
        self._discarded = discarded
        self._duplicates = DuplicateFiles(discarded, config.rotate_wait)
        self._begun: list[str] = []

    def __len__(self) -> int:
        return len(self.tails)

    def has_more(self) -> bool:
        """Whether any open file holds what was not looked at."""
        return any(not tail.at_end for tail in self.tails.values())

    def next_turn(self) -> str:
        """The partition whose turn it is to be read."""
        self._turns.rotate(-1)
        return self._turns[-1]

    def was_replaced(self, partition: str) -> bool:
        """Whether a file lost the content that it was known by."""
        known = self._checkpoints[partition]
        return self.tails[partition].was_replaced(known.fingerprint, known.mark)

    def unopened(self) -> list[TrackedFile]:
        """What is known, and neither open nor at hand."""
        return [known for known in self._checkpoints if known.partition not in self.tails]

    def resume_same_inode(self, path: Path, now: float) -> bool:
        """Go on with a file that was followed under the same number; say whether it is that."""
        return self._open(path, now, self._same)

    def resume_rotated(self, path: Path, now: float) -> None:
        """Open a file that a rotation may have made of a known one, and go on with that."""
        self._open(path, now, self._copied)

    def open_new(self, path: Path, now: float) -> None:
        """Open a file to be followed: go on with it, or begin with it."""
        self._open(path, now, self._any)

    def check_for_copy(self, path: Path, now: float) -> None:
        """Say of a file that is not followed if it may be what an open one was, before a copy."""
        self._open(path, now, self._doubted)

    def keep_waiting(self, present: Collection[FileId]) -> None:
        """Forget lookalikes, and where files start, that are not there any more."""
        self._duplicates.keep(present)
        self._checkpoints.starts.keep(present)

    def note_starts(self, present: Mapping[FileId, Path]) -> None:
        """Let files that are there at the first look, and not begun, start where they end now.

        They are copies of others, have no line yet, can't be read, or there was no room for them.
        """
        begun = {known.file_id for known in self._checkpoints}
        for file_id, path in present.items() if self._config.start_at == "end" else ():
            if file_id not in begun:
                self._checkpoints.starts.note(file_id, path)

    def extend_fingerprint(self, partition: str) -> None:
        """Let the fingerprint of a file that was short grow with it, after a read."""
        self._read_since.add(partition)
        self._last_read.pop(partition, None)
        self._last_read[partition] = None  # the order is that of the last read
        known = self._checkpoints[partition]
        if known.fingerprint.length < self._config.fingerprint.bytes:
            head = self.tails[partition].head(self._config.fingerprint.bytes)
            self._checkpoints.put(replace(known, fingerprint=Fingerprint.of(head)))

    def left_at(self, partition: str) -> int:
        """Return the position at which a file that is not open was let go; 0 if it never was."""
        return self._left_at.get(partition, 0)

    def remember(self) -> None:
        """Note the bytes by which each file that was read meanwhile is known again."""
        for partition in self._read_since & self.tails.keys():
            self._remember(partition)
        self._read_since.clear()

    def _remember(self, partition: str) -> None:
        tail = self.tails[partition]
        self._checkpoints.remember(partition, tail.mark())
        self._checkpoints.put(replace(self._checkpoints[partition], size=tail.size))

    def release(self, partition: str) -> None:
        """Let go of a file; if it comes again, it goes on where it was left."""
        tail = self.tails.pop(partition)
        self._last_read.pop(partition, None)
        self._checkpoints.remember(partition, tail.mark())
        self._turns.remove(partition)
        self._left_at[partition] = tail.position
        tail.close()

    def let_go(self, partition: str) -> None:
        """Let go of a file that was read to its end, and gets no more."""
        self._checkpoints.put(replace(self._checkpoints[partition], size=0))
        self.release(partition)

    def make_room(self, paths: Mapping[FileId, Path], may_close: Callable[[str], bool]) -> None:
        """Close as many files as were not opened for lack of room, those read longest ago first.

        A file is closed if it is read to its end, one of `paths`, and `may_close` allows it.
        """
        wanted, self._refused = self._refused, 0
        for partition in list(self._last_read) if wanted else ():
            tail = self.tails[partition]
            status, path = tail.status, paths.get(tail.file_id)
            if path is not None and tail.at_end and may_close(partition):
                self._remember(partition)
                self.release(partition)
                self.closed.add(partition, path, status)
                wanted -= 1
                if not wanted:
                    return

    def replaced(self) -> set[str]:
        """Return the closed files whose content was found to be another."""
        return {partition for partition in self._replaced if partition in self.closed}

    def is_read(self) -> bool:
        """Whether every file was opened, and is read to its end."""
        is_read = not self._refused and self.closed.are_unchanged()
        return is_read and not self.has_more()

    def tell_missing(self) -> None:
        """Say and count which files went while nobody looked, with bytes that are not read."""
        for known in self.unopened():
            is_new = known.size and not known.missed and known.partition not in self._left_at
            if not is_new or self._is_there(known):
                continue
            unread = max(0, known.size - known.checkpoint.safe)
            if unread or _was_rotated(known.path):
                self._checkpoints.put(replace(known, missed=True))
                self._discarded[LOST_FILE] += 1
                logger.warning(
                    "%s was moved or deleted while nobody read it, and is found neither beside its"
                    " path nor in the directories of 'include' and 'rotated': %d bytes that were"
                    " seen are not read, nor what was written after byte %d",
                    *(known.path, unread, known.size),
                )

    def release_replaced(self, partition: str) -> None:
        """Let go of a truncated file; what it holds now is another partition."""
        self._replaced[partition] = self.tails[partition].file_id
        self.release(partition)

    def begun(self) -> list[TrackedFile]:
        """Files that were begun since the last call."""
        begun, self._begun = self._begun, []
        return [known for name in begun if (known := self._checkpoints.get(name)) is not None]

    def adjoin(self) -> None:
        """Note which of the files that were just begun goes on where another one ends, by names.

        A file that came, and was renamed, while nobody looked was never seen in the place of the
        one before it.
        """
        by_path = {known.path: known for known in self._checkpoints}
        begun = set(self._begun)
        for old, new in rotation_successors(list(by_path)):
            if by_path[new].partition in begun:
                self._checkpoints.put(replace(by_path[new], before=by_path[old].partition))

    def forget(self, partition: str) -> None:
        """Drop what is known of a file that is not open."""
        self._left_at.pop(partition, None)
        self._replaced.pop(partition, None)
        self.closed.forget(partition)
        self._checkpoints.forget(partition)

    def _has_room(self) -> bool:
        """Whether one more file may be open: the daemon needs descriptors for other things."""
        most = self._open_limit()
        if len(self.tails) >= most and not self._is_full:
            self._is_full = True
            logger.warning(
                "%d files are open, as many as the limit of descriptors leaves room for; files are"
                " closed while nothing comes to them, and read by turns: raise the limit"
                " (LimitNOFILE= in the unit, ulimit -Hn), or narrow 'include'",
                len(self.tails),
            )
        has_room = len(self.tails) < most
        self._refused += not has_room
        return has_room

    def _open(self, path: Path, now: float, recognize: Identify) -> bool:
        known, tail = None, None
        if not self._has_room():
            return False
        try:
            tail = open_tail(path, self._config.max_line_bytes)
            head = tail.head(self._head_bytes)
            known = recognize(tail, head, path, now)
            self._unreadable.discard(path)
            if known is not None and self._follow(known, path, tail, now):
                tail = None
        except OSError as error:
            if path not in self._unreadable:
                logger.warning("can't read %s: %s; trying again", path, error.strerror or error)
            self._unreadable.add(path)
        finally:
            if tail is not None:
                tail.close()
        return known is not None

    def _same(self, tail: AnyFileTail, head: bytes, path: Path, _now: float) -> TrackedFile | None:
        """Whose number the file has and whose content; others of that number have lost theirs."""
        own = [known for known in self.unopened() if known.file_id == tail.file_id]
        found = next(self._lost_like(tail, head, own), None)
        if found is not None and isinstance(tail, GzipTail) and _was_plain(found, path):
            found = None  # packing writes a new file, which may get the number of a deleted one
        for known in own:
            if known != found:
                self._replaced[known.partition] = tail.file_id
        return found

    def _copied(self, tail: AnyFileTail, head: bytes, *_: object) -> TrackedFile | None:
        """Whose content the file has, of those that were not read to their end and let go."""
        return next(
            (
                known
                for known in self._lost_like(tail, head)
                if known.partition in self._replaced or known.partition not in self._left_at
            ),
            None,
        )

    def _any(self, tail: AnyFileTail, head: bytes, path: Path, now: float) -> TrackedFile | None:
        self._checkpoints.starts.check(tail.file_id, path)
        for known in self._lost_like(tail, head):
            if isinstance(tail, GzipTail) or known.partition in self._replaced:
                return known
            if known.is_well_known:
                self._duplicates.note_replacement(path, known.path, self._begin_of(known))
                return known
        for known in self._checkpoints.matches(head):
            if self._is_copy(tail, path, known):
                if _leads_to(known.path, known.file_id):
                    self._duplicates.wait(tail.file_id, tail.size, path, known.path, now)
                return None
        is_enough = b"\n" in head or len(head) >= self._config.fingerprint.bytes
        if not is_enough or self._is_no_text(tail.file_id, head, path):
            return None
        return self._begin(tail, head, path, now)

    def _is_no_text(self, file_id: FileId, head: bytes, path: Path) -> bool:
        """Whether a file is no text, as `train` and `score` see it too; say and count it once."""
        # NULs before a line are of a file that was truncated while it was written.
        reason = why_not_text(head.lstrip(b"\0")).partition(", or name it")[0]
        if reason and file_id not in self._no_text:
            self._no_text.add(file_id)
            self._discarded[NO_TEXT] += 1
            logger.warning("%s is no text, and is not read: %s", path, reason)
        return bool(reason)

    def _doubted(self, tail: AnyFileTail, head: bytes, path: Path, _: float) -> None:
        """Copied and truncated while nobody looked, a file may hold again what was read of it."""
        for known in self._checkpoints.matches(head):
            twin = self.tails.get(known.partition)
            if twin is not None and self._goes_on(tail, known):
                if not (known.is_well_known and _is_part(tail, twin)):
                    self._duplicates.note_ambiguous(tail.file_id, path, known.path)
                return

    def _lost_like(
        self, tail: AnyFileTail, head: bytes, among: Collection[TrackedFile] | None = None
    ) -> Iterator[TrackedFile]:
        """Known files that the opened one may be; those of which it holds most first."""
        return (
            known
            for known in self._checkpoints.matches(head)
            if known.partition not in self.tails
            and (among is None or known in among)
            and self._replaced.get(known.partition) != tail.file_id
            and self._goes_on(tail, known)
            and (known.file_id == tail.file_id or not self._is_there(known))
        )

    def _is_there(self, known: TrackedFile) -> bool:
        """Whether the file itself is still there, or beside, with what it held."""
        return known.partition not in self._replaced and (
            _leads_to(known.path, known.file_id)
            or known.file_id in rotation_candidates(known.paths)
        )

    def _goes_on(self, tail: AnyFileTail, known: TrackedFile) -> bool:
        """Whether a file holds what was read of a known one, so that it can be read on."""
        has_mark = known.mark is None or tail.contains_mark(known.mark)
        return has_mark and tail.reaches(self._begin_of(known))

    def _begin_of(self, known: TrackedFile) -> int:
        return self._left_at.get(known.partition, known.checkpoint.safe)

    def _is_copy(self, tail: AnyFileTail, path: Path, known: TrackedFile) -> bool:
        """Whether a file may be nothing but a copy of another that is there, as far as it goes.

        What stands in the place of one that was moved away is new; of one that was deleted too,
        unless it holds all that was read of that.
        """
        if known.partition not in self.tails:  # an archive of which nothing is left
            is_all = tail.ends_at(self._begin_of(known))
            return is_all and self._is_there(known) and self._goes_on(tail, known)
        twin = self.tails[known.partition]
        if self.was_replaced(known.partition):
            return True  # of what that was: it is let go of next
        is_packed = isinstance(tail, GzipTail) or isinstance(twin, GzipTail)
        if path_text(path) in known.paths:
            mark = None if is_packed or twin.is_named else twin.mark()
            return mark is not None and mark.is_strong and tail.contains_mark(mark)
        return _begin_alike(tail, twin) if is_packed else _is_part(tail, twin)

    def _begin(self, tail: AnyFileTail, head: bytes, path: Path, now: float) -> TrackedFile:
        tail.move_to(0)
        start = self._checkpoints.starts.get(tail.file_id)
        if start is not None:
            tail.skip_to_end(start.size)
        elif self._checkpoints.first_start and self._config.start_at == "end":
            tail.skip_to_end()
        fingerprint = Fingerprint.of(head[: self._config.fingerprint.bytes])
        checkpoint = Checkpoint(tail.position, tail.position, None)
        name = self._checkpoints.name(head[: self._config.fingerprint.bytes])
        seen = head if isinstance(tail, GzipTail) else tail.head(COMPARED_BYTES)
        mark = TailChecksum.of(len(seen), seen[-MARK_BYTES:])
        self._begun.append(name)
        known = TrackedFile(name, "", tail.file_id, fingerprint, checkpoint, now, mark=mark)
        return replace(known, before=self._at_before(path))

    def _at_before(self, path: Path) -> str:
        """Whose file was at a path before: the one that was met there last."""
        place = path_text(path)
        return next(
            (each.partition for each in reversed(list(self._checkpoints)) if each.met_at == place),
            "",
        )

    def _follow(self, known: TrackedFile, path: Path, tail: AnyFileTail, now: float) -> bool:
        """Go on with a file; say whether it is open now, as it is unless nothing is left of it."""
        name, begin = path_text(path), self._begin_of(known)
        self._duplicates.settle(tail.file_id)
        met_at = known.met_at or name
        known = replace(known, path=name, file_id=tail.file_id, met_at=met_at, missed=False)
        if tail.ends_at(begin):
            self._checkpoints.starts.drop(tail.file_id)
            self._checkpoints.put(known)
            self._checkpoints.see(known.partition, name, now)
            return False
        tail.move_to(begin)
        target = path_text(Path(os.path.realpath(path)))
        self._checkpoints.starts.drop(tail.file_id)
        self._checkpoints.put(replace(known, target=target, seen_at=now))
        self._checkpoints.remember(known.partition, tail.mark())
        self.tails[known.partition] = tail
        self._turns.append(known.partition)
        self._last_read[known.partition] = None
        self.closed.forget(known.partition)
        self._read_since.add(known.partition)
        self._replaced.pop(known.partition, None)
        logger.info("following %s from byte %d on", path, begin)
        return True


def _was_rotated(path: str) -> bool:
    """Whether another file stands where one was written: an older one of a rotation was whole."""
    return not _OLDER.search(path) and Path(path).exists()


def _was_plain(known: TrackedFile, path: Path) -> bool:
    """Whether what is now a packed file at `path` was another, not packed file by its name."""
    return path_text(path) not in known.paths and not known.path.endswith(".gz")


def _leads_to(path: str, file_id: FileId) -> bool:
    try:
        return FileId.of(Path(path).stat()) == file_id
    except OSError:
        return False


def _is_part(tail: AnyFileTail, twin: AnyFileTail) -> bool:
    return isinstance(tail, FileTail) and isinstance(twin, FileTail) and tail.is_prefix_of(twin)


def _begin_alike(one: AnyFileTail, other: AnyFileTail) -> bool:
    """Whether, of two files of which one is packed, one begins with the beginning of the other."""
    again = other.again()
    try:
        first, second = one.head(COMPARED_BYTES), again.head(COMPARED_BYTES)
    finally:
        again.close()
    length = min(len(first), len(second))
    return first[:length] == second[:length]
