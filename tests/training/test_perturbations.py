"""Windows with one edit each: what faults leave."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.training.perturbations import ALL_EDITS, perturb

END, SIZE = 6, 8
WINDOWS = st.lists(
    st.tuples(st.lists(st.integers(7, 12), min_size=1, max_size=SIZE), st.booleans()).map(
        lambda pair: (*pair[0], *([END] * pair[1]))
    ),
    min_size=1,
    max_size=5,
)


@given(WINDOWS, st.integers(0, 2**32 - 1))
def test_an_edit_keeps_the_end_the_size_and_some_event(windows, seed) -> None:
    words = {token for window in windows for token in window}
    found = perturb(windows, 30, END, SIZE, np.random.default_rng(seed))
    assert len(found) <= 30
    for window in found:
        assert window not in windows or len(windows) > 1
        assert END not in window[:-1]
        events = window[:-1] if window[-1] == END else window
        assert 1 <= len(events) <= SIZE
        assert set(window) <= words


def test_more_edits_take_a_window_further_from_what_it_was() -> None:
    window = tuple(range(7, 7 + SIZE))

    def changed(edits: int) -> float:
        found = perturb([window], 200, END, SIZE, np.random.default_rng(1), edits)
        return float(np.mean([sum((Counter(window) - Counter(each)).values()) for each in found]))

    assert changed(1) < changed(2) < changed(4) < changed(8)


def test_the_same_seed_gives_the_same_edits() -> None:
    windows = [(7, 8, 9, 10, END), (9, 9, 8)]
    first, again = (perturb(windows, 50, END, SIZE, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert len(set(first)) > 20


@pytest.mark.parametrize("edit", ALL_EDITS)
def test_each_edit_changes_one_thing(edit) -> None:
    events, rng = [7, 8, 9, 10], np.random.default_rng(0)
    for _ in range(50):
        found = edit(list(events), [11], rng)
        lost, gained = Counter(events) - Counter(found), Counter(found) - Counter(events)
        if edit.__name__ == "_cut":
            assert found == events[: len(found)]
        else:
            assert lost.total() <= 1
            assert gained.total() <= 1
            assert abs(len(found) - len(events)) <= 1


def test_of_nothing_there_is_nothing_to_edit() -> None:
    rng = np.random.default_rng(0)
    assert perturb([(END,)], 5, END, SIZE, rng) == []
    assert perturb([], 5, END, SIZE, rng) == []
    assert perturb([(END,), (7, END)], 0, END, SIZE, rng) == []
    assert all(len(window) > 1 for window in perturb([(END,), (7, 8, END)], 50, END, SIZE, rng))
