"""Cutting rows into batches with little padding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.mlm.batches import largest_batch, pack_by_length


def tokens(lengths: np.ndarray, starts: list[int]) -> int:
    """Of all batches with their padding."""
    ends = [*starts[1:], len(lengths)]
    return sum((b - a) * int(lengths[b - 1]) for a, b in zip(starts, ends, strict=True))


def all_cuts(rows: int, count: int, sizes: range) -> list[list[int]]:
    if count == 0:
        return [[]] if rows == 0 else []
    return [
        [*before, rows - size]
        for size in sizes
        if size <= rows
        for before in all_cuts(rows - size, count - 1, sizes)
    ]


@settings(deadline=None)
@given(st.lists(st.integers(3, 40), min_size=1, max_size=12).map(sorted), st.integers(1, 6))
def test_no_cut_of_so_many_batches_has_less_padding(lengths: list[int], batch_size: int) -> None:
    rows = np.array(lengths)
    starts = pack_by_length(rows, batch_size).tolist()
    count = -(-len(rows) // batch_size)
    sizes = np.diff(starts, append=len(rows))
    assert starts[0] == 0
    assert len(starts) == count
    assert sizes.min() >= 1
    assert sizes.max() <= largest_batch(batch_size)
    allowed = range(int(sizes.min()), largest_batch(batch_size) + 1)
    assert tokens(rows, starts) == min(tokens(rows, c) for c in all_cuts(len(rows), count, allowed))


@pytest.mark.parametrize(("rows", "sizes"), [(64, {32}), (33, {16, 17}), (32, {32}), (5, {5})])
def test_equal_lengths_are_cut_in_as_many_batches_as_asked(rows: int, sizes: set[int]) -> None:
    starts = pack_by_length(np.full(rows, 9), 32)
    assert len(starts) == -(-rows // 32)
    found = np.diff(starts, append=rows)
    assert found.min() >= min(sizes) - 8
    assert found.max() <= 40


def test_a_batch_ends_where_lengths_jump() -> None:
    lengths = np.array([4] * 28 + [20] * 36)
    assert pack_by_length(lengths, 32).tolist() == [0, 28]
