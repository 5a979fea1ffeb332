"""`logmlm train`: what it reads, what it is told, and what it says of bad input."""

import gzip
import lzma
import re
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from offline_parts import KEY, TRAIN, logmlm, service_log, write_log

from logmlm.detection.manifest import Manifest

QUICK = (*TRAIN, "--epochs", "1")


@pytest.fixture(scope="module")
def lines():
    return service_log(60)


@pytest.fixture(scope="module")
def log(lines, tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("train") / "a.log", lines)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_every_packing_and_standard_input_train_the_same_model(log, tmp_path):
    content = log.read_bytes()
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    (tmp_path / "a.xz").write_bytes(lzma.compress(content))
    (tmp_path / "a.zst").write_bytes(zstandard.ZstdCompressor().compress(content))
    weights = set()
    for source in (log, tmp_path / "a.gz", tmp_path / "a.xz", tmp_path / "a.zst", "-"):
        stdin = content if source == "-" else b""
        outcome = logmlm("train", source, "--out", tmp_path / "m", *QUICK, stdin=stdin)
        assert (outcome.code, outcome.out) == (0, ""), outcome.err
        manifest = Manifest.read(tmp_path / "m")
        assert manifest.data.files == (str(source),)
        weights.add(manifest.files["model.safetensors"])
    assert len(weights) == 1


def test_several_files_and_globs_are_learned_together(lines, tmp_path):
    half = len(lines) // 2
    write_log(tmp_path / "1.log", lines[:half])
    write_log(tmp_path / "2.log", lines[half:])
    outcome = logmlm("train", tmp_path / "*.log", "--out", tmp_path / "m", *QUICK)
    assert outcome.code == 0, outcome.err
    data = Manifest.read(tmp_path / "m").data
    assert [Path(name).name for name in data.files] == ["1.log", "2.log"]
    assert data.lines == len(lines)


def test_every_option_reaches_the_manifest(log, tmp_path):
    outcome = logmlm(
        *("train", log, "--out", tmp_path / "m", "--name", "billing", "--format", "iso8601"),
        *("--window", "session", "--key", KEY, "--gap", "45s", "--size", "16"),
        *("--preset", "tiny", "--epochs", "2", "--patience", "5", "--seed", "7", "--device", "cpu"),
        *("--alerts-per-day", "2000", "--folds", "0", "--quiet"),
    )
    assert (outcome.code, outcome.out) == (0, ""), outcome.err
    manifest = Manifest.read(tmp_path / "m")
    assert manifest.name == "billing"
    assert manifest.format.name == "iso8601"
    window = manifest.window
    assert (window.kind, window.key, window.gap, window.size) == ("session", KEY, 45.0, 16)
    model = manifest.model
    assert (model.preset, model.epochs, model.seed, model.device) == ("tiny", 2, 7, "cpu")
    assert model.patience == 5
    assert (manifest.threshold.alerts_per_day, manifest.threshold.folds) == (2000.0, 0)


def test_the_names_of_json_fields_reach_the_manifest(tmp_path):
    lines = [
        f'{{"at": {1_714_979_000 + n}, "text": "req-{n // 4} job ran", "grade": "info"}}'
        for n in range(400)
    ]
    write_log(tmp_path / "a.log", lines)
    outcome = logmlm(
        *("train", tmp_path / "a.log", "--out", tmp_path / "m", "--message-field", "text"),
        *("--time-field", "at", "--level-field", "grade", *QUICK),
    )
    assert outcome.code == 0, outcome.err
    manifest = Manifest.read(tmp_path / "m")
    form = manifest.format
    assert (form.name, form.message_field, form.time_field, form.level_field) == (
        *("json", "text", "at", "grade"),
    )
    assert manifest.data.first_event == 1_714_979_000


def test_time_windows_take_their_size_as_a_duration(log, tmp_path):
    words = ("--preset", "tiny", "--epochs", "1", "--folds", "0", "--window", "time")
    outcome = logmlm("train", log, "--out", tmp_path / "m", *words, "--size", "4s")
    assert outcome.code == 0, outcome.err
    window = Manifest.read(tmp_path / "m").window
    assert (window.kind, window.span, window.key) == ("time", 4.0, None)


def test_progress_goes_to_standard_error_and_quiet_is_quiet(log, tmp_path):
    outcome = logmlm("train", log, "--out", tmp_path / "m", *TRAIN, "--epochs", "2")
    assert "format: iso8601" in outcome.err
    assert "model: epoch 2/2, loss " in outcome.err
    assert f"wrote {tmp_path / 'm'}: on held-out windows perplexity " in outcome.err
    assert "\r" not in outcome.err
    quiet = logmlm("train", log, "--out", tmp_path / "m", *TRAIN, "--epochs", "2", "--quiet")
    assert all(line.startswith("warning: ") for line in quiet.err.splitlines())


CONFIG = """\
logs: {log}
out: {out}
name: from-file
window:
  kind: session
  key: '{key}'
  gap: 20s
model:
  preset: tiny
  epochs: 1
threshold:
  alerts_per_day: 3000
  folds: 0
"""


@pytest.fixture
def config(log, tmp_path):
    text = CONFIG.format(log=log, out=tmp_path / "m", key=KEY)
    path = tmp_path / "train.yaml"
    path.write_text(text)
    return path


def test_everything_can_come_from_a_config_file(config, tmp_path):
    outcome = logmlm("train", "--config", config)
    assert outcome.code == 0, outcome.err
    manifest = Manifest.read(tmp_path / "m")
    assert (manifest.name, manifest.window.gap) == ("from-file", 20.0)
    assert manifest.threshold.alerts_per_day == 3000.0


def test_logs_and_out_may_come_from_the_command_line_alone(config, tmp_path, log):
    kept = [row for row in config.read_text().splitlines() if not row.startswith(("logs", "out"))]
    config.write_text("\n".join(kept))
    outcome = logmlm("train", "--config", config)
    assert (outcome.code, "needs key 'logs'" in outcome.err) == (78, True)
    outcome = logmlm("train", log, "--config", config, "--out", tmp_path / "other")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "other" / "manifest.json").exists()


def test_options_win_over_the_config_file(config, tmp_path, lines):
    other = write_log(tmp_path / "b.log", lines)
    outcome = logmlm(
        *("train", other, "--config", config, "--out", tmp_path / "n", "--name", "mine"),
        *("--format", "auto"),
        *("--gap", "40s", "--false-alarm-rate", "0.2", "--seed", "3"),
    )
    assert outcome.code == 0, outcome.err
    manifest = Manifest.read(tmp_path / "n")
    assert (manifest.name, manifest.window.gap, manifest.model.seed) == ("mine", 40.0, 3)
    assert manifest.data.files == (str(other),)
    threshold = manifest.threshold
    assert (threshold.alerts_per_day, threshold.false_alarm_rate) == (None, 0.2)
    assert threshold.folds == 0
    assert manifest.window.key == KEY
    assert not (tmp_path / "m").exists()


def test_a_size_beside_a_config_of_time_windows_is_a_duration(config, tmp_path):
    text = config.read_text().replace("kind: session", "kind: time\n  span: 9s")
    config.write_text(text)
    outcome = logmlm("train", "--config", config, "--size", "5s")
    assert outcome.code == 78
    assert "'window.gap' says nothing of windows of kind 'time'; it is for session" in outcome.err
    config.write_text(text.replace("gap: ", "max_age: "))
    assert "'window.max_age' says nothing" in logmlm("validate", config).err
    config.write_text("\n".join(row for row in text.splitlines() if "gap: " not in row))
    outcome = logmlm("train", "--config", config, "--size", "5s")
    assert outcome.code == 0, outcome.err
    window = Manifest.read(tmp_path / "m").window
    assert (window.kind, window.span, window.key) == ("time", 5.0, KEY)


def test_a_key_beside_a_config_of_time_windows_implies_sessions(config, tmp_path):
    config.write_text(config.read_text().replace("kind: session", "kind: time"))
    assert logmlm("train", "--config", config, "--key", r"(req-\d+) ?").code == 0
    assert Manifest.read(tmp_path / "m").window.kind == "session"


def test_a_pattern_that_takes_long_is_noted_and_what_was_given_up_is_counted(lines, tmp_path):
    stamp = lines[0].partition(" INFO ")[0]
    slow = [f"{stamp} INFO {'a' * length}!" for length in (40, 50, 60)]
    log = write_log(tmp_path / "a.log", [*lines, *slow])
    key = r"(req-\d+)|(?:a|aa)+\$"
    outcome = logmlm("train", log, "--out", tmp_path / "m", *QUICK, "--key", key)
    assert outcome.code == 0, outcome.err
    said = outcome.err.splitlines()
    assert said[0].startswith(f"note: 'window.key': the pattern '{key}' may take long")
    given_up = f"matching a pattern was given up 3 times in {len(lines) + 3:,} lines"
    assert [row for row in said if row.startswith(f"warning: {given_up}")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "train needs LOG files; see logmlm train --help"),
        (["LOG"], "train needs --out DIR; see logmlm train --help"),
        (["LOG", "--out", "OUT", "--format", "sylog"], "unknown; did you mean 'syslog'? known are"),
        (
            ["LOG", "--out", "OUT", "--format", "syslog", "--time-field", "at"],
            "fields of JSON, which format 'syslog' has not; take cri, docker, json",
        ),
        (
            ["LOG", "--out", "OUT", "--size", "10s"],
            "--size is a number of lines, not '10s'; a span",
        ),
        (["LOG", "--out", "OUT", "--size", "900"], "--size should be less than or equal to 510"),
        (
            ["LOG", "--out", "OUT", "--gap", "5s"],
            "--gap says nothing of count windows; it is for session windows: give --key KEY too\n",
        ),
        (
            ["LOG", "--out", "OUT", "--gap", "5s", "--window", "time", "--key", "host"],
            "--gap says nothing of time windows; it is for session windows: give --key KEY too and",
        ),
        (
            ["LOG", "--out", "OUT", "--key", "k", "--gap", "soon"],
            "--gap 'soon' is no duration; write it like 30s",
        ),
        (["LOG", "--out", "OUT", "--window", "time", "--size", "x"], "--size 'x' is no duration;"),
        (["LOG", "--out", "OUT", "--key", "("], "--key '(' is no regular expression: missing ),"),
        (["LOG", "--out", "OUT", "--window", "session"], "window kind 'session' needs a 'key'"),
        (["LOG", "--out", "OUT", "--epochs", "0"], "greater than or equal to 1, not '0'"),
        (["LOG", "--out", "OUT", "--epochs", "x"], "logmlm: --epochs should be "),
        (["LOG", "--out", "OUT", "--folds", "x"], "--folds should be 'auto' or should be a valid"),
        (["LOG", "--out", "OUT", "--folds", "1"], "folds 1 leaves nothing to train on; give 2"),
        (["LOG", "--out", "OUT", "--false-alarm-rate", "2"], "--false-alarm-rate should be less"),
        (["LOG", "--out", "OUT", "--alerts-per-day", "inf"], "--alerts-per-day should be a finite"),
        (["LOG", "--out", "OUT", "--seed", "-1"], "--seed should be greater than or equal to 0, n"),
        (
            ["LOG", "--out", "OUT", "--false-alarm-rate", ".1", "--alerts-per-day", "1"],
            "give alerts_per_day or false_alarm_rate, not both",
        ),
        (["LOG", "--out", "OUT", "--device", "abacus"], "device 'abacus' can't be used: "),
    ],
)
def test_wrong_options_end_with_64_and_name_themselves(words, said, log, tmp_path):
    known = {"LOG": log, "OUT": tmp_path / "m"}
    outcome = logmlm("train", *(known.get(word, word) for word in words))
    assert outcome.code == 64
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert names(tmp_path) == []


def test_an_unknown_key_in_a_config_is_named_with_file_line_and_the_nearest(config, tmp_path):
    config.write_text(config.read_text().replace("epochs:", "epoch:"))
    outcome = logmlm("train", "--config", config)
    assert outcome.code == 78
    assert outcome.err == (
        f"logmlm: {config}:10: unknown key 'epoch' in 'model'; did you mean 'epochs'?\n"
    )
    assert names(tmp_path) == ["train.yaml"]
    missing = logmlm("train", "--config", tmp_path / "nope.yaml")
    assert missing.code == 78
    assert "can't read" in missing.err


def damaged(path, lines):
    whole = gzip.compress("\n".join(lines).encode())
    path.write_bytes(whole[: len(whole) * 2 // 3])
    return path


BAD = {
    "missing": (lambda p, _: p / "nope.log", 74, "there is no file "),
    "empty": (lambda p, _: write_log(p / "x", []), 65, "empty; name a log that holds lines"),
    "nothing in it": (
        lambda p, _: (p / "x.gz").write_bytes(gzip.compress(b"")) and p / "x.gz",
        *(65, "the logs hold no lines"),
    ),
    "directory": (lambda p, _: p, 74, "is a directory; name the files in it"),
    "binary": (lambda *_: Path("/bin/sh"), 65, "is no text: its first line holds a NUL byte"),
    "damaged": (lambda p, lines: damaged(p / "x.gz", lines), 65, "damaged after "),
    "no format": (
        lambda p, _: write_log(p / "x", [str(n) for n in range(99)]),
        *(65, "no line format fits the first 99 lines well: at least 90% must match"),
    ),
    "few": (
        lambda p, lines: write_log(p / "x", lines[:20]),
        *(65, "20 lines make 5 windows, and 20 are needed to train; give more logs, or a --gap"),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_gets_a_sentence_and_leaves_nothing(kind, tmp_path, lines):
    make, code, said = BAD[kind]
    source = tmp_path / "in"
    source.mkdir()
    outcome = logmlm("train", make(source, lines), "--out", tmp_path / "m", *QUICK)
    assert outcome.code == code
    assert said in outcome.err.splitlines()[-1]
    assert outcome.err.splitlines()[-1].startswith("logmlm: ")
    assert "Traceback" not in outcome.err
    assert names(tmp_path) == ["in"]


def test_what_could_be_read_of_a_damaged_archive_is_used_if_asked(tmp_path, lines):
    source = damaged(tmp_path / "x.gz", lines)
    words = ("train", source, "--out", tmp_path / "m", *QUICK, "--quiet", "--keep-going")
    outcome = logmlm(*words)
    assert outcome.code == 0
    assert f"warning: {source} is damaged after " in outcome.err
    assert 0 < Manifest.read(tmp_path / "m").data.lines < len(lines)


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        (["key,label", "nobody,1"], 65, "none of the 1 keys of "),
        (["start,end", "2001-01-01,2001-01-02"], 65, "none of the 1 intervals of "),
        (["key,label", "req-1000,maybe"], 65, "column 'label' holds 'maybe', which is none of"),
        (None, 74, "can't read the labels "),
    ],
)
def test_labels_that_can_not_be_used_are_said(rows, code, said, log, tmp_path):
    labels = tmp_path / "labels.csv"
    if rows:
        write_log(labels, rows)
    outcome = logmlm("train", log, "--out", tmp_path / "m", *QUICK, "--labels", labels)
    assert outcome.code == code
    assert said in outcome.err
    assert set(names(tmp_path)) <= {"labels.csv"}


@pytest.mark.usefixtures("one_cpu")
def test_a_contamination_leaves_the_oddest_windows_out(log, tmp_path, monkeypatch):
    monkeypatch.setattr("logmlm.training.contamination.BRIEF_WINDOWS", 64)
    told = ("--out", tmp_path / "m", *QUICK)
    everything = logmlm("train", log, *told)
    (windows,) = re.findall(r": (\d+) windows", everything.err)
    outcome = logmlm("train", log, *told, "--contamination", "0.1")
    assert outcome.code == 0, outcome.err
    left_out = round(int(windows) * 0.1)
    assert f"leaving out the oddest {left_out} of {windows} windows (0.1 of all)" in outcome.err
    manifest = Manifest.read(tmp_path / "m")
    assert manifest.data.windows == int(windows) - left_out
    assert manifest.threshold.contamination == 0.1
    refused = logmlm("train", log, *told, "--contamination", "0.5")
    assert (refused.code, "--contamination" in refused.err) == (64, True)


@pytest.mark.usefixtures("one_cpu")
def test_a_sifting_that_is_stopped_leaves_what_was_done(log, tmp_path, monkeypatch):
    monkeypatch.setattr("logmlm.training.contamination.BRIEF_WINDOWS", 64)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("logmlm.training.fit.fit", stop)
    told = ("--out", tmp_path / "m", *QUICK, "--contamination", "0.1")
    logmlm("train", log, *told)
    assert list((tmp_path / "m.training").glob("sift-*"))


def test_labels_leave_windows_out(log, tmp_path):
    labels = write_log(
        tmp_path / "labels.csv", ["start,end", "2024-05-06T07:00,2024-05-06T07:00:05"]
    )
    outcome = logmlm("train", log, "--out", tmp_path / "m", *QUICK, "--labels", labels)
    assert outcome.code == 0, outcome.err
    data = Manifest.read(tmp_path / "m").data
    assert data.labelled_windows_left_out > 0
    assert data.windows + data.labelled_windows_left_out == 60


def test_a_directory_that_is_no_model_is_not_replaced(log, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    outcome = logmlm("train", log, "--out", tmp_path, *QUICK)
    assert outcome.code == 74
    assert "exists and is no model directory; choose another --out" in outcome.err
    assert names(tmp_path) == ["thesis.txt"]


def test_a_missing_log_is_told_before_torch_is_imported(tmp_path):
    code = (
        "import sys; from logmlm.cli.main import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules)"
    )
    words = ["train", tmp_path / "none.log", "--out", tmp_path / "m"]
    told = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout) == (74, "False\n"), told.stderr
    assert "there is no file" in told.stderr
    assert list(tmp_path.iterdir()) == []
