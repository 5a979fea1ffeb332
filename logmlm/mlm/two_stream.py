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
    Model,
    attended,
    embedded,
    hidden_positions,
    onwards,
    position_ids,
    product,
)
from logmlm.mlm.leave_one_out import by_head, heard_by_masks
from logmlm.mlm.tokenizer import MASK, PAD


def logits_of_streams(model: Model, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Logits [B n, V] at the places [B, n] of token ids [B, L]; shorter windows end in `[PAD]`."""
    size, heads = ids.shape[1], model.config.num_attention_heads
    seen = (ids != PAD)[:, None, None, :]
    of_tokens = None if bool(seen.all()) else seen  # a mask of nothing would cost something
    hidden = functional.one_hot(places, size).bool()
    shown = embedded(model, ids, position_ids(model, ids))
    positions = hidden_positions(model, ids, places)
    masks = embedded(model, torch.full_like(places, MASK), positions)
    rows = torch.cat([shown, masks], dim=1)
    *inner, last = model.bert.encoder.layer
    for layer in inner:
        own = layer.attention.self
        found = product(rows, own.query, own.key, own.value)
        query, key, value = by_head(heads, found, 3)
        told = heard_by_masks(hidden, seen, query[:, :, size:], key, value).view(masks.shape)
        tokens = attended(heads, of_tokens, *found[:, :size].chunk(3, dim=-1))
        rows = onwards(layer, torch.cat([tokens, told], dim=1), rows)
    own, asking = last.attention.self, rows[:, size:]
    (query,) = by_head(heads, own.query(asking), 1)
    key, value = by_head(heads, product(rows, own.key, own.value), 2)
    told = heard_by_masks(hidden, seen, query, key, value)
    logits: torch.Tensor = model.cls(onwards(last, told, asking.flatten(0, 1)))
    return logits
