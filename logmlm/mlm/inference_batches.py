"""Inference batches: windows of similar length, padded to the longest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from logmlm.mlm.tokenizer import PAD, add_special_tokens

BATCH_TOKENS = 8_192
"""Tokens per batch on a CPU: intermediates stay in its caches, and the overhead stays small."""

MAX_PADDING = 0.1
"""Padding as a share of a full batch; beyond it, another batch costs less."""

TokenIds = tuple[int, ...]
Indices = npt.NDArray[np.int64]
Array = npt.NDArray[np.float32]
Cost = Callable[[int, int], int]
"""Cost of a window, in tokens through the model, by framed length and number of positions."""


@dataclass(frozen=True, slots=True)
class InferenceBatch:
    """B rows, each a window with some or all of its positions to score.

    `numbers` [B] are window indices; a costly window has several rows. `ids` [B, L] are framed and
    end in `[PAD]`. `places` [B, n] are framed positions, of which the first `counts[b]` are valid
    and the rest repeat the last one.
    """

    numbers: list[int]
    ids: Indices
    places: Indices
    counts: list[int]

    @property
    def truth(self) -> Indices:
        """The true tokens at the positions [B, n]."""
        return np.take_along_axis(self.ids, self.places, axis=1)

    def rows(self, found: Array) -> Iterator[tuple[int, Array]]:
        """Split results [B n, ...] of all positions; yield (window, results of its positions)."""
        whole = found.reshape(*self.places.shape, *found.shape[1:])
        for number, row, count in zip(self.numbers, whole, self.counts, strict=True):
            yield number, row[:count].copy()  # a view would keep the whole batch alive


def make_batches(
    windows: Sequence[TokenIds], places: Sequence[Indices], first: int, cost: Cost, most: int
) -> list[InferenceBatch]:
    """Batch all windows by size, framed with the first token `first`.

    `places` [n] of each window count its own tokens from 0. A batch costs at most `most`; a window
    that costs more is split by positions, in order.
    """
    rows = [
        (number, part)
        for number, (window, own) in enumerate(zip(windows, places, strict=True))
        for part in _parts(own, cost(len(window) + 2, len(own)), most)
    ]
    rows.sort(key=lambda row: (len(windows[row[0]]), len(places[row[0]]), row[0]))
    found, start, widest, own = [], 0, 0, 0
    for end, (number, part) in enumerate(rows):
        length = len(windows[number]) + 2
        widest, own = max(widest, len(part)), own + cost(length, len(part))
        padded = cost(length, widest) * (end + 1 - start)
        if end > start and (padded > most or padded - own > MAX_PADDING * most):
            found.append(_make_batch(windows, rows[start:end], first))
            start, widest, own = end, len(part), cost(length, len(part))
    return [*found, _make_batch(windows, rows[start:], first)] if rows else []


def batch_budget(device: torch.device) -> int:
    """Return the largest cost of a batch, in tokens, for a device."""
    return BATCH_TOKENS if device.type == "cpu" else 16 * BATCH_TOKENS


def _parts(places: Indices, cost: int, most: int) -> Iterator[Indices]:
    """Split the positions of a window into parts that cost at most `most`, or of one position."""
    size = max(1, len(places) * most // max(1, cost))
    for start in range(0, len(places), size):
        yield places[start : start + size]


def _make_batch(
    windows: Sequence[TokenIds], rows: Sequence[tuple[int, Indices]], first: int
) -> InferenceBatch:
    counts = [len(part) for _, part in rows]
    longest = max(len(windows[number]) for number, _ in rows) + 2
    ids = np.full((len(rows), longest), PAD, dtype=np.int64)
    places = np.empty((len(rows), max(counts)), dtype=np.int64)
    for shown, asked, (number, part) in zip(ids, places, rows, strict=True):
        window = windows[number]
        shown[: len(window) + 2] = add_special_tokens(window, first)
        asked[:] = part[-1] + 1
        asked[: len(part)] = part + 1
    return InferenceBatch([number for number, _ in rows], ids, places, counts)
