"""Where a training stands, on disk between epochs, so that a killed one goes on.

Tensors are kept as safetensors and numbers as JSON: nothing here can run code when read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from logmlm.errors import StorageError
from logmlm.mlm.forward import TrainableModel
from logmlm.system.atomic_files import PRIVATE_DIRECTORY, atomic_path, write_json


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Epochs and optimizer steps done, and the best validation loss so far."""

    epoch: int = 0
    step: int = 0
    best_loss: float | None = None
    best_epoch: int = 0

    def after_epoch(self, step: int, validation: float | None) -> TrainingProgress:
        """The progress one epoch on; without validation the latest epoch is the best."""
        epoch = self.epoch + 1
        worse = (
            validation is not None and self.best_loss is not None and validation >= self.best_loss
        )
        if worse:
            return TrainingProgress(epoch, step, self.best_loss, self.best_epoch)
        return TrainingProgress(epoch, step, validation, epoch)

    def exhausted(self, patience: int) -> bool:
        """Whether `patience` epochs brought nothing better (0: never)."""
        return patience > 0 and self.epoch - self.best_epoch >= patience


class TrainingCheckpoint:
    """One training's saved state in a directory; `identity` tells whose it is.

    A state of another identity (other data, seed or settings) or a damaged one is ignored:
    training then starts from the beginning.
    """

    def __init__(self, directory: Path | None, identity: str) -> None:
        """With no directory nothing is kept on disk, and the best weights stay in memory.

        Raises:
            StorageError: the directory can't be made.

        """
        self._directory = directory
        self._identity = identity
        self._best: dict[str, torch.Tensor] = {}
        if directory is not None:
            _make(directory)

    def keep_best(self, model: TrainableModel, progress: TrainingProgress) -> None:
        """Remember the weights, if the epoch just done is the best so far."""
        if progress.best_epoch == progress.epoch:
            self._best = _weights(model)

    def save(
        self, model: TrainableModel, optimizer: torch.optim.Optimizer, progress: TrainingProgress
    ) -> None:
        """Keep the state after an epoch; the file of numbers is written last.

        Raises:
            StorageError: the state can't be written.

        """
        self.keep_best(model, progress)
        if self._directory is None:
            return
        best = {f"best.{name}": tensor for name, tensor in self._best.items()}
        tensors = _weights(model) | optimizer_state(optimizer) | best
        _write(tensors, self._directory / f"{progress.epoch}.safetensors")
        write_json(
            self._directory / "progress.json", asdict(progress) | {"identity": self._identity}
        )
        for old in self._directory.glob("*.safetensors"):
            if old.stem != str(progress.epoch):
                old.unlink()

    def restore(self, model: TrainableModel, optimizer: torch.optim.Optimizer) -> TrainingProgress:
        """Load a saved state into model and optimizer; without one, return a new progress."""
        try:
            progress, tensors = self._read()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            return TrainingProgress()
        model.load_state_dict({k: v for k, v in tensors.items() if k in model.state_dict()})
        load_optimizer_state(optimizer, tensors)
        self._best = {
            k.removeprefix("best."): v for k, v in tensors.items() if k.startswith("best.")
        }
        return progress

    def load_best(self, model: TrainableModel, progress: TrainingProgress) -> None:
        """Put the best epoch's weights into the model."""
        if progress.best_epoch != progress.epoch:
            model.load_state_dict(self._best)

    def _read(self) -> tuple[TrainingProgress, dict[str, torch.Tensor]]:
        if self._directory is None:
            raise FileNotFoundError
        state = json.loads((self._directory / "progress.json").read_text(encoding="utf-8"))
        if state.pop("identity") != self._identity:
            raise ValueError
        progress = TrainingProgress(**state)
        return progress, load_file(self._directory / f"{progress.epoch}.safetensors")


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"can't make {directory}: {error.strerror}") from error


def _write(tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)
    except SafetensorError as error:
        raise StorageError(f"can't write {path}: {error}") from error


def _weights(model: TrainableModel) -> dict[str, torch.Tensor]:
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in model.state_dict().items()}


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """AdamW's state as named tensors: `optimizer.PARAMETER.NAME`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": value.detach().to("cpu", copy=True).contiguous()
        for index, entries in state.items()
        for name, value in entries.items()
    }


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_state` gave; other tensors beside it are left out."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
