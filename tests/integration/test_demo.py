"""The demonstration's judgement: what counts as found, what as false, and when it fails."""

import importlib.util
import json
from pathlib import Path

import pytest
from http_parts import alert

from logmlm.alerting.sinks.base import json_line

PLACE = Path(__file__).parents[2] / "sample_logs/demo.py"
INCIDENTS = """\
start,end,kind,what
2026-11-01T10:00:00.500Z,2026-11-01T10:00:10.000Z,crash,a backend is killed
2026-11-01T11:00:00.000Z,2026-11-01T11:00:10.000Z,full,the disk fills up
"""


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", PLACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def compare(demo, tmp_path, capsys):
    incidents = tmp_path / "incidents.csv"
    incidents.write_text(INCIDENTS)
    return lambda *alerts: (demo._compare(list(alerts), incidents), capsys.readouterr().out)


def at(start, end):
    """An alert as `logmlm run` prints it, of a window with these times of that day."""
    printed = json.loads(json_line(alert()))
    printed["starts_at"] = f"2026-11-01T{start}Z"
    printed["annotations"]["last_line_at"] = f"2026-11-01T{end}Z"
    return printed


CRASH, FULL = at("09:59:50", "10:00:01"), at("11:00:10", "11:00:40")
FALSE = at("10:00:11", "10:59:59")


def test_each_fault_needs_an_alert_whose_window_touches_it(compare):
    good, said = compare(CRASH, FULL)
    assert good
    assert "found  crash: a backend is killed" in said
    assert "2 of 2 faults found, 0 false alerts." in said
    good, said = compare(CRASH)
    assert not good
    assert "MISSED full: the disk fills up" in said
    assert "1 of 2 faults found" in said


def test_what_touches_no_fault_is_false_and_two_such_alerts_are_put_up_with(compare):
    good, said = compare(CRASH, FULL, FALSE, FALSE)
    assert good
    assert "2 of 2 faults found, 2 false alerts." in said
    good, said = compare(CRASH, FULL, FALSE, FALSE, FALSE)
    assert not good
    assert said.count("  false: score ") == 3


def test_without_an_alert_nothing_is_found(compare):
    good, said = compare()
    assert not good
    assert "0 of 2 faults found" in said


def test_a_training_that_fails_ends_it_with_its_exit_code(demo, tmp_path, monkeypatch):
    monkeypatch.chdir(PLACE.parents[1])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").touch()
    with pytest.raises(SystemExit) as ended:
        demo._train("redis", tmp_path / "model")
    assert ended.value.code == 74
