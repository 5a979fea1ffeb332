"""`logmlm parse` shows each event as it is read, and tells what was left out."""

import json

import offline_parts
import pytest
from offline_parts import logmlm, write_log

LINES = (
    "orphan of a line that is gone",
    "2026-11-21T10:00:00.078Z ERROR payment refused",
    "  at shop.Pay.charge",
    "",
    "2026-11-21T10:00:01Z INFO opened",
)


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "app.log", LINES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.trained(tmp_path_factory)


def rows(outcome):
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_each_event_is_a_json_line_with_all_that_was_read(log):
    outcome = logmlm("parse", log, "--format", "iso8601")
    assert rows(outcome) == [
        {
            "time": "2026-11-21T10:00:00.078000Z",
            "time_from": "line",
            "level": "ERROR",
            "message": "payment refused",
            "attributes": {},
            "joined": ["  at shop.Pay.charge", ""],
            "file": str(log),
            "line": 2,
        },
        {
            "time": "2026-11-21T10:00:01Z",
            "time_from": "line",
            "level": "INFO",
            "message": "opened",
            "attributes": {},
            "joined": [],
            "file": str(log),
            "line": 5,
        },
    ]
    assert f"{log}:1: orphan_continuation: orphan of a line that is gone" in outcome.err
    assert "warning: 1 lines left out: orphan_continuation" in outcome.err


def test_each_line_that_is_left_out_is_told_and_counted(tmp_path):
    log = write_log(tmp_path / "a.log", ['{"message": "up"}', "x", "", "y", '{"message": "on"}'])
    outcome = logmlm("parse", log, "--format", "json")
    assert f"{log}:2: unmatched: x" in outcome.err
    assert f"{log}:4: unmatched: y" in outcome.err
    assert "warning: 1 lines left out: blank" in outcome.err
    assert "warning: 2 lines left out: unmatched" in outcome.err


def test_the_format_is_found_and_told(tmp_path):
    log = write_log(tmp_path / "a.log", LINES[1:])
    outcome = logmlm("parse", log)
    assert len(rows(outcome)) == 2
    assert "format: iso8601 (matches 100.0%" in outcome.err


def test_a_time_without_a_zone_is_read_in_the_one_that_is_named(tmp_path):
    log = write_log(tmp_path / "a.log", ["2026-11-21 10:00:00 INFO opened"])
    (row,) = rows(logmlm("parse", log, "--timezone", "Europe/Berlin"))
    assert row["time"] == "2026-11-21T09:00:00Z"


def test_fields_of_json_are_named(tmp_path):
    text = json.dumps({"what": "refused", "when": 1795255200, "how": "err", "order": 7})
    log = write_log(tmp_path / "a.log", [text])
    named = ("--message-field", "what", "--time-field", "when", "--level-field", "how")
    (row,) = rows(logmlm("parse", log, "--format", "json", *named))
    assert (row["message"], row["level"]) == ("refused", "ERROR")
    assert row["time"] == "2026-11-21T10:00:00Z"
    assert row["attributes"]["order"] == "7"


def test_with_a_model_key_and_template_are_shown_too(trained):
    first = rows(logmlm("parse", trained.log, "--model", trained.model))[0]
    assert first["key"].startswith("req-")
    assert "<NUM>" in first["template"] or "<" in first["template"]
    listed = logmlm("templates", trained.model, "--output", "json").out.splitlines()
    assert first["template_id"] in {json.loads(line)["id"] for line in listed}


def test_the_events_of_a_file_end_with_it(tmp_path):
    logs = [write_log(tmp_path / name, LINES[1:2]) for name in ("a.log", "b.log")]
    found = rows(logmlm("parse", *logs, "--format", "iso8601"))
    assert [row["file"] for row in found] == list(map(str, logs))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "iso"), "format 'iso' is unknown"),
        (("--timezone", "Berlin"), "format.timezone 'Berlin' is unknown"),
        (("--model", "m", "--format", "json"), "--format can't stand beside --model"),
        (("--model", "m"), "there is no m"),
    ],
)
def test_what_can_not_be_is_told_in_a_sentence(log, words, said):
    outcome = logmlm("parse", log, *words)
    assert outcome.code in (64, 65, 78)
    assert said in outcome.err


def test_events_of_several_lines_are_joined_as_their_format_asks(tmp_path):
    lines = (
        "Nov 21, 2026 2:57:34 PM a.B c",
        "SEVERE: no",
        "\tat x",
        "Nov 21, 2026 2:57:35 PM a.B c",
    )
    outcome = logmlm("parse", write_log(tmp_path / "jul.log", (*lines, "INFO: yes")))
    found = [(row["level"], row["message"], row["line"]) for row in rows(outcome)]
    assert found == [("SEVERE", "no", 1), ("INFO", "yes", 4)]
