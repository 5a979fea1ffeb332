"""`logmlm score`, `explain` and `evaluate`: what they write, and what they say of bad input."""

import csv
import gzip
import io
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import offline_parts
import pyarrow.parquet as pq
import pytest
from offline_parts import ODD_SESSIONS, logmlm, write_log

ODD_KEYS = [f"req-{5000 + i}" for i in ODD_SESSIONS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def scored(trained):
    outcome = logmlm("score", trained.model, trained.odd_log)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


@pytest.fixture(scope="module")
def rows(scored):
    return [json.loads(line) for line in scored.splitlines()]


def test_every_line_is_scored_once_with_its_number_and_its_text(rows, trained):
    lines = trained.odd_log.read_text().splitlines()
    events = [event for row in rows for event in row["events"] if event["line"] is not None]
    assert sorted(event["line"] for event in events) == list(range(1, len(lines) + 1))
    assert all(lines[event["line"] - 1] == event["text"] for event in events)


def test_pll_is_minus_the_sum_of_the_surprisals(rows):
    for row in rows:
        surprisals = [event["surprisal"] for event in row["events"]]
        assert all(surprisal >= 0 for surprisal in surprisals)
        assert row["pll"] == pytest.approx(-sum(surprisals))
        assert row["anomaly"] == (row["value"] >= 1.0)
        assert 0 < row["p_value"] <= 1


def test_the_odd_sessions_alarm(rows):
    assert [row["key"] for row in rows if row["anomaly"]] == ODD_KEYS
    assert len({row["window"] for row in rows}) == len(rows) == 30


def test_scores_are_the_same_on_each_run_and_from_an_archive(trained, scored, tmp_path):
    assert logmlm("score", trained.model, trained.odd_log).out == scored
    packed = tmp_path / "odd.log.gz"
    packed.write_bytes(gzip.compress(trained.odd_log.read_bytes()))
    again = logmlm("score", trained.model, packed).out.splitlines()
    old = [json.loads(line)["pll"] for line in scored.splitlines()]
    assert [json.loads(line)["pll"] for line in again] == old


def test_many_windows_are_scored_batch_by_batch(trained, rows, monkeypatch):
    monkeypatch.setattr("logmlm.detection.detector.SCORED_AT_ONCE", 10)
    again = logmlm("score", trained.model, trained.odd_log)
    assert (again.code, again.err) == (0, "")
    found = [json.loads(line) for line in again.out.splitlines()]
    assert [row["window"] for row in found] == [row["window"] for row in rows]
    assert [row["pll"] for row in found] == pytest.approx([row["pll"] for row in rows], abs=1e-4)


def test_csv_and_parquet_hold_the_same(trained, rows, tmp_path):
    text = logmlm("score", trained.model, trained.odd_log, "--output", "csv").out
    table = list(csv.DictReader(io.StringIO(text)))
    flat = [event["surprisal"] for row in rows for event in row["events"]]
    assert [float(row["surprisal"]) for row in table] == flat
    path = tmp_path / "scores.parquet"
    words = ("score", trained.model, trained.odd_log, "--output", "parquet", "--out", path)
    outcome = logmlm(*words)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert pq.read_table(path)["surprisal"].to_pylist() == flat


def test_scores_can_go_to_a_file(trained, scored, tmp_path):
    outcome = logmlm("score", trained.model, trained.odd_log, "--out", tmp_path / "s.jsonl")
    assert (outcome.code, outcome.out) == (0, "")
    assert (tmp_path / "s.jsonl").read_text() == scored


def test_scores_go_into_a_pipe_and_through_a_link(trained, scored, tmp_path):
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "target").write_text("old\n")
    outcome = logmlm("score", trained.model, trained.odd_log, "--out", tmp_path / "link")
    assert outcome.code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == scored
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as reader:
        read = reader.submit((tmp_path / "pipe").read_text)
        outcome = logmlm("score", trained.model, trained.odd_log, "--out", tmp_path / "pipe")
        assert outcome.code == 0
        assert read.result() == scored
    assert (tmp_path / "pipe").is_fifo()


def test_a_device_that_takes_nothing_is_told_and_stays_one(trained, tmp_path):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    outcome = logmlm("score", trained.model, trained.odd_log, "--out", full)
    assert outcome.code == 74
    assert outcome.err == f"logmlm: can't write {full}: No space left on device\n"
    assert Path("/dev/full").is_char_device()
    words = ("score", trained.model, trained.odd_log, "--output", "parquet", "--out", full)
    outcome = logmlm(*words)
    assert (outcome.code, "which is no regular file" in outcome.err) == (64, True)


@pytest.mark.parametrize("command", ["score", "train"])
def test_a_cluster_is_named_for_ray_alone(trained, command):
    words = [trained.model, trained.odd_log] if command == "score" else [trained.odd_log]
    outcome = logmlm(command, *words, "--ray-address", "127.0.0.1:1")
    assert outcome.code == 64
    assert "--ray-address counts with --engine ray alone" in outcome.err


def test_only_anomalies_and_fail_on_alert(trained, tmp_path):
    some = logmlm("score", trained.model, trained.odd_log, "--only-anomalies")
    assert some.code == 0
    assert [json.loads(line)["key"] for line in some.out.splitlines()] == ODD_KEYS
    failing = logmlm("score", trained.model, trained.odd_log, "--fail-on", "alert")
    assert failing.code == 1
    assert len(failing.out.splitlines()) == 30
    lines = trained.odd_log.read_text().splitlines()
    calm = write_log(
        tmp_path / "calm.log", [x for x in lines if not any(key in x for key in ODD_KEYS)]
    )
    words = ("score", trained.model, calm, "--fail-on", "alert", "--only-anomalies")
    outcome = logmlm(*words)
    assert (outcome.code, outcome.out) == (0, "")


@pytest.mark.parametrize("command", ["score", "explain"])
def test_logs_without_lines_are_refused_however_they_are_given(trained, command, tmp_path):
    packed, blank, broken = (tmp_path / name for name in ("a.log.gz", "blank.log", "no.log.gz"))
    packed.write_bytes(gzip.compress(b""))
    blank.write_text("\n \n")
    broken.write_bytes(b"no archive")
    for words, stdin in (
        ([packed], b""),
        ([blank], b""),
        (["-"], b""),
        (["-"], b"\n\n"),
        ([broken, "--keep-going"], b""),
    ):
        outcome = logmlm(command, trained.model, *words, stdin=stdin)
        assert (outcome.code, outcome.out) == (65, "")
        assert "the logs hold no lines; name a log that does" in outcome.err
    assert "if it is plain text, name it without .gz" in outcome.err


def test_a_mistake_in_an_address_is_told_before_a_model_is_opened(tmp_path):
    found = logmlm("score", tmp_path / "none", "kafka://a:1/t?since=-1h&until=-2h")
    assert (found.code, found.err.count("\n")) == (64, 1)
    assert "'since' should lie before 'until'" in found.err


def test_standard_input_is_scored(trained, rows):
    outcome = logmlm("score", trained.model, "-", stdin=trained.odd_log.read_bytes())
    assert [json.loads(line)["pll"] for line in outcome.out.splitlines()] == [
        row["pll"] for row in rows
    ]


def test_stride_is_another_way_to_score(trained, rows):
    outcome = logmlm("score", trained.model, trained.odd_log, "--stride", "2")
    found = [json.loads(line)["pll"] for line in outcome.out.splitlines()]
    assert len(found) == len(rows)
    assert found != [row["pll"] for row in rows]
    assert not any(json.loads(line)["exact"] for line in outcome.out.splitlines())


@pytest.mark.parametrize("how", [("--stride", "1"), ("--stride", "2", "--exact")])
def test_a_stride_that_hides_all_or_is_called_exact_is_refused(trained, how):
    outcome = logmlm("score", trained.model, trained.odd_log, *how)
    assert (outcome.code, outcome.out) == (64, "")
    assert "--stride" in outcome.err


def test_explain_shows_the_windows_that_alarm_and_what_was_expected(trained):
    outcome = logmlm("explain", trained.model, trained.odd_log)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.findall(r"^window \w{16}, \S+ (req-\d+), ", outcome.out, re.MULTILINE) == ODD_KEYS
    for message in ("disk failure while allocating for", "replica lost for"):
        assert re.search(rf"^[> ] +\d+ +\d+\.\d\d  .*{message}", outcome.out, re.MULTILINE)
    odd = re.findall(
        r"^> .*\n(?: +never seen in training\n)?((?: +expected +[\d.]+%  \S.*\n){3})",
        outcome.out + "\n",
        re.MULTILINE,
    )
    assert len(odd) == len(re.findall("^>", outcome.out, re.MULTILINE)) >= 2
    assert "req-<NUM>" in outcome.out


def test_explain_shows_any_window_by_its_id_or_the_beginning_of_it(trained, rows):
    calm = next(row for row in rows if not row["anomaly"])
    for wanted in (calm["window"], calm["window"][:10]):
        outcome = logmlm("explain", trained.model, trained.odd_log, "--window", wanted)
        assert outcome.code == 0
        assert re.findall("^window .*", outcome.out, re.MULTILINE) == [outcome.out.splitlines()[0]]
        assert calm["key"] in outcome.out
        assert "(below the threshold, 1)" in outcome.out
    outcome = logmlm("explain", trained.model, trained.odd_log, "--window", "0123456789ab")
    assert outcome.code == 64
    assert outcome.err == (
        "logmlm: no window of these logs has the id 0123456789ab; logmlm score lists them\n"
    )
    outcome = logmlm("explain", trained.model, trained.odd_log, "--window", "")
    assert (outcome.code, "--window is empty" in outcome.err) == (64, True)


def test_explain_says_where_nothing_alarms(trained):
    lines = trained.odd_log.read_text().splitlines(keepends=True)
    calm = "".join(line for line in lines if not any(key in line for key in ODD_KEYS))
    outcome = logmlm("explain", trained.model, "-", stdin=calm.encode())
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("no window reaches the threshold; --top N ")


def test_explain_shows_the_oddest_windows_even_if_none_alarms(trained):
    calm = "\n".join(trained.odd_log.read_text().splitlines()[:4])
    outcome = logmlm("explain", trained.model, "-", "--top", "1", stdin=calm.encode())
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("window ") >= 1
    both = logmlm("explain", trained.model, "-", "--top", "1", "--window", "ab", stdin=b"x")
    assert both.code == 64


def test_a_row_says_the_template_and_the_level_of_its_line(trained, rows):
    known = {json.loads(line)["id"] for line in _templates(trained).splitlines()}
    events = [event for row in rows for event in row["events"]]
    assert {event["template"] for event in events} - {"", None} <= known
    assert all((event["template"] is None) == (event["line"] is None) for event in events)


def _templates(trained):
    return logmlm("templates", trained.model, "--output", "json").out


def test_another_number_of_false_alarms_needs_no_training(trained, rows):
    def values(*words):
        scored = logmlm("score", trained.model, trained.odd_log, *words)
        assert scored.code == 0
        return [json.loads(line)["value"] for line in scored.out.splitlines()]

    plain = [row["value"] for row in rows]
    strict, loose = values("--false-alarm-rate", "1e-9"), values("--false-alarm-rate", "0.4")
    assert max(strict) <= max(plain) < max(loose)
    assert values("--alerts-per-day", "1e-6") == strict
    both = ("--false-alarm-rate", "0.1", "--alerts-per-day", "1")
    refused = logmlm("score", trained.model, trained.odd_log, *both)
    assert (refused.code, "not both" in refused.err) == (64, True)


def test_evaluate_prints_a_table_with_the_rules_beside_the_model(trained):
    outcome = logmlm("evaluate", trained.model, trained.odd_log, "--labels", trained.labels)
    assert (outcome.code, outcome.err) == (0, "")
    names = [line.split()[0] for line in outcome.out.splitlines()[:4]]
    assert names == ["detector", "logmlm", "unseen_template", "count_vector"]
    assert "30 keys, 2 of them labelled anomalous." in outcome.out
    assert "Oracle" not in outcome.out


def test_evaluate_gives_json_and_writes_a_report(trained, tmp_path):
    words = ("evaluate", trained.model, trained.odd_log, "--labels", trained.labels)
    outcome = logmlm(*words, "--output", "json", "--oracle", "--report", tmp_path / "report")
    assert outcome.code == 0, outcome.err
    table = json.loads(outcome.out)
    assert table["logmlm"]["f1"] == table["logmlm"]["oracle_f1"] == 1.0
    assert table["logmlm"]["perplexity"] > 1.0
    assert json.loads((tmp_path / "report" / "evaluation.json").read_text()) == table


def test_evaluate_by_time_counts_the_incidents_found(trained, rows, tmp_path):
    spans = [(row["start"], row["end"]) for row in rows if row["anomaly"]]
    labels = write_log(tmp_path / "t.csv", ["start,end", *(f"{a},{b}" for a, b in spans)])
    outcome = logmlm(
        *("evaluate", trained.model, trained.odd_log, "--labels", labels, "--output", "json")
    )
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["logmlm"]
    assert (found["incidents_found"], found["incidents"]) == (2, 2)


def test_what_was_measured_is_shown_even_where_the_report_can_not_be_written(trained, tmp_path):
    (tmp_path / "pr_curve.png").mkdir()
    words = ("evaluate", trained.model, trained.odd_log, "--labels", trained.labels)
    outcome = logmlm(*words, "--report", tmp_path)
    assert outcome.code == 74
    assert "logmlm  " in outcome.out
    assert "logmlm: can't write " in outcome.err


LABELLED = """\
logs: {log}
out: {out}
labels: in-line
format:
  name: marked
  custom:
    marked:
      pattern: '(?P<label>\\S+) (?P<timestamp>\\S+) (?P<message>.*)'
window: {{kind: session, key: '{key}', gap: 30s}}
model: {{preset: tiny, epochs: 2}}
threshold: {{folds: 0, false_alarm_rate: 0.1}}
"""


def test_labels_in_the_line_are_left_out_of_training_and_measured(trained, tmp_path):
    def marked(path):
        return [
            f"{'FATAL' if any(key in line for key in ODD_KEYS) else '-'} {line}"
            for line in path.read_text().splitlines()
        ]

    log = write_log(tmp_path / "a.log", marked(trained.log) + marked(trained.odd_log))
    config = tmp_path / "c.yaml"
    config.write_text(LABELLED.format(log=log, out=tmp_path / "m", key=offline_parts.KEY))
    outcome = logmlm("train", "--config", config)
    assert outcome.code == 0, outcome.err
    assert "2 labelled windows left out" in outcome.err
    words = ("evaluate", tmp_path / "m", log, "--labels", "in-line", "--output", "json")
    outcome = logmlm(*words)
    assert outcome.code == 0, outcome.err
    table = json.loads(outcome.out)
    assert table["unseen_template"]["recall"] == 1.0
    assert table["logmlm"]["true_positives"] + table["logmlm"]["false_negatives"] == 2.0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["score", "NOWHERE", "LOG"], 65, "/nowhere: name a model directory, made by logmlm train"),
        (["score", "FOLDER", "LOG"], 65, "manifest.json: name a model directory, made by"),
        (["score", "MODEL", "NOWHERE"], 74, "logmlm: there is no file "),
        (["score", "MODEL", "EMPTY"], 65, "empty; name a log that holds lines"),
        (["score", "MODEL", "CUT"], 65, "or take what can be read with --keep-going"),
        (["score", "MODEL", "LOG", "--output", "parquet"], 64, "name a file with --out"),
        (["score", "MODEL", "LOG", "--out", "UNDER"], 74, "can't write "),
        (["score", "MODEL", "LOG", "--output", "parquet", "--out", "UNDER"], 74, "can't write "),
        (
            # No model is opened before the folder is looked at.
            ["evaluate", "NOWHERE", "LOG", "--labels", "OTHERS", "--report", "UNDER"],
            *(74, "empty.log is no folder"),
        ),
        (["score", "MODEL", "LOG", "--device", "abacus"], 64, "device 'abacus' can't be used"),
        (["score", "NEWER", "LOG"], 65, "was made by a newer logmlm (model version 2, "),
        (["explain", "HALF", "LOG"], 65, "model.safetensors is missing: the model directory is"),
        (["explain", "FLIPPED", "LOG"], 65, "model.safetensors is damaged: its content is not"),
        (["evaluate", "MODEL", "LOG", "--labels", "NOWHERE"], 74, "can't read the labels "),
        (["evaluate", "MODEL", "LOG", "--labels", "OTHERS"], 65, "none of the 1 keys of "),
        (["evaluate", "MODEL", "LOG", "--labels", "in-line"], 65, "no line has a label column"),
        (["evaluate", "MODEL", "BLANK", "--labels", "OTHERS"], 65, "the logs hold no lines"),
    ],
)
def test_bad_input_gets_a_sentence_and_its_exit_code(words, code, said, trained, tmp_path):
    half = shutil.copytree(trained.model, tmp_path / "half")
    (half / "model.safetensors").unlink()
    flipped = shutil.copytree(trained.model, tmp_path / "flipped")
    weights = bytearray((flipped / "model.safetensors").read_bytes())
    weights[-5] ^= 1
    (flipped / "model.safetensors").write_bytes(weights)
    newer = shutil.copytree(trained.model, tmp_path / "newer")
    manifest = (newer / "manifest.json").read_text()
    (newer / "manifest.json").write_text(manifest.replace('"version": 1', '"version": 2', 1))
    cut = tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(trained.odd_log.read_bytes())[:500])
    paths = {
        "NOWHERE": tmp_path / "nowhere",
        "FOLDER": tmp_path,
        "MODEL": trained.model,
        "LOG": trained.odd_log,
        "EMPTY": write_log(tmp_path / "empty.log", []),
        "BLANK": write_log(tmp_path / "blank.log", [""]),
        "CUT": cut,
        "UNDER": tmp_path / "empty.log" / "x",
        "NEWER": newer,
        "HALF": half,
        "FLIPPED": flipped,
        "OTHERS": write_log(tmp_path / "others.csv", ["key,label", "nobody,1"]),
    }
    before = sorted(path.name for path in tmp_path.iterdir())
    outcome = logmlm(*(paths.get(word, word) for word in words))
    assert outcome.code == code
    assert said in outcome.err
    assert outcome.err.startswith("logmlm: ")
    assert outcome.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_damaged_archive_is_scored_as_far_as_it_goes_if_asked(trained, tmp_path):
    cut = tmp_path / "cut.gz"
    whole = gzip.compress(trained.odd_log.read_bytes())
    cut.write_bytes(whole[: len(whole) // 2])
    outcome = logmlm("score", trained.model, cut, "--keep-going")
    assert outcome.code == 0
    assert outcome.err.startswith(f"warning: {cut} is damaged after ")
    assert 5 < len(outcome.out.splitlines()) < 30


def test_a_file_of_scores_is_whole_or_what_it_was(trained, tmp_path):
    cut, out = tmp_path / "cut.gz", tmp_path / "scores.jsonl"
    cut.write_bytes(gzip.compress(trained.odd_log.read_bytes())[:-9])
    out.write_text("old")
    assert logmlm("score", trained.model, cut, "--out", out).code == 65
    assert out.read_text() == "old"
