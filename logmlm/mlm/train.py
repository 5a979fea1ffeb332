"""Pretraining by masked language modelling: AdamW, warm-up, cosine; resumable.

All randomness of an epoch is drawn from (seed, epoch), so an interrupted training that goes on
ends with the same weights as one that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import BertForMaskedLM

from logmlm.config import ModelConfig
from logmlm.errors import UsageError
from logmlm.mlm.checkpoint import Progress, TrainingCheckpoint
from logmlm.mlm.data import Batch, Corpus, Draws, batches
from logmlm.mlm.masking import IGNORED
from logmlm.mlm.model import build_model, resolve_device, token_logits

WARMUP_SHARE = 0.05
WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0
VALIDATION_SEED = 2**31 - 1
ENOUGH_STEPS = 6_000
LEAST_EPOCHS = 10
SAVE_EVERY_S = 5.0
"""How often the state is saved: a killed training loses so much and one epoch at most."""


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


Report = Callable[[EpochReport], None]
_Outcome = tuple[float, float, float]
"""A batch's mean loss, and its weighted numbers of guessed and of hidden places."""


@dataclass(frozen=True, slots=True)
class Job:
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


def train(
    job: Job, checkpoint: TrainingCheckpoint, report: Report, save_every_s: float | None = None
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
    config = job.config
    device = resolve_device(config.device)
    model = build_model(config.preset, job.vocabulary_size, job.window_size, config.seed)
    run = _Run(model.to(device), job)
    progress = checkpoint.restore(run.model, run.optimizer)
    every_s = SAVE_EVERY_S if save_every_s is None else save_every_s
    saved_at = time.monotonic()
    with _one_thread():
        while progress.epoch < run.epochs and not progress.exhausted(config.patience):
            progress = run.epoch(progress, report)
            checkpoint.keep_best(run.model, progress)
            if time.monotonic() - saved_at >= every_s:
                checkpoint.save(run.model, run.optimizer, progress)
                saved_at = time.monotonic()
    checkpoint.save(run.model, run.optimizer, progress)
    checkpoint.load_best(run.model, progress)
    return run.model


def epochs_of(config: ModelConfig, steps_each: int) -> int:
    """Epochs to train for: as asked, or (`auto`) enough for `ENOUGH_STEPS` optimizer steps."""
    if config.epochs != "auto":
        return config.epochs
    return max(LEAST_EPOCHS, math.ceil(ENOUGH_STEPS / steps_each))


class _Run:
    """One training: a model, its optimizer, and the data it learns from."""

    def __init__(self, model: BertForMaskedLM, job: Job) -> None:
        self.model = model
        self.optimizer = _optimizer(model, job.config.learning_rate)
        self._corpus = job.corpus
        self._training = Draws.of(job.corpus, job.training)
        self._validation = Draws.of(job.corpus, job.validation)
        self._vocabulary_size = job.vocabulary_size
        self._config = job.config
        steps_each = max(1, math.ceil(len(self._training) / job.config.batch_size))
        self.epochs = epochs_of(job.config, steps_each)
        self._steps = steps_each * self.epochs

    def epoch(self, before: Progress, report: Report) -> Progress:
        """One pass over all training windows."""
        began = time.perf_counter()
        totals = _Totals()
        step = before.step
        self.model.train()
        with _seeded(self._config.seed, before.epoch):
            for batch in self._batches(self._training, self._config.seed, before.epoch):
                self._set_learning_rate(step)
                totals.add(self._learn(batch), batch)
                step += 1
        validation = self._validate()
        report(totals.report(before.epoch + 1, self.epochs, validation, began))
        return before.after_epoch(step, validation)

    def _learn(self, batch: Batch) -> _Outcome:
        loss, correct, hidden = self._loss(batch)
        if not math.isfinite(loss.item()):
            raise UsageError(
                "the training loss is no longer a number; lower the learning rate"
                f" (model.learning_rate is {self._config.learning_rate:g})"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimizer.step()
        return loss.item(), correct, hidden

    def _loss(self, batch: Batch) -> tuple[torch.Tensor, float, float]:
        """Mean cross-entropy over the hidden places, how many were guessed, and how many there are.

        All three count a window as often as its weight says.
        """
        device = self.model.device
        targets = torch.as_tensor(batch.targets, device=device)
        places = targets != IGNORED
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            ids = torch.as_tensor(batch.inputs, device=device)
            logits = token_logits(self.model, ids, places, padding=True)
        truth = targets[places]
        weights = torch.as_tensor(batch.weights, device=device)[places.nonzero()[:, 0]]
        losses = torch.nn.functional.cross_entropy(logits.float(), truth, reduction="none")
        correct = float(weights[logits.argmax(dim=-1) == truth].sum())
        hidden = float(weights.sum())
        return (losses * weights).sum() / hidden, correct, hidden

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Mean loss on the windows held out, with the same masks each time."""
        if not len(self._validation):
            return None
        self.model.eval()
        totals = _Totals()
        for batch in self._batches(self._validation, VALIDATION_SEED, 0):
            loss, correct, hidden = self._loss(batch)
            totals.add((loss.item(), correct, hidden), batch)
        return totals.mean_loss()

    def _batches(self, draws: Draws, seed: int, epoch: int) -> Iterator[Batch]:
        rng = np.random.default_rng([seed, epoch])
        size = self._config.batch_size
        return batches(self._corpus, draws, size, self._vocabulary_size, rng)

    def _set_learning_rate(self, step: int) -> None:
        """Linear warm-up, then a cosine to zero (Loshchilov & Hutter, ICLR 2017)."""
        warmup = max(1, round(self._steps * WARMUP_SHARE))
        share = min(1.0, (step + 1) / warmup)
        rest = max(0.0, (step - warmup) / max(1, self._steps - warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = self._config.learning_rate * share * (1 + math.cos(math.pi * rest)) / 2


@dataclass(slots=True)
class _Totals:
    """Sums over the hidden places of an epoch."""

    loss: float = 0.0
    correct: float = 0.0
    hidden: float = 0.0
    events: int = 0

    def add(self, outcome: _Outcome, batch: Batch) -> None:
        loss, correct, hidden = outcome
        self.loss += loss * hidden
        self.correct += correct
        self.hidden += hidden
        self.events += batch.events

    def mean_loss(self) -> float:
        return self.loss / max(1e-9, self.hidden)

    def report(
        self, epoch: int, epochs: int, validation: float | None, began: float
    ) -> EpochReport:
        return EpochReport(
            epoch=epoch,
            epochs=epochs,
            loss=self.mean_loss(),
            accuracy=self.correct / max(1e-9, self.hidden),
            perplexity=math.exp(min(700.0, self.mean_loss())),
            validation_loss=validation,
            events_per_second=self.events / (time.perf_counter() - began),
        )


def _optimizer(model: BertForMaskedLM, learning_rate: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, ICLR 2019); biases and norms are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """One CPU thread: models this small gain nothing from more, and sums keep their order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _seeded(seed: int, epoch: int) -> Iterator[None]:
    """Dropout drawn from (seed, epoch); the caller's random state is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed * 1_000_003 + epoch)
        yield
