"""Leave-one-out logits, exact and as a two-stream approximation.

Exact (`leave_one_out_logits`): pseudo-log-likelihood scoring (Salazar et al., ACL 2020) runs a copy
of the window for each position, with `[MASK]` at that position. The copies of a window differ in
one token, so work is shared in two layers:

- First layer: the unmasked tokens of all copies have the same queries, keys and values. The
  attention weights are computed once per window; each copy drops the hidden key, adds the key of
  its `[MASK]`, and normalizes again.
- Last layer: only the masked position has a query. With absolute positions, that query is
  multiplied by the key weights once, instead of projecting every token to a key; rotary keys
  differ by position and are projected. The value projection is applied to the weighted mean of
  the tokens.

The result equals that of the encoder's forward pass, up to float32 rounding.

Approximate (`two_stream_logits`): the query stream of XLNet (Yang et al., NeurIPS 2019). A `[MASK]`
per position attends to itself and to all tokens but the one at its position; tokens attend to each
other and to no `[MASK]`. The hidden token leaks only through the hidden states of the other tokens.
Surprisals of ordered windows are close to the exact ones, at the cost of two passes per window
instead of one per position.

Shapes: B windows, L tokens in the longest one, n hidden positions per window, H hidden size,
d = H / heads, V words in the vocabulary. "B n" is one dimension: the copies, window by window.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from logmlm.mlm.forward import (
    MaskedLM,
    embed,
    feed_forward,
    fused_linear,
    hidden_positions,
    layer_forward,
    position_ids,
    scaled_attention,
)
from logmlm.mlm.rotary import rotary_angles, rotate
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
    first, *inner, last = model.base_model.encoder.layer
    copies = torch.arange(positions.numel(), device=ids.device), positions.flatten()
    rows = _first_layer(model, first, ids, positions, attention_mask)  # [B n, L, H]
    attention_mask = attention_mask.repeat_interleave(positions.shape[1], dim=0)  # [B n, 1, 1, L]
    angles = rotary_angles(model, _positions_of_copies(model, ids, positions))  # [B n, L, d / 2]
    for layer in inner:
        rows = layer_forward(model, layer, rows, attention_mask, angles)
    hidden = _last_layer(model, last, rows, copies, attention_mask, angles)
    logits: torch.Tensor = model.cls(hidden)
    return logits


def _positions_of_copies(
    model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """Return the position ids of all copies [B n, L]: those of the tokens, and of one `[MASK]`."""
    shown = position_ids(model, ids).expand(ids.shape)[:, None]  # [B, 1, L]
    hidden = hidden_positions(model, ids, positions)[..., None]  # [B, n, 1]
    copies = shown.repeat(1, positions.shape[1], 1).scatter(2, positions[..., None], hidden)
    return copies.flatten(0, 1)


def _first_layer(
    model: MaskedLM,
    layer: Any,
    ids: torch.Tensor,
    positions: torch.Tensor,
    attention_mask: torch.Tensor,
) -> torch.Tensor:
    """Return the first layer's output for all copies [B n, L, H]."""
    size, count = ids.shape[1], positions.shape[1]
    shown, masks, angles = _streams(model, ids, positions)
    query, key, value = _split_projections(
        model, layer, torch.cat([shown, masks], dim=1), angles
    )  # [B, heads, L + n, d] each
    hidden = functional.one_hot(positions, size).bool()  # [B, n, L]
    context = _attention_per_copy(hidden, attention_mask, query[:, :, :size], key, value)
    mask_context = mask_attention(hidden, attention_mask, query[:, :, size:], key, value)
    residual = shown[:, None].repeat(1, count, 1, 1).flatten(0, 1)  # [B n, L, H]
    copies = torch.arange(positions.numel(), device=ids.device), positions.flatten()
    # A copy has `[MASK]` at its hidden position: replace the token's rows by those of the mask.
    residual[copies], context[copies] = masks.flatten(0, 1), mask_context
    return feed_forward(layer, context, residual)


def _streams(
    model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return the embeddings of tokens [B, L, H] and of a `[MASK]` per position [B, n, H].

    The third are the rotary angles of both [B, L + n, d / 2], or None for absolute positions.
    """
    places = position_ids(model, ids).expand(ids.shape)  # [B, L]
    mask_places = hidden_positions(model, ids, positions)  # [B, n]
    shown = embed(model, ids, places)
    masks = embed(model, torch.full_like(positions, MASK), mask_places)
    return shown, masks, rotary_angles(model, torch.cat([places, mask_places], dim=1))


def _split_projections(
    model: MaskedLM, layer: Any, rows: torch.Tensor, angles: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return query, key and value [B, heads, L, d] of `rows` [B, L, H]."""
    own, heads = layer.attention.self, model.config.num_attention_heads
    query, key, value = fused_linear(rows, own.query, own.key, own.value).chunk(3, dim=-1)
    query, key = rotate(query, angles), rotate(key, angles)
    return split_heads(heads, query), split_heads(heads, key), split_heads(heads, value)


def split_heads(heads: int, rows: torch.Tensor) -> torch.Tensor:
    """Split a projection [B, L, H] into its heads [B, heads, L, d]."""
    return rows.view(*rows.shape[:2], heads, -1).transpose(1, 2)


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
    angles: torch.Tensor | None,
) -> torch.Tensor:
    """Return the last layer's output at the hidden positions [B n, H].

    `rows` is [B n, L, H]; `copies` indexes the hidden position of each copy.
    """
    heads, own, query_rows = model.config.num_attention_heads, layer.attention.self, rows[copies]
    query = own.query(query_rows)  # [B n, H]
    if angles is None:
        scores = _scores_without_keys(own, heads, query, rows)  # [B n, heads, L]
    else:
        # [B n, heads, 1, d] @ [B n, heads, d, L] -> [B n, heads, L]
        query = rotate(query, angles[copies]).view(len(query), heads, 1, -1)
        key = split_heads(heads, rotate(own.key(rows), angles))
        scores = (query @ key.transpose(2, 3)).squeeze(2)
    scores = scores * (rows.shape[-1] // heads) ** -0.5
    weights = scores.masked_fill(~attention_mask[:, 0], -torch.inf).softmax(dim=-1)
    context = (weights @ rows).transpose(0, 1)  # [heads, B n, H]
    values = context @ own.value.weight.unflatten(0, (heads, -1)).transpose(1, 2)  # [heads, B n, d]
    # The attention weights sum to 1, so the value bias is added once.
    return feed_forward(layer, values.transpose(0, 1).flatten(1) + own.value.bias, query_rows)


def _scores_without_keys(
    own: Any, heads: int, query: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """Return unscaled attention scores [B n, heads, L] of a query [B n, H] per copy.

    The query is projected instead of every key. The key bias is left out: it adds the same number
    to all scores of a query, which softmax ignores.
    """
    query = query.view(len(query), heads, -1).transpose(0, 1)  # [heads, B n, d]
    # [heads, B n, d] @ [heads, d, H] -> [B n, heads, H]
    projected = (query @ own.key.weight.unflatten(0, (heads, -1))).transpose(0, 1)
    scores: torch.Tensor = projected @ rows.transpose(1, 2)
    return scores


def two_stream_logits(model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the approximate logits [B n, V] at `positions` [B, n] of token ids [B, L].

    Shorter windows end in `[PAD]`.
    """
    size, heads = ids.shape[1], model.config.num_attention_heads
    attention_mask = (ids != PAD)[:, None, None, :]  # [B, 1, 1, L]
    # Pass no mask where there is no padding: an all-true mask would only cost time.
    token_mask = None if bool(attention_mask.all()) else attention_mask
    hidden = functional.one_hot(positions, size).bool()  # [B, n, L]
    shown, masks, angles = _streams(model, ids, positions)
    rows = torch.cat([shown, masks], dim=1)  # [B, L + n, H]: token stream, then mask stream
    *inner, last = model.base_model.encoder.layer
    for layer in inner:
        query, key, value = _split_projections(model, layer, rows, angles)
        mask_context = mask_attention(hidden, attention_mask, query[:, :, size:], key, value).view(
            masks.shape
        )
        tokens = (part[:, :, :size] for part in (query, key, value))
        token_context = scaled_attention(token_mask, *tokens)
        rows = feed_forward(layer, torch.cat([token_context, mask_context], dim=1), rows)
    # Only the mask stream is read from the last layer: tokens need no query there.
    own, query_rows = last.attention.self, rows[:, size:]  # [B, n, H]
    mask_angles = None if angles is None else angles[:, size:]
    query = split_heads(heads, rotate(own.query(query_rows), mask_angles))
    key, value = fused_linear(rows, own.key, own.value).chunk(2, dim=-1)
    key, value = split_heads(heads, rotate(key, angles)), split_heads(heads, value)
    mask_context = mask_attention(hidden, attention_mask, query, key, value)
    logits: torch.Tensor = model.cls(feed_forward(last, mask_context, query_rows.flatten(0, 1)))
    return logits
