"""The screen's level: how low an alarm's screened value can be."""

from __future__ import annotations

import numpy as np
import pytest

from logmlm.calibration import STATISTICS, Calibration
from logmlm.screen import LEAST_ALARMS, Looks, Screen

WIDTH = len(STATISTICS)


def looks(
    rng: np.random.Generator, count: int, mean: float, noise: float, new_bags: int = 10**9
) -> Looks:
    """Exact statistics, and unmasked ones that say half as much, with noise."""
    exact = rng.gamma(2.0, size=(count, 1)) * mean + np.zeros((count, WIDTH))
    return Looks(exact, exact / 2 * np.exp(noise * rng.normal(size=(count, 1))), new_bags)


@pytest.mark.parametrize("exactness", [0.9, 0.99, 0.999])
def test_alarms_drawn_anew_pass_the_level_as_often_as_asked(exactness: float) -> None:
    rng = np.random.default_rng(1)
    held_out = looks(rng, 4_000, 1.0, 0.2)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    screen = Screen.fit(calibration, held_out, looks(rng, 4_000, 5.0, 0.2), exactness)
    assert screen is not None
    new = looks(rng, 200_000, 5.0, 0.2)
    alarms = calibration.values(new.exact)[0] >= 1.0
    kept = screen.calibration.values(new.unmasked)[0][alarms] >= screen.level
    assert kept.mean() >= exactness - 2 * (1 - exactness)
    assert screen.measured.exactness == exactness
    low, high = screen.measured.interval
    assert low <= 1 - kept.mean() <= high


def test_the_more_is_asked_the_more_is_scored_exactly() -> None:
    rng = np.random.default_rng(2)
    held_out, edited = looks(rng, 2_000, 1.0, 0.3), looks(rng, 3_000, 5.0, 0.3)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    found = [Screen.fit(calibration, held_out, edited, e) for e in (0.9, 0.99, 0.999, 0.99999)]
    screens = [screen for screen in found if screen is not None]
    levels = [screen.level for screen in screens]
    rescored = [screen.measured.rescored for screen in screens]
    assert levels == sorted(levels, reverse=True)
    assert rescored == sorted(rescored)
    assert len(set(levels)) >= 3
    assert screens[-1].measured.missed == 0
    normal = screens[0].calibration.values(held_out.unmasked)[0]
    assert rescored[0] == pytest.approx((normal >= levels[0]).mean())


def test_a_screen_that_sees_all_has_a_level_of_one_at_most() -> None:
    rng = np.random.default_rng(3)
    held_out, edited = looks(rng, 2_000, 1.0, 0.0), looks(rng, 3_000, 900.0, 0.0)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    screen = Screen.fit(calibration, held_out, edited, 0.9)
    assert screen is not None
    assert screen.level == 1.0


def test_with_too_few_alarms_there_is_no_screen() -> None:
    rng = np.random.default_rng(4)
    held_out = looks(rng, 500, 1.0, 0.1)
    calibration = Calibration.fit(held_out.exact, 0.01, 100.0)
    few = looks(rng, LEAST_ALARMS - 10, 0.01, 0.1)
    assert Screen.fit(calibration, held_out, few, 0.99) is None
    nothing = Looks(np.empty((0, WIDTH)), np.empty((0, WIDTH)), 0)
    assert Screen.fit(calibration, held_out, nothing, 0.99) is None


def test_a_screen_that_lets_little_pass_is_left_out() -> None:
    rng = np.random.default_rng(6)
    held_out, edited = looks(rng, 2_000, 1.0, 0.1), looks(rng, 2_000, 5.0, 0.1)
    calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
    blind = Looks(edited.exact, rng.permutation(held_out.unmasked), 2_000)
    assert Screen.fit(calibration, held_out, edited, 0.9) is not None
    assert Screen.fit(calibration, held_out, blind, 0.9) is None


def test_the_bag_is_hidden_where_that_lets_more_pass_and_bags_repeat() -> None:
    rng = np.random.default_rng(7)
    found = []
    for new_bags in (20, 2_000):
        held_out = looks(rng, 2_000, 1.0, 0.4, new_bags)
        edited = looks(rng, 2_000, 5.0, 0.4, new_bags)
        calibration = Calibration.fit(held_out.exact, 0.002, 100.0)
        screen = Screen.fit(calibration, held_out, edited, 0.99)
        assert screen is not None
        found.append(screen.hides_bag)
        if screen.hides_bag:
            seen = held_out.seen(hides_bag=True)
            assert (seen[:, 2:4] == held_out.exact[:, 2:4]).all()
            assert (seen[:, [0, 1, 4]] == held_out.unmasked[:, [0, 1, 4]]).all()
            assert Screen.from_dict(screen.as_dict()) == screen
    assert found == [True, False]


def test_what_is_written_is_read_back() -> None:
    rng = np.random.default_rng(5)
    held_out, edited = looks(rng, 500, 1.0, 0.1), looks(rng, 500, 9.0, 0.1)
    screen = Screen.fit(Calibration.fit(held_out.exact, 0.01, 9.0), held_out, edited, 0.99)
    assert screen is not None
    assert Screen.from_dict(screen.as_dict()) == screen
