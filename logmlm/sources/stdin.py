"""Lines from standard input, until its end."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping

from logmlm.errors import StorageError
from logmlm.records import Checkpoint, LogLine
from logmlm.sourceconfig import StdinSourceConfig
from logmlm.sources.base import Steady, decode

CHUNK_BYTES = 64 * 1024


class StdinSource(Steady):
    """Hands over what a pipe brings; its end ends the source, and the last line needs no newline.

    Nothing can be read twice, so nothing is committed: what is in open windows at a stop is
    lost. The partition is named after the time of the start, so that another run's lines are
    not taken for these.
    """

    name = "stdin"

    def __init__(
        self, config: StdinSourceConfig, descriptor: int, *, clock: Callable[[], float]
    ) -> None:
        self.exhausted = False
        self.cut_lines = 0
        """Lines that were over `max_line_bytes`."""
        self._config = config
        self._descriptor = descriptor
        self._clock = clock
        self._partition = f"stdin/{clock():.6f}"
        self._position = 0
        self._line = bytearray()
        self._line_bytes = 0

    def poll(self, timeout: float) -> list[LogLine]:
        """Lines that came within `timeout` seconds, those of one chunk at most.

        Raises:
            StorageError: standard input can't be read.

        """
        try:
            ready, _, _ = select.select([self._descriptor], [], [], timeout)
            chunk = os.read(self._descriptor, CHUNK_BYTES) if ready else None
        except OSError as error:
            raise StorageError(f"can't read standard input: {error.strerror}") from error
        if chunk is None:
            return []
        if not chunk:
            self.exhausted = True
            return [self._finish()] if self._line_bytes else []
        return self._take(chunk)

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Return the one partition, from its beginning."""
        return {self._partition: Checkpoint(0, 0, None)}

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Do nothing: a pipe has no positions to go back to."""

    def origin(self, partition: str) -> str:  # noqa: ARG002  there is only one
        """Return the word for people."""
        return "standard input"

    def close(self) -> None:
        """Do nothing: standard input belongs to the process."""

    def _take(self, chunk: bytes) -> list[LogLine]:
        *whole, rest = chunk.split(b"\n")
        lines = []
        for piece in whole:
            self._add(piece + b"\n")
            lines.append(self._finish())
        self._add(rest)
        return lines

    def _add(self, piece: bytes) -> None:
        room = self._config.max_line_bytes + len(b"\r\n") - len(self._line)
        self._line += piece[:room]
        self._line_bytes += len(piece)

    def _finish(self) -> LogLine:
        raw = bytes(self._line)
        start, self._position = self._position, self._position + self._line_bytes
        self._line.clear()
        self._line_bytes = 0
        content = len(raw.removesuffix(b"\n").removesuffix(b"\r"))
        self.cut_lines += content > self._config.max_line_bytes
        text = decode(raw, self._config.max_line_bytes)
        return LogLine(text, self._partition, start, self._position, self._clock())
