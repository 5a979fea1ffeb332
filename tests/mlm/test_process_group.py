"""Several processes train one model: as one process with the batch of them all would."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mlm_parts import trained
from rank_jobs import job
from rank_parts import free_port, together
from safetensors.torch import load_file

from logmlm.errors import UnreachableError
from logmlm.mlm.model import weights_of
from logmlm.mlm.process_group import DistributedContext, init_process_group, own_device

PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from safetensors.numpy import save_file
from mlm_parts import corpus_of, job_of
from logmlm.mlm.checkpoint import TrainingCheckpoint
from logmlm.mlm.model import weights_of
from logmlm.mlm.process_group import init_process_group
from logmlm.mlm.trainer import run_worker, train_model
from rank_jobs import job
with init_process_group() as ranks:
    if not ranks.is_main:
        run_worker()
    else:
        where, epochs = Path(sys.argv[2]), int(sys.argv[3])
        for number in range(int(sys.argv[4])):
            checkpoint = TrainingCheckpoint(where / str(number), "one")
            say = lambda report: print(json.dumps(report.as_dict()), flush=True)
            model = train_model(job(epochs, 1), checkpoint, say, save_every_s=0)
            save_file(weights_of(model), where / f"{number}.model")
"""


def words(where: Path, epochs: int, trainings: int = 1) -> list[object]:
    return ["-c", PROGRAM, Path(__file__).parents[1] / "support", where, epochs, trainings]


EPOCHS = 12


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two processes train twice: where their models are, and what rank 0 said."""
    where = tmp_path_factory.mktemp("undisturbed")
    with together(words(where, EPOCHS, trainings=2)) as (lead, other):
        said, trouble = lead.communicate(timeout=300)
        silence, _ = other.communicate(timeout=60)
    assert (lead.returncode, other.returncode) == (0, 0), trouble
    assert silence == ""
    return where, said


def test_two_processes_learn_as_one_with_the_double_batch(undisturbed: tuple[Path, str]) -> None:
    where, said = undisturbed
    model, reports = trained(job(EPOCHS, 2))
    curves = [json.loads(line) for line in said.splitlines()]
    assert len(curves) == 2 * EPOCHS
    for one, two in zip([*reports, *reports], curves, strict=True):
        for figure in ("epoch", "loss", "accuracy", "validation_loss"):
            assert two[figure] == pytest.approx(getattr(one, figure), rel=1e-3)
    for number in (0, 1):
        found = load_file(where / f"{number}.model")
        for name, array in weights_of(model).items():
            assert np.allclose(found[name].numpy(), array, atol=5e-3), name


def test_killed_processes_that_are_started_again_end_with_the_same_weights(
    tmp_path: Path, undisturbed: tuple[Path, str]
) -> None:
    with together(words(tmp_path, EPOCHS)) as (lead, other):
        assert lead.stdout is not None
        for line in lead.stdout:
            if json.loads(line)["epoch"] == 3:
                other.send_signal(signal.SIGKILL)
                lead.send_signal(signal.SIGKILL)
    assert lead.returncode == other.returncode == -signal.SIGKILL
    with together(words(tmp_path, EPOCHS)) as (lead, _):
        said, trouble = lead.communicate(timeout=300)
    assert lead.returncode == 0, trouble
    epochs = [json.loads(line)["epoch"] for line in said.splitlines()]
    assert epochs[0] > 2  # they went on, and did not begin anew
    assert epochs[-1] == EPOCHS
    again, whole = (load_file(where / "0.model") for where in (tmp_path, undisturbed[0]))
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_process_alone_leads_and_hears_what_it_says() -> None:
    with init_process_group() as ranks:
        assert ranks == DistributedContext.here() == DistributedContext(0, 1)
        assert ranks.is_main
        assert ranks.broadcast("this") == "this"
        values = torch.ones(2)
        assert ranks.all_reduce(values) is values


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    cuda = torch.device("cuda")
    assert own_device(cuda, DistributedContext(1, 2)) == torch.device("cuda:1")
    assert own_device(cuda, DistributedContext()) == cuda
    assert own_device(torch.device("cuda:3"), DistributedContext(1, 2)) == torch.device("cuda:3")
    assert own_device(torch.device("cpu"), DistributedContext(1, 2)) == torch.device("cpu")


def test_who_does_not_find_the_others_says_how_to_start_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "nobody")
    with pytest.raises(UnreachableError, match="torchrun --nproc-per-node N -m logmlm train"):
        init_process_group().__enter__()


def test_torchrun_trains_a_model_that_one_process_writes(tmp_path: Path) -> None:
    from offline_parts import KEY, service_log, write_log

    log = write_log(tmp_path / "a.log", service_log(60))
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-addr", "127.0.0.1", "--master-port", free_port(), "-m", "logmlm"),
        *("train", log, "--out", tmp_path / "model", "--key", KEY, "--gap", "30s"),
        *("--epochs", "2", "--folds", "2", "--false-alarm-rate", "0.1", "--device", "cpu"),
    ]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("learned 10 templates") == 1
    assert done.stderr.count("wrote ") == 1
    rows = (tmp_path / "model" / "training.jsonl").read_text().splitlines()
    assert [(json.loads(row)["training"], json.loads(row)["epoch"]) for row in rows] == [
        (name, epoch) for name in ("model", "fold 1 of 2", "fold 2 of 2") for epoch in (1, 2)
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "model"]
