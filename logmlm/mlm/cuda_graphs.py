"""Steps of training as CUDA graphs: small models are all launch overhead, a graph is one launch.

A graph's shapes never change, so each length of batches has one of its own, with room for the
largest batch; what a batch does not fill has weight 0, which changes neither loss nor gradients.
https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch

from logmlm.mlm.batches import Batch
from logmlm.mlm.tokenizer import CLS, PAD

Outcome = tuple[torch.Tensor, torch.Tensor]
TrainStep = Callable[[Batch], Outcome]
"""Learns from a batch; gives what a batch's loss and guessed places sum up to."""
Capture = Callable[[Callable[[], Outcome]], tuple[Callable[[], None], Outcome]]
"""Records what a function does; gives what does it again, and where the outcome then stands."""

WARM_STEPS = 3
"""Batches of a length that are done one by one first: seldom ones are not worth a graph."""
HIDDEN_SHARE = 0.625
"""Room for hidden places, as a share of all: well above the largest masking rate."""


class CudaGraphCache:
    """A step that is recorded for each length of batches, and from then on replayed."""

    def __init__(self, step: TrainStep, largest_batch: int, capture: Capture) -> None:
        self._step = step
        self._rows = largest_batch
        self._capture = capture
        self._seen: Counter[int] = Counter()
        self._graphs: dict[int, _CapturedStep] = {}

    def __call__(self, batch: Batch) -> Outcome:
        """The step's own outcome, from a graph where there is one that the batch fits in."""
        length = batch.inputs.shape[1]
        room = self._rows + int(HIDDEN_SHARE * self._rows * length)
        self._seen[length] += 1
        if self._seen[length] <= WARM_STEPS or len(batch.places) > room:
            return self._step(batch)
        if length not in self._graphs:
            blank = blank_batch(self._rows, length, room, batch.inputs.device)
            self._graphs[length] = _CapturedStep(self._step, blank, self._capture)
        return self._graphs[length](batch)


class _CapturedStep:
    """The step on one batch's memory, which other batches are put into."""

    def __init__(self, step: TrainStep, batch: Batch, capture: Capture) -> None:
        self._batch = batch
        self._replay, self._outcome = capture(lambda: step(batch))

    def __call__(self, batch: Batch) -> Outcome:
        fill(self._batch, batch)
        self._replay()
        loss, guessed = self._outcome
        return loss * batch.total, guessed * batch.total


def blank_batch(rows: int, length: int, places: int, device: torch.device) -> Batch:
    """A batch with room for so much, and nothing in it."""
    batch = Batch(
        inputs=torch.empty(rows, length, dtype=torch.long, device=device),
        places=torch.empty(places, dtype=torch.long, device=device),
        truth=torch.empty(places, dtype=torch.long, device=device),
        weights=torch.empty(places, device=device),
        total=1.0,
        padded=True,
        events=0,
    )
    _clear(batch)
    return batch


def fill(room: Batch, batch: Batch) -> None:
    """Put a batch into one with more room; its weights then sum to 1, and the rest's are 0."""
    _clear(room)
    hidden = len(batch.places)
    room.inputs[: len(batch.inputs)] = batch.inputs
    room.places[:hidden] = batch.places
    room.truth[:hidden] = batch.truth
    torch.div(batch.weights, batch.total, out=room.weights[:hidden])


def _clear(batch: Batch) -> None:
    """Rows of padding, which have a first token so that there is something to attend to."""
    batch.inputs.fill_(PAD)
    batch.inputs[:, 0] = CLS
    for tensor in (batch.places, batch.truth, batch.weights):
        tensor.zero_()


def on_gpu() -> Capture:
    """Captures CUDA graphs, all in one pool of memory."""
    pool = torch.cuda.graph_pool_handle()

    def capture(step: Callable[[], Outcome]) -> tuple[Callable[[], None], Outcome]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            outcome = step()
        return graph.replay, outcome

    return capture
