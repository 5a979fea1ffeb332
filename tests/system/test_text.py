"""JSON of others, and a hostile line on its way from a log to every command's output."""

import csv
import io
import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offline_parts import logmlm, service_log, write_log

from logmlm.system.text import (
    SafeWriter,
    dump_json,
    escape_unencodable,
    json_digest,
    loads,
    one_line,
)

TEXTS = st.text(st.characters(exclude_categories=()) | st.sampled_from('\ud800\udfff"\\u'))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
TRAIN = ("--preset", "tiny", "--epochs", "20", "--folds", "0", "--false-alarm-rate", "0.1")
ODD = (5, 17)
STEERING = {chr(code) for code in (*range(32), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F)}
STEERING |= {chr(code) for code in (*range(0x2028, 0x202F), *range(0x2066, 0x206A))}
LONE = "\\ud800\\u001b[2J"  # half of a character, and what clears a terminal, as JSON writes them


@given(VALUES)
def test_whatever_json_says_can_be_written_as_utf_8(value):
    found = loads(json.dumps(value))
    assert loads(json.dumps(value).encode()) == found
    json.dumps(found, ensure_ascii=False).encode()


@given(st.recursive(st.text() | st.integers(), st.lists))
def test_what_is_whole_is_read_as_it_is(value):
    assert loads(json.dumps(value)) == loads(json.dumps(value, ensure_ascii=False)) == value


@pytest.mark.parametrize("escape", ["\\ud800", "\\uDFFF", "\\udc00\\ud800"])
def test_half_of_a_pair_is_a_question_mark_also_in_names(escape):
    found = loads(f'{{"a{escape}": ["{escape} \\ud83d\\ude00 \\\\ud800"]}}')
    marks = "?" * (len(escape) // 6)
    assert found == {f"a{marks}": [f"{marks} \U0001f600 \\ud800"]}


def test_bytes_that_are_no_text_are_no_json():
    with pytest.raises(ValueError, match="can't decode"):
        loads(b'"\xed\xa0\x80"')


@given(VALUES, st.sampled_from(["utf-8", "ascii", "latin-1", "utf-16"]))
def test_json_stays_json_whatever_the_stream_can_hold(value, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    SafeWriter(out).write(json.dumps(value, ensure_ascii=False))
    out.flush()
    written = out.buffer.getvalue().decode(encoding)
    assert json.loads(written) == json.loads(json.dumps(value))


def test_text_is_only_changed_where_it_must():
    assert escape_unencodable("größe \U0001f600", None) == "größe \U0001f600"
    assert escape_unencodable("größe", "latin-1") == "größe"
    assert escape_unencodable("größe\n", "ascii") == "gr\\u00f6\\u00dfe\n"
    assert escape_unencodable("\udcff.log", None) == "\\udcff.log"


def json_log(path, lines, odd=()):
    """The service's log as JSON lines; the keys of the sessions `odd` are hostile."""
    rows = []
    for line in lines:
        moment, level, message = line.split(" ", 2)
        key = next(word for word in message.split() if word.startswith("req-"))
        lone = LONE if int(key[4:]) - 5000 in odd else ""
        head = f'{{"time": "{moment}", "level": "{level}", "trace_id": "{lone}{key}", '
        rows.append(f'{head}"message": {json.dumps(message)}}}')
    return write_log(path, rows)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A model of a log of JSON lines, and a log with odd sessions whose keys are hostile."""
    place = tmp_path_factory.mktemp("hostile")
    log = json_log(place / "service.log", service_log())
    outcome = logmlm("train", log, "--out", place / "model", "--key", "trace_id", *TRAIN)
    assert outcome.code == 0, outcome.err
    lines = service_log(sessions=30, odd=ODD, seed=1, first=5000)
    return place / "model", json_log(place / "odd.log", lines, ODD)


KEYS = {f"?\x1b[2Jreq-{5000 + number}" for number in ODD}


@given(st.text())
def test_json_for_people_steers_nothing_and_says_the_same(text):
    dumped = dump_json({text: text})
    assert json.loads(dumped) == {text: text}
    for shown in (dumped, one_line(text)):
        assert not STEERING & set(shown)


def test_letters_of_all_scripts_stay_readable():
    assert dump_json(["größe 日本 שלום"]) == '["größe 日本 שלום"]'
    assert dump_json("a\x7f\x9b\u202eb") == '"a\\u007f\\u009b\\u202eb"'
    assert one_line("a\r\n\x1b[2J") == "a\\r\\n\\u001b[2J"


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_daemon_goes_on_past_a_hostile_key(hostile, tmp_path, style, encoding):
    model, log = hostile
    command = [sys.executable, "-m", "logmlm", "run", "--model", model, "--follow", log]
    command += ["--state-dir", tmp_path / "state", "--from-beginning", "--output", style]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [*command, "--stop-when-idle", "0.2"], capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    out = done.stdout.decode(encoding)
    assert "\x1b" not in out
    if style == "json":
        keys = {json.loads(line)["annotations"]["key"] for line in out.splitlines()}
        assert keys == KEYS
        for line in out.splitlines():
            words = (json.loads(line)["id"], "--state-dir", tmp_path / "state")
            shown = logmlm("alerts", "show", *words)
            assert (shown.code, "\x1b" in shown.out) == (0, False)
    else:
        assert all(f"req-{5000 + number}" in out for number in ODD)


def test_a_hostile_key_is_scored_in_every_form_and_explained(hostile, tmp_path):
    model, log = hostile
    whole = logmlm("score", model, log, "--only-anomalies")
    assert whole.code == 0
    assert {json.loads(line)["key"] for line in whole.out.splitlines()} == KEYS
    table = logmlm("score", model, log, "--only-anomalies", "--output", "csv")
    shown = {key.replace("\x1b", "\ufffd") for key in KEYS}
    assert {row["key"] for row in csv.DictReader(io.StringIO(table.out))} == shown
    path = tmp_path / "scores.parquet"
    words = ("--only-anomalies", "--output", "parquet", "--out", path)
    assert logmlm("score", model, log, *words).code == 0
    assert set(pq.read_table(path)["key"].to_pylist()) == KEYS
    explained = logmlm("explain", model, log)
    assert explained.code == 0
    assert "\x1b" not in explained.out
    assert all(f"?�[2Jreq-{5000 + number}, " in explained.out for number in ODD)


def test_a_log_whose_name_is_no_text_is_scored_and_explained(hostile, tmp_path):
    model, log = hostile
    copy = tmp_path / os.fsdecode(b"odd\xff.log")
    copy.write_bytes(log.read_bytes())
    for output in ("json", "csv"):
        outcome = logmlm("score", model, copy, "--output", output)
        assert outcome.code == 0
        assert "odd\\udcff.log" in outcome.out
    path = tmp_path / "scores.parquet"
    assert logmlm("score", model, copy, "--output", "parquet", "--out", path).code == 0
    assert pq.read_table(path)["partition"].to_pylist()[0].endswith("odd\\udcff.log")
    assert logmlm("explain", model, copy).code == 0


def test_a_digest_is_the_one_that_stands_in_files_and_knows_no_order_of_keys() -> None:
    digest = "fc10ba9755cfc69ce6c336075dcaa7bec5e27a5e3b43810a5952cd761f259a45"
    assert json_digest({"b": [1, 2.5, None], "a": "é"}) == digest
    assert json_digest({"a": "é", "b": [1, 2.5, None]}) == digest
