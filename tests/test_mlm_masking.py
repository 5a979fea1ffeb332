"""What training hides, and which reading of a window it shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.mlm.masking import (
    CUT_SHARE,
    IGNORED,
    RATES,
    Tokens,
    draw_rate,
    draw_reading,
    hide,
    predictable,
)
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, NEVER_PREDICTED, PAD, SEP, UNK

VOCABULARY = 20
EVENTS = st.lists(st.sampled_from([UNK, *range(END + 1, VOCABULARY)]), max_size=12)
WINDOWS = st.tuples(EVENTS, st.booleans()).map(lambda pair: [*pair[0], *([END] * pair[1])])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def many(window: list[int], count: int) -> Tokens:
    return np.tile(np.array([CLS, *window, SEP, PAD]), (count, 1))


def whole(ids: Tokens) -> np.ndarray:
    """No window of the batch is cut."""
    return np.zeros(len(ids), dtype=bool)


def near(share: float, of: int) -> object:
    """Within 4.5 standard deviations of a share of so many draws."""
    return pytest.approx(share, abs=4.5 * np.sqrt(share * (1 - share) / of))


def test_the_four_rates_are_drawn_alike() -> None:
    random = rng()
    drawn = np.array([draw_rate(random) for _ in range(4_000)])
    assert set(drawn) == {0.10, 0.15, 0.30, 0.50} == set(RATES)
    for rate in RATES:
        assert (drawn == rate).mean() == near(0.25, 4_000)


@pytest.mark.parametrize("rate", RATES)
def test_each_event_is_hidden_as_often_as_the_rate_says(rate: float) -> None:
    ids = many([*range(END + 1, VOCABULARY)] * 4, 1_000)
    _, targets = hide(ids, whole(ids), rate, VOCABULARY, rng(1))
    places = ids[0] > END
    hidden = targets != IGNORED
    assert hidden[:, places].mean() == near(rate, 52_000)
    by_place = hidden[:, places].mean(axis=0)
    assert np.abs(by_place - rate).max() < 5 * np.sqrt(rate * (1 - rate) / 1_000)


def test_of_the_hidden_80_are_masked_10_random_and_10_stay() -> None:
    ids = many([8, UNK, 9, END], 60_000)
    inputs, targets = hide(ids, whole(ids), 0.5, VOCABULARY, rng(2))
    hidden = targets != IGNORED
    count, words = hidden.sum(), VOCABULARY - END + 1
    by_chance = 0.1 / words  # a random word may be the true one
    assert (inputs[hidden] == MASK).mean() == near(0.8, count)
    assert (inputs[hidden] == ids[hidden]).mean() == near(0.1 + by_chance, count)
    drawn = inputs[hidden & (inputs != MASK) & (inputs != ids)]
    assert len(drawn) / count == near(0.1 - by_chance, count)


def test_random_words_are_drawn_alike_from_all_that_can_be_predicted() -> None:
    ids = many([8] * 10, 30_000)
    inputs, targets = hide(ids, whole(ids), 0.5, VOCABULARY, rng(3))
    drawn = inputs[(targets != IGNORED) & (inputs != MASK) & (inputs != 8)]
    others = [UNK, END, 7, *range(9, VOCABULARY)]
    assert set(drawn) == set(others)
    for word in others:
        assert (drawn == word).mean() == near(1 / len(others), len(drawn))


@given(st.lists(WINDOWS, min_size=1, max_size=6), st.sampled_from(RATES), st.integers(0, 999))
def test_hiding_keeps_what_it_does_not_hide_and_never_touches_the_frame(
    windows: list[list[int]], rate: float, seed: int
) -> None:
    longest = max(map(len, windows)) + 2
    ids = np.array([[CLS, *w, SEP, *[PAD] * (longest - 2 - len(w))] for w in windows])
    before = ids.copy()
    inputs, targets = hide(ids, whole(ids), rate, VOCABULARY, rng(seed))
    hidden = targets != IGNORED
    assert (ids == before).all()
    assert (targets[hidden] == ids[hidden]).all()
    assert (inputs[~hidden] == ids[~hidden]).all()
    assert not np.isin(ids[hidden], NEVER_PREDICTED).any()
    assert not np.isin(inputs[hidden], [PAD, CLS, SEP, BAG]).any()
    assert (hidden.any(axis=1) == predictable(ids).any(axis=1)).all()
    assert predictable(ids).sum() == sum(map(len, windows))


def test_where_chance_hides_nothing_one_place_is_hidden_and_all_alike() -> None:
    ids = many([7, 8, 9, END], 8_000)
    _, targets = hide(ids, whole(ids), 1e-9, VOCABULARY, rng(4))
    hidden = targets != IGNORED
    assert (hidden.sum(axis=1) == 1).all()
    for place in range(1, 5):
        assert hidden[:, place].mean() == near(0.25, 8_000)


def test_half_of_the_windows_are_read_as_a_bag_and_a_quarter_is_cut_short() -> None:
    random, window = rng(5), np.array([7, 8, 9, 10, 11, 12, END])
    drawn = [draw_reading(window, random) for _ in range(8_000)]
    as_bag = np.array([ids[0] == BAG for ids, _ in drawn])
    cut = np.array([is_cut for _, is_cut in drawn])
    assert as_bag.mean() == near(0.5, 8_000)
    assert cut.mean() == near(CUT_SHARE, 8_000)
    assert all((ids[1:] == [*window, SEP]).all() for ids, is_cut in drawn if not is_cut)
    assert all(ids[-1] == SEP and END not in ids for ids, is_cut in drawn if is_cut)


def test_a_window_cut_in_order_is_its_first_events_and_the_next_of_any_number() -> None:
    random, window = rng(6), np.array([7, 8, 9, 10, 11, END])
    drawn = [ids for ids, cut in (draw_reading(window, random) for _ in range(9_000)) if cut]
    in_order = [ids[1:-1].tolist() for ids in drawn if ids[0] == CLS]
    assert all(events == window[: len(events)].tolist() for events in in_order)
    lengths = np.array([len(events) for events in in_order])
    for length in (2, 3, 4, 5):
        assert (lengths == length).mean() == near(0.25, len(lengths))
    bags = [ids[1:-1].tolist() for ids in drawn if ids[0] == BAG]
    first = np.array([events == window[: len(events)].tolist() for events in bags])
    assert 0.44 < first.mean() < 0.6  # the others lost any events, not the last
    assert all(set(events) < set(window.tolist()) for events in bags)


def test_windows_without_an_end_or_of_one_event_are_never_cut() -> None:
    random = rng(7)
    for window in ([7, 8, 9], [7, END], [END]):
        assert not any(draw_reading(np.array(window), random)[1] for _ in range(200))


def test_the_last_event_of_a_cut_window_is_always_hidden_by_a_mask() -> None:
    ids = np.tile(np.array([[CLS, 7, 8, 9, SEP, PAD], [CLS, 7, 8, 9, END, SEP]]), (2_000, 1))
    cut = np.tile([True, False], 2_000)
    inputs, targets = hide(ids, cut, 0.1, VOCABULARY, rng(8))
    assert (inputs[cut, 3] == MASK).all()
    assert (targets[cut, 3] == 9).all()
    assert (targets[~cut, 4] == END).mean() < 0.4
    assert (targets[cut, 1] != IGNORED).mean() == near(0.1, 2_000)
