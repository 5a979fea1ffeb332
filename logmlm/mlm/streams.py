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

from logmlm.mlm.encoder import (
    Model,
    embedded,
    heard,
    hidden_positions,
    onwards,
    position_ids,
    through,
)
from logmlm.mlm.tokenizer import MASK, PAD


def logits_of_streams(model: Model, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Logits [B n, V] at the places [B, n] of token ids [B, L]; shorter windows end in `[PAD]`."""
    shown = embedded(model, ids, position_ids(model, ids))
    asking = torch.full_like(places, MASK)
    masks = embedded(model, asking, hidden_positions(model, ids, places))
    rows = torch.cat([shown, masks], dim=1)
    open_to = _open_to(ids, places)
    *inner, last = model.bert.encoder.layer
    for layer in inner:
        rows = through(model, layer, rows, open_to)
    asked = rows[:, ids.shape[1] :]
    told = heard(model, last, asked, rows, open_to[:, :, ids.shape[1] :])
    logits: torch.Tensor = model.cls(onwards(last, told, asked))
    return logits.flatten(0, 1)


def _open_to(ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Which of tokens and askers [B, 1, L + n, L + n] hears which."""
    size, count = ids.shape[1], places.shape[1]
    tokens = (ids != PAD)[:, None].expand(-1, size + count, -1)
    hidden = functional.one_hot(places, size).bool()
    themselves = torch.eye(count, dtype=torch.bool, device=ids.device)
    askers = functional.pad(themselves, (0, 0, size, 0)).expand(len(ids), -1, -1)
    tokens = tokens & ~functional.pad(hidden, (0, 0, size, 0))
    return torch.cat([tokens, askers], dim=2)[:, None]
