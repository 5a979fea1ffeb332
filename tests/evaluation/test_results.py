"""Evaluation: golden numbers by hand, brute force by property, and the table's texts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.errors import DataError
from logmlm.evaluation.baselines import Predictions
from logmlm.evaluation.labels import Interval, Labels
from logmlm.evaluation.metrics import DetectionMetrics, compute, oracle_f1
from logmlm.evaluation.results import (
    GroundTruth,
    build_results,
    false_alarms_per_day,
    model_verdict,
)
from logmlm.records import Event, Fields, LogLine, Window


def a_window(start: float, end: float) -> Window:
    fields = Fields(start, "", "x")
    events = tuple(Event(LogLine("x", "p", 0, 2, t), fields, t, "", "t") for t in (start, end))
    return Window("p", "", events, "end", complete=True)


def array(values: list[Any]) -> np.ndarray[Any, Any]:
    return np.array(values)


FLAGGED = array([True, True, False, False, True])
LABELS = array([True, False, False, True, True])
SCORES = array([9.0, 5.0, 1.0, 2.0, 7.0])


def test_metrics_are_those_computed_by_hand() -> None:
    # two of three flagged are labelled, and two of three labelled are flagged; of the six
    # pairs (labelled, normal) the scores order five rightly; precision at each labelled
    # window from the top: 1/1, 2/2, 3/4
    assert compute(FLAGGED, SCORES, LABELS) == DetectionMetrics(
        precision=2 / 3,
        recall=2 / 3,
        f1=2 / 3,
        roc_auc=pytest.approx(5 / 6),
        pr_auc=pytest.approx((1 + 1 + 3 / 4) / 3),
        false_alarm_rate=1 / 2,
        true_positives=2,
        false_positives=1,
        true_negatives=1,
        false_negatives=1,
    )


def test_a_weight_says_how_many_windows_a_window_stands_for() -> None:
    # the false alarm stands for 10 windows and the true negative for 30
    found = compute(FLAGGED, SCORES, LABELS, array([1.0, 10.0, 30.0, 1.0, 1.0]))
    assert (found.precision, found.recall) == (2 / 12, 2 / 3)
    assert found.f1 == 4 / (4 + 10 + 1)
    assert found.false_alarm_rate == 10 / 40
    assert found.roc_auc == pytest.approx((2 * 40 + 30) / (3 * 40))


def test_without_an_anomalous_window_what_needs_one_is_none() -> None:
    found = compute(FLAGGED, SCORES, np.zeros(5, dtype=bool))
    assert (found.recall, found.f1, found.roc_auc, found.pr_auc) == (None, None, None, None)
    assert (found.precision, found.false_alarm_rate) == (0.0, 3 / 5)
    assert oracle_f1(SCORES, np.zeros(5, dtype=bool)) is None


def test_without_a_normal_window_what_needs_one_is_none() -> None:
    found = compute(FLAGGED, SCORES, np.ones(5, dtype=bool))
    assert (found.false_alarm_rate, found.roc_auc, found.pr_auc) == (None, None, None)
    assert (found.precision, found.recall, found.f1) == (1.0, 3 / 5, 6 / 8)


def test_with_nothing_flagged_precision_is_none_and_f1_is_0() -> None:
    found = compute(np.zeros(5, dtype=bool), SCORES, LABELS)
    assert (found.precision, found.recall, found.f1) == (None, 0.0, 0.0)


def test_of_no_windows_everything_is_none() -> None:
    empty = np.zeros(0, dtype=bool)
    assert compute(empty, np.zeros(0), empty) == DetectionMetrics(*[None] * 6, 0, 0, 0, 0)


def test_an_infinite_score_ranks_highest() -> None:
    endless = array([math.inf, 5.0, 1.0, 2.0, 7.0])
    assert compute(FLAGGED, endless, LABELS) == compute(FLAGGED, SCORES, LABELS)
    assert oracle_f1(endless, LABELS) == oracle_f1(SCORES, LABELS)


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 2 scores are NaN"):
        compute(FLAGGED[:2], array([math.nan, 1.0]), LABELS[:2])


rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 4), st.booleans(), st.integers(1, 3)),
    min_size=1,
    max_size=25,
)


def columns(table: list[tuple[bool, int, bool, int]]) -> list[np.ndarray[Any, Any]]:
    flagged, scores, labels, weights = (array(list(c)) for c in zip(*table, strict=True))
    return [flagged, scores.astype(float), labels, weights.astype(float)]


def close(found: DetectionMetrics, expected: DetectionMetrics) -> bool:
    pairs = [(getattr(found, name), getattr(expected, name)) for name in DetectionMetrics.__slots__]
    return all(a == b if None in (a, b) else a == pytest.approx(b) for a, b in pairs)


@given(rows)
@settings(max_examples=25)
def test_metrics_agree_with_a_count_of_every_window_and_every_pair(
    table: list[tuple[bool, int, bool, int]],
) -> None:
    flagged, scores, labels, _ = columns(table)
    found = compute(flagged, scores, labels)
    hits = [flag for flag, _, label, _ in table if label]
    alarms = [flag for flag, _, label, _ in table if not label]
    assert found.true_positives == sum(hits)
    assert found.false_negatives == len(hits) - sum(hits)
    assert found.false_positives == sum(alarms)
    assert found.true_negatives == len(alarms) - sum(alarms)
    if found.precision is not None and found.recall:
        mean = 2 * found.precision * found.recall / (found.precision + found.recall)
        assert found.f1 == pytest.approx(mean)
    if hits and alarms:
        odd, normal = scores[labels][:, None], scores[~labels][None, :]
        assert found.roc_auc == pytest.approx(((odd > normal) + (odd == normal) / 2).mean())


@given(rows)
@settings(max_examples=25)
def test_weights_of_1_change_nothing(table: list[tuple[bool, int, bool, int]]) -> None:
    flagged, scores, labels, _ = columns(table)
    ones = np.ones(len(table))
    assert close(compute(flagged, scores, labels, ones), compute(flagged, scores, labels))
    assert oracle_f1(scores, labels, ones) == oracle_f1(scores, labels)


@given(rows)
@settings(max_examples=25)
def test_a_weight_of_n_is_the_row_n_times(table: list[tuple[bool, int, bool, int]]) -> None:
    flagged, scores, labels, weights = columns(table)
    repeated = [column.repeat(weights.astype(int)) for column in (flagged, scores, labels)]
    assert close(compute(flagged, scores, labels, weights), compute(*repeated))
    found, expected = oracle_f1(scores, labels, weights), oracle_f1(*repeated[1:])
    assert found == (None if expected is None else pytest.approx(expected))


@given(rows)
def test_the_oracle_is_the_best_of_every_threshold(
    table: list[tuple[bool, int, bool, int]],
) -> None:
    _, scores, labels, weights = columns(table)
    hits = [weights[labels & (scores >= t)].sum() for t in range(5)]
    flagged = [weights[scores >= t].sum() for t in range(5)]
    odd = weights[labels].sum()
    best = (
        max(2 * hit / (odd + total) for hit, total in zip(hits, flagged, strict=True)) if odd else 0
    )
    assert (oracle_f1(scores, labels, weights) or 0) == pytest.approx(best)


def test_false_alarms_a_day_need_a_span_of_time() -> None:
    assert false_alarms_per_day(3, 43_200) == 6
    assert false_alarms_per_day(3, 0.0) is None
    assert false_alarms_per_day(3, None) is None


def test_the_model_flags_a_value_of_1_and_a_table_keeps_the_order() -> None:
    verdict = model_verdict([0.5, 1.0, 3.0])
    assert verdict.flagged.tolist() == [False, True, True]
    rule = Predictions("length", verdict.scores, verdict.scores > 2, 2.0, "by definition")
    found = build_results([verdict, rule], GroundTruth(array([False, False, True])))
    assert [row.name for row in found.rows] == ["logmlm", "length"]
    assert [row.metrics.precision for row in found.rows] == [0.5, 1.0]
    assert [row.false_alarms_per_day for row in found.rows] == [None, None]


def timed() -> tuple[list[Predictions], GroundTruth]:
    """Four windows over half a day; of three intervals the logs cover two."""
    windows = [a_window(0, 60), a_window(100, 200), a_window(300, 400), a_window(43_000, 43_200)]
    spans = [(50, 50), (350, 42_000), (90_000, 90_001)]
    labels = Labels("x", tuple(Interval(a, b, "") for a, b in spans))
    verdict = model_verdict([2.0, 1.5, 0.5, 0.2])
    rule = Predictions("length", verdict.scores, verdict.scores > 0.3, 0.3, "by definition")
    return [verdict, rule], GroundTruth.of(windows, labels)


def test_truth_of_windows_knows_their_span_and_their_incidents() -> None:
    verdicts, truth = timed()
    assert truth.anomalous.tolist() == [True, False, True, False]
    assert truth.span_s == 43_200
    found = build_results(verdicts, truth)
    assert [row.false_alarms_per_day for row in found.rows] == [2, 2]
    assert [(row.incidents_found, row.incidents) for row in found.rows] == [(1, 2), (2, 2)]


def test_labels_that_are_no_intervals_have_no_incidents() -> None:
    truth = GroundTruth.of([a_window(0, 1)], Labels("x", keys={"": True}))
    row = build_results([model_verdict([1.0])], truth).rows[0]
    assert (row.incidents_found, row.incidents) == (None, None)


def test_labels_that_match_nothing_make_no_truth() -> None:
    with pytest.raises(DataError, match="none of the 1 keys"):
        GroundTruth.of([a_window(0, 1)], Labels("x", keys={"a": True}))


def test_the_json_has_every_number_under_the_detectors_name() -> None:
    verdicts, truth = timed()
    found = build_results(
        verdicts, truth, perplexity=3.5, masked_accuracy=0.9, oracle=True
    ).as_json()
    assert list(found) == ["logmlm", "length"]
    assert found["logmlm"] == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "roc_auc": 0.75,
        "pr_auc": pytest.approx(5 / 6),
        "false_alarm_rate": 0.5,
        "true_positives": 1.0,
        "false_positives": 1.0,
        "true_negatives": 1.0,
        "false_negatives": 1.0,
        "threshold": 1.0,
        "threshold_from": "calibration",
        "false_alarms_per_day": 2.0,
        "incidents_found": 1,
        "incidents": 2,
        "oracle_f1": pytest.approx(0.8),
        "perplexity": 3.5,
        "masked_accuracy": 0.9,
    }
    assert "perplexity" not in found["length"]
    assert (
        "perplexity" not in build_results(verdicts, truth, perplexity=math.inf).as_json()["logmlm"]
    )


def test_rules_alone_make_a_table_too() -> None:
    verdicts, truth = timed()
    assert list(build_results(verdicts[1:], truth, perplexity=2.0).as_json()) == ["length"]


def test_the_frame_has_a_row_for_each_detector() -> None:
    verdicts, truth = timed()
    frame = build_results(verdicts, truth).as_frame()
    assert frame["detector"].tolist() == ["logmlm", "length"]
    assert frame["recall"].tolist() == [0.5, 1.0]


def test_the_text_is_aligned_and_says_what_stands_in_no_column() -> None:
    verdicts, truth = timed()
    text = build_results(verdicts, truth, perplexity=3.456, masked_accuracy=0.9).as_text()
    assert text.splitlines() == [
        "detector  precision  recall  F1      ROC-AUC  PR-AUC  false alarm rate  threshold"
        "  threshold from  false alarms a day  incidents found",
        "logmlm    0.5000     0.5000  0.5000  0.7500   0.8333  0.50000           1        "
        "  calibration     2                   1 of 2",
        "length    0.6667     1.0000  0.8000  0.7500   0.8333  0.50000           0.3      "
        "  by definition   2                   2 of 2",
        "",
        "4 windows, 2 of them labelled anomalous.",
        "The model's perplexity on the windows that are not labelled anomalous: 3.456.",
        "The model's masked accuracy on the windows that are not labelled anomalous: 0.9000.",
    ]


def test_an_oracle_is_in_the_table_only_when_asked_for_and_is_named_so() -> None:
    verdicts, truth = timed()
    assert "oracle" not in build_results(verdicts, truth).as_text().lower()
    assert build_results(verdicts, truth).as_json()["length"]["oracle_f1"] is None
    text = build_results(verdicts, truth, oracle=True).as_text()
    assert "oracle F1" in text.splitlines()[0]
    assert text.endswith("Oracle F1: the threshold was chosen on these labels; not a result.")


def test_what_is_not_defined_is_called_so() -> None:
    text = build_results(
        [model_verdict([2.0, 0.1])], GroundTruth(np.zeros(2, dtype=bool))
    ).as_text()
    header, row = text.splitlines()[:2]
    assert row[header.index("recall") :].startswith("not defined")
    assert row[header.index("false alarm rate") :].startswith("0.50000")
