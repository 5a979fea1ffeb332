"""BERT's forward pass where only few places are asked for: what nobody reads is not worked out.

The same mathematics and weights as transformers' `BertForMaskedLM`. In every layer all places
of a window serve as keys and values, but in the last one only the places that are asked for
have a query and go on: of two layers that saves a third. Queries, keys and values are one
product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from logmlm.mlm.bert import Bert
from logmlm.mlm.tokenizer import BAG, MASK, PAD

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

TILE = 131_072
"""So many numbers fit a core's second cache, with what is made of them."""

Model: TypeAlias = "BertForMaskedLM | Bert"
"""One that is trained, or one that was saved: both have the same parts, by the same names."""


def logits_at(
    model: Model,
    ids: torch.Tensor,
    places: torch.Tensor,
    padding: bool,
    *,
    each: int | None = None,
    repeats: bool = False,
) -> torch.Tensor:
    """Logits [M, V] at M places of token ids [B, L].

    `places` [M] count through all windows: place p of window b is b L + p. `padding` says
    whether a window may be shorter than L; without it, `[PAD]` is attended to like a word.
    `each` is how many places a window is asked for, where that is the same for all. With
    `repeats`, the first layer's products are worked out once for all tokens that are alike in
    word and position: copies of a window with other places hidden hardly differ there. Without
    it all shapes follow from those of the arguments, so that nothing here waits for a device.
    """
    seen = (ids != PAD)[:, None, None, :] if padding else None
    heads = model.config.num_attention_heads
    rows, where = _embedded(model, ids, repeats)
    *inner, last = model.bert.encoder.layer
    for layer in inner:
        own = layer.attention.self
        products = _spread(product(rows, own.query, own.key, own.value), where, ids.shape)
        found = attended(heads, seen, *products.chunk(3, dim=-1))
        rows, where = onwards(layer, found, _spread(rows, where, ids.shape)), None
    own = last.attention.self
    key, value = _spread(product(rows, own.key, own.value), where, ids.shape).chunk(2, dim=-1)
    asked = _spread(rows, where, ids.shape).flatten(0, 1).index_select(0, places)
    query = own.query(asked)
    if each is None:
        found = attended(heads, seen, _put(query, places, ids.shape), key, value)
        found = found.flatten(0, 1).index_select(0, places)
    else:
        query = query.view(len(ids), each, -1)
        found = attended(heads, seen, query, key, value).flatten(0, 1)
    logits: torch.Tensor = model.cls(onwards(last, found, asked))
    return logits


def _embedded(
    model: Model, ids: torch.Tensor, repeats: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """[B, L, H], or each word and position once [K, H] with the number of each token's [B L]."""
    positions, where = position_ids(model, ids), None
    if repeats:
        most = model.config.max_position_embeddings
        kinds, where = torch.unique((ids * most + positions).flatten(), return_inverse=True)
        ids, positions = kinds // most, kinds % most
    return embedded(model, ids, positions), where


def embedded(model: Model, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """What words [...] in positions [...] begin with [..., H]. There is one token type."""
    table = model.bert.embeddings
    words = table.word_embeddings(ids) + table.token_type_embeddings.weight[0]
    found: torch.Tensor = table.LayerNorm(words + table.position_embeddings(positions))
    return found


def _spread(rows: torch.Tensor, where: torch.Tensor | None, shape: torch.Size) -> torch.Tensor:
    """What each token has [B, L, H], of rows of which many tokens may have the same one."""
    return rows if where is None else rows.index_select(0, where).view(*shape, -1)


def position_ids(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """Position ids [B, L] of token ids [B, L].

    In order they count 0, 1, …. In a bag they tell how often the same word stands before, in
    the upper half of the table, so that the order can't be read and the counts can; all hidden
    places have the same.
    """
    half = model.config.max_position_embeddings // 2
    in_order = torch.arange(ids.shape[1], device=ids.device)
    same = ids[:, :, None] == ids[:, None, :]
    repeats = same.tril(diagonal=-1).sum(dim=-1).masked_fill(ids == MASK, 0)
    return torch.where(ids[:, :1] == BAG, half + repeats, in_order)


def hidden_positions(model: Model, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Position ids of `[MASK]` at the places [B, n] of token ids [B, L]; see `position_ids`."""
    return torch.where(ids[:, :1] == BAG, model.config.max_position_embeddings // 2, places)


def through(
    model: Model, layer: Any, rows: torch.Tensor, seen: torch.Tensor | None
) -> torch.Tensor:
    """What a layer makes of all tokens [B, L, H], of which each hears those `seen` [B, 1, L, L]."""
    own = layer.attention.self
    products = product(rows, own.query, own.key, own.value).chunk(3, dim=-1)
    return onwards(layer, attended(model.config.num_attention_heads, seen, *products), rows)


def product(hidden: torch.Tensor, *layers: nn.Linear) -> torch.Tensor:
    """What the layers make of `hidden`, side by side, from one matrix product."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return functional.linear(hidden, weight, bias)


def _put(rows: torch.Tensor, places: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Rows [M, H] put where they belong in [B, L, H]; zero elsewhere."""
    empty = rows.new_zeros(shape.numel(), rows.shape[-1])
    return empty.index_copy(0, places, rows).view(*shape, -1)


def attended(heads: int, seen: torch.Tensor | None, *products: torch.Tensor) -> torch.Tensor:
    """Attention of query [B, Q, H], key and value [B, L, H]: [B, Q, H]."""
    query, key, value = (part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in products)
    found = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    return found.transpose(1, 2).flatten(2)


def onwards(layer: Any, attended: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """The rest of a layer, place by place; dropout is 0 in these models.

    Where nothing is learned, a CPU takes some places at a time, so that all stays in its cache.
    """
    if torch.is_grad_enabled() or before.device.type != "cpu":
        return _rest(layer, attended, before)
    tiles = zip(_tiles(attended), _tiles(before), strict=True)
    return torch.cat([_rest(layer, *tile) for tile in tiles]).view(before.shape)


def _tiles(rows: torch.Tensor) -> Sequence[torch.Tensor]:
    return torch.split(rows.flatten(0, -2), max(1, TILE // rows.shape[-1]))


def _rest(layer: Any, attended: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    found = _sum(layer.attention.output, attended, before)
    return _sum(layer.output, functional.gelu(layer.intermediate.dense(found)), found)


def _sum(part: Any, said: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """What a part of a layer says, added to what it was told."""
    found: torch.Tensor = part.LayerNorm(part.dense(said) + told)
    return found
