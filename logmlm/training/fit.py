"""Fitting: models, held-out scores and calibration, from a corpus of token ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from logmlm.config.training import ModelConfig, ThresholdConfig
from logmlm.detection.approximations import StatisticsTable
from logmlm.detection.calibration import (
    HELD_OUT_SHARE,
    KINDS,
    STATISTICS,
    Calibration,
    Kind,
    fold_numbers,
    folds_needed,
)
from logmlm.detection.cascade import compute_statistics, exact_statistics
from logmlm.detection.known_windows import PrecomputedScores
from logmlm.detection.parts import (
    MIN_PARTIAL_WINDOWS,
    WindowCuts,
    are_whole,
    pool_statistics,
    sample_partial_windows,
)
from logmlm.detection.screening import Screen
from logmlm.detection.surges import RATE_SHARE
from logmlm.detection.tail_model import Array
from logmlm.errors import DataError
from logmlm.mlm.checkpoint import TrainingCheckpoint
from logmlm.mlm.corpus import MIN_WINDOWS, Corpus
from logmlm.mlm.forward import TrainableModel
from logmlm.mlm.model import build_model, set_weights, weights_of
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.tokenizer import END
from logmlm.mlm.trainer import EpochReport, TrainingJob, train_model
from logmlm.mlm.training_pool import max_parallel, run_in_processes
from logmlm.system.text import json_digest
from logmlm.training.perturbations import perturb

VALIDATION_SHARE = 0.05
LONG_WINDOW = 64
"""Windows of more tokens are long: absolute positions learn the order in them badly."""
LONG_SHARE = 0.9
"""Sessions are long if more than a tenth of them are."""
MIN_WHOLE_WINDOWS = 0.5
"""With a smaller share of windows that were not cut, those that were are what is usual."""
RECENT_WINDOWS = 200_000
"""Among so many of the latest, those that come again are looked for."""
MIN_GAIN = 0.05  # of a guess's errors; a model that avoids less has learned next to nothing
KEPT = "model"
"""The name of the training whose model is kept."""
MAX_EDITS = (1, 2, 4, 8)
"""How many edits the windows have that tell what a screen misses."""
EDITED_SHARE = 2
"""So many windows for each of these and for each window that is held out, ..."""
EDITED_TOKENS = 2_000_000
"""... as long as scoring them exactly takes no more tokens through the model, ..."""
PART_TOKENS = 4_000_000
"""Of each kind of cut windows there are as many as of held-out ones, or as this allows."""
MIN_EDITED = 80
"""... but of long windows, for which this is little, so many."""

Indices = npt.NDArray[np.int64]
FitCallback = Callable[[str, EpochReport], None]
"""Called after each epoch with the name of the training (`model`, `fold 1 of 4`)."""


@dataclass(frozen=True, slots=True)
class FitTask:
    """What is to be fitted: windows in order of time, and how."""

    corpus: Corpus
    vocabulary_size: int
    window_size: int
    windows_per_day: float
    model: ModelConfig
    threshold: ThresholdConfig
    in_order: bool = False
    """Whether the order of the windows means something, so that surges are watched for."""
    cuts: WindowCuts | None = None
    """Where sessions would be cut; None of other windows, which are all of one kind."""
    has_beginnings: bool = True
    """Whether windows begin where something begins, as sessions do, and not anywhere."""

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
        return json_digest(parts)


@dataclass(frozen=True, slots=True)
class FitResult:
    """A trained model with its calibration.

    `folds[i]` tells which part window i was held out with; -1 where it never was. `metrics`
    are `perplexity` and `masked_accuracy` on held-out windows, `majority_accuracy` the commonest's.
    `parts` are the calibrations of windows that were cut.
    """

    model: TrainableModel
    calibration: Calibration
    screen: Screen | None
    known: PrecomputedScores
    folds: Indices
    metrics: dict[str, float]
    parts: Mapping[Kind, Calibration] = field(default_factory=dict)

    def warnings(self) -> list[str]:
        """Sentences for the user where the data can't carry what was asked, or taught nothing."""
        found = [self.calibration.warning()]
        accuracy, majority = self.metrics["masked_accuracy"], self.metrics["majority_accuracy"]
        if accuracy - majority < MIN_GAIN * (1 - majority):
            found.append(
                f"the model knows {accuracy:.1%} of hidden lines, always saying the commonest knows"
                f" {majority:.1%}: it found next to no order in these windows; keep lines together"
                " that belong together (--key, --gap, --size), or train longer"
            )
        return [each for each in found if each]


def fit(task: FitTask, work: Path | None, report: FitCallback) -> FitResult:
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
    task = with_positions(_without_cuts_of_all(task))
    held_out, folds = _held_out(task), planned_folds(task)
    requests = _cross_fit(task, work, folds) if folds else _hold_out(task, work, held_out)
    workers = max_parallel(task.model.device, len(requests))
    return _fitted(
        task, requests, run_in_processes(_train_and_score, requests, lambda e: report(*e), workers)
    )


def with_positions(task: FitTask) -> FitTask:
    """Choose how the model knows the order of lines, unless the config says it."""
    if task.model.positions != "auto":
        return task
    is_short = np.quantile(task.corpus.lengths, LONG_SHARE) <= LONG_WINDOW
    positions = "absolute" if task.has_beginnings and is_short else "rotary"
    return replace(task, model=task.model.model_copy(update={"positions": positions}))


def planned_folds(task: FitTask) -> int:
    """Return with how many folds the task is cross-fitted; 0: its latest windows are held out."""
    return folds_needed(len(task.corpus), _held_out(task), task.rate, task.threshold.folds)


def _held_out(task: FitTask) -> int:
    return max(1, round(len(task.corpus) * HELD_OUT_SHARE))


def _without_cuts_of_all(task: FitTask) -> FitTask:
    """Take windows of which most were cut, such as sessions without an end, for one kind."""
    if task.cuts is None:
        return task
    is_whole = are_whole(task.corpus, task.cuts, np.arange(len(task.corpus)))
    latest = is_whole[-max(1, round(len(is_whole) * HELD_OUT_SHARE)) :]
    return (
        task
        if min(is_whole.mean(), latest.mean()) >= MIN_WHOLE_WINDOWS
        else replace(task, cuts=None)
    )


@dataclass(frozen=True, slots=True)
class _Request:
    """One training, and the windows that are scored after it."""

    name: str
    job: TrainingJob
    scored: Indices
    directory: Path | None
    identity: str
    scorings: int
    """How many of the trainings score windows."""
    cuts: WindowCuts | None


@dataclass(frozen=True, slots=True)
class _Result:
    """A training's weights, and what its model says of the windows held out."""

    weights: dict[str, npt.NDArray[np.float32]]
    held_out: StatisticsTable
    edited: tuple[StatisticsTable, ...]
    known: PrecomputedScores
    parts: Mapping[Kind, Array]
    surprisal: float
    guessed: int
    events: int


def _train_and_score(
    request: _Request, report: Callable[[tuple[str, EpochReport]], None]
) -> _Result:
    checkpoint = TrainingCheckpoint(request.directory, request.identity)
    model = train_model(request.job, checkpoint, lambda epoch: report((request.name, epoch)))
    tokens = [tuple(request.job.corpus[i].tolist()) for i in request.scored]
    whole = [tokens[i] for i in np.flatnonzero(_calibrates_threshold(request))]
    scorer = Scorer(model)
    readings = scorer.score_ordered(tokens)
    return _Result(
        weights=weights_of(model),
        held_out=compute_statistics(scorer, whole),
        edited=tuple(
            compute_statistics(scorer, _edited(whole, request, edits)) for edits in MAX_EDITS
        ),
        known=PrecomputedScores.of(scorer, _recent(request)),
        parts=_parts(scorer, request),
        surprisal=sum(float(reading.surprisals.sum()) for reading in readings),
        guessed=sum(int(reading.guessed.sum()) for reading in readings),
        events=sum(map(len, tokens)),
    )


def _calibrates_threshold(request: _Request) -> npt.NDArray[np.bool_]:
    """Tell which of the windows that are scored calibrate the threshold: all but parts."""
    windows = request.scored
    if request.cuts is None:
        return np.ones(len(windows), dtype=np.bool_)
    return are_whole(request.job.corpus, request.cuts, windows)


def _parts(scorer: Scorer, request: _Request) -> dict[Kind, Array]:
    """Exact statistics [N, 5] of parts of the windows that are scored."""
    if request.cuts is None or not len(request.scored):
        return {kind: np.empty((0, len(STATISTICS))) for kind in KINDS}
    lengths = request.job.corpus.lengths[request.scored]
    tokens = 2 * float(np.mean((lengths + 2.0) ** 2))
    allowed = max(PART_TOKENS / tokens, MIN_PARTIAL_WINDOWS) / request.scorings
    count = int(min(len(request.scored), allowed))
    seed = request.job.config.seed
    found = sample_partial_windows(request.job.corpus, request.cuts, request.scored, count, seed)
    return {
        kind: exact_statistics(scorer, windows, begun=kind == "head")
        for kind, windows in found.items()
    }


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
    allowed = max(EDITED_TOKENS / max(1.0, tokens), MIN_EDITED) / request.scorings
    count = int(min(EDITED_SHARE * len(windows), allowed))
    rng = np.random.default_rng(request.job.config.seed)
    return perturb(windows, count, END, request.job.window_size, rng, edits)


def _hold_out(task: FitTask, work: Path | None, count: int) -> list[_Request]:
    everything = np.arange(len(task.corpus))
    rest, calibrating = everything[:-count], everything[-count:]
    validating = max(1, round(len(everything) * VALIDATION_SHARE))
    return [_request(task, work, KEPT, (rest[:-validating], rest[-validating:]), calibrating)]


def _cross_fit(task: FitTask, work: Path | None, count: int) -> list[_Request]:
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


def _split(task: FitTask, windows: Indices) -> tuple[Indices, Indices]:
    """What a cross-fit's training learns from, and what it validates on.

    Everything is learned from, unless `patience` asks for the latest part to decide when to stop;
    never the fold that is scored, which has to stay unseen.
    """
    asked = task.model.patience > 0
    cut = len(windows) - asked * max(1, round(len(windows) * VALIDATION_SHARE))
    return windows[:cut], windows[cut:]


def _request(
    task: FitTask,
    work: Path | None,
    name: str,
    split: tuple[Indices, Indices],
    scored: Indices,
    scorings: int = 1,
) -> _Request:
    slug = name.replace(" ", "-")
    job = TrainingJob(
        corpus=task.corpus,
        training=split[0],
        validation=split[1],
        vocabulary_size=task.vocabulary_size,
        window_size=task.window_size,
        config=task.model,
    )
    identity, directory = f"{task.identity()}-{slug}", work / slug if work else None
    return _Request(name, job, scored, directory, identity, scorings, task.cuts)


def _fitted(task: FitTask, requests: Sequence[_Request], results: Sequence[_Result]) -> FitResult:
    folds = np.full(len(task.corpus), -1)
    for fold, request in enumerate(requests):
        folds[request.scored] = fold
    calibration, screen = _calibrated(task, requests, results)
    parts = _part_calibrations(task, calibration, results)
    events = sum(result.events for result in results)
    metrics = {
        "perplexity": float(np.exp(sum(result.surprisal for result in results) / events)),
        "masked_accuracy": sum(result.guessed for result in results) / events,
        "majority_accuracy": task.corpus.majority_share(),
    }
    model, known = _model(task, results[0]), results[0].known
    return FitResult(model, calibration, screen, known, folds, metrics, parts)


def _part_calibrations(
    task: FitTask, exact: Calibration, results: Sequence[_Result]
) -> dict[Kind, Calibration]:
    """Of each kind of parts, which have the share of the rate that whole windows have."""
    rate = task.rate * (1 - RATE_SHARE) if exact.surge else task.rate
    promise = exact.promise
    return {
        kind: Calibration.fit(
            found, rate, promise.windows_per_day, promise.folds, promise.alerts_per_day
        )
        for kind, found in pool_statistics([result.parts for result in results]).items()
    }


def _calibrated(
    task: FitTask, requests: Sequence[_Request], results: Sequence[_Result]
) -> tuple[Calibration, Screen | None]:
    judged = [request.scored[_calibrates_threshold(request)] for request in requests]
    in_time = np.argsort(np.concatenate(judged))
    held_out = StatisticsTable.concat([result.held_out for result in results]).take(in_time)
    calibration = Calibration.fit(
        held_out.exact,
        task.rate,
        task.windows_per_day,
        len(requests) - 1,
        task.alerts_per_day,
        in_order=task.in_order,
    )
    kinds = zip(*[result.edited for result in results], strict=True)
    odd = [StatisticsTable.concat(kind) for kind in kinds]
    known = results[0].known.surprisals
    screen = Screen.fit(calibration, held_out, odd, task.threshold.exactness, known)
    if screen is None:
        return calibration, None
    is_known = np.array([window in known for window in held_out.windows])
    return calibration, screen.with_surges(calibration, held_out, is_known)


def _model(task: FitTask, result: _Result) -> TrainableModel:
    config = task.model
    model = build_model(
        config.preset, task.vocabulary_size, task.window_size, config.seed, config.positions
    )
    set_weights(model, result.weights)
    return model
