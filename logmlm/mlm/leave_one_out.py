"""Copies of windows that each hide one place: what they share is worked out once.

A copy differs from its window in one token. In the first layer all its other tokens ask the same
questions, and get the same answers but from one key: so queries, keys, values and weights are
those of the window, and a copy only leaves out the hidden place and counts `[MASK]` in. In the last
layer nobody but the hidden place asks: what it asks goes through the weights of the keys once, not
every token, and through those of the values what it heard. The mathematics is BERT's, and so are
the numbers, to float32's rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from logmlm.mlm.forward import (
    Model,
    embedded,
    hidden_positions,
    onwards,
    position_ids,
    product,
    through,
)
from logmlm.mlm.tokenizer import MASK, PAD

STEEPEST = 80.0
"""A score that is so many nats above the others has all the attention in float32, and exp of it is
still a number."""


def logits_of_copies(model: Model, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Logits [B n, V] at the places [B, n] of token ids [B, L], each hidden in a copy of its own.

    Shorter windows end in `[PAD]`. Words of a bag that are hidden have to be the last of their
    kind there: only then do the others' positions stay as they are.
    """
    seen = (ids != PAD)[:, None, None, :]
    first, *inner, last = model.bert.encoder.layer
    copies = torch.arange(places.numel(), device=ids.device), places.flatten()
    rows = _first(model, first, ids, places, seen)
    seen = seen.repeat_interleave(places.shape[1], dim=0)
    for layer in inner:
        rows = through(model, layer, rows, seen)
    logits: torch.Tensor = model.cls(_last(model, last, rows, copies, seen))
    return logits


def _first(
    model: Model, layer: Any, ids: torch.Tensor, places: torch.Tensor, seen: torch.Tensor
) -> torch.Tensor:
    """What the first layer makes of all copies: [B n, L, H]."""
    size, count = ids.shape[1], places.shape[1]
    shown = embedded(model, ids, position_ids(model, ids))
    masks = embedded(model, torch.full_like(places, MASK), hidden_positions(model, ids, places))
    own = layer.attention.self
    both = product(torch.cat([shown, masks], dim=1), own.query, own.key, own.value)
    heads = model.config.num_attention_heads
    query, key, value = by_head(heads, both, 3)
    hidden = functional.one_hot(places, size).bool()  # [B, n, L]
    attended = _attended(hidden, seen, query[:, :, :size], key, value)
    asked = heard_by_masks(hidden, seen, query[:, :, size:], key, value)
    told = shown[:, None].repeat(1, count, 1, 1).flatten(0, 1)
    copies = torch.arange(places.numel(), device=ids.device), places.flatten()
    told[copies], attended[copies] = masks.flatten(0, 1), asked
    return onwards(layer, attended, told)


def by_head(heads: int, products: torch.Tensor, count: int) -> Sequence[torch.Tensor]:
    """So many products that stand side by side [B, L, count H], each as [B, heads, L, d]."""
    parts = products.view(*products.shape[:2], count * heads, -1).transpose(1, 2)
    return torch.chunk(parts, count, dim=1)


def _attended(
    hidden: torch.Tensor,
    seen: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """What the tokens of each copy hear [B n, L, H], as if none of them were hidden itself.

    Of key and value [B, heads, L + n, d] the last n are those of `[MASK]`.
    """
    size = query.shape[2]
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    known, asking = scores[..., :size].masked_fill(~seen, -torch.inf), scores[..., size:]
    # Whichever is hidden, at least the second highest stays to be compared with.
    level = known.topk(2).values[..., 1:]
    weights = (known - level).clamp(max=STEEPEST).exp()  # [B, heads, L, L]
    added = (asking - level).clamp(max=STEEPEST).exp().transpose(2, 3)[..., None]
    kept = (~hidden).to(weights.dtype)[:, None]  # [B, 1, n, L]
    totals = (weights @ kept.transpose(2, 3)).transpose(2, 3)[..., None] + added
    of_copies = (weights[:, :, None] * kept[:, :, :, None]).flatten(2, 3)  # [B, heads, n L, L]
    heard = (of_copies @ value[:, :, :size]).unflatten(2, (-1, size))  # [B, heads, n, L, d]
    heard.addcmul_(added, value[:, :, size:, None]).div_(totals)
    joined: torch.Tensor = heard.permute(0, 2, 3, 1, 4).flatten(3).flatten(0, 1)
    return joined


def heard_by_masks(
    hidden: torch.Tensor,
    seen: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """What the `[MASK]` in each place hears [B n, H]: itself, and all tokens `seen` but its own.

    `hidden` [B, n, L] says where each stands, and `query` [B, heads, n, d] what it asks. Of key and
    value [B, heads, L + n, d] the last n are theirs.
    """
    size = hidden.shape[2]
    masks = key[:, :, size:]
    scores = query @ key[:, :, :size].transpose(2, 3)  # [B, heads, n, L]
    own = (query * masks).sum(dim=-1, keepdim=True)
    scores = torch.where(hidden[:, None], own, scores) * query.shape[-1] ** -0.5
    weights = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
    at_itself = weights.masked_fill(~hidden[:, None], 0.0)
    heard = (weights - at_itself) @ value[:, :, :size]
    heard += at_itself.sum(dim=-1, keepdim=True) * value[:, :, size:]
    joined: torch.Tensor = heard.transpose(1, 2).flatten(2).flatten(0, 1)
    return joined


def _last(
    model: Model,
    layer: Any,
    rows: torch.Tensor,
    copies: tuple[torch.Tensor, torch.Tensor],
    seen: torch.Tensor,
) -> torch.Tensor:
    """What the last layer makes of the hidden places: [B n, H]."""
    heads, own, asked = model.config.num_attention_heads, layer.attention.self, rows[copies]
    query = own.query(asked).unflatten(1, (heads, -1)).transpose(0, 1)  # [heads, B n, d]
    wanted = (query @ own.key.weight.unflatten(0, (heads, -1))).transpose(0, 1)
    scores = wanted @ rows.transpose(1, 2) * query.shape[-1] ** -0.5  # [B n, heads, L]
    weights = scores.masked_fill(~seen[:, 0], -torch.inf).softmax(dim=-1)
    heard = (weights @ rows).transpose(0, 1)  # [heads, B n, H]
    values = heard @ own.value.weight.unflatten(0, (heads, -1)).transpose(1, 2)
    return onwards(layer, values.transpose(0, 1).flatten(1) + own.value.bias, asked)
