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

from logmlm.mlm.bert import InferenceBert
from logmlm.mlm.tokenizer import BAG, MASK, PAD

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

TILE = 131_072
"""So many numbers fit a core's second cache, with what is made of them."""

MaskedLM: TypeAlias = "BertForMaskedLM | InferenceBert"
"""One that is trained, or one that was saved: both have the same parts, by the same names."""


def logits_at_positions(
    model: MaskedLM,
    ids: torch.Tensor,
    positions: torch.Tensor,
    padding: bool,
    *,
    each: int | None = None,
    repeats: bool = False,
) -> torch.Tensor:
    """Logits [M, V] at M places of token ids [B, L].

    `positions` [M] count through all windows: place p of window b is b L + p. `padding` says
    whether a window may be shorter than L; without it, `[PAD]` is attended to like a word.
    `each` is how many places a window is asked for, where that is the same for all. With
    `repeats`, the first layer's products are worked out once for all tokens that are alike in
    word and position: copies of a window with other places hidden hardly differ there. Without
    it all shapes follow from those of the arguments, so that nothing here waits for a device.
    """
    attention_mask = (ids != PAD)[:, None, None, :] if padding else None
    heads = model.config.num_attention_heads
    rows, where = _embed(model, ids, repeats)
    *inner, last = model.bert.encoder.layer
    for layer in inner:
        own = layer.attention.self
        products = _expand(fused_linear(rows, own.query, own.key, own.value), where, ids.shape)
        output = attention(heads, attention_mask, *products.chunk(3, dim=-1))
        rows, where = feed_forward(layer, output, _expand(rows, where, ids.shape)), None
    own = last.attention.self
    key, value = _expand(fused_linear(rows, own.key, own.value), where, ids.shape).chunk(2, dim=-1)
    query_rows = _expand(rows, where, ids.shape).flatten(0, 1).index_select(0, positions)
    query = own.query(query_rows)
    if each is None:
        output = attention(heads, attention_mask, _scatter(query, positions, ids.shape), key, value)
        output = output.flatten(0, 1).index_select(0, positions)
    else:
        query = query.view(len(ids), each, -1)
        output = attention(heads, attention_mask, query, key, value).flatten(0, 1)
    logits: torch.Tensor = model.cls(feed_forward(last, output, query_rows))
    return logits


def _embed(
    model: MaskedLM, ids: torch.Tensor, repeats: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """[B, L, H], or each word and position once [K, H] with the number of each token's [B L]."""
    positions, where = position_ids(model, ids), None
    if repeats:
        most = model.config.max_position_embeddings
        kinds, where = torch.unique((ids * most + positions).flatten(), return_inverse=True)
        ids, positions = kinds // most, kinds % most
    return embed(model, ids, positions), where


def embed(model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the input embeddings [..., H] of words [...] at positions [...]."""
    table = model.bert.embeddings
    words = table.word_embeddings(ids) + table.token_type_embeddings.weight[0]
    output: torch.Tensor = table.LayerNorm(words + table.position_embeddings(positions))
    return output


def _expand(rows: torch.Tensor, where: torch.Tensor | None, shape: torch.Size) -> torch.Tensor:
    """Expand unique rows to one row per token [B, L, H]."""
    return rows if where is None else rows.index_select(0, where).view(*shape, -1)


def position_ids(model: MaskedLM, ids: torch.Tensor) -> torch.Tensor:
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


def hidden_positions(model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Position ids of `[MASK]` at the places [B, n] of token ids [B, L]; see `position_ids`."""
    return torch.where(ids[:, :1] == BAG, model.config.max_position_embeddings // 2, positions)


def layer_forward(
    model: MaskedLM, layer: Any, rows: torch.Tensor, attention_mask: torch.Tensor | None
) -> torch.Tensor:
    """Return a layer's output [B, L, H]; tokens attend where the mask [B, 1, L, L] is true."""
    own = layer.attention.self
    products = fused_linear(rows, own.query, own.key, own.value).chunk(3, dim=-1)
    return feed_forward(
        layer, attention(model.config.num_attention_heads, attention_mask, *products), rows
    )


def fused_linear(hidden: torch.Tensor, *layers: nn.Linear) -> torch.Tensor:
    """Apply several linear layers to `hidden` in one matrix product; concatenate their outputs."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return functional.linear(hidden, weight, bias)


def _scatter(rows: torch.Tensor, positions: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Scatter rows [M, H] to their positions in [B, L, H]; zero elsewhere."""
    empty = rows.new_zeros(shape.numel(), rows.shape[-1])
    return empty.index_copy(0, positions, rows).view(*shape, -1)


def attention(
    heads: int, attention_mask: torch.Tensor | None, *products: torch.Tensor
) -> torch.Tensor:
    """Attention of query [B, Q, H], key and value [B, L, H]: [B, Q, H]."""
    query, key, value = (part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in products)
    output = functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
    return output.transpose(1, 2).flatten(2)


def feed_forward(layer: Any, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Apply the rest of a layer, position by position; dropout is 0 in these models.

    Where nothing is learned, a CPU takes some places at a time, so that all stays in its cache.
    """
    if torch.is_grad_enabled() or residual.device.type != "cpu":
        return _feed_forward(layer, context, residual)
    tiles = zip(_tiles(context), _tiles(residual), strict=True)
    return torch.cat([_feed_forward(layer, *tile) for tile in tiles]).view(residual.shape)


def _tiles(rows: torch.Tensor) -> Sequence[torch.Tensor]:
    return torch.split(rows.flatten(0, -2), max(1, TILE // rows.shape[-1]))


def _feed_forward(layer: Any, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    output = _residual(layer.attention.output, context, residual)
    return _residual(layer.output, functional.gelu(layer.intermediate.dense(output)), output)


def _residual(part: Any, hidden: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Residual connection: `LayerNorm(dense(hidden) + residual)`."""
    output: torch.Tensor = part.LayerNorm(part.dense(hidden) + residual)
    return output
