"""The screen's levels: how low an alarm's screened value can be, and what that costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from logmlm.detection.approximations import ACCURATE, EXACT, FAST, Approximation, StatisticsTable
from logmlm.detection.calibration import STATISTICS, Calibration
from logmlm.detection.screening import MIN_ALARMS, Screen, clearing_stage
from logmlm.detection.tail_model import Array

WIDTH = len(STATISTICS)
LENGTH, KINDS = 20, 10


def looks(
    rng: np.random.Generator, count: int, mean: float, noise: float, bags: int | None = None
) -> StatisticsTable:
    """Exact statistics, and others that say half as much, the second look with a tenth the noise.

    Windows of 20 events, 10 of them different, no two alike; so many different bags, or each new.
    """
    exact = rng.gamma(2.0, size=(count, 1)) * mean + np.zeros((count, WIDTH))

    def rough(size: float) -> Array:
        found: Array = exact / 2 * np.exp(size * rng.normal(size=(count, 1)))
        return found

    kinds = [KINDS * (i % (bags or count)) + np.arange(LENGTH) % KINDS for i in range(count)]
    windows = tuple(tuple(rng.permutation(each).tolist()) for each in kinds)
    return StatisticsTable(windows, {EXACT: exact, FAST: rough(noise), ACCURATE: rough(noise / 10)})


def held_up(screen: Screen, windows: StatisticsTable) -> np.ndarray:
    return clearing_stage(screen.steps, windows) == len(screen.steps)


def cost(screen: Screen, windows: StatisticsTable) -> float:
    return windows.cost([step.look for step in screen.steps], clearing_stage(screen.steps, windows))


@pytest.mark.parametrize("noise", [0.1, 0.4])
@pytest.mark.parametrize("exactness", [0.9, 0.99, 0.999])
def test_alarms_drawn_anew_are_held_up_as_often_as_asked(exactness: float, noise: float) -> None:
    rng = np.random.default_rng(1)
    held_out = looks(rng, 4_000, 1.0, noise)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    screen = Screen.fit(calibration, held_out, [looks(rng, 4_000, 5.0, noise)], exactness)
    assert screen is not None
    new = looks(rng, 100_000, 5.0, noise)
    alarms = calibration.values(new.exact)[0] >= 1.0
    kept = held_up(screen, new)[alarms]
    assert kept.mean() >= exactness - 2 * (1 - exactness)
    assert screen.measured.exactness == exactness
    low, high = screen.measured.interval
    assert low <= 1 - kept.mean() <= high


def test_the_more_is_asked_the_more_passes_it_takes() -> None:
    rng = np.random.default_rng(2)
    held_out, edited = looks(rng, 2_000, 1.0, 0.5, 20), looks(rng, 3_000, 5.0, 0.5)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    found = [Screen.fit(calibration, held_out, [edited], e) for e in (0.9, 0.99, 0.999, 0.99999)]
    screens = [screen for screen in found if screen is not None]
    costs = [cost(screen, held_out) for screen in screens]
    assert costs == sorted(costs)
    assert len(set(costs)) >= 3
    assert screens[-1].measured.missed == 0
    for screen in screens:
        assert screen.measured.rescored == pytest.approx(held_up(screen, held_out).mean())


def test_a_screen_that_sees_all_has_a_level_of_one_at_most() -> None:
    rng = np.random.default_rng(3)
    held_out, edited = looks(rng, 2_000, 1.0, 0.0), looks(rng, 3_000, 900.0, 0.0)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    screen = Screen.fit(calibration, held_out, [edited], 0.9)
    assert screen is not None
    assert {step.level for step in screen.steps} == {1.0}


def test_with_too_few_alarms_there_is_no_screen() -> None:
    rng = np.random.default_rng(4)
    held_out = looks(rng, 500, 1.0, 0.1)
    calibration = Calibration.fit(held_out.exact, 0.01, 100.0)
    few = looks(rng, MIN_ALARMS - 10, 0.01, 0.1)
    assert Screen.fit(calibration, held_out, [few], 0.99) is None
    nothing = few.take(np.empty(0, dtype=np.int64))
    assert Screen.fit(calibration, held_out, [nothing], 0.99) is None


def test_the_level_holds_for_each_number_of_edits_by_itself() -> None:
    rng = np.random.default_rng(5)
    held_out = looks(rng, 2_000, 1.0, 0.02)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    clear, faint = looks(rng, 9_000, 50.0, 0.02), looks(rng, 300, 5.0, 0.02)
    hidden = replace(  # seen by every look as a third of what it is
        faint,
        by_approximation={
            look: a / (1 if look == EXACT else 3) for look, a in faint.by_approximation.items()
        },
    )
    found = [Screen.fit(calibration, held_out, kinds, 0.9) for kinds in ([clear], [clear, hidden])]
    easy, careful = (screen for screen in found if screen is not None)
    alarms = calibration.values(hidden.exact)[0] >= 1.0
    assert alarms.sum() > MIN_ALARMS
    assert held_up(careful, hidden)[alarms].mean() >= 0.9
    assert held_up(easy, hidden)[alarms].mean() < 0.5


def test_the_same_alarm_again_is_no_further_evidence() -> None:
    rng = np.random.default_rng(6)
    held_out, edited = looks(rng, 2_000, 1.0, 0.1), looks(rng, 300, 5.0, 0.1)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    often = edited.take(np.arange(300).repeat(20))
    once, repeated = (Screen.fit(calibration, held_out, [e], 0.99) for e in (edited, often))
    assert once is not None
    assert repeated == once
    few = edited.take(np.arange(20).repeat(50))
    assert Screen.fit(calibration, held_out, [few], 0.99) is None


def test_what_is_asked_for_and_can_not_be_kept_leaves_no_screen() -> None:
    rng = np.random.default_rng(9)
    held_out, edited = looks(rng, 2_000, 1.0, 0.02), looks(rng, 1_000, 9.0, 0.02)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    odd = np.zeros((1_000, 1), dtype=bool)
    odd[np.flatnonzero(calibration.values(edited.exact)[0] >= 1.0)[:3]] = True
    blind = replace(  # three alarms that no approximation sees at all
        edited,
        by_approximation={
            look: np.where(odd & (look != EXACT), 0.0, found)
            for look, found in edited.by_approximation.items()
        },
    )
    assert Screen.fit(calibration, held_out, [edited], 0.9999) is not None
    assert Screen.fit(calibration, held_out, [blind], 0.9999) is None
    assert Screen.fit(calibration, held_out, [blind], 0.99) is not None


def test_a_screen_that_lets_little_pass_is_left_out() -> None:
    rng = np.random.default_rng(6)
    held_out, edited = looks(rng, 2_000, 1.0, 0.1), looks(rng, 2_000, 5.0, 0.1)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    mixed_up = held_out.take(rng.permutation(2_000)).by_approximation
    blind = replace(edited, by_approximation={**mixed_up, EXACT: edited.exact})
    assert Screen.fit(calibration, held_out, [edited], 0.9) is not None
    assert Screen.fit(calibration, held_out, [blind], 0.9) is None


@pytest.mark.parametrize(
    ("noise", "bags", "expected"),
    [
        (3.0, 20, [ACCURATE]),  # hardly a bag is new, and with nothing of it hidden little is seen
        (0.3, None, [FAST, ACCURATE]),  # bags are dear, and mostly it sees enough
    ],
)
def test_the_looks_are_the_cheapest_by_what_they_cost_and_let_pass(
    noise: float, bags: int | None, expected: list[Approximation]
) -> None:
    rng = np.random.default_rng(7)
    held_out, edited = looks(rng, 2_000, 1.0, noise, bags), looks(rng, 2_000, 5.0, noise, bags)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    screen = Screen.fit(calibration, held_out, [edited], 0.99)
    assert screen is not None
    assert [step.look for step in screen.steps] == expected
    assert Screen.from_dict(screen.as_dict()) == screen


def test_of_two_looks_each_may_miss_half_of_what_one_may() -> None:
    rng = np.random.default_rng(7)
    held_out, edited = looks(rng, 2_000, 1.0, 0.3), looks(rng, 2_000, 5.0, 0.3)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    screen = Screen.fit(calibration, held_out, [edited], 0.9)
    assert screen is not None
    assert len(screen.steps) == 2
    alarms = edited.take(np.flatnonzero(calibration.values(edited.exact)[0] >= 1.0))
    for step in screen.steps:
        missed = clearing_stage([step], alarms) == 0
        assert missed.mean() <= 0.05
    assert (clearing_stage(screen.steps[:1], alarms) == 0).mean() == pytest.approx(0.05, abs=0.003)


def test_what_is_known_never_comes_to_the_screen_and_tells_nothing_of_its_cost() -> None:
    rng = np.random.default_rng(11)
    easy, hard = looks(rng, 1_900, 1.0, 0.0), looks(rng, 100, 4.0, 1.0, 20)
    held_out, edited = StatisticsTable.concat([easy, hard]), looks(rng, 2_000, 9.0, 1.0)
    calibration = Calibration.fit(held_out.exact, 0.02, 100.0)
    of_all, of_new = (
        Screen.fit(calibration, held_out, [edited], 0.99, known)
        for known in (frozenset[tuple[int, ...]](), frozenset(easy.windows))
    )
    assert of_all is not None
    assert of_new is not None
    assert [step.look for step in of_all.steps] == [FAST, ACCURATE]
    assert [step.look for step in of_new.steps] == [ACCURATE]
    assert of_new.measured.rescored == pytest.approx(held_up(of_new, hard).mean())
    again = held_out.take(np.array([*range(2_000), *[1_999] * 500]))
    repeated = Screen.fit(calibration, again, [edited], 0.99, frozenset(easy.windows))
    assert repeated is not None
    assert repeated.measured.rescored == pytest.approx(held_up(repeated, hard).mean())


def test_what_a_look_costs_is_counted_in_tokens_and_nothing_is_read_twice() -> None:
    # 4 and 6 tokens of 2 and 3 kinds, and both bags twice
    windows = ((7, 7, 8, 8), (8, 7, 8, 7), (7, 7, 8, 8, 9, 9), (9, 7, 9, 8, 8, 7))
    nothing = np.zeros((4, WIDTH))
    found = StatisticsTable(windows, dict.fromkeys((EXACT, FAST, ACCURATE), nothing))
    exact, bag = (4 * 6 + 6 * 8) / 2, (2 * 6 + 3 * 8) / 2 / 2
    streams, shown = (2 * 4 + 2 + 2 * 6 + 2) / 2, (6 + 8) / 2 / 2
    none, all_, longer = np.zeros(4, dtype=int), np.ones(4, dtype=int), np.array([0, 0, 1, 1])
    assert found.cost((), none) == exact + bag
    assert found.cost((FAST,), none) == streams + shown
    assert found.cost((ACCURATE,), none) == streams + bag
    assert found.cost((FAST,), all_) == streams + shown + exact + bag
    assert found.cost((ACCURATE,), all_) == streams + bag + exact
    assert found.cost((ACCURATE,), longer) == streams + bag + 6 * 8 / 2
    assert found.cost((FAST, ACCURATE), longer) == streams + shown + 3 * 8 / 2 / 2
    assert found.cost((FAST, ACCURATE), 2 * all_) == streams + shown + bag + exact


def test_a_damaged_approximation_is_refused() -> None:
    with pytest.raises(ValueError, match="no approximation"):
        Approximation.from_dict({"in_order": "exact", "as_bag": "exact"})
