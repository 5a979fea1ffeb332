"""`logmlm evaluate` as a function: a model and the simple rules on the same labelled windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from logmlm.detection.detector import Detector
from logmlm.detection.model_dir import TrainingWindows
from logmlm.errors import DataError
from logmlm.evaluation.baselines import Predictions, run_baselines
from logmlm.evaluation.labels import Labels
from logmlm.evaluation.report import write_report
from logmlm.evaluation.results import GroundTruth, ResultTable, build_results, model_verdict
from logmlm.records import END_TOKEN, UNKNOWN_TEMPLATE, Score, Window

Show = Callable[[Iterable[Score]], Iterable[Score]]
"""Passes scores on and shows how many have passed."""


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """The table, and what it was made of: the model's verdict first, then the rules'.

    `scores` are those of the windows; `verdicts` and `truth` are of what the labels speak of.
    """

    evaluation: ResultTable
    verdicts: tuple[Predictions, ...]
    truth: GroundTruth
    scores: tuple[Score, ...]

    def write(self, directory: Path) -> None:
        """Write plots and tables.

        Raises:
            StorageError: the directory can't be written.
        """
        write_report(self.evaluation, self.verdicts, self.truth, directory)


def evaluate_detector(
    detector: Detector,
    model: Path,
    windows: Sequence[Window],
    labels: Labels,
    *,
    oracle: bool,
    show: Show = iter,
) -> EvaluationRun:
    """Measure the model in the directory `model` on labelled windows, beside the simple rules.

    Where labels go by key, each key counts once, judged by its oddest window: a label speaks
    of all that was logged under a key, and a pause may have cut that in several windows. Windows
    without a key have no label then: they are scored, and counted apart from the table.
    Perplexity and masked accuracy are those of the windows that are not labelled.

    Raises:
        DataError: there are no windows, or the labels match none of them.
        ModelError: the training windows can't be read.
    """
    if not windows:
        raise DataError("the logs make no windows to evaluate")
    judged = _by_key(windows) if labels.keys is not None else [[i] for i in range(len(windows))]
    truth = GroundTruth.of([_concatenate([windows[i] for i in group]) for group in judged], labels)
    scores = tuple(show(detector.scores(windows)))
    verdicts = [model_verdict([score.value for score in scores])]
    verdicts += _rules(detector, model, windows)
    quality = detector.quality([w for w in windows if not labels.is_anomaly(w)] or windows)
    verdicts = [_worst_of_groups(verdict, judged) for verdict in verdicts]
    evaluation = build_results(
        verdicts,
        truth,
        perplexity=quality.perplexity,
        masked_accuracy=quality.masked_accuracy,
        oracle=oracle,
        unit="windows" if labels.keys is None else "keys",
    )
    return EvaluationRun(_with_counts(evaluation, scores, labels), tuple(verdicts), truth, scores)


def _with_counts(evaluation: ResultTable, scores: Sequence[Score], labels: Labels) -> ResultTable:
    """Add how many windows were screened, and how many no label by key can speak of."""
    without = [s for s in scores if not s.window.key] if labels.keys is not None else []
    return replace(
        evaluation,
        screened=sum(score.stage == "screened" for score in scores),
        keyless=len(without),
        keyless_flagged=sum(score.is_anomaly for score in without),
    )


def _rules(detector: Detector, model: Path, windows: Sequence[Window]) -> list[Predictions]:
    """The simple rules on the same words that the model reads, the end token left out."""
    training = TrainingWindows.read(model)
    known = [tuple(word for word in words if word != END_TOKEN) for words in training.words]
    tested = [tuple(_word(detector, event.template_id) for event in w.events) for w in windows]
    rate = detector.calibration.promise.rate
    return run_baselines(known, training.folds, tested, rate, detector.manifest.model.seed)


def _word(detector: Detector, template_id: str) -> str:
    """The model's word, but for a line never seen: rules can tell it from one that is rare."""
    return template_id if template_id == UNKNOWN_TEMPLATE else detector.token_of(template_id)


def _by_key(windows: Sequence[Window]) -> list[list[int]]:
    """Return the places of each key's windows; windows without a key are left out."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, window in enumerate(windows):
        if window.key:
            groups[window.key].append(place)
    return list(groups.values())


def _worst_of_groups(verdict: Predictions, groups: Sequence[Sequence[int]]) -> Predictions:
    """Of each group what is said of its oddest window."""
    scores = np.array([verdict.scores[list(group)].max() for group in groups])
    flagged = np.array([bool(verdict.flagged[list(group)].any()) for group in groups])
    return replace(verdict, scores=scores, flagged=flagged)


def _concatenate(windows: Sequence[Window]) -> Window:
    """All that the windows hold, as one."""
    events = tuple(event for window in windows for event in window.events)
    return replace(windows[0], events=events, complete=windows[-1].complete)
