"""Steps recorded once for each length: without a GPU, what is recorded is done again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mlm_parts import VOCABULARY, corpus_of, job_of, trained

from logmlm.mlm.batches import Batch, EpochBatches, RankSlice
from logmlm.mlm.corpus import EpochSample
from logmlm.mlm.cuda_graphs import WARM_STEPS, CudaGraphCache, Outcome, blank_batch, fill
from logmlm.mlm.model import build_model
from logmlm.mlm.trainer import MaskedLMLoss

TEXTS = ("ABCD", "ABC", "BCDE", "ABCDEF", "CDE", "A", "ABD", "HGFEDCBA", "ABCDA", "BC") * 3


def batches(batch_size: int = 4) -> list[Batch]:
    corpus = corpus_of(*TEXTS)
    draws = EpochSample.of(corpus, np.arange(len(corpus)))
    epochs = EpochBatches(corpus, batch_size, len(VOCABULARY), torch.device("cpu"))
    return [b for epoch in range(4) for b in epochs.batches(draws, 0, epoch, RankSlice())]


def test_what_a_batch_does_not_fill_changes_neither_loss_nor_gradients() -> None:
    objective = MaskedLMLoss(build_model("tiny", len(VOCABULARY), 8, seed=1))

    def learned(batch: Batch) -> tuple[float, float, list[torch.Tensor]]:
        loss, guessed = objective(batch)
        objective.zero_grad()
        (loss / batch.total).backward()
        gradients = [p.grad.clone() for p in objective.parameters() if p.grad is not None]
        return loss.item() / batch.total, guessed.item() / batch.total, gradients

    for batch in batches():
        room = blank_batch(7, batch.inputs.shape[1], 60, torch.device("cpu"))
        fill(room, batches()[0] if batch.inputs.shape == batches()[0].inputs.shape else batch)
        fill(room, batch)
        (loss, guessed, plain), (same_loss, same_guessed, filled) = learned(batch), learned(room)
        assert same_loss == pytest.approx(loss, rel=1e-5)
        assert same_guessed == pytest.approx(guessed, rel=1e-5)
        for one, other in zip(plain, filled, strict=True):
            assert torch.allclose(one, other, atol=1e-6)


class Recorder:
    """Stands in for a GPU: does again what was recorded, into the same place."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, step: Callable[[], Outcome]) -> tuple[Callable[[], None], Outcome]:
        self.recorded += 1
        outcome = torch.zeros(()), torch.zeros(())

        def replay() -> None:
            self.replayed += 1
            for place, value in zip(outcome, step(), strict=True):
                place.copy_(value)

        return replay, outcome


def sums(batch: Batch) -> Outcome:
    """A step without a model: what the batch weighs, and what it hides."""
    return batch.weights.sum() / batch.total, (batch.weights * batch.truth).sum() / batch.total


def test_each_length_is_recorded_once_it_has_come_often_and_then_replayed() -> None:
    recorder = Recorder()
    graphs = CudaGraphCache(sums, largest_batch=5, capture=recorder)
    seen: dict[int, int] = {}
    for batch in batches():
        length = batch.inputs.shape[1]
        seen[length] = seen.get(length, 0) + 1
        weight, truth = graphs(batch)
        in_a_graph = seen[length] > WARM_STEPS
        scale = batch.total if in_a_graph else 1.0
        assert weight.item() == pytest.approx(scale * 1.0, rel=1e-5)
        by_hand = float((batch.weights * batch.truth).sum()) / batch.total
        assert truth.item() == pytest.approx(scale * by_hand, rel=1e-5)
    assert recorder.recorded == sum(count > WARM_STEPS for count in seen.values()) > 0
    assert recorder.replayed == sum(max(0, count - WARM_STEPS) for count in seen.values())


def test_a_batch_that_hides_too_much_for_a_graph_is_done_by_itself() -> None:
    recorder = Recorder()
    graphs = CudaGraphCache(sums, largest_batch=1, capture=recorder)
    inputs, ones = torch.full((1, 4), 8), torch.ones(4)
    batch = Batch(inputs, torch.arange(4), inputs[0], ones, 4.0, False, 4)
    for _ in range(WARM_STEPS + 2):
        assert graphs(batch)[0].item() == 1.0
    assert recorder.recorded == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_on_a_gpu_graphs_learn_what_a_cpu_learns() -> None:
    corpus = corpus_of(*TEXTS)
    settings = {"epochs": 20, "learning_rate": 3e-3}
    _, on_cpu = trained(job_of(corpus, device="cpu", **settings))
    _, on_gpu = trained(job_of(corpus, device="cuda", **settings))
    assert on_gpu[-1].loss == pytest.approx(on_cpu[-1].loss, rel=0.25)  # masks are drawn there
    assert on_gpu[-1].loss < 0.8 * on_gpu[0].loss
