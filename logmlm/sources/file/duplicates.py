"""Files that hold what another one holds: whether they are copies is seen when they differ."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from logmlm.sources.fingerprint import FileId

DUPLICATE = "lookalike"

logger = logging.getLogger(__name__)


class DuplicateFiles:
    """Counts what is passed over because another file holds the same, and says so, once a file.

    A rotation makes copies that are gone, or go on, soon: one counts that stays as it is for
    `patience` seconds.
    """

    def __init__(self, discarded: Counter[str], patience: float) -> None:
        self._discarded = discarded
        self._patience = patience
        self._waiting: dict[FileId, tuple[int, float]] = {}
        self._told: set[FileId] = set()

    def wait(self, file_id: FileId, size: int, path: Path, twin: str, now: float) -> None:
        """Note that a file holds nothing but what its `twin` holds, which is still there."""
        waiting = self._waiting.get(file_id)
        if waiting is None or waiting[0] != size or now < waiting[1]:
            self._waiting[file_id] = size, now
        elif now - waiting[1] >= self._patience and file_id not in self._told:
            self._told.add(file_id)
            self._count()
            logger.warning(
                "%s holds nothing but what %s holds; it is not read as long as that is so",
                *(path, twin),
            )

    def note_replacement(self, path: Path, twin: str, position: int) -> None:
        """Note that a file is gone on with as if it were its `twin`, which is gone."""
        self._count()
        logger.warning(
            "%s is another file than %s was, but begins with the same %d bytes, which are not"
            " read again",
            *(path, twin, position),
        )

    def note_ambiguous(self, file_id: FileId, path: Path, twin: str) -> None:
        """Note that a file may hold what its `twin` held before that was truncated."""
        if file_id not in self._told:
            self._told.add(file_id)
            self._count()
            logger.warning(
                "%s and %s both hold what was read of the latter; of the former, no more is read",
                *(path, twin),
            )

    def settle(self, file_id: FileId) -> None:
        """Forget a file that is read, or gone."""
        self._waiting.pop(file_id, None)
        self._told.discard(file_id)

    def keep(self, present: Collection[FileId]) -> None:
        """Forget those that are not there any more."""
        for file_id in [each for each in self._waiting if each not in present]:
            self.settle(file_id)

    def _count(self) -> None:
        self._discarded[DUPLICATE] += 1
