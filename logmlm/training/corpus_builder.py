"""From normal logs to a corpus: templates are learned and windows made in one pass.

A line's template can still change while later lines are learned. So what is kept of each line
is the number of its masked message, and each distinct one is matched once, when all is
learned: training sees the ids that serving will see.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from logmlm.config.training import WindowConfig
from logmlm.detection.parts import CutSampler, WindowCuts
from logmlm.detection.seams import find_rotation_seams
from logmlm.detection.skew_report import warn_of_skew
from logmlm.detection.windows import Windower
from logmlm.errors import StorageError
from logmlm.evaluation.labels import Labels
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.tokenizer import END, UNK, Vocabulary
from logmlm.parsing.batches import LineBatch
from logmlm.parsing.event_parser import EventParser, MaskedTemplateLookup
from logmlm.parsing.formats import LineFormat
from logmlm.parsing.parsed import ParsedBatch
from logmlm.parsing.severity import reads_as_error
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import UNKNOWN_TEMPLATE, Window
from logmlm.system.atomic_files import private_opener

DISTINCT_MESSAGES = 1_000_000
"""Distinct masked messages kept; past them, what was learned at the line itself counts."""
END_NUMBER = -1
"""Stands for the end token in the file of message numbers."""
SHOWN_WINDOWS = 1_000
"""Of windows that the labels tell nothing of, so many are kept, to say which these are."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What one pass over normal logs gave; windows are in order of their last event's time.

    `lines_without_key` counts the events of sessions without a key; `cuts` tells where sessions
    would be cut.
    """

    templates: TemplateMiner
    vocabulary: Vocabulary
    corpus: Corpus
    lines: int
    discarded: Counter[str]
    left_out: int
    first_event: float
    last_event: float
    lines_without_key: int
    warnings: tuple[str, ...] = ()
    """Signs that lines were misread."""
    is_foreign: int = 0
    """Lines that are events by their date alone, and not of the line format."""
    cuts: WindowCuts | None = None
    overruns: int = 0
    """How often a pattern of the user's took too long on a line, and was given up."""
    first_windows: Mapping[str, int] = field(default_factory=dict)
    """The window, in order of time, in which each template came first."""
    error_templates: frozenset[str] = frozenset()
    """Templates of lines that are errors by level, status or words."""

    @property
    def windows_per_day(self) -> float:
        """How many windows a day brings, judged by the logs' first and last event."""
        seconds = max(1.0, self.last_event - self.first_event)
        return max(1.0, len(self.corpus) * 86_400 / seconds)


class CorpusBuilder:
    """Reads normal logs once; message numbers of all windows go to a file in `work`."""

    def __init__(
        self,
        line_format: LineFormat,
        window: WindowConfig,
        templates: TemplateMiner,
        labels: Labels | None,
        work: Path,
    ) -> None:
        self._messages = _MessageTable(templates)
        self._templates = templates
        self._line_format = line_format
        known = self._messages
        self._reader = EventParser(
            *(line_format, window.key, known.number),
            finished=True,
            by_mask=MaskedTemplateLookup(known.number_masked),
        )
        self._windower = Windower(window)
        self._labels = labels
        self._numbers_path = work / "messages.i32"
        self._tokens_path = work / "tokens.i32"
        self._lengths = array("q")
        self._ends = array("d")
        self._cuts = CutSampler() if window.kind == "session" else None
        self._first_event = float("inf")
        self._left_out = 0
        self._lines_without_key = 0
        self._overruns = 0
        self._labels_fit = False
        self._shown: list[Window] = []
        self._is_error: dict[int, bool] = {}

    def join_partitions(self, logs: Sequence[str]) -> None:
        """Cut windows at the seams of logs that were rotated, before lines are learned."""
        for log, seam in find_rotation_seams(logs, self._line_format).items():
            self._windower.join_partitions(log, seam.begins, seam.goes_on)

    def learn(self, parsed: Iterable[tuple[LineBatch, ParsedBatch]]) -> None:
        """Take all lines, with what was found in them; a file's windows are closed at its end.

        Templates are learned here, in the order of the lines, so that what is learned is the same
        whoever parsed them.

        Raises:
            StorageError: the file of numbers can't be written.
            DataError: the labels match none of the windows.

        """
        try:
            with open(self._numbers_path, "wb", opener=private_opener) as file:
                for batch, found in parsed:
                    self._overruns += batch.overruns + found.overruns
                    events = self._reader.feed_batch(batch, found)
                    self._keep(self._windower.add(events), file)
                    if batch.last:
                        self._keep(self._windower.close_all(), file)
                        self._windower.drop(batch.lines[0].partition)
        except OSError as error:
            raise StorageError(f"can't write {self._numbers_path}: {error.strerror}") from error
        warn_of_skew(self._windower.outliers, self._windower.outliers.count)
        if self._labels is not None and not self._labels_fit:
            self._labels.check(self._shown)

    def training_data(self, min_count: int) -> TrainingData:
        """Templates, words and corpus of all that was read."""
        ids = self._messages.template_ids()
        numbers = _mapped(self._numbers_path)
        vocabulary = Vocabulary.build(_counts(numbers, ids), min_count)
        index = vocabulary.index()
        table = np.array([*(index.get(name, UNK) for name in ids), END], dtype=np.int32)
        tokens = self._translated(numbers, table)
        return TrainingData(
            templates=self._templates,
            vocabulary=vocabulary,
            corpus=self._corpus(tokens),
            lines=self._reader.lines,
            discarded=self._reader.discarded,
            is_foreign=self._reader.foreign,
            left_out=self._left_out,
            first_event=self._first_event,
            last_event=max(self._ends, default=0.0),
            lines_without_key=self._lines_without_key,
            warnings=tuple(self._reader.find_warnings()),
            first_windows=self._first_windows(numbers, ids),
            error_templates=frozenset(ids[n] for n, is_error in self._is_error.items() if is_error),
            overruns=self._overruns + self._reader.overruns["key"] + self._templates.overruns,
            cuts=None if self._cuts is None else self._cuts.cuts().take(self._in_time()),
        )

    def _keep(self, windows: Sequence[Window], file: BinaryIO) -> None:
        for window in windows:
            if self._labels is not None and self._is_left_out(window, self._labels):
                self._left_out += 1
                continue
            numbers = array("i", (int(event.template_id) for event in window.events))
            self._note_errors(numbers, window)
            if window.complete:
                numbers.append(END_NUMBER)
            numbers.tofile(file)
            self._lengths.append(len(numbers))
            self._ends.append(window.end)
            if self._cuts is not None:
                self._cuts.add(window)
            self._lines_without_key += 0 if window.key else len(window.events)
            self._first_event = min(self._first_event, window.start)

    def _note_errors(self, numbers: Sequence[int], window: Window) -> None:
        """Note of messages that come for the first time if they are errors."""
        if self._is_error.keys() >= set(numbers):
            return
        for number, event in zip(numbers, window.events, strict=True):
            if number not in self._is_error:
                self._is_error[number] = reads_as_error(event.fields)

    def _first_windows(self, numbers: npt.NDArray[np.int32], ids: Sequence[str]) -> dict[str, int]:
        """Return the window, in order of time, in which each template came first."""
        names = list(dict.fromkeys(ids))
        place = {name: i for i, name in enumerate(names)}
        templates = np.array([place[name] for name in ids], dtype=np.int64)
        lengths = np.array(self._lengths, dtype=np.int64)
        rank = np.empty(len(lengths), dtype=np.int64)
        rank[self._in_time()] = np.arange(len(lengths))
        ends = lengths.cumsum()
        first = np.full(len(names), len(lengths))
        for start in range(0, len(numbers), 1 << 20):
            part = numbers[start : start + (1 << 20)]
            events = np.flatnonzero(part != END_NUMBER)
            windows = np.searchsorted(ends, events + start, side="right")
            np.minimum.at(first, templates[part[events]], rank[windows])
        found = dict(zip(names, first.tolist(), strict=True))
        found.pop(UNKNOWN_TEMPLATE, None)
        return {name: window for name, window in found.items() if window < len(lengths)}

    def _is_left_out(self, window: Window, labels: Labels) -> bool:
        """Whether it is labelled anomalous; until one is labelled at all, the last is kept too."""
        if not self._labels_fit:
            self._labels_fit = labels.overlaps_any(window)
            self._shown[SHOWN_WINDOWS:] = [window]
        return labels.is_anomaly(window)

    def _translated(
        self, numbers: npt.NDArray[np.int32], table: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        """Token ids in a file of their own; number -1 takes the table's last entry."""
        with open(self._tokens_path, "wb", opener=private_opener) as file:
            for start in range(0, len(numbers), 1 << 20):
                table[numbers[start : start + (1 << 20)]].tofile(file)
        return _mapped(self._tokens_path)

    def _corpus(self, tokens: npt.NDArray[np.int32]) -> Corpus:
        lengths = np.array(self._lengths, dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        order = self._in_time()
        return Corpus(tokens, starts[order], lengths[order])

    def _in_time(self) -> npt.NDArray[np.int64]:
        return np.argsort(np.array(self._ends), kind="stable")


class _MessageTable:
    """Numbers for distinct masked messages; each is learned as it comes."""

    def __init__(self, templates: TemplateMiner) -> None:
        self._templates = templates
        self._numbers: dict[tuple[str, bool], int] = {}

    def number(self, message: str) -> str:
        """Learn a message and return its number, as the text that an event carries."""
        return self.number_masked(self._templates.mask(message), lambda: message)

    def number_masked(self, masked: str, message: Callable[[], str]) -> str:
        """Learn what masks made of a message, which is asked for where that is new."""
        known = self._numbers.get((masked, True))
        if known is not None:
            self._templates.learn_masked(masked, "")  # its template is there: it counts
            return str(known)
        learned = self._templates.learn_masked(masked, message())
        full = len(self._numbers) >= DISTINCT_MESSAGES
        entry = (learned, False) if full else (masked, True)
        return str(self._numbers.setdefault(entry, len(self._numbers)))

    def template_ids(self) -> list[str]:
        """The template id of each number, with all that was learned."""
        return [
            self._templates.match_masked(text) if is_message else text
            for text, is_message in self._numbers
        ]


def _counts(numbers: npt.NDArray[np.int32], ids: Sequence[str]) -> dict[str, int]:
    """How often each template occurs in the windows kept; unknown lines count for nothing."""
    counts: Counter[str] = Counter()
    for start in range(0, len(numbers), 1 << 20):
        part = numbers[start : start + (1 << 20)]
        found = np.bincount(part[part != END_NUMBER], minlength=len(ids))
        for number in np.flatnonzero(found).tolist():
            counts[ids[number]] += int(found[number])
    counts.pop(UNKNOWN_TEMPLATE, None)
    return counts


def _mapped(path: Path) -> npt.NDArray[np.int32]:
    """A file of int32, memory-mapped; an empty one is an empty array."""
    if path.stat().st_size == 0:
        return np.empty(0, dtype=np.int32)
    return np.memmap(path, dtype=np.int32, mode="r")
