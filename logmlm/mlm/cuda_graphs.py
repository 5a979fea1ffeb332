"""Training steps as CUDA graphs: kernel launches dominate for small models; a graph is one launch.

The shapes of a graph are fixed. Each window length has its own graph with capacity for the largest
batch; unused rows and positions have weight 0, which changes neither loss nor gradients.
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
"""Takes one training step; returns the batch's sums of loss and correct predictions."""
Capture = Callable[[Callable[[], Outcome]], tuple[Callable[[], None], Outcome]]
"""Captures a function; returns its replay, and the tensors that hold the outcome after it."""

WARM_STEPS = 3
"""Batches of a length that run without a graph first: rare lengths are not worth a capture."""
HIDDEN_SHARE = 0.625
"""Capacity for masked positions, as a share of all: well above the largest masking rate."""


class CudaGraphCache:
    """Training step with one captured graph per window length."""

    def __init__(self, step: TrainStep, largest_batch: int, capture: Capture) -> None:
        self._step = step
        self._rows = largest_batch
        self._capture = capture
        self._seen: Counter[int] = Counter()
        self._graphs: dict[int, _CapturedStep] = {}

    def __call__(self, batch: Batch) -> Outcome:
        """Take a step, by the graph of the batch's length if the batch fits its capacity."""
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
    """Captured step on a static batch, into which each batch is copied before replay."""

    def __init__(self, step: TrainStep, batch: Batch, capture: Capture) -> None:
        self._batch = batch
        self._replay, self._outcome = capture(lambda: step(batch))

    def __call__(self, batch: Batch) -> Outcome:
        fill(self._batch, batch)
        self._replay()
        loss, guessed = self._outcome
        return loss * batch.total, guessed * batch.total


def blank_batch(rows: int, length: int, places: int, device: torch.device) -> Batch:
    """Allocate an empty batch with capacity for `rows` windows and `places` masked positions."""
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
    """Copy a batch into a larger static one; scale weights to sum to 1, and the unused to 0."""
    _clear(room)
    hidden = len(batch.places)
    room.inputs[: len(batch.inputs)] = batch.inputs
    room.places[:hidden] = batch.places
    room.truth[:hidden] = batch.truth
    torch.div(batch.weights, batch.total, out=room.weights[:hidden])


def _clear(batch: Batch) -> None:
    """Fill with padding rows; each starts with `[CLS]`, as attention needs one unmasked key."""
    batch.inputs.fill_(PAD)
    batch.inputs[:, 0] = CLS
    for tensor in (batch.places, batch.truth, batch.weights):
        tensor.zero_()


def on_gpu() -> Capture:
    """Return a capture function whose CUDA graphs share one memory pool."""
    pool = torch.cuda.graph_pool_handle()

    def capture(step: Callable[[], Outcome]) -> tuple[Callable[[], None], Outcome]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            outcome = step()
        return graph.replay, outcome

    return capture
