"""Leave-one-out logits, exact and as a two-stream approximation.

Exact (`leave_one_out_logits`): pseudo-log-likelihood scoring (Salazar et al., ACL 2020) runs a copy
of the window for each position, with `[MASK]` at that position. The copies of a window differ in
one token, so work is shared in two layers:

- First layer: the unmasked tokens of all copies have the same queries, keys and values. The
  attention weights are computed once per window; each copy drops the hidden key, adds the key of
  its `[MASK]`, and normalizes again.
- Last layer: only the masked position has a query. That query is multiplied by the key weights
  once, instead of projecting every token to a key; the value projection is applied to the weighted
  mean of the tokens.

The result equals that of BERT's forward pass, up to float32 rounding.

Approximate (`two_stream_logits`): the query stream of XLNet (Yang et al., NeurIPS 2019). A `[MASK]`
per position attends to itself and to all tokens but the one at its position; tokens attend to each
other and to no `[MASK]`. The hidden token leaks only through the hidden states of the other tokens.
Surprisals of ordered windows are close to the exact ones, at the cost of two passes per window
instead of one per position.

Shapes: B windows, L tokens in the longest one, n hidden positions per window, H hidden size,
d = H / heads, V words in the vocabulary. "B n" is one dimension: the copies, window by window.
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
"""Upper limit, in nats, of an attention score above its reference level.

exp(80) is finite in float32, and a weight this large already takes all the attention.
"""


def leave_one_out_logits(
    model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """Return the logits [B n, V] at `positions` [B, n] of token ids [B, L].

    Each position is masked in a copy of its own. Shorter windows end in `[PAD]`. In a bag, a
    hidden token must be the last of its repeats: only then do the position ids of the other
    tokens (`position_ids`) stay the same.
    """
    attention_mask = (ids != PAD)[:, None, None, :]  # [B, 1, 1, L]
    first, *inner, last = model.bert.encoder.layer
    copies = torch.arange(positions.numel(), device=ids.device), positions.flatten()
    rows = _first_layer(model, first, ids, positions, attention_mask)  # [B n, L, H]
    attention_mask = attention_mask.repeat_interleave(positions.shape[1], dim=0)  # [B n, 1, 1, L]
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
    shown = embed(model, ids, position_ids(model, ids))  # [B, L, H]
    # [B, n, H]
    masks = embed(model, torch.full_like(positions, MASK), hidden_positions(model, ids, positions))
    own = layer.attention.self
    products = fused_linear(torch.cat([shown, masks], dim=1), own.query, own.key, own.value)
    heads = model.config.num_attention_heads
    query, key, value = split_heads(heads, products, 3)  # [B, heads, L + n, d] each
    hidden = functional.one_hot(positions, size).bool()  # [B, n, L]
    context = _attention_per_copy(hidden, attention_mask, query[:, :, :size], key, value)
    mask_context = mask_attention(hidden, attention_mask, query[:, :, size:], key, value)
    residual = shown[:, None].repeat(1, count, 1, 1).flatten(0, 1)  # [B n, L, H]
    copies = torch.arange(positions.numel(), device=ids.device), positions.flatten()
    # A copy has `[MASK]` at its hidden position: replace the token's rows by those of the mask.
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
    """Return the attention output of the unmasked tokens in every copy [B n, L, H].

    `hidden` [B, n, L] is true at the position that each copy hides; the row of that position is
    meaningless, and `_first_layer` replaces it. `query` is [B, heads, L, d]. Of `key` and `value`
    [B, heads, L + n, d], the last n are those of the copies' `[MASK]`. The softmax is written out,
    so that exponentials are computed once per window and summed per copy.
    """
    size = query.shape[2]
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5  # [B, heads, L, L + n]
    tokens, masks = scores[..., :size].masked_fill(~attention_mask, -torch.inf), scores[..., size:]
    # Softmax needs a reference level near the highest score of each copy. A copy hides one key, so
    # at least one of the two highest scores remains in it.
    level = tokens.topk(2).values[..., 1:]  # [B, heads, L, 1]
    weights = (tokens - level).clamp(max=MAX_EXPONENT).exp()  # [B, heads, L, L]
    # [B, heads, L, n] -> [B, heads, n, L, 1]
    added = (masks - level).clamp(max=MAX_EXPONENT).exp().transpose(2, 3)[..., None]
    kept = (~hidden).to(weights.dtype)[:, None]  # [B, 1, n, L]
    # The softmax's denominator for each copy and query, [B, heads, n, L, 1].
    totals = (weights @ kept.transpose(2, 3)).transpose(2, 3)[..., None] + added
    of_copies = (weights[:, :, None] * kept[:, :, :, None]).flatten(2, 3)  # [B, heads, n L, L]
    context = (of_copies @ value[:, :, :size]).unflatten(2, (-1, size))  # [B, heads, n, L, d]
    context.addcmul_(added, value[:, :, size:, None]).div_(totals)
    # [B, heads, n, L, d] -> [B, n, L, heads, d] -> [B, n, L, H] -> [B n, L, H]
    joined: torch.Tensor = context.permute(0, 2, 3, 1, 4).flatten(3).flatten(0, 1)
    return joined


def mask_attention(
    hidden: torch.Tensor,
    attention_mask: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """Return the attention output of each `[MASK]` [B n, H].

    A `[MASK]` attends to itself and to all tokens but the one that it hides. `hidden` [B, n, L]
    is true at its position, and `query` [B, heads, n, d] is its query. Of `key` and `value`
    [B, heads, L + n, d], the last n are those of `[MASK]`.
    """
    size = hidden.shape[2]
    masks = key[:, :, size:]  # [B, heads, n, d]
    scores = query @ key[:, :, :size].transpose(2, 3)  # [B, heads, n, L]
    own = (query * masks).sum(dim=-1, keepdim=True)  # [B, heads, n, 1]
    # The column of the hidden token carries the score of the `[MASK]` that replaces it.
    scores = torch.where(hidden[:, None], own, scores) * query.shape[-1] ** -0.5
    weights = scores.masked_fill(~attention_mask, -torch.inf).softmax(dim=-1)
    at_itself = weights.masked_fill(~hidden[:, None], 0.0)  # [B, heads, n, L]
    context = (weights - at_itself) @ value[:, :, :size]  # [B, heads, n, d]
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
    """Return the last layer's output at the hidden positions [B n, H].

    `rows` is [B n, L, H]; `copies` indexes the hidden position of each copy. The key bias is left
    out: it adds the same number to all scores of a query, which softmax ignores.
    """
    heads, own, query_rows = model.config.num_attention_heads, layer.attention.self, rows[copies]
    query = own.query(query_rows).unflatten(1, (heads, -1)).transpose(0, 1)  # [heads, B n, d]
    # Project the query instead of every key: [heads, B n, d] @ [heads, d, H] -> [B n, heads, H].
    projected = (query @ own.key.weight.unflatten(0, (heads, -1))).transpose(0, 1)
    scores = projected @ rows.transpose(1, 2) * query.shape[-1] ** -0.5  # [B n, heads, L]
    weights = scores.masked_fill(~attention_mask[:, 0], -torch.inf).softmax(dim=-1)
    context = (weights @ rows).transpose(0, 1)  # [heads, B n, H]
    values = context @ own.value.weight.unflatten(0, (heads, -1)).transpose(1, 2)  # [heads, B n, d]
    # The attention weights sum to 1, so the value bias is added once.
    return feed_forward(layer, values.transpose(0, 1).flatten(1) + own.value.bias, query_rows)


def two_stream_logits(model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the approximate logits [B n, V] at `positions` [B, n] of token ids [B, L].

    Shorter windows end in `[PAD]`.
    """
    size, heads = ids.shape[1], model.config.num_attention_heads
    attention_mask = (ids != PAD)[:, None, None, :]  # [B, 1, 1, L]
    # Pass no mask where there is no padding: an all-true mask would only cost time.
    token_mask = None if bool(attention_mask.all()) else attention_mask
    hidden = functional.one_hot(positions, size).bool()  # [B, n, L]
    shown = embed(model, ids, position_ids(model, ids))  # [B, L, H]
    mask_position_ids = hidden_positions(model, ids, positions)  # [B, n]
    masks = embed(model, torch.full_like(positions, MASK), mask_position_ids)  # [B, n, H]
    rows = torch.cat([shown, masks], dim=1)  # [B, L + n, H]: token stream, then mask stream
    *inner, last = model.bert.encoder.layer
    for layer in inner:
        own = layer.attention.self
        products = fused_linear(rows, own.query, own.key, own.value)  # [B, L + n, 3 H]
        query, key, value = split_heads(heads, products, 3)  # [B, heads, L + n, d] each
        mask_context = mask_attention(hidden, attention_mask, query[:, :, size:], key, value).view(
            masks.shape
        )
        token_context = attention(heads, token_mask, *products[:, :size].chunk(3, dim=-1))
        rows = feed_forward(layer, torch.cat([token_context, mask_context], dim=1), rows)
    # Only the mask stream is read from the last layer: tokens need no query there.
    own, query_rows = last.attention.self, rows[:, size:]  # [B, n, H]
    (query,) = split_heads(heads, own.query(query_rows), 1)
    key, value = split_heads(heads, fused_linear(rows, own.key, own.value), 2)
    mask_context = mask_attention(hidden, attention_mask, query, key, value)
    logits: torch.Tensor = model.cls(feed_forward(last, mask_context, query_rows.flatten(0, 1)))
    return logits
