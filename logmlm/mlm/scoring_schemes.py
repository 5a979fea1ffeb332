"""Scoring schemes: which positions of a window are scored, and what is masked for each.

Logits functions take framed ids and positions: position 0 is `[CLS]` or `[BAG]`.
Shapes: B windows, L tokens in the longest one, n scored positions per window, V words in the
vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from logmlm.mlm.forward import MaskedLM
from logmlm.mlm.inference_batches import Cost, Indices, TokenIds
from logmlm.mlm.leave_one_out import leave_one_out_logits, two_stream_logits
from logmlm.mlm.model import token_logits
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, PAD, SEP

NO_POSITIONS = np.empty(0, dtype=np.int64)
Logits = Callable[[MaskedLM, torch.Tensor, torch.Tensor], torch.Tensor]
"""Returns logits [B n, V] at positions [B, n] of framed ids [B, L], which may end in `[PAD]`."""


@dataclass(frozen=True)
class ScoringScheme:
    """First token of the view, positions to score, logits function and cost.

    `places` counts a window's own tokens from 0; `cost` is in tokens that go through the model.
    """

    first: int
    places: Callable[[TokenIds], Indices]
    logits: Logits
    cost: Cost


def every_place(window: TokenIds) -> Indices:
    """Return all positions of a window."""
    return np.arange(len(window))


def last_of_each_kind(bag: TokenIds) -> Indices:
    """Return the last position of each distinct event in a sorted bag."""
    return (
        np.flatnonzero(np.diff(np.array(bag, dtype=np.int64), append=-1)) if bag else NO_POSITIONS
    )


def last_place(window: TokenIds) -> Indices:
    """Return only the last position."""
    return np.array([len(window) - 1])


def _leave_one_out_cost(length: int, places: int) -> int:
    return length * places


def _two_stream_cost(length: int, places: int) -> int:
    return 2 * (length + places)  # twice: intermediates of every token live until the last layer


def _single_pass_cost(length: int, _: int) -> int:
    return 2 * length


def _unmasked_logits(model: MaskedLM, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return logits with only `[END]` masked, which bags in training never show."""
    return _logits_at(model, ids.masked_fill(ids == END, MASK), places)


def _logits_at(model: MaskedLM, shown: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    asked = torch.zeros_like(shown, dtype=torch.bool).scatter_(1, places, True)  # [B, L]
    found = token_logits(model, shown, asked, padding=bool((shown == PAD).any()))  # [M, V]
    # Row of `found` for each wanted position; `places` may repeat one, as padding of short rows.
    number = (asked.flatten().cumsum(0) - 1).view(shown.shape)  # [B, L]
    return found[number.gather(1, places).flatten()]


@cache
def strided(stride: int) -> ScoringScheme:
    """Return the ordered scheme that masks every `stride`-th position at once."""

    def logits(model: MaskedLM, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        columns = torch.arange(ids.shape[1], device=ids.device)
        inner = (ids != PAD) & (ids != SEP) & (columns > 0)
        # One masked variant per residue of the position modulo `stride`.
        turns = [inner & (columns % stride == turn) for turn in range(stride)]
        found = [_logits_at(model, ids.masked_fill(turn, MASK), places) for turn in turns]
        # Take each position's logits from the variant in which it is masked.
        own = (places % stride).flatten()  # [B n]
        return torch.stack(found)[own, torch.arange(len(own), device=ids.device)]

    return ScoringScheme(CLS, every_place, logits, lambda length, _: 2 * stride * length)


LEAVE_ONE_OUT = ScoringScheme(CLS, every_place, leave_one_out_logits, _leave_one_out_cost)
"""Ordered view, one mask at a time: exact."""
BAG_LEAVE_ONE_OUT = ScoringScheme(BAG, last_of_each_kind, leave_one_out_logits, _leave_one_out_cost)
"""Bag view without `[END]`, one of each distinct event masked at a time: exact."""
BAG_END = ScoringScheme(BAG, last_place, leave_one_out_logits, _leave_one_out_cost)
"""Bag view of all events, with `[END]` masked at the last position: exact."""
TWO_STREAM = ScoringScheme(CLS, every_place, two_stream_logits, _two_stream_cost)
"""Ordered view, two-stream attention: approximate."""
BAG_UNMASKED = ScoringScheme(BAG, every_place, _unmasked_logits, _single_pass_cost)
"""Bag view, only `[END]` masked: approximate."""
