"""Fitting: models, held-out scores and calibration, from a corpus of token ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from logmlm.calibration import Calibration, fold_numbers, folds_needed
from logmlm.config import ModelConfig, ThresholdConfig
from logmlm.edits import edited
from logmlm.errors import DataError
from logmlm.known import Known
from logmlm.ladder import looks
from logmlm.looks import Looks
from logmlm.mlm.checkpoint import TrainingCheckpoint
from logmlm.mlm.data import MIN_WINDOWS, Corpus
from logmlm.mlm.model import build_model, set_weights, weights_of
from logmlm.mlm.pll import Scorer
from logmlm.mlm.tokenizer import END
from logmlm.mlm.train import EpochReport, Job, train
from logmlm.mlm.workers import run_all, side_by_side
from logmlm.screen import Screen

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

HELD_OUT_SHARE = 0.10
VALIDATION_SHARE = 0.05
RECENT_WINDOWS = 200_000
"""Among so many of the latest, those that come again are looked for."""
LEAST_GAIN = 0.05  # of a guess's errors; a model that avoids less has learned next to nothing
KEPT = "model"
"""The name of the training whose model is kept."""
EDITS = (1, 2, 4, 8)
"""How many edits the windows have that tell what a screen misses."""
EDITED_SHARE = 2
"""So many windows for each of these and for each window that is held out, ..."""
EDITED_TOKENS = 2_000_000
"""... as long as scoring them exactly takes no more tokens through the model, ..."""
LEAST_EDITED = 80
"""... but of long windows, for which this is little, so many."""

Indices = npt.NDArray[np.int64]
Report = Callable[[str, EpochReport], None]
"""Called after each epoch with the name of the training (`model`, `fold 1 of 4`)."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be fitted: windows in order of time, and how."""

    corpus: Corpus
    vocabulary_size: int
    window_size: int
    windows_per_day: float
    model: ModelConfig
    threshold: ThresholdConfig
    in_order: bool = False
    """Whether the order of the windows means something, so that surges are watched for."""

    @property
    def rate(self) -> float:
        """The asked share of normal windows that alarm (one alert a day by default)."""
        if self.threshold.false_alarm_rate is not None:
            return self.threshold.false_alarm_rate
        return min(0.5, self._alerts_per_day / self.windows_per_day)

    @property
    def alerts_per_day(self) -> float | None:
        """The asked number of false alarms a day, where the rate was given so."""
        return None if self.threshold.false_alarm_rate is not None else self._alerts_per_day

    @property
    def _alerts_per_day(self) -> float:
        return self.threshold.alerts_per_day or 1.0

    def identity(self) -> str:
        """A digest of all that decides the weights: data, sizes and settings."""
        settings = self.model.model_dump_json(), self.threshold.folds, self.rate
        parts = [self.corpus.digest(), self.vocabulary_size, self.window_size, *settings]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model with its calibration.

    `folds[i]` tells which part window i was held out with; -1 where it never was. `metrics`
    are `perplexity` and `masked_accuracy` on held-out windows, `majority_accuracy` the commonest's.
    """

    model: BertForMaskedLM
    calibration: Calibration
    screen: Screen | None
    known: Known
    folds: Indices
    metrics: dict[str, float]

    def warnings(self) -> list[str]:
        """Sentences for the user where the data can't carry what was asked, or taught nothing."""
        found = [self.calibration.warning()]
        accuracy, majority = self.metrics["masked_accuracy"], self.metrics["majority_accuracy"]
        if accuracy - majority < LEAST_GAIN * (1 - majority):
            found.append(
                f"the model knows {accuracy:.1%} of hidden lines, always saying the commonest knows"
                f" {majority:.1%}: it found next to no order in these windows; keep lines together"
                " that belong together (--key, --gap, --size), or train longer"
            )
        return [each for each in found if each]


def fit(task: Task, work: Path | None, report: Report) -> Fitted:
    """Train and calibrate; with a `work` directory a killed run goes on where it was.

    Where the latest part carries the asked rate it is held out: the last windows calibrate,
    those before them validate. Else it is cross-fitted: each fold is scored by a model that
    did not see it, and the model that is kept saw everything (with `patience`, each training
    validates on the latest part of its windows).

    Raises:
        DataError: there are too few windows to learn from and to hold out.
    """
    count = len(task.corpus)
    if count < MIN_WINDOWS:
        raise DataError(f"{count} windows are too few to train on; {MIN_WINDOWS} are needed")
    held_out = max(1, round(count * HELD_OUT_SHARE))
    folds = folds_needed(count, held_out, task.rate, task.threshold.folds)
    requests = _cross_fit(task, work, folds) if folds else _hold_out(task, work, held_out)
    workers = side_by_side(task.model.device, len(requests))
    return _fitted(task, requests, run_all(_carry_out, requests, lambda e: report(*e), workers))


@dataclass(frozen=True, slots=True)
class _Request:
    """One training, and the windows that are scored after it."""

    name: str
    job: Job
    scored: Indices
    directory: Path | None
    identity: str
    scorings: int
    """How many of the trainings score windows."""


@dataclass(frozen=True, slots=True)
class _Result:
    """A training's weights, and what its model says of the windows held out."""

    weights: dict[str, npt.NDArray[np.float32]]
    held_out: Looks
    edited: tuple[Looks, ...]
    known: Known
    surprisal: float
    guessed: int
    events: int


def _carry_out(request: _Request, report: Callable[[tuple[str, EpochReport]], None]) -> _Result:
    checkpoint = TrainingCheckpoint(request.directory, request.identity)
    model = train(request.job, checkpoint, lambda epoch: report((request.name, epoch)))
    tokens = [tuple(request.job.corpus[i].tolist()) for i in request.scored]
    scorer = Scorer(model)
    readings = scorer.in_order(tokens)
    return _Result(
        weights=weights_of(model),
        held_out=looks(scorer, tokens),
        edited=tuple(looks(scorer, _edited(tokens, request, edits)) for edits in EDITS),
        known=Known.of(scorer, _recent(request)),
        surprisal=sum(float(reading.surprisals.sum()) for reading in readings),
        guessed=sum(int(reading.guessed.sum()) for reading in readings),
        events=sum(map(len, tokens)),
    )


def _recent(request: _Request) -> Iterator[tuple[int, ...]]:
    """The latest training windows of the model that is kept."""
    if request.name == KEPT:
        for i in request.job.training[-RECENT_WINDOWS:]:
            yield tuple(request.job.corpus[i].tolist())


def _edited(
    windows: Sequence[tuple[int, ...]], request: _Request, edits: int
) -> list[tuple[int, ...]]:
    """As many as `EDITED_SHARE` asks for and `EDITED_TOKENS` allow, of windows held out."""
    tokens = sum(2 * (len(window) + 2) ** 2 for window in windows) / max(1, len(windows))
    allowed = max(EDITED_TOKENS / max(1.0, tokens), LEAST_EDITED) / request.scorings
    count = int(min(EDITED_SHARE * len(windows), allowed))
    rng = np.random.default_rng(request.job.config.seed)
    return edited(windows, count, END, request.job.window_size, rng, edits)


def _hold_out(task: Task, work: Path | None, count: int) -> list[_Request]:
    everything = np.arange(len(task.corpus))
    rest, calibrating = everything[:-count], everything[-count:]
    validating = max(1, round(len(everything) * VALIDATION_SHARE))
    return [_request(task, work, KEPT, (rest[:-validating], rest[-validating:]), calibrating)]


def _cross_fit(task: Task, work: Path | None, count: int) -> list[_Request]:
    """The model that is kept first, as it takes longest; then one for each fold."""
    total = len(task.corpus)
    nothing = np.empty(0, dtype=np.int64)
    folds = fold_numbers(total, count, task.model.seed)
    requests = [_request(task, work, KEPT, _split(task, np.arange(total)), nothing)]
    for fold in range(count):
        seen, unseen = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        name = f"fold {fold + 1} of {count}"
        requests.append(_request(task, work, name, _split(task, seen), unseen, count))
    return requests


def _split(task: Task, windows: Indices) -> tuple[Indices, Indices]:
    """What a cross-fit's training learns from, and what it validates on.

    Everything is learned from, unless `patience` asks for the latest part to decide when to stop;
    never the fold that is scored, which has to stay unseen.
    """
    asked = task.model.patience > 0
    cut = len(windows) - asked * max(1, round(len(windows) * VALIDATION_SHARE))
    return windows[:cut], windows[cut:]


def _request(
    task: Task,
    work: Path | None,
    name: str,
    split: tuple[Indices, Indices],
    scored: Indices,
    scorings: int = 1,
) -> _Request:
    slug = name.replace(" ", "-")
    job = Job(
        corpus=task.corpus,
        training=split[0],
        validation=split[1],
        vocabulary_size=task.vocabulary_size,
        window_size=task.window_size,
        config=task.model,
    )
    identity = f"{task.identity()}-{slug}"
    return _Request(name, job, scored, work / slug if work else None, identity, scorings)


def _fitted(task: Task, requests: Sequence[_Request], results: Sequence[_Result]) -> Fitted:
    folds = np.full(len(task.corpus), -1)
    for fold, request in enumerate(requests):
        folds[request.scored] = fold
    calibration, screen = _calibrated(task, requests, results)
    events = sum(result.events for result in results)
    metrics = {
        "perplexity": float(np.exp(sum(result.surprisal for result in results) / events)),
        "masked_accuracy": sum(result.guessed for result in results) / events,
        "majority_accuracy": task.corpus.commonest_share(),
    }
    return Fitted(_model(task, results[0]), calibration, screen, results[0].known, folds, metrics)


def _calibrated(
    task: Task, requests: Sequence[_Request], results: Sequence[_Result]
) -> tuple[Calibration, Screen | None]:
    in_time = np.argsort(np.concatenate([request.scored for request in requests]))
    held_out = Looks.together([result.held_out for result in results]).only(in_time)
    calibration = Calibration.fit(
        held_out.exact,
        task.rate,
        task.windows_per_day,
        len(requests) - 1,
        task.alerts_per_day,
        in_order=task.in_order,
    )
    kinds = zip(*[result.edited for result in results], strict=True)
    odd = [Looks.together(kind) for kind in kinds]
    known = results[0].known.readings
    screen = Screen.fit(calibration, held_out, odd, task.threshold.exactness, known)
    if screen is None:
        return calibration, None
    is_known = np.array([window in known for window in held_out.windows])
    return calibration, screen.watching(calibration, held_out, is_known)


def _model(task: Task, result: _Result) -> BertForMaskedLM:
    config = task.model
    model = build_model(config.preset, task.vocabulary_size, task.window_size, config.seed)
    set_weights(model, result.weights)
    return model
