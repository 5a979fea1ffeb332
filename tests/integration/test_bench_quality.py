"""The yardstick: its figures, and what it says where data is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"
PROGRAM = BENCH / "quality.py"


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import quality

    return quality


def test_a_set_whose_data_is_missing_is_skipped_with_the_reason(tmp_path):
    out = tmp_path / "rows.jsonl"
    command = [sys.executable, PROGRAM, "deeplog", "adfa", "trainticket", "--data", tmp_path]
    done = subprocess.run([*command, "--out", out], capture_output=True, text=True, check=True)
    said = done.stderr.splitlines()
    assert [line.split(":")[0] for line in said] == ["deeplog", "adfa", "trainticket"]
    assert all("is not there; give the folder of the data by --data" in line for line in said)
    assert not out.exists()


def test_figures_are_those_computed_by_hand(quality):
    truth = np.array([False] * 100 + [True] * 4)
    scores = np.array([*np.linspace(0, 0.99, 100), 0.5, 0.985, 1.5, 2.0])
    verdict = quality.Predictions("it", scores, scores >= 0.97, 0.97, "here")
    found = quality.figures("it", verdict, truth, 0.01)
    assert found["recall_at_0.01"] == 0.5  # above the highest of 100 normal ones: two of four
    assert found["recall_at_0.05"] == 0.75
    assert found["recall"] == 0.75
    assert found["observed_rate"] == 0.03
    assert found["interval"][0] < 0.03 < found["interval"][1]
    assert found["f1"] == pytest.approx(2 * 3 / (2 * 3 + 3 + 1))


def test_faults_and_quiet_time_are_told_apart(quality, tmp_path):
    incidents = tmp_path / "incidents.csv"
    incidents.write_text("start,end\n1970-01-01T00:01:40Z,1970-01-01T00:01:50Z\n")
    times = [(0, 10, False), (20, 30, True), (105, 120, True), (90, 99, False), (4000, 4010, True)]
    windows = [{"start": a, "end": b, "anomaly": odd} for a, b, odd in times]
    assert quality._faults(windows, incidents) == {
        "faults": 1,
        "found": 1,
        "found_by_luck": pytest.approx(0.5),  # half of the quiet windows alarm, and one touches it
        "false_alarms": 2,
        "quiet_windows": 4,
        "quiet_minutes": pytest.approx(4000 / 60),
    }


def test_a_normal_session_counts_as_many_as_it_stands_for(quality):
    truth = np.array([False, False, True])
    scores = np.array([0.1, 2.0, 3.0])
    verdict = quality.Predictions("it", scores, scores >= 1, 1.0, "here")
    assert quality.figures("it", verdict, truth, 0.1)["f1"] == pytest.approx(2 / 3)
    assert quality.figures("it", verdict, truth, 0.1, 10.0)["f1"] == pytest.approx(2 / 12)


def test_a_row_that_was_cut_off_is_run_again(quality, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"key": "one"}\n{"key": "tw')
    assert quality._known(path) == {"one"}
    assert path.read_text() == '{"key": "one"}\n'
