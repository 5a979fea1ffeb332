"""Copies of windows that each hide one place: what they share is worked out once.

A copy differs from its window in one token. In the first layer all its other tokens ask the same
questions, and get the same answers but from one key: so queries, keys, values and weights are
those of the window, and a copy only leaves out the hidden place and counts `[MASK]` in. In the last
layer nobody but the hidden place asks: what it asks goes through the weights of the keys once, not
every token, and through those of the values what it heard. The mathematics is BERT's, and so are
the numbers, to float32's rounding.

Two streams: a window in which all places are asked for at once, each hidden from its own asker.

Beside the window's tokens stands a `[MASK]` for each place, which hears all tokens but the one in
its place; the tokens hear each other and no `[MASK]` (as in XLNet, Yang et al., NeurIPS 2019, whose
other stream is this one). So of what is hidden only what others have heard of it shows through: in
order that is next to nothing, and the surprisals are nearly the exact ones, for the work of two
passes instead of one a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from logmlm.mlm.forward import (
    MaskedLM,
    attention,
    embed,
    feed_forward,
    fused_linear,
    hidden_positions,
    layer_forward,
    position_ids,
)
from logmlm.mlm.tokenizer import MASK, PAD

MAX_EXPONENT = 80.0
"""A score that is so many nats above the others has all the attention in float32, and exp of it is
still a number."""


def leave_one_out_logits(
    model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """Logits [B n, V] at the places [B, n] of token ids [B, L], each hidden in a copy of its own.

    Shorter windows end in `[PAD]`. Words of a bag that are hidden have to be the last of their
    kind there: only then do the others' positions stay as they are.
    """
    attention_mask = (ids != PAD)[:, None, None, :]
    first, *inner, last = model.bert.encoder.layer
    copies = torch.arange(positions.numel(), device=ids.device), positions.flatten()
    rows = _first_layer(model, first, ids, positions, attention_mask)
    attention_mask = attention_mask.repeat_interleave(positions.shape[1], dim=0)
    for layer in inner:
        rows = layer_forward(model, layer, rows, attention_mask)
    logits: torch.Tensor = model.cls(_last_layer(model, last, rows, copies, attention_mask))
    return logits


def _first_layer(
    model: MaskedLM,
    layer: Any,
    ids: torch.Tensor,
    positions: torch.Tensor,
    attention_mask: torch.Tensor,
) -> torch.Tensor:
    """Return the first layer's output for all copies [B n, L, H]."""
    size, count = ids.shape[1], positions.shape[1]
    shown = embed(model, ids, position_ids(model, ids))
    masks = embed(model, torch.full_like(positions, MASK), hidden_positions(model, ids, positions))
    own = layer.attention.self
    both = fused_linear(torch.cat([shown, masks], dim=1), own.query, own.key, own.value)
    heads = model.config.num_attention_heads
    query, key, value = split_heads(heads, both, 3)
    hidden = functional.one_hot(positions, size).bool()  # [B, n, L]
    context = _attention_per_copy(hidden, attention_mask, query[:, :, :size], key, value)
    mask_context = mask_attention(hidden, attention_mask, query[:, :, size:], key, value)
    residual = shown[:, None].repeat(1, count, 1, 1).flatten(0, 1)
    copies = torch.arange(positions.numel(), device=ids.device), positions.flatten()
    residual[copies], context[copies] = masks.flatten(0, 1), mask_context
    return feed_forward(layer, context, residual)


def split_heads(heads: int, products: torch.Tensor, count: int) -> Sequence[torch.Tensor]:
    """Split `count` concatenated projections [B, L, count H] into [B, heads, L, d] each."""
    parts = products.view(*products.shape[:2], count * heads, -1).transpose(1, 2)
    return torch.chunk(parts, count, dim=1)


def _attention_per_copy(
    hidden: torch.Tensor,
    attention_mask: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """Return the attention output of each copy's tokens [B n, L, H], none of them masked.

    Of key and value [B, heads, L + n, d] the last n are those of `[MASK]`.
    """
    size = query.shape[2]
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5
    known, asking = scores[..., :size].masked_fill(~attention_mask, -torch.inf), scores[..., size:]
    # Whichever is hidden, at least the second highest stays to be compared with.
    level = known.topk(2).values[..., 1:]
    weights = (known - level).clamp(max=MAX_EXPONENT).exp()  # [B, heads, L, L]
    added = (asking - level).clamp(max=MAX_EXPONENT).exp().transpose(2, 3)[..., None]
    kept = (~hidden).to(weights.dtype)[:, None]  # [B, 1, n, L]
    totals = (weights @ kept.transpose(2, 3)).transpose(2, 3)[..., None] + added
    of_copies = (weights[:, :, None] * kept[:, :, :, None]).flatten(2, 3)  # [B, heads, n L, L]
    context = (of_copies @ value[:, :, :size]).unflatten(2, (-1, size))  # [B, heads, n, L, d]
    context.addcmul_(added, value[:, :, size:, None]).div_(totals)
    joined: torch.Tensor = context.permute(0, 2, 3, 1, 4).flatten(3).flatten(0, 1)
    return joined


def mask_attention(
    hidden: torch.Tensor,
    attention_mask: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """Return what each `[MASK]` attends to [B n, H]: itself, and all tokens but the hidden one.

    `hidden` [B, n, L] says where each stands, and `query` [B, heads, n, d] what it asks. Of key and
    value [B, heads, L + n, d] the last n are theirs.
    """
    size = hidden.shape[2]
    masks = key[:, :, size:]
    scores = query @ key[:, :, :size].transpose(2, 3)  # [B, heads, n, L]
    own = (query * masks).sum(dim=-1, keepdim=True)
    scores = torch.where(hidden[:, None], own, scores) * query.shape[-1] ** -0.5
    weights = scores.masked_fill(~attention_mask, -torch.inf).softmax(dim=-1)
    at_itself = weights.masked_fill(~hidden[:, None], 0.0)
    context = (weights - at_itself) @ value[:, :, :size]
    context += at_itself.sum(dim=-1, keepdim=True) * value[:, :, size:]
    joined: torch.Tensor = context.transpose(1, 2).flatten(2).flatten(0, 1)
    return joined


def _last_layer(
    model: MaskedLM,
    layer: Any,
    rows: torch.Tensor,
    copies: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor,
) -> torch.Tensor:
    """Return the last layer's output at the hidden positions [B n, H]."""
    heads, own, query_rows = model.config.num_attention_heads, layer.attention.self, rows[copies]
    query = own.query(query_rows).unflatten(1, (heads, -1)).transpose(0, 1)  # [heads, B n, d]
    wanted = (query @ own.key.weight.unflatten(0, (heads, -1))).transpose(0, 1)
    scores = wanted @ rows.transpose(1, 2) * query.shape[-1] ** -0.5  # [B n, heads, L]
    weights = scores.masked_fill(~attention_mask[:, 0], -torch.inf).softmax(dim=-1)
    context = (weights @ rows).transpose(0, 1)  # [heads, B n, H]
    values = context @ own.value.weight.unflatten(0, (heads, -1)).transpose(1, 2)
    return feed_forward(layer, values.transpose(0, 1).flatten(1) + own.value.bias, query_rows)


def two_stream_logits(model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Logits [B n, V] at the places [B, n] of token ids [B, L]; shorter windows end in `[PAD]`."""
    size, heads = ids.shape[1], model.config.num_attention_heads
    attention_mask = (ids != PAD)[:, None, None, :]
    of_tokens = (
        None if bool(attention_mask.all()) else attention_mask
    )  # a mask of nothing would cost something
    hidden = functional.one_hot(positions, size).bool()
    shown = embed(model, ids, position_ids(model, ids))
    mask_position_ids = hidden_positions(model, ids, positions)
    masks = embed(model, torch.full_like(positions, MASK), mask_position_ids)
    rows = torch.cat([shown, masks], dim=1)
    *inner, last = model.bert.encoder.layer
    for layer in inner:
        own = layer.attention.self
        products = fused_linear(rows, own.query, own.key, own.value)
        query, key, value = split_heads(heads, products, 3)
        mask_context = mask_attention(hidden, attention_mask, query[:, :, size:], key, value).view(
            masks.shape
        )
        token_context = attention(heads, of_tokens, *products[:, :size].chunk(3, dim=-1))
        rows = feed_forward(layer, torch.cat([token_context, mask_context], dim=1), rows)
    own, query_rows = last.attention.self, rows[:, size:]
    (query,) = split_heads(heads, own.query(query_rows), 1)
    key, value = split_heads(heads, fused_linear(rows, own.key, own.value), 2)
    mask_context = mask_attention(hidden, attention_mask, query, key, value)
    logits: torch.Tensor = model.cls(feed_forward(last, mask_context, query_rows.flatten(0, 1)))
    return logits
