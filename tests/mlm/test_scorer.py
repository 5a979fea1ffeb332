"""Exact pseudo-log-likelihoods: against a naive loop, by any batch, and in both readings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlm_parts import VOCABULARY, WINDOW_SIZE, WORDS, bag_positions, cyclic_model, ids, theirs_at

from logmlm.mlm import inference_batches as passes
from logmlm.mlm import scorer as pll
from logmlm.mlm.forward import TrainableModel
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.scoring_schemes import last_of_each_kind
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, NEVER_PREDICTED, SEP, UNK

EVENTS = st.lists(st.sampled_from([UNK, *range(END + 1, len(VOCABULARY))]), max_size=WINDOW_SIZE)
WINDOWS = (
    st.tuples(EVENTS, st.booleans())
    .map(lambda pair: (*pair[0], *([END] * pair[1])))
    .filter(lambda window: len(window) > 0)
)


@pytest.fixture(scope="module")
def model() -> TrainableModel:
    return cyclic_model().eval()


@torch.no_grad()
def naive(
    model: TrainableModel, window: tuple[int, ...], first: int = CLS, stride: int = 0
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
    model: TrainableModel, windows: list[tuple[int, ...]]
) -> None:
    for window, reading in zip(windows, Scorer(model).score_ordered(windows), strict=True):
        assert reading.surprisals.tolist() == pytest.approx(naive(model, window), abs=1e-5)
        assert reading.guessed.shape == (len(window),)


@settings(deadline=None, max_examples=15)
@given(WINDOWS, st.integers(1, WINDOW_SIZE + 3))
def test_a_stride_hides_every_gth_place_at_once(
    model: TrainableModel, window: tuple[int, ...], stride: int
) -> None:
    reading, _ = Scorer(model).score_ordered([window, ids("ABCDEFGH")], stride)
    assert reading.surprisals.tolist() == pytest.approx(naive(model, window, CLS, stride), abs=1e-5)
    if stride >= len(window):
        exact = Scorer(model).score_ordered([window])[0]
        assert np.allclose(reading.surprisals, exact.surprisals, atol=1e-6)


def test_of_a_bag_one_of_each_kind_is_asked_for() -> None:
    assert last_of_each_kind((7, 7, 8, 8, 9)).tolist() == [1, 3, 4]
    assert last_of_each_kind((7,)).tolist() == [0]
    assert last_of_each_kind(()).tolist() == []


@settings(deadline=None, max_examples=15)
@given(st.lists(WINDOWS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_neither_batches_nor_order_nor_company_change_a_score(
    model: TrainableModel, windows: list[tuple[int, ...]], random
) -> None:
    order = list(range(len(windows)))
    random.shuffle(order)
    scorer = Scorer(model)
    together = scorer.score_ordered(windows), scorer.score_bag(windows)
    moved = [windows[i] for i in order]
    elsewhere = scorer.score_ordered(moved), scorer.score_bag(moved)
    for place, i in enumerate(order):
        alone = scorer.score_ordered([windows[i]])[0].surprisals, scorer.score_bag([windows[i]])[0]
        for found, other, one in (
            (together[0][i].surprisals, elsewhere[0][place].surprisals, alone[0]),
            (together[1][i], elsewhere[1][place], alone[1]),
        ):
            assert np.allclose(found, other, atol=1e-5)
            assert np.allclose(found, one, atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 13, 57])
def test_the_size_of_a_pass_makes_no_difference(
    model: TrainableModel, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    windows = [ids("ABCDE"), ids("BCDEF"), ids("HGF"), ids("ABCD", end=False)]
    whole = Scorer(model).score_ordered(windows)
    monkeypatch.setattr(passes, "BATCH_TOKENS", tokens)
    for found, expected in zip(Scorer(model).score_ordered(windows), whole, strict=True):
        assert np.allclose(found.surprisals, expected.surprisals, atol=1e-5)
        assert (found.guessed == expected.guessed).all()
    expected_tokens = [[t for t, _ in place] for place in Scorer(model).expected(windows[0])]
    assert [place[0] for place in expected_tokens][:5] == list(windows[0])[:5]


def test_the_model_knows_its_language_in_the_place_that_is_hidden(model: TrainableModel) -> None:
    right = Scorer(model).score_ordered([ids("ABCDEF")])[0]
    assert (right.surprisals < 1.0).all()  # had the neighbour been hidden, these would be high
    assert right.surprisals.mean() < 0.6
    assert right.guessed.all()
    wrong = Scorer(model).score_ordered([ids("ABCHEF")])[0]
    assert wrong.surprisals.argmax() == 3
    assert wrong.surprisals[3] > 3.0
    assert not wrong.guessed[3]
    stopped = Scorer(model).score_ordered([(*ids("AB"), END)[:3]])[0]
    assert stopped.surprisals[2] > right.surprisals[6] + 1.0  # no window ends after B


def test_the_token_in_a_hidden_place_does_not_leak(model: TrainableModel) -> None:
    for place in range(5):
        shares = []
        for word in WORDS:
            window = list(ids("ABCDE"))
            window[place] = VOCABULARY.index()[word]
            shares.append(dict(Scorer(model).expected(tuple(window), top=99)[place]))
        for other in shares[1:]:
            assert other == pytest.approx(shares[0], abs=1e-6)
        assert sum(shares[0].values()) == pytest.approx(1.0, abs=1e-5)


def test_what_was_expected_agrees_with_the_surprisal(model: TrainableModel) -> None:
    window = ids("ABHDE")
    reading = Scorer(model).score_ordered([window])[0]
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
    model: TrainableModel, window: tuple[int, ...], random
) -> None:
    events = [token for token in window if token != END]
    random.shuffle(events)
    other = (*events, *window[len(events) :])
    first, second = Scorer(model).score_bag([window, other])
    again = Scorer(model).score_bag([window])[0]
    assert np.allclose(first, again, atol=1e-5)
    by_token = dict(zip(window, first, strict=True))
    assert second.tolist() == pytest.approx([by_token[token] for token in other], abs=1e-9)


@torch.no_grad()
def naive_bag(model: TrainableModel, window: tuple[int, ...]) -> list[float]:
    """One place at a time, the end never shown; a word's position is how often it stood before."""
    events = [token for token in window if token != END]
    surprisals = []
    for place, token in enumerate(window):
        shown = [BAG, *events[:place], MASK, *events[place + 1 :], SEP]
        logits = theirs_at(model, torch.tensor([shown]), bag_positions(model, shown))
        surprisals.append(-logits[place + 1].log_softmax(-1)[token].item())
    return surprisals


@settings(deadline=None, max_examples=25)
@given(st.lists(WINDOWS, min_size=1, max_size=5))
def test_a_bags_surprisals_are_those_of_a_naive_loop_in_any_order(
    model: TrainableModel, windows: list[tuple[int, ...]]
) -> None:
    for window, found in zip(windows, Scorer(model).score_bag(windows), strict=True):
        assert found.tolist() == pytest.approx(naive_bag(model, window), abs=1e-5)


def test_a_bag_counts_and_does_not_see_order(model: TrainableModel) -> None:
    scorer = Scorer(model)
    in_order, as_bag = (
        scorer.score_ordered([ids("ABCDEF")])[0],
        scorer.score_bag([ids("ABCDEF")])[0],
    )
    swapped, bag = scorer.score_ordered([ids("ABDCEF")])[0], scorer.score_bag([ids("ABDCEF")])[0]
    assert swapped.surprisals.max() > in_order.surprisals.max() + 2.0
    assert sorted(bag) == pytest.approx(sorted(as_bag), abs=1e-6)
    twice = scorer.score_bag([ids("ABCCDEF")])[0]
    assert twice[2:4].min() > as_bag[2] + 1.0


def test_a_window_that_stops_too_early_has_a_surprising_end(model: TrainableModel) -> None:
    whole, stopped = ids("ABCDEF"), ids("AB")
    scorer = Scorer(model)
    ends = [reading.surprisals[-1] for reading in scorer.score_ordered([whole, stopped])]
    assert ends[1] > ends[0] + 2.0
    bags = [surprisals[-1] for surprisals in scorer.score_bag([whole, stopped])]
    assert bags[1] > bags[0] + 2.0


def test_an_event_beside_all_that_a_window_needs_is_surprising(model: TrainableModel) -> None:
    extra = Scorer(model).score_bag([ids("ABCDEFH")])[0]
    assert extra[6] > 3.0  # without it the bag was whole: the end was expected, and no event
    assert extra[:6].max() < extra[6] - 1.0


def passes_of(model: TrainableModel) -> list[int]:
    """How many rows each pass of the model has, from now on."""
    rows: list[int] = []
    words = model.base_model.embeddings.word_embeddings
    words.register_forward_hook(lambda _, __, found: rows.append(len(found)))
    return rows


def test_a_window_that_comes_again_is_neither_scored_nor_explained_again() -> None:
    model = cyclic_model()
    rows, scorer, window = passes_of(model), Scorer(model), ids("ABC", end=True)
    first = (
        scorer.score_ordered([window])[0],
        scorer.score_bag([window])[0],
        scorer.expected(window),
    )
    passes = sum(rows)
    again = (
        scorer.score_ordered([window])[0],
        scorer.score_bag([window])[0],
        scorer.expected(window),
    )
    assert sum(rows) == passes > 0
    assert again[0].surprisals.tolist() == first[0].surprisals.tolist()
    assert (again[1].tolist(), again[2]) == (first[1].tolist(), first[2])
    scorer.score_bag([ids("CAB", end=True)])
    assert sum(rows) == passes  # the same bag in another order


def test_only_so_many_readings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pll, "KEPT_TOKENS", 2 * (pll.ENTRY_OVERHEAD + 2))
    model = cyclic_model()
    rows, scorer = passes_of(model), Scorer(model)
    windows = [ids("AB"), ids("BC"), ids("CA")]
    for window in windows:
        scorer.score_ordered([window])
    passes = len(rows)
    scorer.score_ordered(windows[2:])
    assert len(rows) == passes
    scorer.score_ordered(windows[:1])
    assert len(rows) > passes


def test_of_no_windows_there_are_no_scores(model: TrainableModel) -> None:
    assert Scorer(model).score_ordered([]) == []
    assert Scorer(model).score_bag([]) == []


def test_the_model_is_scored_without_dropout(model: TrainableModel) -> None:
    model.train()
    first, second = (Scorer(model).score_ordered([ids("ABCD")])[0].surprisals for _ in range(2))
    assert (first == second).all()
    assert not model.training
