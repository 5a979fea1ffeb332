"""The encoder's forward pass, restricted to the positions whose logits are wanted.

Same mathematics and weights as transformers' `BertForMaskedLM` (Devlin et al., NAACL 2019) and
`RoFormerForMaskedLM` (Su et al., 2021), which differ in their positions alone. All
positions of a window serve as keys and values in every layer, but in the last layer only the wanted
positions have a query and pass through the feed-forward block. In a model of two layers that saves
a third of the work. The query, key and value projections are one matrix product.

Shapes: B windows, L tokens in the longest one, M wanted positions in all windows together, H hidden
size, d = H / heads, V words in the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from logmlm.mlm.encoder import InferenceEncoder
from logmlm.mlm.rotary import is_rotary, rotary_angles, rotate
from logmlm.mlm.tokenizer import BAG, MASK, PAD

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, RoFormerForMaskedLM

TILE = 131_072
"""Numbers per tile of the feed-forward block: a tile and its intermediates fit in the L2 cache."""

TrainableModel: TypeAlias = "BertForMaskedLM | RoFormerForMaskedLM"
"""The model in training."""
MaskedLM: TypeAlias = "TrainableModel | InferenceEncoder"
"""The model in training, or the one loaded for inference; all have the same modules and names."""


def logits_at_positions(
    model: MaskedLM,
    ids: torch.Tensor,
    positions: torch.Tensor,
    padding: bool,
    *,
    each: int | None = None,
    repeats: bool = False,
) -> torch.Tensor:
    """Return the logits [M, V] at M positions of token ids [B, L].

    `positions` [M] are flat indices: position p of window b is b L + p. `padding` says whether a
    window may be shorter than L; if false, `[PAD]` is attended to like any token. `each` is the
    number of wanted positions per window, if all windows have the same number. `repeats` computes
    the first layer's projections once per distinct pair of token and position; copies of a window
    with different masks differ in few of them. Without it all shapes follow from those of the
    arguments, so nothing waits for the device.
    """
    attention_mask = (ids != PAD)[:, None, None, :] if padding else None  # [B, 1, 1, L]
    heads = model.config.num_attention_heads
    places = position_ids(model, ids)  # [B, L]
    angles = rotary_angles(model, places)  # [B, L, d / 2]
    rows, where = _embed(model, ids, places, repeats)
    *inner, last = model.base_model.encoder.layer
    for layer in inner:
        own = layer.attention.self
        products = _expand(fused_linear(rows, own.query, own.key, own.value), where, ids.shape)
        query, key, value = products.chunk(3, dim=-1)
        output = attention(heads, attention_mask, rotate(query, angles), rotate(key, angles), value)
        # After the first layer, equal tokens differ by context: one row per token [B, L, H].
        rows, where = feed_forward(layer, output, _expand(rows, where, ids.shape)), None
    own = last.attention.self
    key, value = _expand(fused_linear(rows, own.key, own.value), where, ids.shape).chunk(2, dim=-1)
    query_rows = _expand(rows, where, ids.shape).flatten(0, 1).index_select(0, positions)
    query, key = own.query(query_rows), rotate(key, angles)  # [M, H], [B, L, H]
    if angles is not None:
        query = rotate(query, angles.flatten(0, 1).index_select(0, positions))
    if each is None:
        # Windows have different numbers of queries: attend from all L, keep the M wanted.
        output = attention(heads, attention_mask, _scatter(query, positions, ids.shape), key, value)
        output = output.flatten(0, 1).index_select(0, positions)
    else:
        query = query.view(len(ids), each, -1)  # [B, each, H], M = B each
        output = attention(heads, attention_mask, query, key, value).flatten(0, 1)
    logits: torch.Tensor = model.cls(feed_forward(last, output, query_rows))
    return logits


def _embed(
    model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor, repeats: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the input embeddings [B, L, H] and None, or those of the distinct inputs.

    With `repeats`: the embeddings [K, H] of the K distinct pairs of token and position (distinct
    tokens, where positions are rotary), and the row number [B L] of each token.
    """
    where = None
    if repeats:
        most = 1 if is_rotary(model) else model.config.max_position_embeddings
        pairs = ids if is_rotary(model) else ids * most + positions
        kinds, where = torch.unique(pairs.flatten(), return_inverse=True)
        ids, positions = kinds // most, kinds % most
    return embed(model, ids, positions), where


def embed(model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the input embeddings [..., H] of token ids [...] at position ids [...]."""
    table = model.base_model.embeddings
    rows = table.word_embeddings(ids) + table.token_type_embeddings.weight[0]
    if not is_rotary(model):
        rows = rows + table.position_embeddings(positions)
    output: torch.Tensor = table.LayerNorm(rows)
    return output


def _expand(rows: torch.Tensor, where: torch.Tensor | None, shape: torch.Size) -> torch.Tensor:
    """Expand distinct rows [K, .] to one row per token [B, L, .]; `where` None: return `rows`."""
    return rows if where is None else rows.index_select(0, where).view(*shape, -1)


def position_ids(model: MaskedLM, ids: torch.Tensor) -> torch.Tensor:
    """Return the position ids [B, L] of token ids [B, L].

    Ordered windows have 0, 1, …. In a window that begins with `[BAG]`, the id of a token is the
    number of earlier tokens equal to it, so the model can read the counts of a bag, but not its
    order. All `[MASK]` of a bag have the same id. Bags use the upper half of a table of absolute
    positions.
    """
    in_order = torch.arange(ids.shape[1], device=ids.device)  # [L]
    same = ids[:, :, None] == ids[:, None, :]  # [B, L, L]
    repeats = same.tril(diagonal=-1).sum(dim=-1).masked_fill(ids == MASK, 0)
    return torch.where(ids[:, :1] == BAG, _first_of_bag(model) + repeats, in_order)


def hidden_positions(model: MaskedLM, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return the position ids [B, n] of `[MASK]` at `positions` [B, n]; see `position_ids`."""
    return torch.where(ids[:, :1] == BAG, _first_of_bag(model), positions)


def _first_of_bag(model: MaskedLM) -> int:
    return 0 if is_rotary(model) else int(model.config.max_position_embeddings) // 2


def layer_forward(
    model: MaskedLM,
    layer: Any,
    rows: torch.Tensor,
    attention_mask: torch.Tensor | None,
    angles: torch.Tensor | None,
) -> torch.Tensor:
    """Return a layer's output [B, L, H] for `rows` [B, L, H].

    Tokens attend where the mask, which broadcasts to [B, heads, L, L], is true. `angles`
    [B, L, d / 2] are those of rotary positions.
    """
    own = layer.attention.self
    query, key, value = fused_linear(rows, own.query, own.key, own.value).chunk(3, dim=-1)
    heads = model.config.num_attention_heads
    context = attention(heads, attention_mask, rotate(query, angles), rotate(key, angles), value)
    return feed_forward(layer, context, rows)


def fused_linear(hidden: torch.Tensor, *layers: nn.Linear) -> torch.Tensor:
    """Apply several linear layers to `hidden` in one matrix product; concatenate their outputs."""
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    return functional.linear(hidden, weight, bias)


def _scatter(rows: torch.Tensor, positions: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Scatter rows [M, H] to their flat positions in [B, L, H]; the other rows are zero."""
    empty = rows.new_zeros(shape.numel(), rows.shape[-1])
    return empty.index_copy(0, positions, rows).view(*shape, -1)


def attention(
    heads: int, attention_mask: torch.Tensor | None, *products: torch.Tensor
) -> torch.Tensor:
    """Return multi-head attention [B, Q, H] of query [B, Q, H], key and value [B, L, H]."""
    # Query [B, heads, Q, d], key and value [B, heads, L, d].
    heads_first = (part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in products)
    return scaled_attention(attention_mask, *heads_first)


def scaled_attention(
    attention_mask: torch.Tensor | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
) -> torch.Tensor:
    """Return the attention [B, Q, H] of query [B, heads, Q, d], key and value [B, heads, L, d]."""
    output = functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
    return output.transpose(1, 2).flatten(2)


def feed_forward(layer: Any, context: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
    """Apply the rest of a layer to each position: output projection and feed-forward block.

    `context` holds one row of size H per position of `residual`, whose shape the result has.
    Dropout is 0 in these models. For inference on a CPU, positions are processed in tiles of
    `TILE` numbers, which stay in its cache.
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
