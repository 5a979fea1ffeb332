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
from logmlm.mlm.pll import Scorer, Surprisals, Window, rows_a_pass
from logmlm.mlm.threads import each
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, framed


def in_order(scorer: Scorer, windows: Sequence[Window]) -> list[Surprisals]:
    """Surprisal of each token of each window in nats, as it came."""
    found = _distinct(scorer, CLS, windows)
    return [found[window] for window in windows]


def as_bag(scorer: Scorer, windows: Sequence[Window]) -> list[Surprisals]:
    """Surprisal of each token of each window in nats, as a bag."""
    orders = [_canonical(window) for window in windows]
    bags = [tuple(window[i] for i in order) for window, order in zip(windows, orders, strict=True)]
    found = _distinct(scorer, BAG, bags)
    return [found[bag][np.argsort(order)] for bag, order in zip(bags, orders, strict=True)]


def _canonical(window: Window) -> list[int]:
    """The places of a window's tokens when they are sorted, the end token last."""
    return sorted(range(len(window)), key=lambda i: (window[i] == END, window[i]))


def _distinct(scorer: Scorer, first: int, windows: Sequence[Window]) -> dict[Window, Surprisals]:
    """Each distinct window that is not known yet is read once, with others of its length."""
    found: dict[Window, Surprisals] = {}
    by_length: dict[int, list[Window]] = defaultdict(list)
    for window in dict.fromkeys(windows):
        known = scorer.shown.get((first, window))
        if known is None:
            by_length[len(window)].append(window)
        else:
            found[window] = known
    device = next(scorer.model.parameters()).device
    batches = [
        group[start : start + size]
        for length, group in by_length.items()
        for size in [rows_a_pass(length, device)]
        for start in range(0, len(group), size)
    ]
    one = partial(_one_pass, scorer.model, first)
    for part, losses in zip(batches, each(one, batches, device), strict=True):
        for window, surprisals in zip(part, losses, strict=True):
            found[window] = scorer.shown[first, window] = surprisals
    return found


@torch.inference_mode()
def _one_pass(model: Model, first: int, windows: Sequence[Window]) -> list[Surprisals]:
    """Surprisals of windows of one length."""
    device = next(model.parameters()).device
    ids = torch.tensor([framed(window, first) for window in windows], device=device)
    truth = ids[:, 1:-1].clone()
    if first == BAG:
        ids[ids == END] = MASK
    inner = torch.zeros_like(ids, dtype=torch.bool)
    inner[:, 1:-1] = True
    logits = token_logits(model, ids, inner).float()
    loss = torch.nn.functional.cross_entropy(logits, truth.flatten(), reduction="none")
    rows = loss.view(truth.shape).double().cpu().numpy()
    return [row.copy() for row in rows]  # what is kept of a batch must not keep it all
