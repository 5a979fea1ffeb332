"""Windows made odd on purpose: an edit or few, as faults leave them.

A screen must be judged on windows that alarm, of which held-out normal logs hold almost none. One
edit makes the faintest oddness there is, and several can hide each other: so both are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

TokenIds = tuple[int, ...]
Edit = Callable[[list[int], Sequence[int], np.random.Generator], list[int]]


def perturb(
    windows: Sequence[TokenIds],
    count: int,
    end: int,
    size: int,
    rng: np.random.Generator,
    edits: int = 1,
) -> list[TokenIds]:
    """`count` of the windows, drawn with repetition, with so many edits each; no content twice.

    An event is replaced or joined by one of another window, dropped, doubled or moved, or the
    window stops early. The token `end` stays last where it was; no window grows past `size`
    events, or becomes empty. What an edit leaves as it was is left out.
    """
    words = [token for window in windows for token in window if token != end]
    if not words:
        return []
    found: dict[TokenIds, None] = {}
    for place in rng.integers(len(windows), size=count).tolist():
        window = windows[place]
        events, ends = _split(window, end)
        changed = events
        for _ in range(edits if events else 0):
            edit = ALL_EDITS[rng.integers(len(ALL_EDITS))]
            changed = edit(list(changed), words, rng)[:size] or changed
        if changed != events:
            found[(*changed, *ends)] = None
    return list(found)


def _split(window: TokenIds, end: int) -> tuple[list[int], TokenIds]:
    if window and window[-1] == end:
        return list(window[:-1]), (end,)
    return list(window), ()


def _replace(events: list[int], words: Sequence[int], rng: np.random.Generator) -> list[int]:
    events[rng.integers(len(events))] = words[int(rng.integers(len(words)))]
    return events


def _insert(events: list[int], words: Sequence[int], rng: np.random.Generator) -> list[int]:
    events.insert(int(rng.integers(len(events) + 1)), words[int(rng.integers(len(words)))])
    return events


def _drop(events: list[int], _: Sequence[int], rng: np.random.Generator) -> list[int]:
    del events[rng.integers(len(events))]
    return events


def _duplicate(events: list[int], _: Sequence[int], rng: np.random.Generator) -> list[int]:
    place = int(rng.integers(len(events)))
    return [*events[:place], events[place], *events[place:]]


def _move(events: list[int], _: Sequence[int], rng: np.random.Generator) -> list[int]:
    token = events.pop(int(rng.integers(len(events))))
    events.insert(int(rng.integers(len(events) + 1)), token)
    return events


def _cut(events: list[int], _: Sequence[int], rng: np.random.Generator) -> list[int]:
    return events[: int(rng.integers(1, len(events) + 1))]


ALL_EDITS: tuple[Edit, ...] = (_replace, _insert, _drop, _duplicate, _move, _cut)
