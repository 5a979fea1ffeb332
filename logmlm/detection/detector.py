"""The detector: one model directory, opened; events in, scores and explanations out."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from logmlm.detection.alarm_level import AlarmLevel
from logmlm.detection.calibration import Kind, part_kind
from logmlm.detection.cascade import CascadeResult, ScoringCascade
from logmlm.detection.event_parsing import event_parser_for
from logmlm.detection.known_windows import PrecomputedScores
from logmlm.detection.manifest import Manifest
from logmlm.detection.model_dir import load_calibration, load_novelty, load_parts
from logmlm.detection.model_watch import file_stamps
from logmlm.detection.novelty import NoveltyDetector
from logmlm.detection.seams import find_rotation_seams
from logmlm.detection.skew_report import warn_of_skew
from logmlm.detection.stream import LineReader, Stream
from logmlm.detection.surges import ScoreAll, SurgeMonitor
from logmlm.detection.windows import Windower, is_audited, window_id
from logmlm.errors import ModelError
from logmlm.mlm.pretrained import load_model
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.tokenizer import END, NEVER_PREDICTED, UNK, Vocabulary
from logmlm.parsing.batches import ParserSpec
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.parsing.parallel import ParallelParser
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import Expectation, LogLine, Score, Window
from logmlm.sources.archive.reader import expand, read_lines

if TYPE_CHECKING:
    from logmlm.mlm.forward import MaskedLM

SCORED_AT_ONCE = 2_048
END_TEXT = "(end of window)"
UNKNOWN_TEXT = "(a line never seen in training)"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LanguageQuality:
    """How well the model knows a log: exp of the mean surprisal, and the share guessed."""

    perplexity: float
    masked_accuracy: float


class Detector:
    """A trained model as it is used: reads lines, makes windows, scores, explains.

    Scores depend on the window alone: not on what else is scored with it, nor on the run.

    >>> import logmlm
    >>> detector = logmlm.load("models/app", device="cpu")
    >>> scores = list(detector.score_files(["today.log"]))
    >>> worst = max(scores, key=lambda score: score.value)
    >>> worst.is_anomaly
    True
    >>> [item.index for item in detector.explain(worst) if item.odd] != []
    True
    """

    def __init__(
        self,
        manifest: Manifest,
        templates: TemplateMiner,
        vocabulary: Vocabulary,
        cascade: ScoringCascade,
        parts: Mapping[Kind, ScoringCascade] = MappingProxyType({}),
        novelty: NoveltyDetector | None = None,
    ) -> None:
        """Set up; `parts` judge windows that were cut; without them `cascade` judges all.

        `novelty` judges never-seen lines; models of older versions have none.
        """
        self.manifest = manifest
        self.templates = templates
        self.vocabulary = vocabulary
        self.calibration = cascade.calibration
        self.digest = manifest.digest
        self._index = vocabulary.index()
        self._cascade = cascade
        self._parts = parts
        self._novelty = novelty

    @classmethod
    def load(
        cls,
        directory: Path,
        device: str = "auto",
        stride: int = 0,
        exact: bool = False,
        level: AlarmLevel | None = None,
    ) -> Detector:
        """Open a model directory; `exact` leaves its screen out.

        So does a `level`, another number of false alarms than was trained for: the screen knows
        which windows to look at closer for the trained one alone.

        All of it is read into memory: what becomes of the files later changes no score.

        Raises:
            ModelError: it is incomplete, damaged, or of a newer version.
            UsageError: this machine has no such device.

        """
        before = file_stamps(directory)
        manifest = Manifest.read(directory)
        before = before or file_stamps(directory)  # it was brought back just now
        templates = TemplateMiner.read(directory / "templates.json")
        calibration, screen = load_calibration(directory)
        cut, rule = load_parts(directory), load_novelty(directory)
        if level is not None:
            calibration, screen = level.calibration(calibration), None
            cut, rule = level.parts(calibration, cut), level.novelty(calibration, rule)
        model, vocabulary = load_model(directory, device)
        scorer = Scorer(model)
        cascade = ScoringCascade(
            scorer,
            calibration,
            None if exact or stride else screen,
            PrecomputedScores.read(directory),
            stride,
        )
        parts = {
            kind: ScoringCascade(scorer, part, None, stride=stride, begun=kind == "head")
            for kind, part in cut.items()
            if manifest.window.kind == "session"  # other windows have no beginning to miss
        }
        errors_alarm = manifest.threshold.new_errors
        novelty = None if rule is None else NoveltyDetector(rule, templates, errors_alarm)
        if file_stamps(directory) != before:
            raise ModelError(f"{directory} was written to while it was opened; try again")
        return cls(manifest, templates, vocabulary, cascade, parts, novelty)

    @property
    def model(self) -> MaskedLM:
        """The model itself."""
        return self._cascade.scorer.model

    def event_parser(self, *, finished: bool = False) -> EventParser:
        """A reader for the line format that the model was trained on; it never learns."""
        return event_parser_for(self.manifest, self.templates, finished=finished)

    def windower(self) -> Windower:
        """Windows as in training."""
        return Windower(self.manifest.window)

    def windows(
        self, lines: Iterable[LogLine], workers: int | None = None, logs: Sequence[str] = ()
    ) -> Iterator[Window]:
        """All windows of finished logs; each partition's are closed where its lines end.

        Where `logs`, the files that the lines are of, are those of one log that was rotated, the
        windows at their seams are cut.

        Many lines are parsed by `workers` more processes (by default one for each other CPU),
        which changes nothing in what comes out.

        Raises:
            DataError: there are no lines but blank ones.
            FormatError: there are lines, and not one is of the model's line format.

        """
        reader, windower = self.event_parser(finished=True), self.windower()
        for log, seam in find_rotation_seams(logs, get_format(self.manifest.format)).items():
            windower.join_partitions(log, seam.begins, seam.goes_on)
        key, masks = self.manifest.window.key, self.templates.masks
        crew = ParallelParser(ParserSpec(self.manifest.format, key, masks), workers)
        for batch, found in crew.read(lines):
            yield from windower.add(reader.feed_batch(batch, found))
            if batch.last:
                yield from windower.close_all()
        reader.refuse_foreign()
        warn_of_skew(windower.outliers, windower.outliers.count)

    def surge_monitor(self, score: ScoreAll | None = None) -> SurgeMonitor:
        """Make a judge for one run of a log; `score` stands in for this detector's own."""
        return SurgeMonitor(score or self.score, self._cascade.surge, self.rescore_exact)

    def score(self, windows: Sequence[Window]) -> list[Score]:
        """Score windows, in the order given, each by itself; cut ones as what they are."""
        places: dict[Kind | None, list[int]] = defaultdict(list)
        for place, window in enumerate(windows):
            places[self._kind(window)].append(place)
        found: dict[int, Score] = {}
        for kind, own in places.items():
            found |= zip(own, self._scored(kind, [windows[place] for place in own]), strict=True)
        return [self._with_novelty(found[place]) for place in range(len(windows))]

    def scores(self, windows: Iterable[Window]) -> Iterator[Score]:
        """Score all windows of one log, surges included, as they come: `SCORED_AT_ONCE` a batch."""
        judge, rest = self.surge_monitor(), iter(windows)
        while batch := list(islice(rest, SCORED_AT_ONCE)):
            yield from judge.score(batch)

    def score_files(
        self,
        paths: Iterable[str | Path] | str | Path,
        *,
        keep_going: bool = False,
        warn: Callable[[str], None] = logger.warning,
    ) -> Iterator[Score]:
        """Score the windows of finished logs (plain, .gz, .xz, .zst), surges included.

        Windows come in the order in which they close, file after file. With `keep_going`, what
        could be read of a damaged archive is used, and `warn` gets a sentence.

        Raises:
            DataError: a file is empty, binary or damaged, or there are no lines but blank ones.
            FormatError: not one line is of the model's line format.
            StorageError: a file is missing or can't be read.

        """
        given = [paths] if isinstance(paths, str | Path) else paths
        logs = expand([str(path) for path in given])
        return self.scores(self.windows(read_lines(logs, time.time(), keep_going, warn), logs=logs))

    def stream(self, partition: str = "stream") -> Stream:
        """Begin to score a log that still grows, line by line; `partition` is its name.

        >>> import logmlm
        >>> stream = logmlm.load("models/app", device="cpu").stream()
        >>> scores = []
        >>> for line in open("today.log"):
        ...     scores += stream.feed(line)
        >>> scores += stream.flush()
        >>> any(score.is_anomaly for score in scores)
        True
        """
        return Stream(self.event_parser(), self.windower(), self.surge_monitor(), partition)

    def decision_function(self, lines: Iterable[str]) -> npt.NDArray[np.float64]:
        """Return the values of the windows [W] of a finished log, in the order of their closing.

        There is one value a window, not one a line; 1.0 is the calibrated threshold. As in PyOD,
        and unlike in scikit-learn, a higher value is more anomalous.

        >>> import logmlm
        >>> detector = logmlm.load("models/app", device="cpu")
        >>> lines = open("today.log").readlines()
        >>> values = detector.decision_function(lines)
        >>> bool(((values >= 1.0) == detector.predict(lines)).all())
        True

        Raises:
            DataError: there are no lines but blank ones.
            FormatError: not one line is of the model's line format.

        """
        numbered = LineReader("lines").read_all(lines)
        return np.array([score.value for score in self.scores(self.windows(numbered))])

    def predict(self, lines: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return 1 for each window [W] that reaches the threshold, else 0.

        As in PyOD; scikit-learn has -1 and 1. Windows come as in `decision_function`.
        """
        return (self.decision_function(lines) >= 1.0).astype(np.int64)

    def rescore_exact(self, score: Score) -> Score:
        """The same score with exact numbers; the surge that it tells of stays."""
        if score.is_exact:
            return score
        exact = self._exact(score.window)
        novelty = 0.0 if self._novelty is None else self._novelty.value(score.window)
        value = max(exact.value, novelty, score.value if score.surge is not None else 0.0)
        return replace(exact, value=value, surge=score.surge)

    def _exact(self, window: Window) -> Score:
        (result,) = self._judging(window).exact([self._tokens(window)])
        return _score(window, result)

    def _with_novelty(self, score: Score) -> Score:
        """Raise the value of a window whose never-seen lines say more; one that alarms is exact."""
        if self._novelty is None:
            return score
        value = self._novelty.value(score.window)
        if value <= score.value:
            return score
        if value >= 1.0 and not score.is_exact and not self._cascade.stride:
            score = self._exact(score.window)
        return replace(score, value=max(value, score.value))

    def explain(self, score: Score) -> list[Expectation]:
        """What was expected in each place of the window; at least one place is odd if it alarms.

        A place is odd if its surprisal alone reaches the threshold, in either reading, or if it is
        a never-seen line of a window that alarms by these; where none does, the one that comes
        nearest is. Of a score that is not exact (`score.is_exact`)
        surprisals are lower than they would be; `rescore_exact` gives the exact one.
        """
        surprisals = np.array(score.surprisals)
        if self._kind(score.window) in ("tail", "middle"):
            surprisals[0] = 0.0  # what comes before it is not known
        calibration = self._judging(score.window).calibration
        values = calibration.event_values(surprisals, np.array(score.bag_surprisals))
        if self._novelty is not None and self._novelty.value(score.window) >= 1.0:
            values[self._novelty.novel_events(score.window)] += 1.0
        odd = values >= min(1.0, float(values.max()))
        expected = self._cascade.scorer.expected(self._tokens(score.window))
        return [
            Expectation(index, surprisal, bool(odd[index]), self._texts(expected[index]))
            for index, surprisal in enumerate(score.surprisals)
        ]

    def quality(self, windows: Sequence[Window]) -> LanguageQuality:
        """Perplexity and masked accuracy over all events of the windows, in order."""
        tokens = [self._tokens(window) for window in windows]
        readings = self._cascade.scorer.score_ordered(tokens, self._cascade.stride)
        surprisals = np.concatenate([reading.surprisals for reading in readings])
        guessed = np.concatenate([reading.guessed for reading in readings])
        return LanguageQuality(float(np.exp(surprisals.mean())), float(guessed.mean()))

    def window_id(self, window: Window) -> str:
        """The window's id: the same whenever the same file is read, under the same name."""
        return window_id(self.digest, window)

    def template_text(self, template_id: str) -> str:
        """A template's text, for people."""
        template = self.templates.get(template_id)
        return UNKNOWN_TEXT if template is None else template.text

    def token_of(self, template_id: str) -> str:
        """The model's word for a template: itself, or `[UNK]` for one too rare in training."""
        return template_id if template_id in self._index else "[UNK]"

    def unknown_share(self, windows: Sequence[Window]) -> float:
        """The share of events that match no template the model has a word for."""
        counts = Counter(self.token_of(e.template_id) for w in windows for e in w.events)
        return counts["[UNK]"] / max(1, counts.total())

    def _scored(self, kind: Kind | None, windows: Sequence[Window]) -> list[Score]:
        cascade = self._cascade if kind is None else self._parts[kind]
        tokens = [self._tokens(window) for window in windows]
        results = cascade.score(tokens, lambda place: is_audited(windows[place]))
        return list(map(_score, windows, results))

    def _kind(self, window: Window) -> Kind | None:
        """Which part of a session a window is judged as; None of one that is judged as a whole."""
        kind = part_kind(window.begun, window.complete)
        return kind if kind in self._parts else None

    def _judging(self, window: Window) -> ScoringCascade:
        kind = self._kind(window)
        return self._cascade if kind is None else self._parts[kind]

    def _tokens(self, window: Window) -> tuple[int, ...]:
        token_of = self._index.get
        tokens = [token_of(event.template_id, UNK) for event in window.events]
        return (*tokens, END) if window.complete else tuple(tokens)

    def _texts(self, expected: Sequence[tuple[int, float]]) -> tuple[tuple[str, float], ...]:
        return tuple(
            (self._text(token), share) for token, share in expected if token not in NEVER_PREDICTED
        )

    def _text(self, token: int) -> str:
        if token == END:
            return END_TEXT
        if token == UNK:
            return UNKNOWN_TEXT
        return self.template_text(self.vocabulary.words[token])


def load(path: str | Path, device: str = "auto") -> Detector:
    """Open a model directory.

    >>> import logmlm
    >>> detector = logmlm.load("models/app", device="cpu")
    >>> detector.template_text("no such id")
    '(a line never seen in training)'

    Raises:
        ModelError: it is incomplete, damaged, or of a newer version.
        UsageError: this machine has no such device.

    """
    return Detector.load(Path(path), device)


def _score(window: Window, result: CascadeResult) -> Score:
    return Score(
        window,
        result.surprisals,
        result.bag_surprisals,
        result.value,
        result.p_value,
        stage=result.stage,
    )
