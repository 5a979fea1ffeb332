"""Many windows that are each a little odd alarm together; one run of a log always alike."""

import dataclasses
import math

import daemon_parts
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.detection.calibration import Calibration
from logmlm.detection.surges import RATE_SHARE, SurgeMonitor, SurgeRule
from logmlm.records import SurgeState

RULE = SurgeRule(math.log(1000), 0.001)


def windows(*p_values, partition="p", value=0.5):
    return [
        dataclasses.replace(
            daemon_parts.score("a", partition=partition, first=100 * place, value=value), p_value=p
        )
        for place, p in enumerate(p_values)
    ]


def judged(scores, rule=RULE, rise=None):
    judge = SurgeMonitor(list, rule)
    judge.resume("p", rise)
    return judge.score(scores), judge


def test_a_bet_on_normal_windows_gains_nothing_on_average():
    evidence = np.linspace(0, 60, 60_001)
    bets = np.array([math.exp(SurgeRule(1.0, 1e-26).log_e_value(math.exp(-e))) for e in evidence])
    assert np.trapezoid(bets * np.exp(-evidence), evidence) == pytest.approx(1.0, abs=1e-4)
    assert math.exp(RULE.log_e_value(1.0)) == pytest.approx(0.8 + 0.2 * 0.2)


def test_a_window_counts_no_more_than_one_at_the_threshold():
    assert RULE.log_e_value(1e-9) == RULE.log_e_value(0.001)
    assert RULE.log_e_value(0.002) < RULE.log_e_value(0.001)


def test_independent_normal_windows_wait_for_one_over_the_rate_and_keep_it():
    random = np.random.default_rng(4)
    rate = 0.002
    rule = SurgeRule.fit(random.random(5_000), np.zeros(5_000, dtype=bool), rate)
    assert rule.threshold == pytest.approx(math.log(1 / rate))
    fresh, _ = judged(windows(*random.random(20_000)), rule)
    assert sum(score.is_anomaly for score in fresh) <= rate * 20_000


def test_where_normal_windows_are_odd_in_bunches_more_is_asked():
    p_values = np.where(np.arange(4_000) % 1_000 < 12, 0.001, 0.6)
    rule = SurgeRule.fit(p_values, np.zeros(4_000, dtype=bool), 0.0005)
    assert rule.threshold > math.log(1 / 0.0005)
    again, _ = judged(windows(*p_values), rule)
    assert sum(score.is_anomaly for score in again) <= 2
    assert not any(score.is_anomaly for score in judged(windows(*p_values[:900]), rule)[0])


def test_with_fewer_windows_than_one_alarm_needs_the_level_is_above_all_that_was_seen():
    p_values = np.where(np.arange(400) < 12, 0.001, 0.6)
    few = SurgeRule.fit(p_values, np.zeros(400, dtype=bool), 0.0005)
    top = sum(few.log_e_value(0.001) for _ in range(12))
    assert few.threshold == pytest.approx(top - math.log(0.0005 * 400), abs=0.02)


def test_windows_that_alarm_by_themselves_do_not_raise_the_level():
    p_values = np.where(np.arange(400) < 12, 0.001, 0.6)
    rule = SurgeRule.fit(p_values, p_values < 0.01, 0.0005)
    assert rule.threshold == pytest.approx(math.log(2000))


def test_the_window_at_which_the_level_is_reached_alarms_and_counting_begins_anew():
    scores, judge = judged(windows(*[0.9, 0.9] + [0.01] * 9))
    assert RULE.log_e_value(0.01) == pytest.approx(math.log(0.8 + 0.2 * 0.2 * 0.01**-0.8))  # 0.872
    assert [place for place, score in enumerate(scores) if score.is_anomaly] == [9]
    first = scores[9]
    assert first.value == pytest.approx(8 * RULE.log_e_value(0.01) / RULE.threshold)
    assert first.surge == SurgeState(
        pytest.approx(8 * RULE.log_e_value(0.01)), scores[2].window.start, 8, 8
    )
    assert judge.state("p") == SurgeState(
        pytest.approx(RULE.log_e_value(0.01)), scores[10].window.start, 1, 1
    )
    assert all(score.surge is None for score in scores if score is not first)


def test_ordinary_windows_between_take_the_level_down_and_are_counted():
    scores, _ = judged(windows(*[0.01, 0.9] * 30))
    (first,) = [score for score in scores if score.is_anomaly][:1]
    assert first.surge is not None
    assert (first.surge.windows, first.surge.odd) == (19, 10)
    calm, judge = judged(windows(*[0.01, *[0.9] * 12] * 30))
    assert not any(score.is_anomaly for score in calm)
    assert judge.state("p") is None


def test_a_surge_is_told_from_the_first_odd_window_not_from_an_old_one_that_is_nearly_forgotten():
    old_and_calm = [0.01] + [0.9] * 4
    scores, _ = judged(windows(*old_and_calm, *[0.01] * 9))
    (first,) = [score for score in scores if score.is_anomaly][:1]
    assert RULE.log_e_value(0.01) + 4 * RULE.log_e_value(0.9) > 0  # so the level did not begin anew
    assert first.surge.since == scores[5].window.start
    assert first.surge.windows == first.surge.odd


def test_a_window_that_alarms_by_itself_neither_counts_nor_changes():
    odd = windows(*[0.0005] * 20, value=1.5)
    scores, judge = judged(odd)
    assert scores == odd
    assert judge.state("p") is None


def test_partitions_are_counted_apart_and_forgotten_apart():
    judge = SurgeMonitor(list, RULE)
    judge.score(windows(*[0.01] * 4) + windows(*[0.01] * 4, partition="q"))
    assert judge.state("p") is not None
    judge.drop("p")
    assert judge.state("p") is None
    assert judge.state("q") is not None


def test_without_a_rule_scores_stay_as_they_are():
    plain = windows(*[0.001] * 50)
    assert SurgeMonitor(list).score(plain) == plain
    assert not any(map(SurgeMonitor(list).can_contribute, plain))
    assert all(map(SurgeMonitor(list).can_contribute, windows(0.9, value=1.0)))


@given(st.lists(st.sampled_from([0.0005, 0.004, 0.02, 0.3, 0.9]), max_size=60))
def test_windows_scored_elsewhere_need_no_lines_where_they_can_not_alarm(p_values):
    scores = windows(*p_values)
    whole, judge = judged(scores)
    again = SurgeMonitor(list, RULE)
    found = list(again.monitor(s if again.can_contribute(s) else bare(s) for s in scores))
    assert [s if s.window.events else None for s in found] == [
        s if judge.can_contribute(s) else None for s in whole
    ]
    assert not any(s.is_anomaly for s in found if not s.window.events)
    assert again.state("p") == judge.state("p")


def bare(score):
    return dataclasses.replace(score, window=dataclasses.replace(score.window, events=()))


@given(st.lists(st.sampled_from([0.0005, 0.004, 0.02, 0.3, 0.9]), max_size=60), st.data())
def test_a_replay_from_any_checkpoint_finds_the_same_surges(p_values, data):
    scores = windows(*p_values)
    whole, end = judged(scores)
    cut = data.draw(st.integers(0, len(scores)))
    before, judge = judged(scores[:cut])
    after, again = judged(scores[cut:], rise=judge.state("p"))
    assert before + after == whole
    assert again.state("p") == end.state("p")


def test_a_calibration_shares_the_rate_between_windows_alone_and_surges():
    statistics = np.random.default_rng(1).exponential(size=(4_000, 5))
    plain = Calibration.fit(statistics, 0.01, 100.0)
    shared = Calibration.fit(statistics, 0.01, 100.0, in_order=True)
    assert plain.surge is None
    assert shared.surge is not None
    assert Calibration.fit(statistics, 0.021, 100.0, in_order=True).surge is None
    assert shared.surge.least_p == pytest.approx(0.01 * RATE_SHARE)
    assert shared.threshold > plain.threshold
    fewer = Calibration.fit(statistics, 0.01 * (1 - RATE_SHARE), 100.0)
    assert shared.threshold == fewer.threshold
    assert Calibration.from_dict(shared.as_dict()) == shared
    assert Calibration.from_dict(plain.as_dict()) == plain
