"""Exact pseudo-log-likelihoods: against a naive loop, by any batch, and in both readings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlm_parts import VOCABULARY, WINDOW_SIZE, WORDS, cyclic_model, ids
from transformers import BertForMaskedLM

from logmlm.mlm import pll
from logmlm.mlm.pll import SHUFFLES, Scorer
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, NEVER_PREDICTED, SEP, UNK

EVENTS = st.lists(st.sampled_from([UNK, *range(END + 1, len(VOCABULARY))]), max_size=WINDOW_SIZE)
WINDOWS = (
    st.tuples(EVENTS, st.booleans())
    .map(lambda pair: (*pair[0], *([END] * pair[1])))
    .filter(lambda window: len(window) > 0)
)


@pytest.fixture(scope="module")
def model() -> BertForMaskedLM:
    return cyclic_model().eval()


@torch.no_grad()
def naive(
    model: BertForMaskedLM, window: tuple[int, ...], first: int = CLS, stride: int = 0
) -> list[float]:
    """One window and one pass at a time, by transformers' model alone."""
    surprisals = [0.0] * len(window)
    for start in range(stride or len(window)):
        hidden = range(start, len(window), stride or len(window))
        shown = [MASK if place in hidden else token for place, token in enumerate(window)]
        logits = model(input_ids=torch.tensor([[first, *shown, SEP]])).logits[0]
        for place in hidden:
            surprisals[place] = -logits[place + 1].log_softmax(-1)[window[place]].item()
    return surprisals


@settings(deadline=None, max_examples=25)
@given(st.lists(WINDOWS, min_size=1, max_size=5))
def test_surprisals_are_those_of_a_naive_loop_one_place_at_a_time(
    model: BertForMaskedLM, windows: list[tuple[int, ...]]
) -> None:
    for window, reading in zip(windows, Scorer(model).in_order(windows), strict=True):
        assert reading.surprisals.tolist() == pytest.approx(naive(model, window), abs=1e-5)
        assert reading.guessed.shape == (len(window),)


@settings(deadline=None, max_examples=15)
@given(WINDOWS, st.integers(1, WINDOW_SIZE + 3))
def test_a_stride_hides_every_gth_place_at_once(
    model: BertForMaskedLM, window: tuple[int, ...], stride: int
) -> None:
    reading = Scorer(model, stride).in_order([window])[0]
    assert reading.surprisals.tolist() == pytest.approx(naive(model, window, CLS, stride), abs=1e-5)
    if stride >= len(window):
        exact = Scorer(model).in_order([window])[0]
        assert np.allclose(reading.surprisals, exact.surprisals, atol=1e-6)


def test_a_stride_shorter_than_the_window_is_another_number() -> None:
    assert pll._hidden_places(5, 2).tolist() == [[0, 2, 4], [1, 3, -1]]
    assert pll._hidden_places(3, 0).tolist() == pll._hidden_places(3, 9).tolist() == [[0], [1], [2]]
    assert pll._hidden_places(4, 1).tolist() == [[0, 1, 2, 3]]


@settings(deadline=None, max_examples=15)
@given(st.lists(WINDOWS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_neither_batches_nor_order_nor_company_change_a_score(
    model: BertForMaskedLM, windows: list[tuple[int, ...]], random
) -> None:
    order = list(range(len(windows)))
    random.shuffle(order)
    scorer = Scorer(model)
    together = scorer.in_order(windows), scorer.as_bag(windows)
    moved = [windows[i] for i in order]
    elsewhere = scorer.in_order(moved), scorer.as_bag(moved)
    for place, i in enumerate(order):
        alone = scorer.in_order([windows[i]])[0].surprisals, scorer.as_bag([windows[i]])[0]
        for found, other, one in (
            (together[0][i].surprisals, elsewhere[0][place].surprisals, alone[0]),
            (together[1][i], elsewhere[1][place], alone[1]),
        ):
            assert np.allclose(found, other, atol=1e-5)
            assert np.allclose(found, one, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 13, 57])
def test_the_size_of_a_pass_makes_no_difference(
    model: BertForMaskedLM, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    windows = [ids("ABCDE"), ids("BCDEF"), ids("HGF"), ids("ABCD", end=False)]
    whole = Scorer(model).in_order(windows)
    monkeypatch.setattr(pll, "TOKENS_A_PASS", tokens)
    for found, expected in zip(Scorer(model).in_order(windows), whole, strict=True):
        assert np.allclose(found.surprisals, expected.surprisals, atol=1e-5)
        assert (found.guessed == expected.guessed).all()
    expected_tokens = [[t for t, _ in place] for place in Scorer(model).expected(windows[0])]
    assert [place[0] for place in expected_tokens] == list(windows[0])


def test_the_model_knows_its_language_in_the_place_that_is_hidden(model: BertForMaskedLM) -> None:
    right = Scorer(model).in_order([ids("ABCDEF")])[0]
    assert (right.surprisals < 1.0).all()  # had the neighbour been hidden, these would be high
    assert right.surprisals.mean() < 0.6
    assert right.guessed.all()
    wrong = Scorer(model).in_order([ids("ABCHEF")])[0]
    assert wrong.surprisals.argmax() == 3
    assert wrong.surprisals[3] > 3.0
    assert not wrong.guessed[3]
    stopped = Scorer(model).in_order([(*ids("AB"), END)[:3]])[0]
    assert stopped.surprisals[2] > right.surprisals[6] + 1.0  # no window ends after B


def test_the_token_in_a_hidden_place_does_not_leak(model: BertForMaskedLM) -> None:
    for place in range(5):
        shares = []
        for word in WORDS:
            window = list(ids("ABCDE"))
            window[place] = VOCABULARY.index()[word]
            shares.append(dict(Scorer(model).expected(tuple(window), top=99)[place]))
        for other in shares[1:]:
            assert other == pytest.approx(shares[0], abs=1e-6)
        assert sum(shares[0].values()) == pytest.approx(1.0, abs=1e-5)


def test_what_was_expected_agrees_with_the_surprisal(model: BertForMaskedLM) -> None:
    window = ids("ABHDE")
    reading = Scorer(model).in_order([window])[0]
    for place, found in enumerate(Scorer(model).expected(window, top=99)):
        shares = dict(found)
        assert -np.log(shares[window[place]]) == pytest.approx(reading.surprisals[place], abs=1e-3)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert all(shares[token] == 0.0 for token in NEVER_PREDICTED)
    assert next(token for token, _ in Scorer(model).expected(window)[2]) == ids("C")[0]
    assert len(Scorer(model).expected(window)[2]) == 3


@settings(deadline=None, max_examples=15)
@given(WINDOWS, st.randoms(use_true_random=False))
def test_a_bag_has_the_same_scores_in_any_order_and_on_each_run(
    model: BertForMaskedLM, window: tuple[int, ...], random
) -> None:
    events = [token for token in window if token != END]
    random.shuffle(events)
    other = (*events, *window[len(events) :])
    first, second = Scorer(model).as_bag([window, other])
    again = Scorer(model).as_bag([window])[0]
    assert np.allclose(first, again, atol=1e-5)
    by_token = dict(zip(window, first, strict=True))
    assert second.tolist() == pytest.approx([by_token[token] for token in other], abs=1e-9)


def test_a_bags_surprisal_is_the_mean_over_four_shuffles_and_repeats(
    model: BertForMaskedLM,
) -> None:
    window = ids("CABBA")
    orders = pll._shuffles((*sorted(window[:-1]), END))
    assert len(orders) == SHUFFLES == 4
    assert all(sorted(order[:-1]) == sorted(window[:-1]) for order in orders)
    assert all(order[-1] == END for order in orders)
    found: dict[int, list[float]] = {token: [] for token in window}
    for order in orders:
        for token, surprisal in zip(order, naive(model, order, BAG), strict=True):
            found[token].append(surprisal)
    assert {token: len(values) for token, values in found.items()} == dict(
        zip(ids("CAB"), (4, 8, 8, 4), strict=True)
    )
    expected = [float(np.mean(found[token])) for token in window]
    assert Scorer(model).as_bag([window])[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_shuffles_of_a_bag_are_the_same_on_every_machine() -> None:
    assert pll._shuffles((7, 8, 9, 10, END)) == [
        (7, 10, 9, 8, END),
        (9, 10, 8, 7, END),
        (8, 9, 7, 10, END),
        (7, 8, 10, 9, END),
    ]
    orders = {
        order
        for bag in itertools.combinations(range(7, 15), 4)
        for order in map(tuple, np.argsort(pll._shuffles(bag)).tolist())
    }
    assert len(orders) == 24  # each order comes up


def test_of_no_windows_there_are_no_scores(model: BertForMaskedLM) -> None:
    assert Scorer(model).in_order([]) == []
    assert Scorer(model).as_bag([]) == []


def test_the_model_is_scored_without_dropout(model: BertForMaskedLM) -> None:
    model.train()
    first, second = (Scorer(model).in_order([ids("ABCD")])[0].surprisals for _ in range(2))
    assert (first == second).all()
    assert not model.training
