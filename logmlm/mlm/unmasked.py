"""One look at a window with nothing hidden, in both readings: what a screen needs to know.

The model sees each event that it is asked for, so these surprisals are far lower than the exact
ones of `pll`; but a tenth of the tokens that training asks for are shown as they are, so it
has learned to doubt what it sees (Devlin et al., NAACL 2019), and odd windows stand out still.
A bag does not show its end: it is hidden, and so its surprisal is the exact one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from logmlm.mlm.encoder import Model
from logmlm.mlm.model import token_logits
from logmlm.mlm.pll import Surprisals, Window, rows_a_pass
from logmlm.mlm.threads import each
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, framed

Pair = tuple[Surprisals, Surprisals]
Row = tuple[int, Window]
"""A first token (`CLS` or `BAG`) and what follows it."""


def unmasked(model: Model, windows: Sequence[Window], with_bag: bool = True) -> list[Pair]:
    """Surprisal of each token of each window in nats: as it came, and as a bag.

    Without the bag all is 0 there, and costs nothing.
    """
    orders = [_canonical(window) if with_bag else [] for window in windows]
    bags = [tuple(window[i] for i in order) for window, order in zip(windows, orders, strict=True)]
    rows = [(CLS, window) for window in windows] + [(BAG, bag) for bag in bags if bag]
    found = _distinct(model, rows)
    pairs = []
    for window, bag, order in zip(windows, bags, orders, strict=True):
        as_bag = np.zeros(len(window))
        as_bag[order] = found[BAG, bag] if bag else 0.0
        pairs.append((found[CLS, window], as_bag))
    return pairs


def _canonical(window: Window) -> list[int]:
    """The places of a window's tokens when they are sorted, the end token last."""
    return sorted(range(len(window)), key=lambda i: (window[i] == END, window[i]))


def _distinct(model: Model, rows: Sequence[Row]) -> dict[Row, Surprisals]:
    by_length: dict[int, list[Row]] = defaultdict(list)
    for row in dict.fromkeys(rows):
        by_length[len(row[1])].append(row)
    device = next(model.parameters()).device
    batches = [
        group[start : start + size]
        for length, group in by_length.items()
        for size in [rows_a_pass(length, device)]
        for start in range(0, len(group), size)
    ]
    found: dict[Row, Surprisals] = {}
    for part, losses in zip(batches, each(partial(_one_pass, model), batches, device), strict=True):
        found.update(zip(part, losses, strict=True))
    return found


@torch.inference_mode()
def _one_pass(model: Model, rows: Sequence[Row]) -> list[Surprisals]:
    """Surprisals of rows of one length."""
    device = next(model.parameters()).device
    ids = torch.tensor([framed(window, first) for first, window in rows], device=device)
    truth = ids[:, 1:-1].clone()
    ids[:, 1:-1][(ids[:, :1] == BAG) & (truth == END)] = MASK
    inner = torch.zeros_like(ids, dtype=torch.bool)
    inner[:, 1:-1] = True
    logits = token_logits(model, ids, inner).float()
    loss = torch.nn.functional.cross_entropy(logits, truth.flatten(), reduction="none")
    return list(loss.view(truth.shape).double().cpu().numpy())
