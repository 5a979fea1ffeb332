"""Which tokens training hides, and which reading of a window it shows.

Masking is BERT's 80/10/10 (Devlin et al., NAACL 2019) at a rate drawn anew for each batch;
half of the windows begin with `[BAG]`, which hides their order (`model.position_ids`), so that
one model learns both readings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, SEP, UNK

RATES = (0.10, 0.15, 0.30, 0.50)
BAG_SHARE = 0.5
CUT_SHARE = 0.25
"""Of the complete windows, how many training cuts short."""
IGNORED = -100
"""The target at positions that were not hidden: cross-entropy leaves them out."""

Tokens = npt.NDArray[np.int64]


def draw_rate(rng: np.random.Generator) -> float:
    """The share of tokens to hide in the next batch."""
    return float(rng.choice(RATES))


def draw_reading(events: Tokens, rng: np.random.Generator) -> tuple[Tokens, bool]:
    """A framed window, in order after `[CLS]` or (half of the time) as a bag after `[BAG]`.

    A share of the complete windows is cut short; the flag says so. What would have come next is
    in the last place then, and is always hidden. Only so does the model learn when a window is
    complete: else the last place would be `[END]` each time, and never surprising.
    """
    first = BAG if rng.random() < BAG_SHARE else CLS
    cut = len(events) > 2 and events[-1] == END and rng.random() < CUT_SHARE
    if cut:
        events = _cut_short(events[:-1], first == BAG, rng)
    return np.concatenate(([first], events, [SEP])), bool(cut)


def _cut_short(events: Tokens, is_bag: bool, rng: np.random.Generator) -> Tokens:
    """The first few events and the next; half of the bags lose any few instead of the last."""
    if is_bag and rng.random() < 0.5:
        events = rng.permutation(events)
    return events[: rng.integers(2, len(events) + 1)]


def predictable(ids: Tokens) -> npt.NDArray[np.bool_]:
    """Which places hold words that are predicted: events, `[UNK]` and `[END]`."""
    places: npt.NDArray[np.bool_] = (ids == UNK) | (ids >= END)
    return places


def hide(
    ids: Tokens,
    cut: npt.NDArray[np.bool_],
    rate: float,
    vocabulary_size: int,
    rng: np.random.Generator,
) -> tuple[Tokens, Tokens]:
    """Inputs and targets, both [B, L], of one batch of framed, padded windows.

    Each predictable place is chosen with probability `rate`, and at least one in each window.
    Of the chosen, 80 % become `[MASK]`, 10 % a random word, 10 % stay; targets hold the true
    token there and `IGNORED` everywhere else. The last event of windows that are `cut` [B]
    always becomes `[MASK]`.
    """
    places = predictable(ids)
    last = np.pad(ids[:, 1:] == SEP, ((0, 0), (0, 1))) & cut[:, None]
    chosen = ((rng.random(ids.shape) < rate) & places) | last
    _choose_one_at_least(chosen, places, rng)
    targets = np.where(chosen, ids, IGNORED)
    fate = np.where(last, 0.0, rng.random(ids.shape))
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
