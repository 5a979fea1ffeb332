"""Where a training stands, on disk after each epoch."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from logmlm.errors import StorageError
from logmlm.mlm.checkpoint import TrainingCheckpoint, TrainingProgress
from logmlm.mlm.model import build_model, weights_of


def parts(seed: int = 0):
    """A model that has taken one step, and its optimizer."""
    model = build_model("tiny", 10, 4, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.tensor([[2, 7, 8, 3]])).logits[0, 1].log_softmax(-1)[7].backward()
    optimizer.step()
    return model, optimizer


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def equal(first, second) -> bool:
    a, b = weights_of(first), weights_of(second)
    return all((a[name] == b[name]).all() for name in a)


def test_progress_remembers_the_best_epoch() -> None:
    progress = TrainingProgress()
    for step, loss in enumerate([3.0, 2.0, 2.5, 2.0, 1.0]):
        progress = progress.after_epoch(step + 1, loss)
        best = {0: 1, 1: 2, 2: 2, 3: 2, 4: 5}[step]
        assert (progress.epoch, progress.step, progress.best_epoch) == (step + 1, step + 1, best)
    assert progress.best_loss == 1.0


def test_without_validation_the_latest_epoch_is_the_best() -> None:
    progress = TrainingProgress().after_epoch(4, None).after_epoch(8, None)
    assert progress == TrainingProgress(epoch=2, step=8, best_loss=None, best_epoch=2)
    assert not progress.exhausted(1)


def test_patience_counts_epochs_since_the_best() -> None:
    progress = TrainingProgress(epoch=5, step=50, best_loss=1.0, best_epoch=3)
    assert progress.exhausted(2)
    assert progress.exhausted(1)
    assert not progress.exhausted(3)
    assert not progress.exhausted(0)


def test_a_saved_state_is_put_back_into_model_and_optimizer(tmp_path: Path) -> None:
    model, optimizer = parts(1)
    progress = TrainingProgress().after_epoch(7, 0.5)
    TrainingCheckpoint(tmp_path / "deep" / "er", "one").save(model, optimizer, progress)
    other, its_optimizer = parts(2)
    checkpoint = TrainingCheckpoint(tmp_path / "deep" / "er", "one")
    assert checkpoint.restore(other, its_optimizer) == progress
    assert equal(model, other)
    before, after = optimizer.state_dict()["state"], its_optimizer.state_dict()["state"]
    assert before.keys() == after.keys()
    for index, entries in before.items():
        assert all(torch.equal(value, after[index][name]) for name, value in entries.items())
    assert its_optimizer.param_groups[0]["lr"] == 0.1


def test_only_the_latest_epoch_stays_on_disk_and_nothing_of_it_is_a_pickle(tmp_path: Path) -> None:
    checkpoint, (model, optimizer) = TrainingCheckpoint(tmp_path, "one"), parts()
    progress = TrainingProgress()
    for step in range(3):
        progress = progress.after_epoch(step, None)
        checkpoint.save(model, optimizer, progress)
    assert names(tmp_path) == ["3.safetensors", "progress.json"]
    assert json.loads((tmp_path / "progress.json").read_text())["epoch"] == 3
    assert any(name.startswith("optimizer.") for name in load_file(tmp_path / "3.safetensors"))


@pytest.mark.parametrize("on_disk", [True, False])
def test_the_best_epochs_weights_come_back_at_the_end(tmp_path: Path, on_disk: bool) -> None:
    directory = tmp_path if on_disk else None
    checkpoint = TrainingCheckpoint(directory, "one")
    (best, optimizer), (last, _) = parts(1), parts(2)
    first = TrainingProgress().after_epoch(1, 0.5)
    second = first.after_epoch(2, 0.9)
    checkpoint.save(best, optimizer, first)
    checkpoint.save(last, optimizer, second)
    if on_disk:
        checkpoint = TrainingCheckpoint(directory, "one")
        assert checkpoint.restore(*parts(3)) == second
    model, _ = parts(4)
    checkpoint.load_best(model, second)
    assert equal(model, best)


def test_what_is_saved_does_not_change_when_training_goes_on() -> None:
    checkpoint, (model, optimizer) = TrainingCheckpoint(None, "one"), parts()
    before = {name: array.copy() for name, array in weights_of(model).items()}
    first = TrainingProgress().after_epoch(1, 0.5)
    checkpoint.save(model, optimizer, first)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    checkpoint.load_best(model, first.after_epoch(2, 0.9))
    assert all((before[name] == array).all() for name, array in weights_of(model).items())


def test_the_state_of_another_training_is_ignored(tmp_path: Path) -> None:
    model, optimizer = parts()
    TrainingCheckpoint(tmp_path, "one").save(
        model, optimizer, TrainingProgress().after_epoch(7, None)
    )
    assert TrainingCheckpoint(tmp_path, "two").restore(*parts()) == TrainingProgress()
    assert TrainingCheckpoint(None, "one").restore(*parts()) == TrainingProgress()


@pytest.mark.parametrize("name", ["progress.json", "1.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"3", b"{}", b'{"identity": "one"}', None])
def test_a_damaged_state_is_ignored(tmp_path: Path, name: str, content: bytes | None) -> None:
    model, optimizer = parts()
    TrainingCheckpoint(tmp_path, "one").save(
        model, optimizer, TrainingProgress().after_epoch(7, None)
    )
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    fresh, its_optimizer = parts(2)
    before = {key: array.copy() for key, array in weights_of(fresh).items()}
    found = TrainingCheckpoint(tmp_path, "one").restore(fresh, its_optimizer)
    assert found == TrainingProgress()
    assert all((before[key] == array).all() for key, array in weights_of(fresh).items())


def test_a_place_where_no_directory_can_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"can't make .*file/work: Not a directory"):
        TrainingCheckpoint(tmp_path / "file" / "work", "one")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and CAP_SYS_ADMIN")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_an_error_and_the_state_before_it_stays(tiny_disk: Path) -> None:
    model, optimizer = parts()
    first = TrainingProgress().after_epoch(7, 0.5)
    checkpoint = TrainingCheckpoint(tiny_disk, "one")
    with pytest.raises(StorageError, match=r"can't write .*1\.safetensors: .*No space left"):
        checkpoint.save(model, optimizer, first)
    assert names(tiny_disk) == []
    assert checkpoint.restore(*parts()) == TrainingProgress()
