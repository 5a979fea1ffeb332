"""The promise: no more false alarms on new normal windows than were asked for."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from logmlm.detection.calibration import (
    MARGIN,
    MEAN_WEIGHT,
    STATISTICS,
    Calibration,
    clopper_pearson,
    folds_needed,
    strictest_rate,
    window_statistics,
)
from logmlm.detection.tail_model import Array, TailModel
from logmlm.errors import ModelError

SURPRISALS = st.floats(0, 30, allow_nan=False, allow_subnormal=False)  # float32 has none so small


def normal_windows(count: int, seed: int, shared: float = 0.6) -> Array:
    """Statistics [count, 5] that depend on each other, with long tails."""
    rng = np.random.default_rng(seed)
    alone, together = rng.standard_normal((count, len(STATISTICS))), rng.standard_normal((count, 1))
    return np.exp(np.sqrt(1 - shared) * alone + np.sqrt(shared) * together)


def observed_rate(calibration: Calibration, windows: Array) -> float:
    return float(np.mean(calibration.values(windows)[0] >= 1.0))


def calibrated(held_out: Array, rate: float) -> Calibration:
    return Calibration.fit(held_out, rate, windows_per_day=100.0)


def test_a_windows_statistics_are_worst_event_and_mean_in_both_readings_and_the_sum() -> None:
    assert window_statistics([1.0, 5.0, 0.0], [2.0, 2.0, 5.0]) == (5.0, 2.0, 5.0, 3.0, 6.0)


def test_a_window_of_no_events_is_not_odd() -> None:
    assert window_statistics([], []) == (0.0,) * len(STATISTICS)


@pytest.mark.parametrize("rate", [0.2, 0.05, 0.01, 0.002])
@pytest.mark.parametrize("shared", [0.0, 0.6, 0.99])
def test_new_normal_windows_alarm_as_often_as_asked(rate: float, shared: float) -> None:
    calibration = calibrated(normal_windows(20_000, 3, shared), rate)
    assert calibration.promise.method == "quantile"
    observed = observed_rate(calibration, normal_windows(200_000, 4, shared))
    spread = np.sqrt(rate / 20_000 + rate / 200_000)
    assert observed == pytest.approx(rate, abs=4 * spread)


@pytest.mark.parametrize("allowed", [1, 2, 5])
def test_the_rate_holds_where_only_few_held_out_windows_may_exceed_the_threshold(
    allowed: int,
) -> None:
    rate, fresh = (allowed + 0.1) / 121, normal_windows(100_000, 5, shared=0.0)
    calibrations = [calibrated(normal_windows(120, 100 + i, 0.0), rate) for i in range(16)]
    assert {calibration.promise.method for calibration in calibrations} == {"quantile"}
    observed = [observed_rate(calibration, fresh) for calibration in calibrations]
    assert np.mean(observed) < 1.5 * rate  # each judged by itself too: 4, 2 and 1.6 times
    assert np.mean(observed) > 0.5 * rate


def test_past_what_was_held_out_the_tail_model_is_near_the_asked_rate_and_says_so() -> None:
    calibration = calibrated(normal_windows(2_000, 6), 1e-4)
    promise = calibration.promise
    assert promise.method == "tail model"
    observed = observed_rate(calibration, normal_windows(500_000, 7))
    assert 0.25e-4 < observed < 4e-4
    warning = calibration.warning()
    assert warning is not None
    assert "rests on 2000 held-out windows" in warning
    assert "9999 or more" in warning


def test_the_tail_model_is_used_only_where_too_few_windows_were_held_out() -> None:
    for count, method in ((999, "quantile"), (998, "tail model")):
        calibration = calibrated(normal_windows(count, 8), 0.001)
        assert calibration.promise.method == method
        assert ("tail model" in (calibration.warning() or "")) == (method == "tail model")


@pytest.mark.parametrize("in_order", [False, True])
def test_a_rate_beyond_reach_becomes_the_strictest_that_the_windows_carry(in_order: bool) -> None:
    held_out = normal_windows(200, 9)
    beyond = Calibration.fit(held_out, 1e-7, 5_000.0, 4, 5e-4, in_order=in_order)
    least = Calibration.fit(held_out, strictest_rate(200), 5_000.0, 4, 5e-4, in_order=in_order)
    assert (beyond.threshold, beyond.surge) == (least.threshold, least.surge)
    assert (beyond.promise.rate, beyond.promise.asked_rate) == (1 / 2_000, 1e-7)
    assert (beyond.promise.is_beyond_reach, least.promise.is_beyond_reach) == (True, False)
    warning = beyond.warning() or ""
    assert "1e-07 rests on 200 held-out windows" in warning
    assert "about 2.5 false alarms a day" in warning
    assert re.search(r"about 2(\.2)?e\+03 days of such logs", warning)
    found = observed_rate(beyond, np.exp(3 + np.log(normal_windows(1_000, 10))))
    assert found > 0.5  # it still alarms at windows that are far off


@pytest.mark.parametrize(("fitted", "asked"), [(0.01, 0.05), (0.015, 0.01), (0.01, 1e-9)])
@pytest.mark.parametrize("count", [150, 5_000])
@pytest.mark.parametrize("in_order", [False, True])
def test_another_rate_needs_no_training(
    fitted: float, asked: float, count: int, in_order: bool
) -> None:
    held_out = normal_windows(count, 11)
    before = Calibration.fit(held_out, fitted, 1_000.0, 4, in_order=in_order)
    stored = Calibration.from_dict(json.loads(json.dumps(before.as_dict())))
    found, anew = (
        stored.at_rate(asked),
        Calibration.fit(held_out, asked, 1_000.0, 4, in_order=in_order),
    )
    assert found.threshold == pytest.approx(anew.threshold)
    assert dataclasses.replace(found.promise, alerts_per_day=None) == anew.promise
    has_surges = in_order and max(fitted, asked) <= 0.02
    assert (found.surge is not None) == has_surges
    if found.surge is not None and anew.surge is not None:
        assert found.surge.threshold == pytest.approx(anew.surge.threshold, rel=0.2)


@settings(max_examples=30)
@given(rate=st.floats(0.01, 0.3), in_order=st.booleans())
def test_as_many_windows_as_the_warning_names_are_enough_and_one_less_is_not(
    rate: float, in_order: bool
) -> None:
    def method_of(count: int) -> str:
        held_out = normal_windows(count, 8)
        return Calibration.fit(held_out, rate, 1.0, in_order=in_order).promise.method

    warning = Calibration.fit(normal_windows(2, 8), rate, 1.0, in_order=in_order).warning() or ""
    found = re.search(r"would need (\d+) or more", warning)
    assert found is not None
    needed = int(found[1])
    assert [method_of(needed - 1), method_of(needed)] == ["tail model", "quantile"]


def test_a_rate_that_few_windows_leave_open_is_warned_of_with_its_interval() -> None:
    vague = Calibration.fit(normal_windows(1_112, 8), 0.001, 1.0, in_order=True)
    assert vague.promise.method == "quantile"
    low, high = vague.promise.interval
    assert high > 3 * 0.001
    warning = vague.warning() or ""
    assert "0.001 rests on 1112 held-out windows, too few to promise it" in warning
    assert f"from {low:.1g} to {high:.1g} (95 % confidence)" in warning
    clear = Calibration.fit(normal_windows(10_000, 8), 0.001, 1.0, in_order=True)
    assert clear.promise.interval[1] <= 3 * 0.001
    assert clear.warning() is None


@pytest.mark.parametrize(("rate", "above"), [(5 / 101, 4), (5.5 / 101, 5), (0.999, 99)])
def test_the_threshold_lies_between_the_held_out_windows_of_the_two_ranks_around_the_rate(
    rate: float, above: int
) -> None:
    held_out = np.tile(np.arange(1.0, 101.0)[:, None], len(STATISTICS))
    calibration = calibrated(held_out, rate)
    among = TailModel.fit(held_out[:, 0]).leave_one_out(held_out[:, 0])
    joined = (1 + MEAN_WEIGHT) * among  # all statistics say the same
    ranks = np.arange(1, 101)
    level = np.interp(rate * 101, ranks, np.sort(joined)[::-1])
    assert calibration.threshold == pytest.approx(level + MARGIN)
    assert calibration.promise.observed_rate == above / 100


def test_the_interval_is_that_of_the_held_out_windows_that_reach_the_threshold() -> None:
    calibration = calibrated(np.tile(np.arange(1.0, 101.0)[:, None], len(STATISTICS)), 5 / 101)
    assert calibration.promise.interval == pytest.approx((0.0110, 0.0993), abs=1e-4)


def test_a_value_of_one_is_the_threshold_and_its_p_value_is_near_the_rate() -> None:
    calibration = calibrated(normal_windows(5_000, 9), 0.01)
    low, high = 0.0, 1_000.0
    for _ in range(100):  # the surprisal at which the value passes 1
        middle = (low + high) / 2
        value, _ = calibration.values(np.full((1, len(STATISTICS)), middle))
        low, high = (low, middle) if value[0] >= 1.0 else (middle, high)
    value, p_value = calibration.values(np.full((1, len(STATISTICS)), high))
    assert value[0] == pytest.approx(1.0, abs=1e-9)
    assert p_value[0] == pytest.approx(0.01, rel=0.05)


def test_one_odd_statistic_is_enough() -> None:
    calibration = calibrated(normal_windows(1_000, 10), 0.01)
    usual = np.median(normal_windows(1_000, 10), axis=0)
    for index in range(len(STATISTICS)):
        odd = usual.copy()
        odd[index] = 1_000.0
        values, p_values = calibration.values(np.stack([usual, odd]))
        assert values[0] < 1.0 <= values[1]
        assert p_values[1] < 0.01 < p_values[0]


def test_an_event_is_as_odd_as_the_odder_of_its_two_readings() -> None:
    calibration = calibrated(normal_windows(1_000, 11), 0.01)
    values = calibration.event_values(np.array([0.0, 1e3, 0.0]), np.array([0.0, 0.0, 1e3]))
    assert values[0] == 0.0
    assert (values[1:] > 1.0).all()
    for name, value in zip(("max", "bag_max"), values[1:], strict=True):
        evidence = calibration.tails[name](np.array([1e3]))[0]
        assert value == pytest.approx(evidence / -math.log(0.01))


@pytest.mark.parametrize("count", [20, 2_000])
@pytest.mark.parametrize("constant", [0.0, 0.3])
@pytest.mark.parametrize("rate", [0.5, 0.01, 1e-4])
def test_where_all_windows_are_alike_only_a_real_difference_alarms(
    count: int, constant: float, rate: float
) -> None:
    calibration = calibrated(np.full((count, len(STATISTICS)), constant), rate)
    assert calibration.threshold > 0
    asked = constant + np.array([-0.1, 0.0, 1e-5, 10.0])
    values, p_values = calibration.values(np.tile(asked[:, None], len(STATISTICS)))
    assert np.isfinite(values).all()
    assert (values[:3] < 1.0).all()
    assert values[3] >= 1.0
    assert ((p_values >= 0) & (p_values <= 1)).all()


@pytest.mark.parametrize("held_out", [[0.0], [0.3, 0.3], [0.0, 7.0], [1e-12, 0.0, 1e-12]])
def test_a_handful_of_windows_gives_finite_values(held_out: list[float]) -> None:
    for rate in (0.5, 1e-5):
        calibration = calibrated(np.tile(np.array(held_out)[:, None], len(STATISTICS)), rate)
        values, _ = calibration.values(np.tile(np.array([[0.0], [1e4]]), len(STATISTICS)))
        assert np.isfinite(values).all()
        assert values[0] < 1.0 <= values[1]


def test_models_that_differ_a_little_on_windows_that_are_alike_give_no_alarms() -> None:
    by_fold = 0.3 + 1e-3 * np.arange(4)  # a cross-fit's four models, one kind of window
    calibration = calibrated(np.tile(np.repeat(by_fold, 250)[:, None], len(STATISTICS)), 0.01)
    values, _ = calibration.values(np.full((1, len(STATISTICS)), 0.305))
    assert values[0] < 1.0


def test_ties_never_break_the_promise() -> None:
    rng = np.random.default_rng(12)

    def few_kinds(count: int) -> Array:
        return np.tile(rng.geometric(0.3, count).astype(float)[:, None], len(STATISTICS))

    observed = observed_rate(calibrated(few_kinds(10_000), 0.01), few_kinds(200_000))
    assert 0 < observed <= 0.013


def test_a_calibration_read_back_from_json_is_the_same() -> None:
    calibration = Calibration.fit(normal_windows(300, 13), 0.01, 24.5, 4, alerts_per_day=0.245)
    state = json.loads(json.dumps(calibration.as_dict(), allow_nan=False))
    assert Calibration.from_dict(state) == calibration
    assert calibration.promise.windows == 300
    assert calibration.promise.folds == 4
    assert calibration.promise.alerts_per_day == 0.245


DAMAGES = {
    "nothing": lambda _: {},
    "a list": lambda _: [],
    "no tails": lambda s: s | {"tails": {}},
    "a list of tails": lambda s: s | {"tails": []},
    "no joined tail": lambda s: s | {"joined": None},
    "a threshold of 0": lambda s: s | {"threshold": 0.0},
    "an endless threshold": lambda s: s | {"threshold": float("inf")},
    "a threshold that is no number": lambda s: s | {"threshold": "high"},
    "an empty tail": lambda s: s | {"joined": s["joined"] | {"values": [], "evidence": []}},
    "uneven lengths": lambda s: s | {"joined": s["joined"] | {"evidence": [0.0]}},
    "falling values": lambda s: (
        s | {"joined": s["joined"] | {"values": s["joined"]["values"][::-1]}}
    ),
    "no number": lambda s: (
        s | {"joined": s["joined"] | {"values": [float("nan")], "evidence": [0.0]}}
    ),
    "a scale of 0": lambda s: s | {"joined": s["joined"] | {"scale": 0.0}},
    "no promise": lambda s: s | {"promise": {}},
    "an unknown promise": lambda s: s | {"promise": s["promise"] | {"colour": "red"}},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_calibration_is_refused_with_a_sentence(damage) -> None:
    state = json.loads(json.dumps(calibrated(normal_windows(50, 14), 0.1).as_dict()))
    with pytest.raises(ModelError, match=r"calibration\.json is damaged .*; train again"):
        Calibration.from_dict(damage(state))


def test_a_calibration_of_a_newer_version_is_refused() -> None:
    state = calibrated(normal_windows(50, 14), 0.1).as_dict() | {"version": 2}
    with pytest.raises(ModelError, match="another version"):
        Calibration.from_dict(state)


@pytest.mark.parametrize(
    ("count", "total", "interval"),
    [
        (0, 100, (0.0, 0.0362)),
        (5, 100, (0.0164, 0.1128)),
        (100, 100, (0.9638, 1.0)),
        (1, 10, (0.0025, 0.4450)),
    ],
)
def test_the_interval_is_that_of_clopper_and_pearson(
    count: int, total: int, interval: tuple[float, float]
) -> None:
    assert clopper_pearson(count, total) == pytest.approx(interval, abs=5e-5)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("total", [1, 2, 10, 337, 100_000])
def test_the_interval_is_that_of_the_binomial_test(total: int, level: float) -> None:
    for count in {0, 1, total // 3, total - 1, total}:
        interval = binomtest(count, total).proportion_ci(level, method="exact")
        assert clopper_pearson(count, total, level) == pytest.approx(tuple(interval), abs=1e-9)


def test_a_wider_level_gives_a_wider_interval() -> None:
    assert clopper_pearson(5, 100, 0.99) == pytest.approx((0.0110, 0.1346), abs=1e-3)


@pytest.mark.parametrize(
    ("windows", "held_out", "rate", "asked", "folds"),
    [
        (50_000, 5_000, 0.001, "auto", 0),  # five times 1 / rate are enough
        (49_990, 4_999, 0.001, "auto", 4),
        (3, 1, 0.001, "auto", 3),
        (1_000, 100, 0.001, 0, 0),
        (1_000, 100, 0.001, 1, 0),
        (1_000, 100, 0.5, 7, 7),
        (5, 1, 0.5, 7, 5),
    ],
)
def test_folds_are_cross_fitted_where_too_little_is_held_out(
    windows: int, held_out: int, rate: float, asked, folds: int
) -> None:
    assert folds_needed(windows, held_out, rate, asked) == folds
