"""BERT's forward pass where only few places are asked for: what nobody reads is not worked out.

The same mathematics and weights as transformers' `BertForMaskedLM`. In every layer all places
of a window serve as keys and values, but in the last one only the places that are asked for
have a query and go on: of two layers that saves a third. Queries, keys and values are one
product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from logmlm.mlm.bert import Bert
from logmlm.mlm.tokenizer import BAG, MASK, PAD

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

Model: TypeAlias = "BertForMaskedLM | Bert"
"""One that is trained, or one that was saved: both have the same parts, by the same names."""


def logits_at(model: Model, ids: torch.Tensor, places: torch.Tensor, padding: bool) -> torch.Tensor:
    """Logits [M, V] at M places of token ids [B, L].

    `places` [M] count through all windows: place p of window b is b L + p. `padding` says
    whether a window may be shorter than L; without it, `[PAD]` is attended to like a word.
    All shapes follow from those of the arguments, so that nothing here waits for a device.
    """
    seen = (ids != PAD)[:, None, None, :] if padding else None
    heads = model.config.num_attention_heads
    hidden = _embedded(model, ids)
    *inner, last = model.bert.encoder.layer
    for layer in inner:
        own = layer.attention.self
        products = _products(hidden, own.query, own.key, own.value)
        hidden = _onwards(layer, _attended(heads, seen, *products), hidden)
    own = last.attention.self
    key, value = _products(hidden, own.key, own.value)
    asked = hidden.flatten(0, 1).index_select(0, places)
    query = _put(own.query(asked), places, ids.shape)
    attended = _attended(heads, seen, query, key, value).flatten(0, 1).index_select(0, places)
    logits: torch.Tensor = model.cls(_onwards(last, attended, asked))
    return logits


def _embedded(model: Model, ids: torch.Tensor) -> torch.Tensor:
    """[B, L, H]; there is one token type."""
    table = model.bert.embeddings
    words = table.word_embeddings(ids) + table.token_type_embeddings.weight[0]
    embedded: torch.Tensor = table.LayerNorm(
        words + table.position_embeddings(position_ids(model, ids))
    )
    return embedded


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


def _products(hidden: torch.Tensor, *layers: nn.Linear) -> tuple[torch.Tensor, ...]:
    """What each layer makes of `hidden`, from one matrix product."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return functional.linear(hidden, weight, bias).chunk(len(layers), dim=-1)


def _put(rows: torch.Tensor, places: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Rows [M, H] put where they belong in [B, L, H]; zero elsewhere."""
    empty = rows.new_zeros(shape.numel(), rows.shape[-1])
    return empty.index_copy(0, places, rows).view(*shape, -1)


def _attended(heads: int, seen: torch.Tensor | None, *products: torch.Tensor) -> torch.Tensor:
    """Attention of query, key and value, all [B, L, H]."""
    shape = *products[0].shape[:2], heads, -1
    query, key, value = (part.view(shape).transpose(1, 2) for part in products)
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    return attended.transpose(1, 2).flatten(2)


def _onwards(layer: Any, attended: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """The rest of a layer, place by place; dropout is 0 in these models."""
    found = _sum(layer.attention.output, attended, before)
    return _sum(layer.output, functional.gelu(layer.intermediate.dense(found)), found)


def _sum(part: Any, said: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """What a part of a layer says, added to what it was told."""
    found: torch.Tensor = part.LayerNorm(part.dense(said) + told)
    return found
