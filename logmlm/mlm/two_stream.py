"""Two streams: a window in which all places are asked for at once, each hidden from its own asker.

Beside the window's tokens stands a `[MASK]` for each place, which hears all tokens but the one in
its place; the tokens hear each other and no `[MASK]` (as in XLNet, Yang et al., NeurIPS 2019, whose
other stream is this one). So of what is hidden only what others have heard of it shows through: in
order that is next to nothing, and the surprisals are nearly the exact ones, for the work of two
passes instead of one a place.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from logmlm.mlm.forward import (
    MaskedLM,
    attention,
    embed,
    feed_forward,
    fused_linear,
    hidden_positions,
    position_ids,
)
from logmlm.mlm.leave_one_out import mask_attention, split_heads
from logmlm.mlm.tokenizer import MASK, PAD


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
