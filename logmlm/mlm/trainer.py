"""Masked language model training: AdamW, linear warm-up, cosine decay; resumable.

The loss is the cross-entropy at the masked positions (Devlin et al., NAACL 2019). All randomness of
an epoch follows from (seed, epoch), so a resumed training ends with the same weights as one that
was never interrupted. N processes (`process_group.py`) train like one with N times the batch size.
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
from logmlm.mlm.forward import TrainableModel, logits_at_positions
from logmlm.mlm.model import build_model, resolve_device
from logmlm.mlm.process_group import DistributedContext, own_device

WARMUP_SHARE = 0.05
"""Share of all steps in which the learning rate rises."""
WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm."""
VALIDATION_SEED = 2**31 - 1
"""Seed of the validation masks, which are the same in every epoch."""
ENOUGH_STEPS = 6_000
"""Optimizer steps that `epochs: auto` aims for."""
LEAST_EPOCHS = 10
MOST_TIMES = 40
"""With `auto`, a window is shown so often in the mean at most: little data is learned by heart, and
then the model is more certain of held-out windows, and less able to tell odd ones from them."""
LEAST_STEPS = 150
"""... unless that makes fewer steps than this, with which a model has learned next to nothing."""
SAVE_EVERY_S = 5.0
"""Seconds between checkpoints: a killed training loses at most this and one epoch."""


class MaskedLMLoss(nn.Module):
    """Masked language modelling loss, in bfloat16 on a GPU.

    It is a module so that `DistributedDataParallel` can wrap it.
    """

    def __init__(self, model: TrainableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sums over the M masked positions: cross-entropy in nats, correct predictions.

        Both are weighted by the weights of the windows.
        """
        kind = batch.inputs.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            # [M, V]
            logits = logits_at_positions(self.model, batch.inputs, batch.places, batch.padded)
        losses = nn.functional.cross_entropy(logits.float(), batch.truth, reduction="none")  # [M]
        guessed = logits.argmax(dim=-1) == batch.truth
        return (losses * batch.weights).sum(), (guessed * batch.weights).sum()


@dataclass(frozen=True, slots=True)
class EpochReport:
    """Metrics of one epoch; losses in nats per masked token, `perplexity` is exp(loss)."""

    epoch: int
    epochs: int
    loss: float
    accuracy: float
    perplexity: float
    validation_loss: float | None
    events_per_second: float

    def as_dict(self) -> dict[str, float | int | None]:
        """Return the report as plain numbers, for a JSON-lines log."""
        return asdict(self)


EpochCallback = Callable[[EpochReport], None]


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Corpus, split and settings of one training.

    `training` and `validation` (which may be empty) are indices of windows in the corpus, of at
    most `window_size` events each.
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
) -> TrainableModel:
    """Train a new model, or resume from `checkpoint`; same seed and CPU give the same weights.

    Every window of `job.training` counts in every epoch. With validation windows, the weights of
    the epoch with the lowest validation loss are returned, and training stops after `patience`
    epochs without improvement (0: never). The state is saved after an epoch if `save_every_s`
    seconds (default `SAVE_EVERY_S`) have passed since the last save, and at the end.

    Raises:
        UsageError: the loss is not finite because the learning rate is too high, or the device
            does not exist.
        StorageError: the checkpoint can't be written.

    """
    ranks = DistributedContext.here()
    ranks.broadcast(job)
    return _train(job, ranks, checkpoint, report, save_every_s)


def run_worker() -> None:
    """Train the jobs that rank 0 broadcasts until it sends None; only rank 0 reports errors."""
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
) -> TrainableModel:
    config = job.config
    model = build_model(
        config.preset, job.vocabulary_size, job.window_size, config.seed, config.positions
    )
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
    if ranks.is_main:  # other ranks have no use for the best weights
        checkpoint.load_best(run.model, progress)
    return run.model


def epochs_of(config: ModelConfig, steps_each: int, windows: int) -> int:
    """Return the number of epochs: as configured, or enough for `ENOUGH_STEPS` steps (`auto`).

    `auto` makes `LEAST_EPOCHS` at least, and fewer steps where the `windows` to learn from are few:
    none is shown more than `MOST_TIMES` times in the mean, as long as that makes `LEAST_STEPS`.
    """
    if config.epochs != "auto":
        return config.epochs
    most_steps = max(LEAST_STEPS, MOST_TIMES * windows / config.batch_size)
    return max(LEAST_EPOCHS, math.ceil(min(ENOUGH_STEPS, most_steps) / steps_each))


class Trainer:
    """A model, its optimizer and its training data."""

    def __init__(
        self,
        model: TrainableModel,
        job: TrainingJob,
        ranks: DistributedContext,
        draws: EpochSample | None = None,
    ) -> None:
        """Take the windows of an epoch from `draws`, by default a sample of `job.training`."""
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
        self.epochs = epochs_of(job.config, steps_each, len(job.training))
        self._steps = steps_each * self.epochs
        self._step: TrainStep = self._learn
        if model.device.type == "cuda" and ranks.count == 1:
            self._step = CudaGraphCache(self._learn, largest_batch(batch_size), on_gpu())

    def agreed(self, progress: TrainingProgress) -> TrainingProgress:
        """Copy progress, weights and optimizer state of rank 0 to all ranks; return progress."""
        if self._ranks.count == 1:
            return progress
        progress, state = self._ranks.broadcast((progress, optimizer_state(self.optimizer)))
        load_optimizer_state(self.optimizer, state)
        self._objective = DistributedDataParallel(self._objective)  # broadcasts the weights
        return progress

    def epoch(self, before: TrainingProgress, report: EpochCallback) -> TrainingProgress:
        """Train on all training windows once, then validate and report.

        Raises:
            UsageError: the loss is not finite.

        """
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
        """Take one optimizer step on the mean loss of a batch, of which each rank has a share."""
        loss, guessed = self._objective(batch)
        self.optimizer.zero_grad(set_to_none=True)
        # DistributedDataParallel averages the gradients over ranks; `count` turns that into a sum.
        (loss * (self._ranks.count / batch.total)).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        return loss.detach(), guessed

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Return the mean loss on the validation windows, with the same masks each time."""
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
        """Set linear warm-up, then cosine decay to zero (Loshchilov & Hutter, ICLR 2017)."""
        warmup = max(1, round(self._steps * WARMUP_SHARE))
        share = min(1.0, (step + 1) / warmup)
        rest = max(0.0, (step - warmup) / max(1, self._steps - warmup))
        rate = self._config.learning_rate * share * (1 + math.cos(math.pi * rest)) / 2
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)  # in place: CUDA graphs read this tensor
            else:
                group["lr"] = rate


class _Totals:
    """Sums over the masked positions of an epoch, read from the device once, at its end."""

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
    """An epoch's mean loss in nats, share of correct predictions, and number of events."""

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


def _optimizer(model: TrainableModel, learning_rate: float) -> torch.optim.AdamW:
    """Build AdamW (Loshchilov & Hutter, ICLR 2019) without decay of biases and norms.

    On a GPU the learning rate is a tensor there, so that captured CUDA graphs see its changes.
    """
    on_gpu = model.device.type == "cuda"
    rate = torch.tensor(learning_rate, device=model.device) if on_gpu else learning_rate
    learned = [p for p in model.parameters() if p.requires_grad]  # rotary angles are fixed
    decayed = [p for p in learned if p.ndim >= 2]
    plain = [p for p in learned if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True, capturable=on_gpu)
