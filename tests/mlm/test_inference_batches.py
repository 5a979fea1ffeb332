"""Passes: each place of each window once, in order, and never too much at a time."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logmlm.mlm.inference_batches import TokenIds, make_batches
from logmlm.mlm.tokenizer import BAG, PAD, SEP

WINDOWS = st.lists(st.lists(st.integers(7, 9), max_size=12).map(tuple), max_size=8)


def cost(length: int, places: int) -> int:
    return length * places


@given(WINDOWS, st.integers(1, 150), st.data())
def test_each_place_asked_for_is_in_one_pass_in_order(
    windows: list[TokenIds], most: int, data: st.DataObject
) -> None:
    places = [
        np.array([i for i in range(len(w)) if data.draw(st.booleans())], dtype=np.int64)
        for w in windows
    ]
    found: list[list[tuple[int, int]]] = [[] for _ in windows]
    for part in make_batches(windows, places, BAG, cost, most):
        rows, asked = part.places.shape
        assert rows == 1 or cost(part.ids.shape[1], asked) * rows <= most
        assert asked == max(part.counts)
        for number, ids in zip(part.numbers, part.ids.tolist(), strict=True):
            shown = [BAG, *windows[number], SEP]
            assert ids == shown + [PAD] * (len(ids) - len(shown))
        both = np.stack([part.places, part.truth], axis=-1).reshape(-1, 2)
        for number, row in part.rows(both):
            found[number] += [tuple(pair) for pair in row.tolist()]
    for window, asked, pairs in zip(windows, places, found, strict=True):
        assert pairs == [(i + 1, window[i]) for i in asked.tolist()]


def test_a_window_too_large_for_a_pass_comes_in_parts_and_small_ones_together() -> None:
    windows = [(7,) * 10, (8,) * 3, (9,) * 3]
    places = [np.arange(len(window)) for window in windows]
    parts = make_batches(windows, places, BAG, cost, 50)
    assert [part.numbers for part in parts] == [[1, 2], [0], [0], [0]]
    assert [part.counts for part in parts] == [[3, 3], [4], [4], [2]]
    assert make_batches([], [], BAG, cost, 50) == []
