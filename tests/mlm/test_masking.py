"""What training hides, and which reading of a window it shows."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logmlm.mlm.masking import (
    ANY_SHARE,
    CUT_SHARE,
    END_SHARE,
    FEW_SHARE,
    RATES,
    SINGLE_MASK_SHARE,
    TrainingViews,
    mask_tokens,
    predictable,
    sample_mask_rates,
    sample_views,
)
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, NEVER_PREDICTED, PAD, SEP, UNK

VOCABULARY = 20
EVENTS = st.lists(st.sampled_from([UNK, *range(END + 1, VOCABULARY)]), max_size=12)
WINDOWS = st.tuples(EVENTS, st.booleans()).map(lambda pair: [*pair[0], *([END] * pair[1])])


IGNORED = -100


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def many(window: list[int], count: int) -> np.ndarray:
    return np.tile(np.array([CLS, *window, SEP, PAD]), (count, 1))


def none(ids: np.ndarray) -> np.ndarray:
    """No window of the batch."""
    return np.zeros(len(ids), dtype=bool)


def hidden_in(
    ids: np.ndarray, asks_last: np.ndarray, alone: np.ndarray, rate: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and what was hidden in each place or IGNORED, of framed and padded windows."""
    lengths = (ids != PAD).sum(axis=1)
    readings = TrainingViews(*map(torch.as_tensor, (ids, lengths, asks_last, alone)))
    rates = torch.full((len(ids),), rate)
    inputs, chosen = mask_tokens(readings, rates, VOCABULARY, rng(seed))
    return inputs.numpy(), np.where(chosen.numpy(), ids, IGNORED)


def near(share: float, of: int) -> object:
    """Within 4.5 standard deviations of a share of so many draws."""
    return pytest.approx(share, abs=4.5 * np.sqrt(share * (1 - share) / of))


def test_the_four_rates_are_drawn_alike() -> None:
    drawn = sample_mask_rates(4_000, rng()).numpy()
    assert {0.10, 0.15, 0.30, 0.50} == set(RATES)
    assert set(drawn) == set(np.float32(RATES))
    for rate in RATES:
        assert (drawn == np.float32(rate)).mean() == near(0.25, 4_000)


@pytest.mark.parametrize("rate", RATES)
def test_each_event_is_hidden_as_often_as_the_rate_says(rate: float) -> None:
    ids = many([*range(END + 1, VOCABULARY)] * 4, 1_000)
    _, targets = hidden_in(ids, none(ids), none(ids), rate, 1)
    places = ids[0] > END
    hidden = targets != IGNORED
    assert hidden[:, places].mean() == near(rate, 52_000)
    by_place = hidden[:, places].mean(axis=0)
    assert np.abs(by_place - rate).max() < 5 * np.sqrt(rate * (1 - rate) / 1_000)


def test_of_the_hidden_80_are_masked_10_random_and_10_stay() -> None:
    ids = many([8, UNK, 9, END], 60_000)
    inputs, targets = hidden_in(ids, none(ids), none(ids), 0.5, 2)
    hidden = targets != IGNORED
    count, words = hidden.sum(), VOCABULARY - END + 1
    by_chance = 0.1 / words  # a random word may be the true one
    assert (inputs[hidden] == MASK).mean() == near(0.8, count)
    assert (inputs[hidden] == ids[hidden]).mean() == near(0.1 + by_chance, count)
    drawn = inputs[hidden & (inputs != MASK) & (inputs != ids)]
    assert len(drawn) / count == near(0.1 - by_chance, count)


def test_random_words_are_drawn_alike_from_all_that_can_be_predicted() -> None:
    ids = many([8] * 10, 30_000)
    inputs, targets = hidden_in(ids, none(ids), none(ids), 0.5, 3)
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
    inputs, targets = hidden_in(ids, none(ids), none(ids), rate, seed)
    hidden = targets != IGNORED
    assert (ids == before).all()
    assert (targets[hidden] == ids[hidden]).all()
    assert (inputs[~hidden] == ids[~hidden]).all()
    assert not np.isin(ids[hidden], NEVER_PREDICTED).any()
    assert not np.isin(inputs[hidden], [PAD, CLS, SEP, BAG]).any()
    assert (hidden.any(axis=1) == predictable(torch.as_tensor(ids)).any(dim=1).numpy()).all()
    assert predictable(torch.as_tensor(ids)).sum() == sum(map(len, windows))


def test_where_chance_hides_nothing_one_place_is_hidden_and_all_alike() -> None:
    ids = many([7, 8, 9, END], 8_000)
    _, targets = hidden_in(ids, none(ids), none(ids), 1e-9, 4)
    hidden = targets != IGNORED
    assert (hidden.sum(axis=1) == 1).all()
    for place in range(1, 5):
        assert hidden[:, place].mean() == near(0.25, 8_000)


@dataclass(frozen=True)
class Drawn:
    """One reading, without its padding."""

    ids: np.ndarray
    asks_last: bool
    alone: bool


def drawn_of(windows: list[list[int]], seed: int) -> list[Drawn]:
    """A reading of each window; past a window's end stands another word, as in a corpus."""
    longest = max(map(len, windows))
    events = torch.tensor([[*w, *[VOCABULARY - 1] * (longest - len(w))] for w in windows])
    found = sample_views(events, torch.tensor([len(w) for w in windows]), rng(seed))
    rows = zip(found.ids, found.lengths.tolist(), found.asks_last, found.single_mask, strict=True)
    assert all((ids[length:] == PAD).all() for ids, length, _, _ in rows)
    rows = zip(found.ids, found.lengths.tolist(), found.asks_last, found.single_mask, strict=True)
    return [Drawn(ids[:length].numpy(), bool(a), bool(b)) for ids, length, a, b in rows]


def drawings(window: list[int], count: int, seed: int) -> list[Drawn]:
    return drawn_of([window] * count, seed)


def inner(drawn: Drawn) -> list[int]:
    """What stands in the frame."""
    ids: list[int] = drawn.ids[1:-1].tolist()
    return ids


def test_half_of_the_windows_are_read_as_a_bag() -> None:
    drawn = drawings([7, 8, 9, END], 8_000, 5)
    assert np.mean([one.ids[0] == BAG for one in drawn]) == near(0.5, 8_000)
    assert {one.ids[0] for one in drawn} == {BAG, CLS}
    assert all(one.ids[-1] == SEP for one in drawn)


def test_a_quarter_of_those_in_order_is_cut_after_any_number_and_asks_for_the_next() -> None:
    window = [7, 8, 9, 10, 11, END]
    in_order = [one for one in drawings(window, 18_000, 6) if one.ids[0] == CLS]
    assert not any(one.alone for one in in_order)
    assert all(inner(one) == window for one in in_order if not one.asks_last)
    cut = [inner(one) for one in in_order if one.asks_last]
    assert len(cut) / len(in_order) == near(CUT_SHARE, len(in_order))
    assert all(events == window[: len(events)] for events in cut)
    lengths = np.array([len(events) for events in cut])
    for length in (2, 3, 4, 5):
        share = np.log((length + 1) / length) / np.log(6 / 2)
        assert (lengths == length).mean() == near(share, len(lengths))


def test_a_bag_asks_for_its_end_or_for_an_event_that_it_lacks() -> None:
    window = [7, 8, 9, 10, END]
    bags = [one for one in drawings(window, 40_000, 7) if one.ids[0] == BAG]
    count = len(bags)
    assert all(one.asks_last for one in bags)
    assert np.mean([one.alone for one in bags]) == near(SINGLE_MASK_SHARE, count)
    whole = [inner(one) for one in bags if END in one.ids]
    assert all(events == window for events in whole)
    assert len(whole) / count == near(END_SHARE, count)
    others = [inner(one) for one in bags if END not in one.ids]
    assert all(len(set(events)) == len(events) for events in others)
    lacks_one = np.mean([len(events) == 4 for events in others])
    all_four = np.log(5 / 4) / np.log(5 / 2)
    assert lacks_one == near(1 - FEW_SHARE + FEW_SHARE * all_four, len(others))
    assert all(len(events) >= 2 for events in others)
    shorter = [events for events in others if len(events) == 2]
    first = np.mean([events == window[:2] for events in shorter])
    assert first == near(1 - ANY_SHARE + ANY_SHARE / 12, len(shorter))
    asked = np.array([events[-1] for events in others])
    assert all(0.15 < (asked == event).mean() < 0.35 for event in window[:-1])


@given(st.lists(WINDOWS.filter(bool), min_size=1, max_size=6), st.integers(0, 99))
def test_a_reading_of_any_window_holds_nothing_but_its_events(
    windows: list[list[int]], seed: int
) -> None:
    for window, one in zip(windows, drawn_of(windows, seed), strict=True):
        shown = inner(one)
        assert one.ids[0] in (CLS, BAG)
        assert one.ids[-1] == SEP
        assert shown
        assert not Counter(shown) - Counter(window)
        assert END not in shown[:-1]


def test_in_order_windows_without_an_end_or_of_one_event_are_never_cut() -> None:
    for window in ([7, 8, 9], [7, END], [END]):
        for one in drawings(window, 400, 8):
            assert one.ids[0] == BAG or inner(one) == window
    assert all(inner(one) == [END] for one in drawings([END], 50, 9))


def test_the_last_place_where_asked_for_is_always_a_mask_and_alone_where_said() -> None:
    rows = [[CLS, 7, 8, 9, SEP, PAD], [CLS, 7, 8, 9, END, SEP], [BAG, 7, 8, 9, END, SEP]]
    ids = np.tile(np.array(rows), (2_000, 1))
    asks, alone = np.tile([True, False, True], 2_000), np.tile([False, False, True], 2_000)
    inputs, targets = hidden_in(ids, asks, alone, 0.1, 8)
    assert (inputs[0::3, 3] == MASK).all()
    assert (targets[0::3, 3] == 9).all()
    assert (targets[1::3, 4] == END).mean() < 0.4
    assert (targets[0::3, 1] != IGNORED).mean() == near(0.1, 2_000)
    assert (inputs[2::3, 4] == MASK).all()
    assert (targets[2::3] != IGNORED).sum() == 2_000
