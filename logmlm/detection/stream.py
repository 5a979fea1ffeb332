"""Lines pushed in one by one, scores out: parser, windower and surge monitor as in the daemon."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain

from logmlm.config.kafka import MAX_LINE_BYTES
from logmlm.detection.surges import SurgeMonitor
from logmlm.detection.windows import Windower
from logmlm.parsing.event_parser import EventParser
from logmlm.records import Event, LogLine, Score
from logmlm.sources.lines import Splitter

NEWLINE = "\n"


class Stream:
    """Scores the lines of one log as they come.

    Windows close by the times in the lines, not by the clock on the wall: what waits for a line
    that never comes is scored by `flush`.
    """

    def __init__(
        self, parser: EventParser, windower: Windower, monitor: SurgeMonitor, partition: str
    ) -> None:
        """`partition` is what the windows call the log."""
        self._parser = parser
        self._windower = windower
        self._monitor = monitor
        self._lines = LineReader(partition)

    def feed(self, line: str) -> list[Score]:
        """Take the next line, and return the scores of the windows that it closes (often none)."""
        return self._score(self._parser.feed(self._lines.read(line)))

    def flush(self) -> list[Score]:
        """Close and score all windows that are open: the log has ended."""
        return self._score(self._parser.flush(), is_last=True)

    def _score(self, events: Iterable[Event], *, is_last: bool = False) -> list[Score]:
        windows = self._windower.add(events)
        if is_last:
            windows += self._windower.close_all()
        return self._monitor.score(windows) if windows else []


class LineReader:
    """Makes log lines of texts as sources do, with the positions that they would have in a file."""

    def __init__(self, partition: str) -> None:
        self._partition = partition
        self._splitter = Splitter(MAX_LINE_BYTES)
        self._number = 1

    def read(self, text: str) -> list[LogLine]:
        """Return the next line, with or without its line end; several where the text has more."""
        raw = f"{text.removesuffix(NEWLINE)}{NEWLINE}".encode("utf-8", "surrogateescape")
        found = []
        for line in self._splitter.add(raw):
            made = line.log_line(self._partition, time.time())
            found.append(made._replace(number=self._number))
            self._number += line.lines
        return found

    def read_all(self, texts: Iterable[str]) -> Iterator[LogLine]:
        """Return all lines."""
        return chain.from_iterable(map(self.read, texts))
