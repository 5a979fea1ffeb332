"""Sifting: which windows to leave out of logs that may hold anomalies which nobody labelled.

A model that trains briefly knows what is common and not yet what is rare, anomalies that come by
the dozen among it. So brief models each score the part of the windows that they did not see, and
the oddest are left out: one round of trimming (Shen & Sanghavi, "Learning with bad training data
via iterative trimmed loss minimization", ICML 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from logmlm.detection.calibration import Calibration, fold_numbers
from logmlm.detection.cascade import exact_statistics
from logmlm.detection.tail_model import Array
from logmlm.mlm.checkpoint import TrainingCheckpoint
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.trainer import EpochReport, TrainingJob, train_model
from logmlm.mlm.training_pool import max_parallel, run_in_processes
from logmlm.training.fit import FitCallback, FitTask, Indices

FOLDS = 4
BRIEF_WINDOWS = 50_000
"""So many windows are shown to a brief model, the same ones again where there are fewer: then an
anomaly that is one window in two hundred is not known yet (`tests/bench/RESULTS.md`)."""


def remove_contamination(
    task: FitTask, work: Path | None, report: FitCallback, say: Callable[[str], None]
) -> FitTask:
    """The task without the oddest of its windows, as many as its `threshold.contamination` asks.

    The brief trainings take no longer for many windows than for `BRIEF_WINDOWS`.
    """
    windows, share = len(task.corpus), task.threshold.contamination
    left_out = round(share * windows)
    if not left_out:
        return task
    say(f"leaving out the oddest {left_out:,} of {windows:,} windows ({share:g} of all)")
    least_odd = np.argsort(_values(task, work, report), kind="stable")
    kept = np.sort(least_odd[: windows - left_out])
    cuts = None if task.cuts is None else task.cuts.take(kept)
    return replace(task, corpus=task.corpus.take(kept), cuts=cuts)


def _values(task: FitTask, work: Path | None, report: FitCallback) -> Array:
    """How odd each window is [N] for a brief model that did not see it."""
    parts = [_fold(task, work, fold) for fold in range(FOLDS)]
    workers = max_parallel(task.model.device, len(parts))
    found = run_in_processes(_statistics, parts, lambda told: report(*told), workers)
    in_order = np.argsort(np.concatenate([part.scored for part in parts]))
    statistics = np.concatenate(found)[in_order]
    share = task.threshold.contamination
    values, _ = Calibration.fit(statistics, share, task.windows_per_day, FOLDS).values(statistics)
    return values


@dataclass(frozen=True, slots=True)
class _Fold:
    """A brief training, and the windows that it does not see."""

    name: str
    job: TrainingJob
    scored: Indices
    directory: Path | None
    identity: str


def _fold(task: FitTask, work: Path | None, fold: int) -> _Fold:
    folds = fold_numbers(len(task.corpus), FOLDS, task.model.seed)
    seen = np.flatnonzero(folds != fold)
    if len(seen) > BRIEF_WINDOWS:
        luck = np.random.default_rng((task.model.seed, fold))
        seen = np.sort(luck.choice(seen, BRIEF_WINDOWS, replace=False))
    epochs = max(1, round(BRIEF_WINDOWS / len(seen)))
    job = TrainingJob(
        corpus=task.corpus,
        training=seen,
        validation=np.empty(0, dtype=np.int64),
        vocabulary_size=task.vocabulary_size,
        window_size=task.window_size,
        config=task.model.model_copy(update={"epochs": epochs, "patience": 0}),
    )
    name = f"sift {fold + 1} of {FOLDS}"
    slug = name.replace(" ", "-")
    directory = work / slug if work else None
    return _Fold(name, job, np.flatnonzero(folds == fold), directory, f"{task.identity()}-{slug}")


def _statistics(part: _Fold, report: Callable[[tuple[str, EpochReport]], None]) -> Array:
    """Exact statistics [N, 5] of the part's windows."""
    checkpoint = TrainingCheckpoint(part.directory, part.identity)
    model = train_model(part.job, checkpoint, lambda epoch: report((part.name, epoch)))
    windows = [tuple(part.job.corpus[i].tolist()) for i in part.scored]
    distinct = list(dict.fromkeys(windows))
    row = {window: number for number, window in enumerate(distinct)}
    return exact_statistics(Scorer(model), distinct)[[row[window] for window in windows]]
