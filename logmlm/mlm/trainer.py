"""Pretraining by masked language modelling: AdamW, warm-up, cosine; resumable.

All randomness of an epoch is drawn from (seed, epoch), so an interrupted training that goes on
ends with the same weights as one that was never interrupted. Several processes (`ranks.py`)
train as one whose batch is as many times as large.

What training makes small: the cross-entropy of what a batch hides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import BertForMaskedLM

from logmlm.config.training import ModelConfig
from logmlm.errors import LogmlmError, UsageError
from logmlm.mlm.batches import Batch, EpochBatches, RankSlice, largest_batch
from logmlm.mlm.checkpoint import (
    TrainingCheckpoint,
    TrainingProgress,
    load_optimizer_state,
    optimizer_state,
)
from logmlm.mlm.corpus import Corpus, EpochSample
from logmlm.mlm.cpu_threads import single_threaded
from logmlm.mlm.cuda_graphs import CudaGraphCache, TrainStep, on_gpu
from logmlm.mlm.forward import logits_at_positions
from logmlm.mlm.model import build_model, resolve_device
from logmlm.mlm.process_group import DistributedContext, own_device

WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0
VALIDATION_SEED = 2**31 - 1
ENOUGH_STEPS = 6_000
LEAST_EPOCHS = 10
MOST_EPOCHS = 1_000
"""So that logs of less than 200 windows, each seen thousands of times, do not take minutes."""
SAVE_EVERY_S = 5.0
"""How often the state is saved: a killed training loses so much and one epoch at most."""


class MaskedLMLoss(nn.Module):
    """A module, so that processes can share it; on a GPU it works in bfloat16."""

    def __init__(self, model: BertForMaskedLM) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums over the hidden places of a batch: cross-entropy in nats, and guessed ones.

        Both count a window as often as its weight says.
        """
        kind = batch.inputs.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            logits = logits_at_positions(self.model, batch.inputs, batch.places, batch.padded)
        losses = nn.functional.cross_entropy(logits.float(), batch.truth, reduction="none")
        guessed = logits.argmax(dim=-1) == batch.truth
        return (losses * batch.weights).sum(), (guessed * batch.weights).sum()


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch showed; losses are nats a hidden token, `perplexity` is exp(loss)."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    perplexity: float
    validation_loss: float | None
    events_per_second: float

    def as_dict(self) -> dict[str, float | int | None]:
        """The report as plain numbers, for a JSON-lines log."""
        return asdict(self)


EpochCallback = Callable[[EpochReport], None]


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to train, and on what.

    `training` and `validation` (may be empty) are indices of the corpus's windows, of at most
    `window_size` events each.
    """

    corpus: Corpus
    training: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    vocabulary_size: int
    window_size: int
    config: ModelConfig


def train_model(
    job: TrainingJob,
    checkpoint: TrainingCheckpoint,
    report: EpochCallback,
    save_every_s: float | None = None,
) -> BertForMaskedLM:
    """Train a fresh model, or go on from `checkpoint`; same seed and CPU, same weights.

    Every window of `job.training` counts in every epoch. With windows to validate on, the
    weights of the epoch with the least validation loss are returned, and training stops after
    `patience` epochs without a better one (0: never). The state is saved after an epoch, if
    `save_every_s` (`SAVE_EVERY_S` unless told) have passed since, and at the end.

    Raises:
        UsageError: the learning rate is so high that the loss is no number, or no such device.
        StorageError: the checkpoint can't be written.

    """
    ranks = DistributedContext.here()
    ranks.broadcast(job)
    return _train(job, ranks, checkpoint, report, save_every_s)


def run_worker() -> None:
    """Train with rank 0, in each job that it names, until it is done; it alone says what fails."""
    ranks, nowhere = DistributedContext.here(), TrainingCheckpoint(None, "")
    with suppress(LogmlmError):
        while (job := ranks.broadcast(None)) is not None:
            _train(job, ranks, nowhere, lambda _: None, math.inf)


def _train(
    job: TrainingJob,
    ranks: DistributedContext,
    checkpoint: TrainingCheckpoint,
    report: EpochCallback,
    save_every_s: float | None,
) -> BertForMaskedLM:
    config = job.config
    model = build_model(config.preset, job.vocabulary_size, job.window_size, config.seed)
    model.to(own_device(resolve_device(config.device), ranks))
    run = Trainer(model, job, ranks)
    progress = run.agreed(checkpoint.restore(model, run.optimizer))
    every_s = SAVE_EVERY_S if save_every_s is None else save_every_s
    saved_at = time.monotonic()
    with single_threaded():
        while progress.epoch < run.epochs and not progress.exhausted(config.patience):
            progress = run.epoch(progress, report)
            checkpoint.keep_best(run.model, progress)
            if time.monotonic() - saved_at >= every_s:
                checkpoint.save(run.model, run.optimizer, progress)
                saved_at = time.monotonic()
    checkpoint.save(run.model, run.optimizer, progress)
    if ranks.is_main:  # the others have no best weights from before a restart, nor a use for them
        checkpoint.load_best(run.model, progress)
    return run.model


def epochs_of(config: ModelConfig, steps_each: int) -> int:
    """Epochs to train for: as asked, or (`auto`) enough for `ENOUGH_STEPS` optimizer steps.

    `auto` is from `LEAST_EPOCHS` to `MOST_EPOCHS`.
    """
    if config.epochs != "auto":
        return config.epochs
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(ENOUGH_STEPS / steps_each)))


class Trainer:
    """One training: a model, its optimizer, and the data it learns from."""

    def __init__(
        self,
        model: BertForMaskedLM,
        job: TrainingJob,
        ranks: DistributedContext,
        draws: EpochSample | None = None,
    ) -> None:
        """`draws` are what an epoch is made of; those of `job.training` unless told."""
        self.model = model
        self.optimizer = _optimizer(model, job.config.learning_rate)
        self._objective: nn.Module = MaskedLMLoss(model)
        self._training = draws or EpochSample.of(job.corpus, job.training)
        self._validation = EpochSample.of(job.corpus, job.validation)
        self._config = job.config
        self._ranks = ranks
        batch_size = job.config.batch_size * ranks.count
        self._epochs = EpochBatches(job.corpus, batch_size, job.vocabulary_size, model.device)
        steps_each = max(1, math.ceil(len(self._training) / batch_size))
        self.epochs = epochs_of(job.config, steps_each)
        self._steps = steps_each * self.epochs
        self._step: TrainStep = self._learn
        if model.device.type == "cuda" and ranks.count == 1:
            self._step = CudaGraphCache(self._learn, largest_batch(batch_size), on_gpu())

    def agreed(self, progress: TrainingProgress) -> TrainingProgress:
        """The progress of rank 0, with its weights and its optimizer's state in each process."""
        if self._ranks.count == 1:
            return progress
        progress, state = self._ranks.broadcast((progress, optimizer_state(self.optimizer)))
        load_optimizer_state(self.optimizer, state)
        self._objective = DistributedDataParallel(self._objective)  # it spreads rank 0's weights
        return progress

    def epoch(self, before: TrainingProgress, report: EpochCallback) -> TrainingProgress:
        """One pass over all training windows."""
        began = time.perf_counter()
        totals = _Totals(self.model.device)
        step = before.step
        self.model.train()
        for batch in self._batches(self._training, self._config.seed, before.epoch):
            self._set_learning_rate(step)
            totals.add(batch, *self._step(batch))
            step += 1
        learned = totals.outcome(self._ranks)
        if not math.isfinite(learned.loss):
            raise UsageError(
                "the training loss is no longer a number; lower the learning rate"
                f" (model.learning_rate is {self._config.learning_rate:g})"
            )
        validation = self._validate()
        report(learned.report(before.epoch + 1, self.epochs, validation, began))
        return before.after_epoch(step, validation)

    def _learn(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """One step on the mean over a batch; processes each have a part, and mean the gradients."""
        loss, guessed = self._objective(batch)
        self.optimizer.zero_grad(set_to_none=True)
        (loss * (self._ranks.count / batch.total)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        return loss.detach(), guessed

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Mean loss on the windows held out, with the same masks each time."""
        if not len(self._validation):
            return None
        self.model.eval()
        totals, objective = _Totals(self.model.device), MaskedLMLoss(self.model)
        for batch in self._batches(self._validation, VALIDATION_SEED, 0):
            totals.add(batch, *objective(batch))
        return totals.outcome(self._ranks).loss

    def _batches(self, draws: EpochSample, seed: int, epoch: int) -> Iterator[Batch]:
        part = RankSlice(self._ranks.rank, self._ranks.count)
        return self._epochs.batches(draws, seed, epoch, part)

    def _set_learning_rate(self, step: int) -> None:
        """Linear warm-up, then a cosine to zero (Loshchilov & Hutter, ICLR 2017)."""
        warmup = max(1, round(self._steps * WARMUP_SHARE))
        share = min(1.0, (step + 1) / warmup)
        rest = max(0.0, (step - warmup) / max(1, self._steps - warmup))
        rate = self._config.learning_rate * share * (1 + math.cos(math.pi * rest)) / 2
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)  # where graphs have it
            else:
                group["lr"] = rate


class _Totals:
    """Sums over the hidden places of an epoch; the device is asked for them once, at its end."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(2, dtype=torch.float64, device=device)
        self._hidden = 0.0
        self._events = 0

    def add(self, batch: Batch, loss: torch.Tensor, guessed: torch.Tensor) -> None:
        self._sums += torch.stack([loss, guessed])
        self._hidden += batch.total
        self._events += batch.events

    def outcome(self, ranks: DistributedContext) -> _Outcome:
        loss, guessed = ranks.all_reduce(self._sums).tolist()
        hidden = max(1e-9, self._hidden)
        return _Outcome(loss / hidden, guessed / hidden, self._events)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """An epoch's mean loss, share of guessed places, and number of events."""

    loss: float
    accuracy: float
    events: int

    def report(
        self, epoch: int, epochs: int, validation: float | None, began: float
    ) -> EpochReport:
        return EpochReport(
            epoch=epoch,
            epochs=epochs,
            loss=self.loss,
            accuracy=self.accuracy,
            perplexity=math.exp(min(700.0, self.loss)),
            validation_loss=validation,
            events_per_second=self.events / (time.perf_counter() - began),
        )


def _optimizer(model: BertForMaskedLM, learning_rate: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, ICLR 2019); biases and norms are not decayed.

    On a GPU its learning rate is there too, so that a CUDA graph takes it from there.
    """
    on_gpu = model.device.type == "cuda"
    rate = torch.tensor(learning_rate, device=model.device) if on_gpu else learning_rate
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True, capturable=on_gpu)
