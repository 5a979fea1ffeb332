"""Training batches, drawn on the training device: masked windows of similar length.

Views, masks and the packing by length are drawn for many batches at once, so that a training step
does not wait for the host. Packing cuts rows sorted by length into batches with the least padding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from logmlm.mlm.corpus import Corpus, EpochSample
from logmlm.mlm.masking import mask_tokens, sample_mask_rates, sample_views

SORTED_BATCHES = 64
"""Batches sorted by length together: little padding, and the order stays random."""
RESIDENT_SHARE = 0.25
"""A corpus larger than this share of a GPU's memory stays on the host and is copied in pieces."""

_Indices = npt.NDArray[np.int64]
SLACK = 0.25
"""Relative tolerance of the batch size."""

_NEVER = 2**50
"""Cost of an impossible cut, in tokens; small multiples of it still fit in 64 bits."""


def largest_batch(batch_size: int) -> int:
    """Return the largest number of rows in a batch."""
    return math.ceil(batch_size * (1 + SLACK))


def pack_by_length(lengths: _Indices, batch_size: int) -> _Indices:
    """Return the first row of each batch, for N >= 1 rows with ascending `lengths` [N].

    The number of batches is ceil(N / batch_size). No other partition with batch sizes within
    `SLACK` has less padding (dynamic programming over the batch ends).
    """
    count = -(-len(lengths) // batch_size)
    least = min(math.ceil(batch_size * (1 - SLACK)), len(lengths) // count)
    sizes = range(max(1, least), min(largest_batch(batch_size), len(lengths)) + 1)
    longest = np.concatenate(([0], lengths))  # [N + 1]; the last row of a batch is its longest
    cost = np.where(np.arange(len(longest)) == 0, 0, _NEVER)  # [N + 1]: padded tokens up to a row
    chosen = []  # per batch, the best size of the batch that ends at each row [N + 1]
    for _ in range(count):
        options = np.full((len(sizes), len(cost)), _NEVER)  # [sizes, N + 1]
        for option, size in zip(options, sizes, strict=True):
            option[size:] = cost[:-size] + size * longest[size:]
        chosen.append(options.argmin(axis=0) + sizes.start)
        cost = options.min(axis=0)
    return _followed_back(chosen, len(lengths))


def _followed_back(chosen: list[_Indices], end: int) -> _Indices:
    """Trace the best sizes back from the last row; return the batch starts in order."""
    starts = []
    for size_up_to in reversed(chosen):
        end -= int(size_up_to[end])
        starts.append(end)
    return np.array(starts[::-1])


@dataclass(frozen=True, slots=True)
class Batch:
    """B windows with M positions to predict, on the device.

    `inputs` [B, L] are masked token ids. `places` [M] are flat indices (position p of window b is
    b L + p), `truth` [M] the original tokens there, and `weights` [M] the weights of their windows.
    `total` is the sum of weights, and `events` the number of events, of the whole batch over all
    ranks. `padded`: at least one window is shorter than L.
    """

    inputs: torch.Tensor
    places: torch.Tensor
    truth: torch.Tensor
    weights: torch.Tensor
    total: float
    padded: bool
    events: int


@dataclass(frozen=True, slots=True)
class RankSlice:
    """The share of process `rank`, of `count` processes, in each batch."""

    rank: int = 0
    count: int = 1

    def rows(self, start: int, stop: int) -> _Indices:
        """Return this rank's rows of a batch: every `count`-th, for similar lengths."""
        return np.arange(start + self.rank, stop, self.count)


class EpochBatches:
    """Source of the batches of an epoch, determined by (seed, epoch) alone.

    The draws do not depend on the number of ranks. On a GPU the corpus is resident if it fits
    (`RESIDENT_SHARE`); on a CPU it stays in memory or in its memory-mapped file.
    """

    def __init__(
        self, corpus: Corpus, batch_size: int, vocabulary_size: int, device: torch.device
    ) -> None:
        """Take the size of a whole batch, over all ranks; batches differ from it by `SLACK`."""
        self._windows = _Windows(corpus, device)
        self._batch_size = batch_size
        self._vocabulary_size = vocabulary_size
        self._device = device

    def batches(
        self, draws: EpochSample, seed: int, epoch: int, part: RankSlice
    ) -> Iterator[Batch]:
        """Yield every draw once, in random order, with new masks, packed by length.

        A rank without a row in a small batch gets one row with weight 0, so that all ranks take
        part in every step.
        """
        rng = np.random.default_rng([seed, epoch])
        generator = torch.Generator(self._device)
        generator.manual_seed(int(rng.integers(2**63)))
        order = rng.permutation(len(draws))
        for span in range(0, len(order), self._batch_size * SORTED_BATCHES):
            rows = order[span : span + self._batch_size * SORTED_BATCHES]
            packed = self._packed(draws.windows[rows], draws.weights[rows], generator, part)
            for number in rng.permutation(len(packed)).tolist():
                yield packed[number]

    def _packed(
        self,
        windows: _Indices,
        weights: npt.NDArray[np.float32],
        generator: torch.Generator,
        part: RankSlice,
    ) -> _Packed:
        readings = sample_views(*self._windows.rows(windows), generator)
        order = readings.lengths.argsort(stable=True)
        readings = readings.of(order)
        # Synchronize with the device once per `SORTED_BATCHES` batches, for the host's copies.
        on_host, lengths = torch.stack([order, readings.lengths]).cpu().numpy()
        starts = pack_by_length(lengths, self._batch_size)
        sizes = torch.as_tensor(np.diff(starts, append=len(windows)), device=self._device)
        rates = sample_mask_rates(len(starts), generator).repeat_interleave(sizes)
        shown, chosen = mask_tokens(readings, rates, self._vocabulary_size, generator)
        rows = _Rows(
            lengths=lengths,
            hidden=chosen.sum(dim=1).cpu().numpy(),
            weights=weights[on_host],
            events=self._windows.lengths[windows[on_host]],
        )
        return _Packed(shown, torch.where(chosen, readings.ids, 0), rows, starts, part)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Host-side data of N rows, [N] each.

    `lengths` include the frame, `hidden` counts the positions to predict, `events` the events of
    the original window.
    """

    lengths: _Indices
    hidden: _Indices
    weights: npt.NDArray[np.float32]
    events: _Indices


class _Packed:
    """One rank's share of several batches, made of N rows sorted by length."""

    def __init__(
        self,
        shown: torch.Tensor,
        truth: torch.Tensor,
        rows: _Rows,
        starts: _Indices,
        part: RankSlice,
    ) -> None:
        """Take `shown` [N, L] and `truth` [N, L], 0 where nothing is predicted.

        A batch begins at each of `starts`.
        """
        pieces = [part.rows(a, b) for a, b in pairwise([*starts.tolist(), len(shown)])]
        whole = rows.hidden * rows.weights
        self._totals = np.add.reduceat(whole, starts)
        self._events = np.add.reduceat(rows.events, starts)
        own = np.concatenate([p if len(p) else starts[i : i + 1] for i, p in enumerate(pieces)])
        weights = np.concatenate(
            [rows.weights[p] if len(p) else np.zeros(1, dtype=np.float32) for p in pieces]
        )
        self._bounds = np.cumsum([0, *(max(1, len(p)) for p in pieces)])
        self._lengths = rows.lengths[own]
        self._offsets = np.cumsum([0, *rows.hidden[own]])
        index = torch.as_tensor(own, device=shown.device)
        self._shown, truth = shown[index], truth[index]
        self._row, self._column = truth.nonzero(as_tuple=True)
        self._truth = truth[self._row, self._column]
        self._weights = torch.as_tensor(weights, device=shown.device)[self._row]

    def __len__(self) -> int:
        return len(self._totals)

    def __getitem__(self, number: int) -> Batch:
        first, end = self._bounds[number : number + 2].tolist()
        lengths = self._lengths[first:end]
        longest = int(lengths.max())
        places = slice(*self._offsets[[first, end]].tolist())
        return Batch(
            inputs=self._shown[first:end, :longest],
            places=(self._row[places] - first) * longest + self._column[places],
            truth=self._truth[places],
            weights=self._weights[places],
            total=float(self._totals[number]),
            padded=bool(lengths.min() < longest),
            events=int(self._events[number]),
        )


class _Windows:
    """Windows of a corpus as padded rows on a device."""

    def __init__(self, corpus: Corpus, device: torch.device) -> None:
        self.lengths = corpus.lengths
        self._starts = corpus.starts
        self._device = device
        self._tokens = corpus.tokens
        self._resident = _resident(corpus.tokens, device)

    def rows(self, windows: _Indices) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens [N, n] and lengths [N] of N windows; values past a length are arbitrary."""
        lengths = self.lengths[windows]
        places = self._starts[windows, None] + np.arange(lengths.max())
        places = np.minimum(places, len(self._tokens) - 1)
        if self._resident is None:
            found = np.asarray(self._tokens[places], dtype=np.int64)
            events = torch.from_numpy(found).to(self._device)
        else:
            events = self._resident[torch.as_tensor(places, device=self._device)].long()
        return events, torch.as_tensor(lengths, device=self._device)


def _resident(tokens: npt.NDArray[np.int32], device: torch.device) -> torch.Tensor | None:
    """Return the tokens on the GPU, or None if they do not fit or the device is no GPU."""
    if device.type != "cuda":
        return None
    _, memory = torch.cuda.mem_get_info(device)
    if tokens.nbytes > RESIDENT_SHARE * memory:
        return None
    return torch.tensor(tokens, device=device)
