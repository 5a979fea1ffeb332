"""Lines from standard input, until its end."""

from __future__ import annotations

import os
import select
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from logmlm.config.sources import StdinSourceConfig
from logmlm.errors import DataError, StorageError
from logmlm.records import Checkpoint, LogLine
from logmlm.sources.base import NoRebalance
from logmlm.sources.binary_check import why_not_text
from logmlm.sources.idle import IdleTimes
from logmlm.sources.lines import RawLine, Splitter

CHUNK_BYTES = 64 * 1024


class StdinSource(NoRebalance):
    """Hands over what a pipe brings; its end ends the source, and the last line needs no newline.

    Nothing can be read twice, so nothing is committed, and what is in open windows at a stop is
    scored as it stands; a process that is killed loses it. The partition is named after the
    time of the start, so that another run's lines are not taken for these.
    """

    name = "stdin"
    replayable = False

    def __init__(
        self,
        config: StdinSourceConfig,
        descriptor: int,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.exhausted = False
        self.discarded: Counter[str] = Counter()
        self._descriptor = descriptor
        self._clock = clock
        self._partition = f"stdin/{clock():.6f}"
        self._splitter = Splitter(config.max_line_bytes)
        self._read_bytes = 0
        self._idle = IdleTimes(monotonic)

    def poll(self, timeout: float) -> list[LogLine]:
        """Lines that came within `timeout` seconds, those of one chunk at most.

        Raises:
            DataError: what comes is no text.
            StorageError: standard input can't be read.

        """
        try:
            ready, _, _ = select.select([self._descriptor], [], [], timeout)
            chunk = os.read(self._descriptor, CHUNK_BYTES) if ready else None
        except OSError as error:
            raise StorageError(f"can't read standard input: {error.strerror}") from error
        if chunk is None:
            self._idle.confirm(self._partition, self._read_bytes)
            return []
        self._idle.forget_all()
        if self._read_bytes == 0 and (reason := why_not_text(chunk.lstrip(b"\0"))):
            raise DataError(f"standard input is no text: {reason.partition(', or name it')[0]}")
        self._read_bytes += len(chunk)
        if not chunk:
            self.exhausted = True
            return self._lines(self._splitter.rest())
        return self._lines(self._splitter.add(chunk))

    def idle(self, partitions: Collection[str]) -> Mapping[str, float]:
        """Return since when the pipe has been empty, if it was empty when it was polled last."""
        return self._idle.of(partitions)

    def is_idle(self) -> bool:
        """Whether the pipe was empty when it was polled last."""
        return bool(self._idle.of([self._partition]))

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Return the one partition, from its beginning."""
        return {self._partition: Checkpoint(0, 0, None)}

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> bool:  # noqa: ARG002  nothing to keep
        """Do nothing: a pipe has no positions to go back to."""
        return True

    def lag(self) -> Mapping[str, int]:
        """Return nothing: how much a pipe will bring is not known."""
        return {}

    def describe(self, partition: str) -> str:  # noqa: ARG002  there is only one
        """Return the word for people."""
        return "standard input"

    def close(self) -> None:
        """Do nothing: standard input belongs to the process."""

    def _lines(self, raw: Iterable[RawLine]) -> list[LogLine]:
        lines = []
        for line in raw:
            self.discarded["cut"] += line.cut
            lines.append(line.log_line(self._partition, self._clock()))
        return lines
