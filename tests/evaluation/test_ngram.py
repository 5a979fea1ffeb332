"""The interpolated n-gram model, held against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.evaluation.ngram import BothDirections, NGramModel, choose_order

WINDOWS = st.lists(st.lists(st.sampled_from("abc"), max_size=6), min_size=1, max_size=6)


def test_probabilities_are_those_computed_by_hand() -> None:
    model = NGramModel([("a", "b"), ("a", "a")], 2)
    # Words: a three times, b once, the end twice; 4 kinds with the unseen one, at 1/4 each.
    a, b, end = (3 + 3 / 4) / 9, (1 + 3 / 4) / 9, (2 + 3 / 4) / 9
    assert model.probability("a") == pytest.approx(a)
    assert model.probability("b") == pytest.approx(b)
    assert model.probability("x") == pytest.approx((3 / 4) / 9)
    # After a: a, b and the end once each.
    assert model.probability("b", ("a",)) == pytest.approx((1 + 3 * b) / 6)
    assert model.probability("", ("a",)) == pytest.approx((1 + 3 * end) / 6)
    # At the beginning: a twice.
    assert model.probability("a", ("",)) == pytest.approx((2 + 1 * a) / 3)
    expected = [-math.log((2 + a) / 3), -math.log((1 + 3 * end) / 6)]
    assert model.surprisals(("a",)).tolist() == pytest.approx(expected)
    assert model.perplexity([("a",)]) == pytest.approx(math.exp(sum(expected) / 2))


@given(WINDOWS, st.integers(1, 5), st.lists(st.sampled_from("abcx"), max_size=4))
def test_the_probabilities_of_all_words_the_end_and_one_unseen_sum_to_1(
    windows: list[list[str]], order: int, context: list[str]
) -> None:
    model = NGramModel(windows, order)
    seen = {word for window in windows for word in window} | {""}
    before = tuple(context[: order - 1])
    total = sum(model.probability(word, before) for word in (*seen, "never"))
    assert total == pytest.approx(1.0)


@given(WINDOWS, st.integers(1, 5))
def test_both_directions_have_a_number_for_each_word_and_the_edge(
    windows: list[list[str]], order: int
) -> None:
    model = BothDirections(windows, order)
    forward, backward = model.surprisals(windows[0])
    assert len(forward) == len(backward) == len(windows[0]) + 1
    reversed_model = BothDirections([window[::-1] for window in windows], order)
    assert np.allclose(reversed_model.surprisals(windows[0][::-1])[0], backward)


def test_the_order_is_the_one_that_predicts_held_out_windows_best() -> None:
    # The word after c is the one before it: three words are needed to know.
    train = [("a", "c", "a"), ("b", "c", "b")] * 20
    assert choose_order(train, [("a", "c", "a")]) >= 3
    rng = np.random.default_rng(0)
    noise = [tuple(rng.choice(list("abcdefgh"), 12)) for _ in range(60)]
    assert choose_order(noise[:40], noise[40:]) == 2


def test_an_order_below_1_is_refused() -> None:
    with pytest.raises(ValueError, match="not 0"):
        NGramModel([("a",)], 0)
