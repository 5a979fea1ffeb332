"""How long a training may take, and how many epochs that makes.

A plan follows from the number of windows and a short timed training. It is kept beside the state of
the training, so that one that was killed goes on as it began, and in the manifest, so that
`--epochs` repeats it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np

from logmlm.config.training import ModelConfig
from logmlm.mlm.checkpoint import TrainingCheckpoint
from logmlm.mlm.corpus import EpochSample
from logmlm.mlm.model import resolve_device
from logmlm.mlm.trainer import TrainingJob, epochs_of, train_model
from logmlm.mlm.training_pool import max_parallel
from logmlm.system.atomic_files import write_json
from logmlm.training.fit import FitTask, planned_folds, with_positions

DEFAULT_S: Final = 300.0
"""Seconds that training takes at most on a CPU, unless the config says otherwise."""
SCORING_SHARE: Final = 0.2
"""Share of the budget for what comes after training: scores of held-out windows."""
TIMED_STEPS: Final = 12
TIMED_EPOCHS: Final = 3
"""The fastest of these epochs but the first, of so many steps, is what training is reckoned by."""
EPOCHS: Final = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 1000)
"""Plans that a budget cuts down to: few, so that the same machine mostly makes the same one."""
PLAN_FILE: Final = "plan.json"


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """Epochs of each training, and the seconds that all of them are reckoned to take.

    `is_cut`: they would be more, if the budget allowed for it.
    """

    epochs: int
    seconds: float
    is_cut: bool


def budget_of(config: ModelConfig) -> float | None:
    """Return the seconds that training may take; None without a limit."""
    if config.budget == "none" or config.epochs != "auto":
        return None
    if config.budget != "auto":
        return config.budget
    is_shared = int(os.environ.get("WORLD_SIZE", "1")) > 1
    on_cpu = resolve_device(config.device).type == "cpu"
    return DEFAULT_S if on_cpu and not is_shared else None


def with_budget(task: FitTask, work: Path, say: Callable[[str], None]) -> FitTask:
    """Return the task with as many epochs as its budget allows for, where `auto` would be more.

    The plan is read from `work`, if it was made before for the same task.
    """
    budget_s = budget_of(task.model)
    if budget_s is None:
        return task
    plan = _read(work, task.identity())
    if plan is None:
        plan = make_plan(task, budget_s)
        write_json(work / PLAN_FILE, {task.identity(): [plan.epochs, plan.seconds, plan.is_cut]})
    say(_sentence(plan, budget_s, planned_folds(task)))
    if not plan.is_cut:
        return task
    return replace(
        task, model=task.model.model_copy(update={"epochs": plan.epochs, "budget": "auto"})
    )


def make_plan(task: FitTask, budget_s: float) -> TrainingPlan:
    """Time a short training and reckon how many epochs fit into the budget."""
    folds = planned_folds(task)
    draws = len(EpochSample.of(task.corpus, np.arange(len(task.corpus))))
    steps = ceil(draws / task.model.batch_size)
    wanted = epochs_of(task.model, steps, len(task.corpus))
    workers = max_parallel(task.model.device, folds + 1)
    epoch_s = seconds_per_step(task) * steps * (folds + 1) / workers
    room = (1 - SCORING_SHARE) * budget_s / epoch_s
    epochs = min(wanted, next((each for each in reversed(EPOCHS) if each <= room), EPOCHS[0]))
    return TrainingPlan(epochs, epochs * epoch_s, epochs < wanted)


def seconds_per_step(task: FitTask) -> float:
    """Return what a step of the optimizer takes here, by the fastest of some short epochs."""
    model = with_positions(task).model
    count = min(len(task.corpus), TIMED_STEPS * task.model.batch_size)
    chosen = np.random.default_rng(task.model.seed).choice(len(task.corpus), count, replace=False)
    job = TrainingJob(
        corpus=task.corpus,
        training=np.sort(chosen),
        validation=np.empty(0, dtype=np.int64),
        vocabulary_size=task.vocabulary_size,
        window_size=task.window_size,
        config=model.model_copy(update={"epochs": TIMED_EPOCHS, "patience": 0}),
    )
    ends: list[float] = []
    train_model(job, TrainingCheckpoint(None, ""), lambda _: ends.append(time.perf_counter()))
    steps = ceil(len(EpochSample.of(job.corpus, job.training)) / task.model.batch_size)
    return min(end - begin for begin, end in pairwise(ends)) / steps


def _read(work: Path, identity: str) -> TrainingPlan | None:
    try:
        found = json.loads((work / PLAN_FILE).read_text(encoding="utf-8"))[identity]
        return TrainingPlan(*found)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sentence(plan: TrainingPlan, budget_s: float, folds: int) -> str:
    models = f"{folds + 1} models" if folds else "one model"
    told = f"training: {models} of {plan.epochs} epochs, about {plan.seconds + 0.5:.0f} s"
    if not plan.is_cut:
        return f"{told} (--budget {budget_s:g}s)"
    return f"{told}; --budget {budget_s:g}s allows for no more (repeat it with --epochs)"
