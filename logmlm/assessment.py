"""`logmlm evaluate` as a function: a model and the simple rules on the same labelled windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from logmlm.detector import Detector
from logmlm.errors import DataError
from logmlm.evaluation import Evaluation, Truth, evaluate, model_verdict
from logmlm.labels import Labels
from logmlm.modeldir import TrainingWindows
from logmlm.records import END_TOKEN, Score, Window
from logmlm.report import write_report
from logmlm.rules import Verdict, rule_table


@dataclass(frozen=True, slots=True)
class Assessment:
    """The table, and what it was made of: the model's verdict first, then the rules'."""

    evaluation: Evaluation
    verdicts: tuple[Verdict, ...]
    truth: Truth
    scores: tuple[Score, ...]

    def write(self, directory: Path) -> None:
        """Write plots and tables.

        Raises:
            StorageError: the directory can't be written.
        """
        write_report(self.evaluation, self.verdicts, self.truth, directory)


def assess(
    detector: Detector, model: Path, windows: Sequence[Window], labels: Labels, *, oracle: bool
) -> Assessment:
    """Measure the model in the directory `model` on labelled windows, beside the simple rules.

    Perplexity and masked accuracy are those of the windows that are not labelled.

    Raises:
        DataError: there are no windows, or the labels match none of them.
        ModelError: the training windows can't be read.
    """
    if not windows:
        raise DataError("the logs make no windows to evaluate")
    truth = Truth.of(windows, labels)
    scores = tuple(detector.score(windows))
    verdicts = [model_verdict([score.value for score in scores])]
    verdicts += _rules(detector, model, windows)
    normal = [w for w, odd in zip(windows, truth.anomalous, strict=True) if not odd]
    quality = detector.quality(normal or windows)
    evaluation = evaluate(
        verdicts,
        truth,
        perplexity=quality.perplexity,
        masked_accuracy=quality.masked_accuracy,
        oracle=oracle,
    )
    return Assessment(evaluation, tuple(verdicts), truth, scores)


def _rules(detector: Detector, model: Path, windows: Sequence[Window]) -> list[Verdict]:
    """The simple rules on the same words that the model reads, the end token left out."""
    training = TrainingWindows.read(model)
    known = [tuple(word for word in words if word != END_TOKEN) for words in training.words]
    tested = [tuple(detector.word(event.template_id) for event in w.events) for w in windows]
    rate = detector.calibration.promise.rate
    return rule_table(known, training.folds, tested, rate, detector.manifest.model.seed)
