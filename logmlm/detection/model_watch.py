"""Watch of the model directory that a daemon has opened.

The daemon scores with its own copy of the model, in memory: what happens to the directory does not
change a score. So a directory that was copied over is noticed here alone, and said, once for each
change. A reload or a restart takes the new model; nothing is taken unasked.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from logmlm.detection.manifest import Manifest
from logmlm.errors import LogmlmError

LOOK_EVERY_S = 10.0

FileStamps = tuple[tuple[str, int, int, int, int], ...]
"""Name, inode, size, and times of change of each file, in order of their names."""

logger = logging.getLogger(__name__)


def file_stamps(directory: Path) -> FileStamps:
    """Return what tells that a file of the directory was written to or replaced; empty if gone."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.stat()) for entry in entries]
    except OSError:
        return ()
    return tuple(
        sorted((name, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns) for name, at in found)
    )


class ModelWatch:
    """Compares a model directory with the model that was opened from it, known by its digest.

    Files are looked at every `LOOK_EVERY_S` seconds. Their digests are computed only when a look
    finds the same files as the look before (a copy that is under way is left alone) and other
    ones than were judged last.
    """

    def __init__(self, directory: Path, digest: str) -> None:
        self._directory = directory
        self._digest = digest
        self._checked_at = -float("inf")
        self._last_stamps: FileStamps | None = None
        self._judged_stamps: FileStamps | None = None if directory.is_dir() else ()
        self.has_changed = False
        """Whether the directory holds something else than the model in use."""

    def check(self, now: float) -> None:
        """Look at the files if it is time to; `now` in seconds of a clock that is never set back.

        What is found is logged as a warning.
        """
        if now - self._checked_at < LOOK_EVERY_S:
            return
        self._checked_at = now
        marks = file_stamps(self._directory)
        if marks == self._last_stamps and marks != self._judged_stamps:
            self._judged_stamps = marks
            self._compare()
        self._last_stamps = marks

    def _compare(self) -> None:
        try:
            is_same = Manifest.read(self._directory).digest == self._digest
            what = "holds another model now: reload or restart to use it"
        except LogmlmError as error:
            is_same, what = False, f"can't be opened any more ({error})"
        if not is_same:
            logger.warning(
                "the model directory %s changed under the running daemon and %s; scoring goes on"
                " with the model that was loaded",
                *(self._directory, what),
            )
        elif self.has_changed:
            logger.info("the model directory %s holds the model in use again", self._directory)
        self.has_changed = not is_same
