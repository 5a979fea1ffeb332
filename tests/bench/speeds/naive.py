"""Exact scoring as one would write it first: transformers' model, one mask a position, no cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import BertForMaskedLM

from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, PAD, SEP

BATCH = 512
Window = tuple[int, ...]
Pair = tuple[np.ndarray, np.ndarray]


@torch.inference_mode()
def naive(model: BertForMaskedLM, windows: Sequence[Window]) -> list[Pair]:
    """Surprisals of each window in both readings, in nats; batches of 512, padded, float32."""
    rows = [row for window in windows for row in _rows(window)]
    losses: list[float] = []
    for start in range(0, len(rows), BATCH):
        losses += _batch(model, rows[start : start + BATCH])
    found, at = [], 0
    for window in windows:
        n = len(window)
        found.append((np.array(losses[at : at + n]), np.array(losses[at + n : at + 2 * n])))
        at += 2 * n
    return found


def _rows(window: Window) -> Iterator[tuple[list[int], int, int]]:
    """Each place hidden once, in order and then as a bag: ids, the place, what it held."""
    for place, token in enumerate(window):
        yield [CLS, *window[:place], MASK, *window[place + 1 :], SEP], place + 1, token
    events = [token for token in window if token != END]
    for place, token in enumerate(window):
        yield [BAG, *events[:place], MASK, *events[place + 1 :], SEP], place + 1, token


def _batch(model: BertForMaskedLM, rows: Sequence[tuple[list[int], int, int]]) -> list[float]:
    longest = max(len(ids) for ids, _, _ in rows)
    ids = torch.tensor([[*row, *([PAD] * (longest - len(row)))] for row, _, _ in rows])
    places = torch.tensor([place for _, place, _ in rows])
    tokens = torch.tensor([token for _, _, token in rows])
    logits = model(
        input_ids=ids, attention_mask=(ids != PAD).long(), position_ids=_positions(model, ids)
    ).logits
    chosen = logits[torch.arange(len(rows)), places]
    shares = chosen.log_softmax(-1)[torch.arange(len(rows)), tokens]
    return (-shares).tolist()


def _positions(model: BertForMaskedLM, ids: torch.Tensor) -> torch.Tensor:
    """In order they count on; in a bag they tell how often the same word stood before."""
    same = ids[:, :, None] == ids[:, None, :]
    repeats = same.tril(diagonal=-1).sum(-1).masked_fill((ids == MASK) | (ids == PAD), 0)
    half = model.config.max_position_embeddings // 2
    return torch.where(ids[:, :1] == BAG, half + repeats, torch.arange(ids.shape[1]))
