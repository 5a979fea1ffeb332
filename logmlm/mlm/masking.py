"""Which tokens training hides, and which reading of a window it shows.

Masking is BERT's 80/10/10 (Devlin et al., NAACL 2019) at a rate drawn anew for each batch;
half of the windows begin with `[BAG]`, which hides their order (`model.position_ids`), so that
one model learns both readings. A bag never shows `[END]`: its last place is always hidden, and
asks what the others lack, an event or the end. So an event that a window has beside all that
it needs is as surprising as it is rare, though it is no surprise that *some* event fills a
place; and so is an end that comes too early.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, SEP, UNK

RATES = (0.10, 0.15, 0.30, 0.50)
BAG_SHARE = 0.5
CUT_SHARE = 0.25
"""Of the complete windows that are read in order, how many training cuts short."""
END_SHARE = 0.5
"""Of the complete bags, how many ask for the end."""
FEW_SHARE = 0.5
"""Of the other bags, how many lack a few events instead of one."""
ANY_SHARE = 0.5
"""Of these, how many lack any events instead of the last ones."""
ALONE_SHARE = 0.5
"""Of the bags, how many hide nothing but the last place, as scoring does."""
IGNORED = -100
"""The target at positions that were not hidden: cross-entropy leaves them out."""

Tokens = npt.NDArray[np.int64]


def draw_rate(rng: np.random.Generator) -> float:
    """The share of tokens to hide in the next batch."""
    return float(rng.choice(RATES))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A framed window as training shows it.

    `asks_last` says that the last place before `[SEP]` is always hidden, `alone` that nothing
    else is.
    """

    ids: Tokens
    asks_last: bool
    alone: bool


def draw_reading(events: Tokens, rng: np.random.Generator) -> Drawn:
    """One reading of a window: in order after `[CLS]`, or (half of the time) as a bag."""
    return (_draw_bag if rng.random() < BAG_SHARE else _draw_in_order)(events, rng)


def _draw_in_order(events: Tokens, rng: np.random.Generator) -> Drawn:
    """The window as it came; a share of the complete ones is cut short, and asks what comes next.

    Only so does the model learn when a window is complete: else the last place would be
    `[END]` each time, and never surprising.
    """
    is_cut = len(events) > 2 and events[-1] == END and rng.random() < CUT_SHARE
    shown = events[: _draw_length(len(events) - 1, rng)] if is_cut else events
    return Drawn(np.concatenate(([CLS], shown, [SEP])), asks_last=bool(is_cut), alone=False)


def _draw_bag(events: Tokens, rng: np.random.Generator) -> Drawn:
    """All events, asking for the end; or all but one or a few, asking for one of these."""
    ends = events[-1] == END
    if ends and (len(events) < 3 or rng.random() < END_SHARE):
        shown = events
    else:
        shown = _without_some(events[:-1] if ends else events, rng)
    alone = bool(rng.random() < ALONE_SHARE)
    return Drawn(np.concatenate(([BAG], shown, [SEP])), asks_last=True, alone=alone)


def _without_some(events: Tokens, rng: np.random.Generator) -> Tokens:
    """The events but one or a few, and then one of these: the last few, or any."""
    if rng.random() >= FEW_SHARE:
        return rng.permutation(events)
    if rng.random() < ANY_SHARE:
        events = rng.permutation(events)
    return events[: _draw_length(len(events), rng)]


def _draw_length(most: int, rng: np.random.Generator) -> int:
    """How many events to show, 2 to `most`, evenly on a logarithmic scale.

    Were all lengths drawn alike, a window that stops after a few events would be asked for so
    seldom that the model could not be sure that it goes on.
    """
    least = min(2, most)
    return min(most, int(least * ((most + 1) / least) ** rng.random()))


def predictable(ids: Tokens) -> npt.NDArray[np.bool_]:
    """Which places hold words that are predicted: events, `[UNK]` and `[END]`."""
    places: npt.NDArray[np.bool_] = (ids == UNK) | (ids >= END)
    return places


def hide(
    ids: Tokens,
    asks_last: npt.NDArray[np.bool_],
    alone: npt.NDArray[np.bool_],
    rate: float,
    vocabulary_size: int,
    rng: np.random.Generator,
) -> tuple[Tokens, Tokens]:
    """Inputs and targets, both [B, L], of one batch of framed, padded windows.

    Each predictable place is chosen with probability `rate`, and at least one in each window.
    Of the chosen, 80 % become `[MASK]`, 10 % a random word, 10 % stay; targets hold the true
    token there and `IGNORED` everywhere else. Where `asks_last` [B] says so the last place
    always becomes `[MASK]`, and where `alone` [B] does, no other is chosen.
    """
    places = predictable(ids)
    last = np.pad(ids[:, 1:] == SEP, ((0, 0), (0, 1))) & asks_last[:, None]
    chosen = ((rng.random(ids.shape) < rate) & places & ~alone[:, None]) | last
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
