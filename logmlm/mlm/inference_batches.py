"""What goes through the model at once: windows of about one length, padded to the longest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from logmlm.mlm.tokenizer import PAD, add_special_tokens

BATCH_TOKENS = 8_192
"""On a CPU, so that what a pass makes stays near, and beginning one costs little."""

MAX_PADDING = 0.1
"""Of a full pass: more costs more than to begin another one."""

TokenIds = tuple[int, ...]
Indices = npt.NDArray[np.int64]
Array = npt.NDArray[np.float32]
Cost = Callable[[int, int], int]
"""Tokens through the model for a window, by its framed length and the places asked for."""


@dataclass(frozen=True, slots=True)
class InferenceBatch:
    """B rows: windows, or parts of long ones, and the places in them that are asked for.

    `numbers` [B] says which windows they are. `ids` [B, L] are framed and end in `[PAD]`; of
    `places` [B, n], which count the frame, the first `counts` [B] are each row's own.
    """

    numbers: list[int]
    ids: Indices
    places: Indices
    counts: list[int]

    @property
    def truth(self) -> Indices:
        """What the places hold [B, n]."""
        return np.take_along_axis(self.ids, self.places, axis=1)

    def rows(self, found: Array) -> Iterator[tuple[int, Array]]:
        """The window, and what was found at its own places, of all places [B n, ...]."""
        whole = found.reshape(*self.places.shape, *found.shape[1:])
        for number, row, count in zip(self.numbers, whole, self.counts, strict=True):
            yield number, row[:count].copy()  # what is kept of a pass must not keep it all


def make_batches(
    windows: Sequence[TokenIds], places: Sequence[Indices], first: int, cost: Cost, most: int
) -> list[InferenceBatch]:
    """All windows, begun with the token `first`, those of about a size together.

    `places` [n] of each window count its own tokens from 0. A pass costs `most` at most; a window
    that costs more comes in parts, in order.
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
    """The most tokens that are to go through the model at once."""
    return BATCH_TOKENS if device.type == "cpu" else 16 * BATCH_TOKENS


def _parts(places: Indices, cost: int, most: int) -> Iterator[Indices]:
    """All places, so many at a time that they cost `most` or come one by one."""
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
