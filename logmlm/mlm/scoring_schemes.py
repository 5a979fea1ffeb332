"""Ways to read a window: which places are asked for, and what is hidden when each one is."""

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
"""Logits [B n, V] at places [B, n] of framed token ids [B, L], which may end in `[PAD]`."""


@dataclass(frozen=True)
class ScoringScheme:
    """The first token of the reading, the places asked for, how, and what that costs."""

    first: int
    places: Callable[[TokenIds], Indices]
    logits: Logits
    cost: Cost


def every_place(window: TokenIds) -> Indices:
    """All places of a window."""
    return np.arange(len(window))


def last_of_each_kind(bag: TokenIds) -> Indices:
    """Where each kind of event stands last, in a bag whose repeats are neighbours."""
    return (
        np.flatnonzero(np.diff(np.array(bag, dtype=np.int64), append=-1)) if bag else NO_POSITIONS
    )


def last_place(window: TokenIds) -> Indices:
    """The last place alone."""
    return np.array([len(window) - 1])


def _leave_one_out_cost(length: int, places: int) -> int:
    return length * places


def _two_stream_cost(length: int, places: int) -> int:
    return 2 * (length + places)  # of every token something is kept until the last layer


def _single_pass_cost(length: int, _: int) -> int:
    return 2 * length


def _unmasked_logits(model: MaskedLM, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """With nothing hidden but the end, which a bag does not show."""
    return _logits_at(model, ids.masked_fill(ids == END, MASK), places)


def _logits_at(model: MaskedLM, shown: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    asked = torch.zeros_like(shown, dtype=torch.bool).scatter_(1, places, True)
    found = token_logits(model, shown, asked, padding=bool((shown == PAD).any()))
    number = (asked.flatten().cumsum(0) - 1).view(shown.shape)
    return found[number.gather(1, places).flatten()]


@cache
def strided(stride: int) -> ScoringScheme:
    """In order, every `stride`-th place hidden at once."""

    def logits(model: MaskedLM, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        columns = torch.arange(ids.shape[1], device=ids.device)
        inner = (ids != PAD) & (ids != SEP) & (columns > 0)
        turns = [inner & (columns % stride == turn) for turn in range(stride)]
        found = [_logits_at(model, ids.masked_fill(turn, MASK), places) for turn in turns]
        own = (places % stride).flatten()
        return torch.stack(found)[own, torch.arange(len(own), device=ids.device)]

    return ScoringScheme(CLS, every_place, logits, lambda length, _: 2 * stride * length)


LEAVE_ONE_OUT = ScoringScheme(CLS, every_place, leave_one_out_logits, _leave_one_out_cost)
"""In order, each place hidden by itself: exact."""
BAG_LEAVE_ONE_OUT = ScoringScheme(BAG, last_of_each_kind, leave_one_out_logits, _leave_one_out_cost)
"""As a bag without its end, one of each kind hidden by itself: exact."""
BAG_END = ScoringScheme(BAG, last_place, leave_one_out_logits, _leave_one_out_cost)
"""What a whole bag lacks: exact."""
TWO_STREAM = ScoringScheme(CLS, every_place, two_stream_logits, _two_stream_cost)
"""In order, each place hidden from its own asker alone."""
BAG_UNMASKED = ScoringScheme(BAG, every_place, _unmasked_logits, _single_pass_cost)
"""As a bag, nothing hidden but its end."""
