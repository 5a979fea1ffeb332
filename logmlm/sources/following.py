"""The files that are open, each with who it is: met, recognized, let go."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from logmlm.records import Checkpoint
from logmlm.sourceconfig import FileSourceConfig
from logmlm.sources.checkpoints import Checkpoints, KnownFile
from logmlm.sources.discovery import printable
from logmlm.sources.fingerprint import FileId, Fingerprint
from logmlm.sources.packed import AnyTail, open_tail

logger = logging.getLogger(__name__)


class Following:
    """Open files by partition, read in turn; `checkpoints` keeps what is known of each.

    A file is taken once it holds a newline or `fingerprint.bytes` bytes. It goes on where it
    was left, or where its checkpoint says.
    """

    def __init__(self, config: FileSourceConfig, checkpoints: Checkpoints) -> None:
        self.tails: dict[str, AnyTail] = {}
        self._config = config
        self._checkpoints = checkpoints
        self._head_bytes = max(
            [config.fingerprint.bytes, *(known.fingerprint.length for known in checkpoints)]
        )
        self._turns: deque[str] = deque()
        self._left_at: dict[str, int] = {}
        self._replaced: dict[str, FileId] = {}
        self._unreadable: set[Path] = set()

    def __len__(self) -> int:
        return len(self.tails)

    def next_turn(self) -> str:
        """The partition whose turn it is to be read."""
        self._turns.rotate(-1)
        return self._turns[-1]

    def was_replaced(self, partition: str) -> bool:
        """Whether a file lost the content that it was known by."""
        return self.tails[partition].was_replaced(self._checkpoints[partition].fingerprint)

    def lost(self) -> list[KnownFile]:
        """What is known, and neither open nor at hand."""
        return [known for known in self._checkpoints if known.partition not in self.tails]

    def meet(self, path: Path, now: float, only: Collection[str] | None = None) -> None:
        """Open a file and go on with it, or begin with it unless it has to be one of `only`."""
        tail = None
        try:
            tail = open_tail(path, self._config.max_line_bytes)
            if self._recognize(path, tail, now, only):
                tail = None
            self._unreadable.discard(path)
        except OSError as error:
            if path not in self._unreadable:
                logger.warning("can't read %s: %s; trying again", path, error.strerror or error)
            self._unreadable.add(path)
        finally:
            if tail is not None:
                tail.close()

    def learn_more(self, partition: str) -> None:
        """Let the fingerprint of a file that was short grow with it."""
        known = self._checkpoints[partition]
        if known.fingerprint.length < self._config.fingerprint.bytes:
            head = self.tails[partition].head(self._config.fingerprint.bytes)
            self._checkpoints.put(replace(known, fingerprint=Fingerprint.of(head)))

    def release(self, partition: str) -> None:
        """Let go of a file; if it comes again, it goes on where it was left."""
        tail = self.tails.pop(partition)
        self._turns.remove(partition)
        self._left_at[partition] = tail.position
        tail.close()

    def release_replaced(self, partition: str) -> None:
        """Let go of a truncated file; what it holds now is another partition."""
        self._replaced[partition] = self.tails[partition].file_id
        self.release(partition)

    def forget(self, partition: str) -> None:
        """Drop what is known of a file that is not open."""
        self._left_at.pop(partition, None)
        self._replaced.pop(partition, None)
        self._checkpoints.forget(partition)

    def _recognize(
        self, path: Path, tail: AnyTail, now: float, only: Collection[str] | None
    ) -> bool:
        """Say whether the file is taken; a copy of an open file and a too short one are not."""
        head = tail.head(self._head_bytes)
        if b"\n" not in head and len(head) < self._config.fingerprint.bytes:
            return False
        known = self._checkpoints.find(head, tail.file_id)
        if only is not None and (known is None or known.partition not in only):
            return False
        if known is not None and known.partition in self.tails:
            if not self._is_lookalike(known, tail):
                return False
            known = None
        if known is not None:
            begin = self._left_at.get(known.partition, known.checkpoint.safe)
            if tail.ends_at(begin):
                self._checkpoints.see(known.partition, printable(path), now)
                return False
            tail.move_to(begin)
            known = known if self._has_it_still(known, tail) else None
        if known is None and only is not None:
            return False
        self._follow(known or self._begin(tail, head, now), path, tail, now)
        return True

    def _has_it_still(self, known: KnownFile, tail: AnyTail) -> bool:
        """Whether a file that begins like a known one was not seen to lose that content."""
        return self._replaced.get(known.partition) != tail.file_id and tail.holds(tail.position)

    def _is_lookalike(self, known: KnownFile, tail: AnyTail) -> bool:
        """Whether a file that begins like an open one is no copy of it: a copy is not longer."""
        is_short = known.fingerprint.length < self._config.fingerprint.bytes
        return is_short and tail.size > self.tails[known.partition].size

    def _begin(self, tail: AnyTail, head: bytes, now: float) -> KnownFile:
        tail.move_to(0)
        if self._checkpoints.first_start and self._config.start_at == "end":
            tail.skip_to_end()
        fingerprint = Fingerprint.of(head[: self._config.fingerprint.bytes])
        checkpoint = Checkpoint(tail.position, tail.position, None)
        name = self._checkpoints.name(head[: self._config.fingerprint.bytes])
        return KnownFile(name, "", tail.file_id, fingerprint, checkpoint, now)

    def _follow(self, known: KnownFile, path: Path, tail: AnyTail, now: float) -> None:
        target = printable(Path(os.path.realpath(path)))
        self._checkpoints.put(
            replace(known, path=printable(path), target=target, file_id=tail.file_id, seen_at=now)
        )
        self.tails[known.partition] = tail
        self._turns.append(known.partition)
        logger.info("following %s from byte %d on", path, tail.position)
