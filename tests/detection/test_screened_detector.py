"""A model whose screen pays, from training to the alert: what passes, and what must not."""

import json
import re
from dataclasses import replace

import offline_parts
import pytest

from logmlm.daemon.metrics import DaemonMetrics
from logmlm.detection import windows as windowid
from logmlm.detection.detector import Detector
from logmlm.detection.explanation import NEVER_SEEN, format_explanation
from logmlm.detection.model_dir import load_calibration, load_novelty
from logmlm.detection.novelty import ERROR_VALUE
from logmlm.records import UNKNOWN_TEMPLATE, SurgeState
from logmlm.sources.archive.reader import read_lines


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.screened(tmp_path_factory)


@pytest.fixture
def detector(trained):
    return Detector.load(trained.model, "cpu")


@pytest.fixture(scope="module")
def exact(trained):
    return Detector.load(trained.model, "cpu", exact=True)


@pytest.fixture(scope="module")
def windows(exact, trained):
    """Those of both logs, and some turned round."""
    seen = list(exact.windows(read_lines([str(trained.log), str(trained.odd_log)], 0.0)))
    return [*seen, *(replace(window, events=window.events[::-1]) for window in seen[-20:])]


@pytest.fixture(autouse=True)
def nobody_is_checked(monkeypatch):
    monkeypatch.setattr(windowid, "AUDIT_ONE_IN", 10**12)


def test_training_says_what_the_screen_is_worth(trained):
    assert "% of new normal windows are scored exactly; of " in trained.said
    screen = load_calibration(trained.model)[1]
    assert f"{screen.measured.alarms:,} windows made odd that alarm" in trained.said
    assert screen.measured.missed == 0
    assert screen.measured.exactness == 0.9999


def test_the_alerts_are_those_of_exact_scoring_and_the_rest_says_so(detector, exact, windows):
    found, expected = detector.score(windows), exact.score(windows)
    assert {score.stage for score in expected} == {"exact"}
    assert (
        {"screened", "exact"} <= {score.stage for score in found} <= {"screened", "known", "exact"}
    )
    assert sum(score.is_anomaly for score in expected) > 2
    for one, other in zip(expected, found, strict=True):
        assert one.is_anomaly == other.is_anomaly
        if other.is_exact:
            assert other.value == pytest.approx(one.value, abs=1e-4)
            assert other.surprisals == pytest.approx(one.surprisals, abs=1e-4)
        else:
            assert other.value < 1.0


def test_one_of_so_many_is_checked_by_its_place_and_by_every_detector_alike(
    trained, detector, windows, monkeypatch
):
    let_pass = [score.window for score in detector.score(windows) if score.stage == "screened"]
    assert len(let_pass) > 5
    monkeypatch.setattr(windowid, "AUDIT_ONE_IN", 2)
    found = detector.score(let_pass)
    again = Detector.load(trained.model, "cpu").score(let_pass)
    assert [score.stage for score in again] == [score.stage for score in found]
    checked = [score for score in found if score.stage == "checked"]
    assert 0 < len(checked) < len(let_pass)
    monkeypatch.setattr(windowid, "AUDIT_ONE_IN", 1_000_000_000)
    plain = detector.score(let_pass)
    assert [replace(score, stage="screened") for score in found] == plain


def test_what_is_checked_is_counted(detector, windows, monkeypatch):
    monkeypatch.setattr(windowid, "AUDIT_ONE_IN", 1)
    metrics = DaemonMetrics("0")
    found = detector.surge_monitor(metrics.timed(detector.score)).score(windows)
    checked = sum(score.stage == "checked" for score in found)
    assert checked > 5
    assert metrics.value("windows_checked_total") == checked
    assert metrics.value("windows_missed_total") == 0


def test_an_alert_of_a_surge_has_exact_numbers(detector, exact, windows):
    let_pass = next(score for score in detector.score(windows) if score.stage == "screened")
    rise = SurgeState(3.0, let_pass.window.end, 2, 1)
    found = detector.rescore_exact(replace(let_pass, value=1.5, surge=rise))
    (one,) = exact.score([let_pass.window])
    assert (found.stage, found.surge, found.value) == ("exact", rise, 1.5)
    assert found.surprisals == pytest.approx(one.surprisals, abs=1e-4)


def test_surges_are_watched_for_by_the_p_values_that_they_have(trained, detector, exact):
    calibration, screen = load_calibration(trained.model)
    assert exact.surge_monitor()._rule == calibration.surge
    assert detector.surge_monitor()._rule == screen.surge
    assert screen.surge.threshold >= calibration.surge.threshold


def test_the_command_alerts_alike_with_and_without_the_screen(trained):
    rows = []
    for how in ((), ("--exact",)):
        outcome = offline_parts.logmlm("score", trained.model, trained.odd_log, *how)
        rows.append([json.loads(line) for line in outcome.out.splitlines()])
    quick, exact = ([(row["window"], row["anomaly"]) for row in found] for found in rows)
    assert quick == exact
    assert sum(anomaly for _, anomaly in exact) >= len(offline_parts.ODD_SESSIONS)
    assert all(row["exact"] for row in rows[1])


def test_an_evaluation_says_how_many_windows_are_ranked_by_a_look(trained):
    told = []
    for how in ((), ("--exact",)):
        outcome = offline_parts.logmlm(
            "evaluate", trained.model, trained.odd_log, "--labels", trained.labels, *how
        )
        told.append(re.findall(r"^(\d+) windows were let pass by a quick look", outcome.out, re.M))
    assert told[1] == []
    assert 5 < int(told[0][0]) < 100


def with_line(window, text):
    """The window with one line more that training never saw, after its first."""
    first = window.events[0]
    line = first.line._replace(text=f"2024-05-06T07:00:00Z {text}", number=99)
    level, _, message = text.partition(" ")
    fields = replace(first.fields, level=level, message=message)
    new = first._replace(line=line, parsed=fields, template_id=UNKNOWN_TEMPLATE)
    return replace(window, events=(first, new, *window.events[1:]))


def test_a_never_seen_error_alarms_with_exact_numbers_and_is_shown(detector, windows):
    quiet = next(score for score in detector.score(windows) if score.stage == "screened")
    odd = with_line(quiet.window, "ERROR out of memory, killed worker")
    (score,) = detector.score([odd])
    assert score.value >= ERROR_VALUE
    assert score.is_exact
    assert [item.index for item in detector.explain(score) if item.odd] == [1]
    shown = format_explanation(score, detector.explain(score))
    assert shown.count(NEVER_SEEN) == 1
    (again,) = detector.score([replace(odd, events=odd.events)])
    assert again == score


def test_what_never_seen_lines_are_judged_by_is_kept_with_the_model(trained, detector, windows):
    rule = load_novelty(trained.model)
    assert rule.windows > 100
    assert rule.held_out == ()  # the log's kinds of lines all came in its first half
    assert "never-seen lines: new templates came in 0 of the later" in trained.said
    quiet = next(score for score in detector.score(windows) if score.stage == "screened")
    (score,) = detector.score([with_line(quiet.window, "INFO lease renewed by peer")])
    assert score.value >= 1.0  # one window in so many is rarer than was asked for
