"""Training: what it learns, when it stops, and that it goes on where it was killed."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mlm_parts import VOCABULARY, corpus_of, job_of, trained

from logmlm.config.training import ModelConfig
from logmlm.errors import UsageError
from logmlm.mlm import trainer as training
from logmlm.mlm.batches import Batch
from logmlm.mlm.checkpoint import TrainingCheckpoint
from logmlm.mlm.forward import TrainableModel
from logmlm.mlm.model import SUPPRESSED, build_model, weights_of
from logmlm.mlm.process_group import DistributedContext
from logmlm.mlm.tokenizer import CLS, END, MASK, NEVER_PREDICTED, PAD, SEP
from logmlm.mlm.trainer import TrainingJob, train_model

TEXTS = ("ABCD", "ABC", "BCDE", "ABCD", "CDE", "ABCD", "ABD", "HGF", "ABCD", "ABC")


def same(first: TrainableModel, second: TrainableModel) -> bool:
    a, b = weights_of(first), weights_of(second)
    return all((a[name] == b[name]).all() for name in a)


def run_of(job: TrainingJob) -> training.Trainer:
    return training.Trainer(
        build_model("tiny", len(VOCABULARY), 8, job.config.seed), job, DistributedContext()
    )


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    corpus = corpus_of(*TEXTS)
    first, _ = trained(job_of(corpus, seed=5))
    torch.manual_seed(99)
    second, _ = trained(job_of(corpus, seed=5))
    other, _ = trained(job_of(corpus, seed=6))
    assert same(first, second)
    assert not same(first, other)


def test_training_leaves_the_callers_threads_and_random_state_alone() -> None:
    torch.set_num_threads(2)
    before = torch.random.get_rng_state()
    trained(job_of(corpus_of(*TEXTS), epochs=1))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_training_leaves_special_tokens_without_probability() -> None:
    model, _ = trained(job_of(corpus_of(*TEXTS), epochs=5, learning_rate=0.01))
    bias = model.get_output_embeddings().bias.detach()
    assert (bias[list(NEVER_PREDICTED)] == SUPPRESSED).all()
    logits = model.eval()(torch.tensor([[CLS, 7, MASK, END, SEP, PAD]])).logits
    assert (logits.softmax(dim=-1)[..., list(NEVER_PREDICTED)] == 0.0).all()


def test_the_loss_is_the_weighted_cross_entropy_of_hidden_places_alone() -> None:
    run = run_of(job_of(corpus_of(*TEXTS)))
    run.model.eval()
    inputs = torch.tensor([[CLS, MASK, 8, END, SEP, PAD], [CLS, 7, MASK, 9, MASK, SEP]])
    places, truth = torch.tensor([1, 8, 10]), torch.tensor([7, 10, END])
    weights = torch.tensor([3.0, 0.5, 0.5])
    loss, guessed = run._objective(Batch(inputs, places, truth, weights, 4.0, True, 7))
    everywhere = run.model(inputs, attention_mask=(inputs != PAD).long())
    surprisals = -everywhere.logits.log_softmax(dim=-1)
    by_hand = 3 * surprisals[0, 1, 7] + 0.5 * surprisals[1, 2, 10] + 0.5 * surprisals[1, 4, END]
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    best = everywhere.logits.argmax(dim=-1)
    by_hand = 3 * (best[0, 1] == 7) + 0.5 * (best[1, 2] == 10) + 0.5 * (best[1, 4] == END)
    assert guessed.item() == float(by_hand)


def test_the_learning_rate_warms_up_and_falls_as_a_cosine() -> None:
    run = run_of(job_of(corpus_of(*"ABCDEFGH"), batch_size=2, epochs=10, learning_rate=0.004))
    rates = []
    for step in range(40):  # 4 batches an epoch; 5 % of 40 steps warm up
        run._set_learning_rate(step)
        rates.append(run.optimizer.param_groups[0]["lr"])
        assert run.optimizer.param_groups[1]["lr"] == rates[-1]
    assert rates[:3] == pytest.approx([0.002, 0.004, 0.004])
    assert rates[21] == pytest.approx(0.002)
    assert rates[39] == pytest.approx(0.004 * (1 + math.cos(math.pi * 37 / 38)) / 2)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_the_optimizer_is_adamw_and_decays_matrices_only() -> None:
    run = run_of(job_of(corpus_of(*TEXTS), learning_rate=0.5))
    assert type(run.optimizer) is torch.optim.AdamW
    decayed, plain = run.optimizer.param_groups
    assert decayed["weight_decay"] == 0.01
    assert {p.ndim for p in decayed["params"]} == {2}
    assert plain["weight_decay"] == 0.0
    assert {p.ndim for p in plain["params"]} == {1}
    count = sum(p.numel() for group in (decayed, plain) for p in group["params"])
    assert count == sum(p.numel() for p in run.model.parameters() if p.requires_grad)


def test_gradients_are_clipped() -> None:
    run = run_of(job_of(corpus_of(*TEXTS)))
    with torch.no_grad():
        run.model.get_output_embeddings().bias[8] = 500.0
    inputs, one = torch.tensor([[CLS, MASK, SEP]]), torch.ones(1)
    run._learn(Batch(inputs, one.long(), 7 * one.long(), one, 1.0, False, 1))
    learned = [p.grad.flatten() for p in run.model.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.cat(learned))
    assert norm.item() == pytest.approx(1.0, rel=1e-3)


def test_reports_tell_each_epochs_loss_and_perplexity() -> None:
    texts = ["ABCDEFGH"[a : a + n] for n in (3, 4, 5, 6) for a in range(9 - n)]
    job = job_of(corpus_of(*texts), validation=2, epochs=80, learning_rate=3e-3, batch_size=8)
    _, reports = trained(job)
    assert [report.epoch for report in reports] == list(range(1, 81))
    assert {report.epochs for report in reports} == {80}
    for report in reports:
        assert report.perplexity == pytest.approx(math.exp(report.loss))
        assert 0 <= report.accuracy <= 1
        assert report.events_per_second > 0
    first, last = reports[0], reports[-1]
    assert np.mean([report.loss for report in reports[-10:]]) < 0.8 * first.loss
    assert np.mean([report.accuracy for report in reports[-10:]]) > first.accuracy
    assert last.validation_loss is not None
    assert first.validation_loss is not None
    assert last.validation_loss < 0.8 * first.validation_loss
    assert set(last.as_dict()) >= {"epoch", "loss", "accuracy", "perplexity", "validation_loss"}


def test_without_windows_to_validate_on_there_is_no_validation_loss() -> None:
    _, reports = trained(job_of(corpus_of(*TEXTS), epochs=1))
    assert reports[0].validation_loss is None


def never_seen(patience: int, epochs: int) -> TrainingJob:
    """Validates on what training speaks against, so that validation soon gets worse."""
    corpus = corpus_of(*["ABCD"] * 12, "DCBA", "HGFE")
    settings = {"epochs": epochs, "patience": patience, "learning_rate": 5e-3}
    return job_of(corpus, validation=2, **settings)


def test_training_stops_when_validation_gets_no_better_and_keeps_the_best_weights() -> None:
    model, reports = trained(never_seen(patience=3, epochs=60))
    losses = [report.validation_loss or math.inf for report in reports]
    best = int(np.argmin(losses))
    assert len(reports) == best + 1 + 3 < 60
    run = run_of(never_seen(3, 60))
    run.model.load_state_dict(model.state_dict())
    assert run._validate() == pytest.approx(losses[best], abs=1e-6)
    assert losses[best] < losses[-1]


def test_patience_0_never_stops_and_still_keeps_the_best_weights(tmp_path: Path) -> None:
    job = never_seen(patience=0, epochs=12)
    model, reports = trained(job, tmp_path)
    assert len(reports) == 12
    again, none = trained(job, tmp_path)  # goes on from the end: nothing is left to do
    assert none == []
    assert same(model, again)


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("validation", [0, 2])
def test_a_training_cut_off_after_any_epoch_ends_with_the_same_weights(
    tmp_path: Path, validation: int
) -> None:
    job = job_of(corpus_of(*TEXTS), validation=validation, epochs=5, patience=4)
    whole, all_reports = trained(job)
    cut: list[int] = []

    def cut_off(report: training.EpochReport) -> None:
        cut.append(report.epoch)
        if len(cut) in (2, 4):  # in the middle of what it does after an epoch
            raise _Killed

    for _ in range(2):
        with pytest.raises(_Killed):
            train_model(job, TrainingCheckpoint(tmp_path, "one"), cut_off, save_every_s=0)
    again = train_model(job, TrainingCheckpoint(tmp_path, "one"), cut_off)
    assert cut[:4] == [1, 2, 2, 3]
    assert cut[-1] == all_reports[-1].epoch
    assert same(whole, again)


def test_a_short_training_is_saved_once_at_its_end(tmp_path: Path) -> None:
    found: list[bool] = []
    job = job_of(corpus_of(*TEXTS), epochs=4)
    train_model(
        job,
        TrainingCheckpoint(tmp_path, "one"),
        lambda _: found.append((tmp_path / "progress.json").exists()),
        save_every_s=3600,
    )
    assert found == [False] * 4
    assert json.loads((tmp_path / "progress.json").read_text())["epoch"] == 4


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from mlm_parts import corpus_of, job_of
from logmlm.mlm.checkpoint import TrainingCheckpoint
from logmlm.mlm.trainer import train_model
job = job_of(corpus_of(*sys.argv[3].split()), validation=2, epochs=12, batch_size=1)
checkpoint = TrainingCheckpoint(Path(sys.argv[2]), "one")
train_model(job, checkpoint, lambda report: print(report.epoch, flush=True), save_every_s=0)
"""


def test_a_training_that_is_killed_and_started_again_ends_with_the_same_weights(
    tmp_path: Path,
) -> None:
    texts = TEXTS * 2
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(Path(__file__).parents[1] / "support"),
        str(tmp_path),
    ]
    with subprocess.Popen(
        [*command, " ".join(texts)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "4\n":
                time.sleep(0.02)  # somewhere in what comes after
                os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    job = job_of(corpus_of(*texts), validation=2, epochs=12, batch_size=1)
    again, reports = trained(job, tmp_path)
    assert reports[0].epoch > 3  # it went on, and did not begin anew
    assert reports[-1].epoch == 12
    whole, _ = trained(job)
    assert same(whole, again)


def test_a_learning_rate_far_too_high_is_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"no longer a number.*learning_rate is 1e\+20"):
        trained(job_of(corpus_of(*TEXTS), epochs=5, learning_rate=1e20))


@pytest.mark.parametrize(
    ("windows", "epochs"), [(26, 150), (207, 37), (4_855, 40), (1_000_000, 10)]
)
def test_few_windows_are_seen_often_but_not_without_bound(windows: int, epochs: int) -> None:
    steps_each = math.ceil(windows / 32)
    assert training.epochs_of(ModelConfig(), steps_each, windows) == epochs
    assert training.epochs_of(ModelConfig(epochs=6_000), steps_each, windows) == 6_000


def test_a_device_that_is_not_there_stops_the_training_before_it_begins() -> None:
    with pytest.raises(UsageError, match="device 'abacus'"):
        trained(job_of(corpus_of(*TEXTS), device="abacus"))
