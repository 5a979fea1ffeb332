"""The screen's level: how low an alarm's screened value can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from logmlm.calibration import STATISTICS, Calibration
from logmlm.looks import EACH, EXACT, STRIDES, Look, Looks
from logmlm.screen import LEAST_ALARMS, Screen
from logmlm.tails import Array

WIDTH = len(STATISTICS)


def looks(
    rng: np.random.Generator, count: int, mean: float, noise: float, new_bags: float = 1.0
) -> Looks:
    """Exact statistics, and others that say half as much, with the less noise the more is hidden.

    Windows of 20 events, 10 of them different.
    """
    exact = rng.gamma(2.0, size=(count, 1)) * mean + np.zeros((count, WIDTH))

    def rough(size: float) -> Array:
        found: Array = exact / 2 * np.exp(size * rng.normal(size=(count, 1)))
        return found

    by_stride = {s: rough(noise / (1 + (s or 0))) for s in STRIDES} | {EACH: exact}
    return Looks(by_stride, np.full((count, 2), (20.0, 10.0)), new_bags)


@pytest.mark.parametrize("exactness", [0.9, 0.99, 0.999])
def test_alarms_drawn_anew_pass_the_level_as_often_as_asked(exactness: float) -> None:
    rng = np.random.default_rng(1)
    held_out = looks(rng, 4_000, 1.0, 0.2)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    screen = Screen.fit(calibration, held_out, [looks(rng, 4_000, 5.0, 0.2)], exactness)
    assert screen is not None
    new = looks(rng, 200_000, 5.0, 0.2)
    alarms = calibration.values(new.exact)[0] >= 1.0
    kept = screen.calibration.values(new.seen(screen.look))[0][alarms] >= screen.level
    assert kept.mean() >= exactness - 2 * (1 - exactness)
    assert screen.measured.exactness == exactness
    low, high = screen.measured.interval
    assert low <= 1 - kept.mean() <= high


def test_the_more_is_asked_the_more_passes_it_takes() -> None:
    rng = np.random.default_rng(2)
    held_out, edited = looks(rng, 2_000, 1.0, 0.3), looks(rng, 3_000, 5.0, 0.3)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    found = [Screen.fit(calibration, held_out, [edited], e) for e in (0.9, 0.99, 0.999, 0.99999)]
    screens = [screen for screen in found if screen is not None]
    costs = [held_out.cost(screen.look, screen.holds_up(held_out)) for screen in screens]
    assert costs == sorted(costs)
    assert len(set(costs)) >= 3
    assert screens[-1].measured.missed == 0
    normal = screens[0].calibration.values(held_out.seen(screens[0].look))[0]
    assert screens[0].measured.rescored == pytest.approx((normal >= screens[0].level).mean())


def test_a_screen_that_sees_all_has_a_level_of_one_at_most() -> None:
    rng = np.random.default_rng(3)
    held_out, edited = looks(rng, 2_000, 1.0, 0.0), looks(rng, 3_000, 900.0, 0.0)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    screen = Screen.fit(calibration, held_out, [edited], 0.9)
    assert screen is not None
    assert screen.level == 1.0


def test_with_too_few_alarms_there_is_no_screen() -> None:
    rng = np.random.default_rng(4)
    held_out = looks(rng, 500, 1.0, 0.1)
    calibration = Calibration.fit(held_out.exact, 0.01, 100.0)
    few = looks(rng, LEAST_ALARMS - 10, 0.01, 0.1)
    assert Screen.fit(calibration, held_out, [few], 0.99) is None
    nothing = Looks({s: np.empty((0, WIDTH)) for s in STRIDES}, np.empty((0, 2)), 0.0)
    assert Screen.fit(calibration, held_out, [nothing], 0.99) is None


def test_the_level_holds_for_each_number_of_edits_by_itself() -> None:
    rng = np.random.default_rng(5)
    held_out = looks(rng, 2_000, 1.0, 0.02)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    clear, faint = looks(rng, 9_000, 50.0, 0.02), looks(rng, 300, 5.0, 0.02)
    hidden = replace(  # seen by every look as a third of what it is
        faint, by_stride={s: a / (1 if s == EACH else 3) for s, a in faint.by_stride.items()}
    )
    found = [Screen.fit(calibration, held_out, kinds, 0.9) for kinds in ([clear], [clear, hidden])]
    easy, careful = (screen for screen in found if screen is not None)
    alarms = calibration.values(hidden.exact)[0] >= 1.0
    assert alarms.sum() > LEAST_ALARMS
    values = careful.calibration.values(hidden.seen(careful.look)[alarms])[0]
    assert (values >= careful.level).mean() >= 0.9
    values = easy.calibration.values(hidden.seen(easy.look)[alarms])[0]
    assert (values >= easy.level).mean() < 0.5


def test_the_same_alarm_again_is_no_further_evidence() -> None:
    rng = np.random.default_rng(6)
    held_out, edited = looks(rng, 2_000, 1.0, 0.1), looks(rng, 300, 5.0, 0.1)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    often = edited.ordered(np.arange(300).repeat(20))
    once, repeated = (Screen.fit(calibration, held_out, [e], 0.99) for e in (edited, often))
    assert once is not None
    assert repeated == once
    few = edited.ordered(np.arange(20).repeat(50))
    assert Screen.fit(calibration, held_out, [few], 0.99) is None


def test_what_is_asked_for_and_can_not_be_kept_leaves_no_screen() -> None:
    rng = np.random.default_rng(9)
    held_out, edited = looks(rng, 2_000, 1.0, 0.02), looks(rng, 1_000, 9.0, 0.02)
    held_out = replace(held_out, passes=np.full((2_000, 2), 20.0))  # the exact bag is dear
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    odd = np.zeros((1_000, 1), dtype=bool)
    odd[np.flatnonzero(calibration.values(edited.exact)[0] >= 1.0)[:3]] = True
    blind = replace(  # three alarms that no look sees at all
        edited,
        by_stride={
            stride: np.where(odd & (stride != EACH), 0.0, found)
            for stride, found in edited.by_stride.items()
        },
    )
    assert Screen.fit(calibration, held_out, [edited], 0.9999) is not None
    assert Screen.fit(calibration, held_out, [blind], 0.9999) is None
    assert Screen.fit(calibration, held_out, [blind], 0.99) is not None


def test_a_screen_that_lets_little_pass_is_left_out() -> None:
    rng = np.random.default_rng(6)
    held_out, edited = looks(rng, 2_000, 1.0, 0.1), looks(rng, 2_000, 5.0, 0.1)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    blind = replace(
        edited, by_stride={**held_out.ordered(rng.permutation(2_000)).by_stride, EACH: edited.exact}
    )
    assert Screen.fit(calibration, held_out, [edited], 0.9) is not None
    all_new = replace(
        held_out, passes=np.full((2_000, 2), 20.0)
    )  # so the exact bag is no cheap look
    assert Screen.fit(calibration, all_new, [edited], 0.9) is not None
    assert Screen.fit(calibration, all_new, [blind], 0.9) is None


def test_the_look_is_the_cheapest_by_what_it_costs_and_lets_pass() -> None:
    rng = np.random.default_rng(7)
    found = []
    for noise, new_bags in ((0.02, 1.0), (0.4, 0.01), (0.4, 1.0)):
        held_out = looks(rng, 2_000, 1.0, noise, new_bags)
        edited = looks(rng, 2_000, 5.0, noise, new_bags)
        calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
        screen = Screen.fit(calibration, held_out, [edited], 0.99)
        assert screen is not None
        found.append(screen.look)
        assert Screen.from_dict(screen.as_dict()) == screen
    assert found[0] == Look(None, None)  # nothing hidden sees enough
    assert found[1].as_bag == EACH  # hardly a bag is new
    assert found[2] not in (found[0], found[1])


def test_a_look_takes_the_statistics_of_each_reading_from_its_own_stride() -> None:
    held_out = looks(np.random.default_rng(8), 50, 1.0, 0.4)
    seen = held_out.seen(Look(None, EACH))
    assert (seen[:, 2:4] == held_out.exact[:, 2:4]).all()
    assert (seen[:, [0, 1, 4]] == held_out.by_stride[None][:, [0, 1, 4]]).all()


def test_what_a_look_costs_is_counted_in_tokens() -> None:
    held_out = replace(
        looks(np.random.default_rng(9), 2, 1.0, 0.4, new_bags=0.5),
        passes=np.array([(8.0, 4.0), (18.0, 10.0)]),
    )
    none, longer = np.array([False, False]), np.array([False, True])
    assert held_out.cost(EXACT, none) == (10 * (8 + 2) + 20 * (18 + 5)) / 2
    assert held_out.cost(Look(None, None), none) == (10 + 20) * 1.5 / 2
    assert held_out.cost(Look(None, None), longer) == ((10 + 20) * 1.5 + 20 * (18 + 5)) / 2
    assert held_out.cost(Look(None, EACH), longer) == (10 * (1 + 2) + 20 * (1 + 5 + 18)) / 2
    assert held_out.cost(Look(2, 2), none) == (10 + 20) * 3 / 2


def test_what_no_look_is_is_no_look() -> None:
    with pytest.raises(ValueError, match="no look"):
        Look.from_dict({"in_order": 7, "as_bag": None})


def test_what_is_written_is_read_back() -> None:
    rng = np.random.default_rng(5)
    held_out, edited = looks(rng, 500, 1.0, 0.1), looks(rng, 500, 9.0, 0.1)
    screen = Screen.fit(Calibration.fit(held_out.exact, 0.01, 9.0), held_out, [edited], 0.99)
    assert screen is not None
    assert Screen.from_dict(screen.as_dict()) == screen
