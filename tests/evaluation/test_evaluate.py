"""The model and the simple rules, measured on the same labelled windows."""

import math
from dataclasses import replace

import pytest

from logmlm.errors import DataError
from logmlm.evaluation.evaluate import _word, evaluate_detector
from logmlm.evaluation.labels import Labels
from logmlm.records import UNKNOWN_TEMPLATE


@pytest.fixture(scope="module")
def assessment(detector, trained, windows):
    labels = Labels.read(trained.labels)
    return evaluate_detector(detector, trained.model, windows, labels, oracle=True)


def test_the_model_stands_first_and_finds_what_is_labelled(assessment):
    row = assessment.evaluation.rows[0]
    assert row.name == "logmlm"
    assert (row.metrics.precision, row.metrics.recall, row.metrics.f1) == (1.0, 1.0, 1.0)
    assert row.oracle_f1 == 1.0
    assert row.threshold == 1.0
    assert assessment.truth.anomalous.sum() == 2


def test_the_rules_judge_the_same_windows(assessment, windows):
    names = [verdict.name for verdict in assessment.verdicts]
    assert names[0] == "logmlm"
    assert {"unseen_template", "count_vector", "two_gram", "length", "pca"} < set(names)
    assert {len(verdict.scores) for verdict in assessment.verdicts} == {len(windows)}
    assert [score.window for score in assessment.scores] == windows
    rows = {row.name: row for row in assessment.evaluation.rows}
    assert rows["unseen_template"].metrics.f1 == 1.0
    assert rows["isolation_forest"].oracle_f1 is not None


def test_rules_can_tell_a_line_never_seen_from_a_rare_one(detector):
    known = next(iter(detector.templates)).id
    words = [_word(detector, template) for template in (known, "rare", UNKNOWN_TEMPLATE)]
    assert words == [known, "[UNK]", UNKNOWN_TEMPLATE]


def test_the_models_language_is_measured_on_windows_that_are_not_labelled(
    assessment, detector, windows
):
    normal = [w for w, odd in zip(windows, assessment.truth.anomalous, strict=True) if not odd]
    assert assessment.evaluation.perplexity == detector.quality(normal).perplexity
    assert assessment.evaluation.perplexity < detector.quality(windows).perplexity
    assert math.isfinite(assessment.evaluation.perplexity)


def test_where_everything_is_labelled_the_language_is_measured_on_all(detector, trained, windows):
    labels = Labels("all", keys={window.key: True for window in windows})
    found = evaluate_detector(detector, trained.model, windows, labels, oracle=False)
    assert found.evaluation.perplexity == detector.quality(windows).perplexity
    assert found.evaluation.rows[0].metrics.false_alarm_rate is None


def test_a_key_counts_once_and_is_judged_by_its_oddest_window(detector, trained, windows):
    odd = [score.window for score in detector.score(windows) if score.is_anomaly]
    calm = next(window for window in windows if window not in odd)
    halves = [replace(calm, key=odd[0].key), odd[0], calm, replace(calm, key="")]
    labels = Labels("keys", keys={odd[0].key: True})
    found = evaluate_detector(detector, trained.model, halves, labels, oracle=False)
    assert found.evaluation.windows == 2  # two of one key, one of another; one has none
    assert (found.evaluation.keyless, found.evaluation.keyless_flagged) == (1, 0)
    assert found.evaluation.as_json()["logmlm"]["keyless"] == 1
    assert "1 windows have no key" in found.evaluation.as_text()
    assert found.evaluation.anomalies == 1
    assert found.evaluation.rows[0].metrics.recall == 1.0
    assert found.evaluation.rows[0].metrics.precision == 1.0
    assert "2 keys, 1 of them" in found.evaluation.as_text()
    assert "judged by its oddest window" in found.evaluation.as_text()
    assert len(found.scores) == len(halves)
    assert len(found.truth.windows[0].events) == len(calm.events) + len(odd[0].events)


def test_a_report_is_written(assessment, tmp_path):
    assessment.write(tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *("pr_curve.png", "histogram.png", "timeline.png"),
        *("table.csv", "table.md", "evaluation.json"),
    }


def test_no_windows_and_labels_of_other_logs_are_errors(detector, trained, windows):
    with pytest.raises(DataError, match="the logs make no windows to evaluate"):
        evaluate_detector(detector, trained.model, [], Labels.in_line(), oracle=False)
    with pytest.raises(DataError, match="no line has a label column"):
        evaluate_detector(detector, trained.model, windows, Labels.in_line(), oracle=False)
