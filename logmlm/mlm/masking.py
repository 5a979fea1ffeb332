"""Which tokens training hides, and which reading of a window it shows.

Masking is BERT's 80/10/10 (Devlin et al., NAACL 2019) at a rate drawn anew for each batch;
half of the windows are shuffled and begun with `[BAG]`, so that one model learns both readings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, SEP, UNK

RATES = (0.10, 0.15, 0.30, 0.50)
BAG_SHARE = 0.5
IGNORED = -100
"""The target at positions that were not hidden: cross-entropy leaves them out."""

Tokens = npt.NDArray[np.int64]


def draw_rate(rng: np.random.Generator) -> float:
    """The share of tokens to hide in the next batch."""
    return float(rng.choice(RATES))


def draw_reading(events: Tokens, rng: np.random.Generator) -> Tokens:
    """A framed window: as it came after `[CLS]`, or (half of the time) shuffled after `[BAG]`."""
    if rng.random() >= BAG_SHARE:
        return np.concatenate(([CLS], events, [SEP]))
    return np.concatenate(([BAG], shuffled(events, rng), [SEP]))


def shuffled(events: Tokens, rng: np.random.Generator) -> Tokens:
    """The events in random order; `[END]` stays last, so that it tells whether the bag is full."""
    last = len(events) - 1 if len(events) and events[-1] == END else len(events)
    return np.concatenate((rng.permutation(events[:last]), events[last:]))


def predictable(ids: Tokens) -> npt.NDArray[np.bool_]:
    """Which places hold words that are predicted: events, `[UNK]` and `[END]`."""
    places: npt.NDArray[np.bool_] = (ids == UNK) | (ids >= END)
    return places


def hide(
    ids: Tokens, rate: float, vocabulary_size: int, rng: np.random.Generator
) -> tuple[Tokens, Tokens]:
    """Inputs and targets, both [B, L], of one batch of framed, padded windows.

    Each predictable place is chosen with probability `rate`, and at least one in each window.
    Of the chosen, 80 % become `[MASK]`, 10 % a random word, 10 % stay; targets hold the true
    token there and `IGNORED` everywhere else.
    """
    places = predictable(ids)
    chosen = (rng.random(ids.shape) < rate) & places
    _choose_one_at_least(chosen, places, rng)
    targets = np.where(chosen, ids, IGNORED)
    fate = rng.random(ids.shape)
    inputs = np.where(chosen & (fate < 0.8), MASK, ids)
    words = _random_words(ids.shape, vocabulary_size, rng)
    return np.where(chosen & (fate >= 0.9), words, inputs), targets


def _choose_one_at_least(
    chosen: npt.NDArray[np.bool_], places: npt.NDArray[np.bool_], rng: np.random.Generator
) -> None:
    draws = np.where(places, rng.random(places.shape), -1.0)
    rows = np.flatnonzero(~chosen.any(axis=1) & places.any(axis=1))
    chosen[rows, draws[rows].argmax(axis=1)] = True


def _random_words(shape: tuple[int, ...], vocabulary_size: int, rng: np.random.Generator) -> Tokens:
    words = rng.integers(END - 1, vocabulary_size, shape)
    return np.where(words == END - 1, UNK, words)
