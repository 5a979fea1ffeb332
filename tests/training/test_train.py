"""Training as a whole: killed it goes on, without space the old model stays, a seed decides all."""

import gzip
import json
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from offline_parts import BEGIN, KEY, service_log, write_log

from logmlm.config.training import FormatConfig, TrainingConfig, WindowConfig
from logmlm.detection.manifest import Manifest
from logmlm.detection.model_dir import TrainingWindows
from logmlm.errors import ConfigError, DataError, FormatError, StorageError, UsageError
from logmlm.evaluation.labels import Labels
from logmlm.parsing.formats import get_format
from logmlm.records import LogLine
from logmlm.sources.archive.reader import read_lines
from logmlm.training.train import Reporter, choose_format, choose_skew, read_labels, train

WEIGHTS = "model.safetensors"
SAVE_ALWAYS = (
    "from logmlm.cli import main as cli; from logmlm.mlm import trainer;"
    " trainer.SAVE_EVERY_S = -1.0"
)


@pytest.fixture(autouse=True)
def _saved_after_each_epoch(monkeypatch):
    """Small models train so fast that else nothing would be saved before the end."""
    monkeypatch.setattr("logmlm.mlm.trainer.SAVE_EVERY_S", -1.0)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("training") / "a.log", service_log(60))


def config_of(log, out, **parts):
    model = {"preset": "tiny", "epochs": 3} | parts.pop("model", {})
    settings = {
        "logs": str(log),
        "out": out,
        "window": {"kind": "session", "key": KEY, "gap": "30s"},
        "threshold": {"folds": 0, "false_alarm_rate": 0.1},
    }
    return TrainingConfig.model_validate(settings | parts | {"model": model})


def run(config, said=None, epochs=None):
    said, epochs = [] if said is None else said, [] if epochs is None else epochs
    session = Reporter(said.append, lambda name, epoch: epochs.append((name, epoch.epoch)))
    return train(config, read_lines(config.logs, 0.0), session)


@pytest.fixture(scope="module")
def config(log, tmp_path_factory):
    return config_of(log, tmp_path_factory.mktemp("model") / "service")


@pytest.fixture(scope="module")
def said():
    return []


@pytest.fixture(scope="module")
def manifest(config, said):
    return run(config, said)


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_the_manifest_says_what_was_learned_and_how(manifest, config, log):
    assert Manifest.read(config.out) == manifest
    assert manifest.name == "service"
    assert manifest.format.name == "iso8601"
    assert (manifest.window, manifest.model, manifest.threshold) == (
        config.window.model_copy(update={"host_skew": 0.0}),
        config.model,
        config.threshold,
    )
    data = manifest.data
    assert data.files == (str(log),)
    assert (data.lines, data.windows) == (len(log.read_text().splitlines()), 60)
    assert BEGIN.timestamp() < data.first_event < data.last_event
    quality = {"perplexity", "masked_accuracy", "majority_accuracy"}
    assert set(manifest.metrics) == quality | {"asked_false_alarm_rate", "false_alarm_rate"}
    assert manifest.metrics["asked_false_alarm_rate"] == manifest.metrics["false_alarm_rate"] == 0.1
    assert manifest.metrics["perplexity"] > 1.0


def test_nothing_but_the_model_is_left(manifest, config):
    assert names(config.out.parent) == ["service"]
    assert names(config.out) == sorted([*manifest.files, "manifest.json"])
    assert not [name for name in manifest.files if name.endswith((".pkl", ".pt", ".bin"))]


@pytest.mark.usefixtures("manifest")
def test_it_says_the_format_what_was_learned_and_how_far_the_promise_goes(said):
    assert said[0].startswith("format: iso8601 (matches 100.0% of the first ")
    assert said[1].startswith("learned 10 templates from ")
    assert said[1].endswith(" lines: 60 windows")
    assert said[2].startswith("warning: the asked false-alarm rate 0.1 rests on 6 held-out")


@pytest.mark.usefixtures("manifest")
def test_each_epoch_stands_in_the_log(config):
    rows = [json.loads(row) for row in (config.out / "training.jsonl").read_text().splitlines()]
    assert [(row["training"], row["epoch"]) for row in rows] == [("model", n) for n in (1, 2, 3)]
    assert all(row["loss"] > 0 for row in rows)


def test_the_windows_for_the_rules_are_the_words_learned_and_their_folds(manifest, config):
    windows = TrainingWindows.read(config.out)
    assert len(windows.words) == manifest.data.windows == len(windows.folds)
    assert windows.folds == (-1,) * 54 + (0,) * 6
    assert all(words[-1] == "[END]" for words in windows.words)


def test_training_again_replaces_the_model_and_the_same_seed_makes_the_same_weights(
    manifest, config
):
    (config.out / "stray").write_text("of the old model")
    again = run(config)
    assert "stray" not in names(config.out)
    assert again.files[WEIGHTS] == manifest.files[WEIGHTS]
    assert again.files["calibration.json"] == manifest.files["calibration.json"]
    assert again.data == manifest.data


def test_another_seed_makes_other_weights(manifest, log, tmp_path):
    other = run(config_of(log, tmp_path / "m", model={"seed": 1}))
    assert other.files[WEIGHTS] != manifest.files[WEIGHTS]
    assert other.files["templates.json"] == manifest.files["templates.json"]


def test_packing_and_parts_make_no_difference(manifest, log, tmp_path):
    packed = tmp_path / "a.log.gz"
    subprocess.run(f"gzip -c '{log}' > '{packed}'", shell=True, check=True)  # noqa: S602  a shell's redirection
    assert run(config_of(packed, tmp_path / "m")).files[WEIGHTS] == manifest.files[WEIGHTS]


@pytest.mark.usefixtures("one_cpu")
def test_cross_fitting_holds_every_window_out_once(log, tmp_path):
    threshold = {"folds": 2, "alerts_per_day": 1000.0}
    manifest = run(config_of(log, tmp_path / "m", threshold=threshold, model={"epochs": 1}))
    windows = TrainingWindows.read(tmp_path / "m")
    assert set(windows.folds) == {1, 2}
    rows = (tmp_path / "m" / "training.jsonl").read_text().splitlines()
    assert {json.loads(row)["training"] for row in rows} == {
        *("model", "fold 1 of 2", "fold 2 of 2")
    }
    assert manifest.threshold.alerts_per_day == 1000.0


def test_labelled_windows_are_left_out(log, tmp_path):
    labels = write_log(tmp_path / "l.csv", ["key,label", "req-1003,1", "req-1004,1", "req-1005,0"])
    said = []
    manifest = run(config_of(log, tmp_path / "m", labels=labels, model={"epochs": 1}), said)
    assert manifest.data.labelled_windows_left_out == 2
    assert manifest.data.windows == 58
    assert "58 windows, 2 labelled windows left out" in said[1]


def test_lines_of_no_format_are_counted(tmp_path):
    rows = [
        f"- {1_700_000_000 + 9 * i} 2023.11.14 R02 2023-11-14-22.13.20.0 R02 RAS KERNEL INFO ok {i}"
        for i in range(300)
    ]
    rows[40] = rows[41] = "no such line"
    rows[60] = rows[60].replace("- ", "KERNDTLB ", 1)
    log = write_log(tmp_path / "bgl.log", rows)
    said = []
    settings = {"window": {"size": 4}, "labels": "in-line", "model": {"epochs": 1}}
    manifest = run(config_of(log, tmp_path / "m", **settings), said)
    assert manifest.format.name == "bgl"
    assert sum(manifest.data.discarded.values()) == 2
    assert manifest.data.labelled_windows_left_out == 1
    assert said[1].endswith(", 1 labelled windows left out, 2 lines discarded")


@pytest.mark.parametrize(("key", "warned"), [("reqest_id", True), (KEY, False)])
def test_a_key_that_no_line_has_is_warned_of(log, tmp_path, key, warned):
    said = []
    window = {"kind": "session", "key": key, "gap": "30s", "size": 8}
    run(config_of(log, tmp_path / "m", window=window, model={"epochs": 1}), said)
    count = f"{len(log.read_text().splitlines()):,}"
    sentence = f"warning: {count} of {count} lines have no key 'reqest_id'"
    assert any(text.startswith(sentence) for text in said) == warned


def test_lines_of_no_known_format_are_warned_of_where_they_are_many(log, tmp_path):
    rows = [*log.read_text().splitlines(), *["no line of any format"] * 400]
    mixed, said = write_log(tmp_path / "mixed.log", rows), []
    own = {"pattern": r"(?P<timestamp>\S+Z) INFO (?P<message>.*)", "continuation": "discard"}
    chosen = {"name": "own", "custom": {"own": own}}
    run(config_of(mixed, tmp_path / "m", format=chosen, model={"epochs": 1}), said)
    assert said[0].startswith(
        f"warning: 400 of {len(rows)} lines are not of the line format 'own' and were left out"
    )


def test_a_key_that_windows_of_so_many_lines_do_not_go_by_is_warned_of(log, tmp_path):
    said = []
    window = {"kind": "count", "key": KEY, "size": 8}
    run(config_of(log, tmp_path / "m", window=window, model={"epochs": 1}), said)
    assert [text for text in said if "is not used" in text] == [
        f"warning: windows of 8 lines are cut whatever their keys, so the key '{KEY}' is not used;"
        " --window session or time goes by it"
    ]


def test_templates_that_do_not_hold_are_warned_of(tmp_path):
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(120)]
    rows = [
        f"2024-05-06T07:08:09Z INFO {' '.join([w] * (1 + i % 60))}" for i, w in enumerate(words)
    ]
    log = write_log(tmp_path / "odd.log", rows)
    said = []
    run(config_of(log, tmp_path / "m", window={"size": 2}, model={"epochs": 1}), said)
    assert any(each.startswith("warning: ") and "templates" in each for each in said)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"kind": "session", "key": KEY, "gap": "5m"}, "a --gap below 300s, a --key of more"),
        ({"kind": "count", "size": 100}, "make 1 windows, and 20 are needed to train; give more"),
        ({"kind": "count", "size": 100}, "give more logs, or a --size below 100"),
        ({"kind": "time", "span": "1h"}, "give more logs, or a --size below 3600s"),
        ({"kind": "session", "key": "nokey", "size": 4}, "needed to train; 66 of 66 lines have no"),
    ],
)
def test_too_few_windows_are_counted_with_advice(tmp_path, window, said):
    log = write_log(tmp_path / "few.log", service_log(15))
    with pytest.raises(DataError, match=said):
        run(config_of(log, tmp_path / "m", window=window))
    assert names(tmp_path) == ["few.log"]


def test_a_format_that_fits_no_line_is_named_rather_than_the_number_of_windows(tmp_path):
    log = write_log(tmp_path / "few.log", service_log(30))
    with pytest.raises(DataError, match=r"none of the \d+ lines is of the format 'hdfs'; take"):
        run(config_of(log, tmp_path / "m", format={"name": "hdfs"}))


def test_too_few_windows_because_of_labels_say_so(tmp_path):
    log = write_log(tmp_path / "few.log", service_log(21))
    labels = write_log(tmp_path / "l.csv", ["key,label", "req-1003,1", "req-1004,1"])
    with pytest.raises(DataError, match=r"make 19 windows \(2 labelled ones left out\), and 20"):
        run(config_of(log, tmp_path / "m", labels=labels))


def test_too_few_lines_for_any_setting_are_said_to_be_so(tmp_path):
    log = write_log(tmp_path / "few.log", service_log(5)[:20])
    alone = "20 lines make 1 windows, and 20 are needed to train; give more logs, as no setting"
    with pytest.raises(DataError, match=alone):
        run(config_of(log, tmp_path / "m", window={"kind": "count"}))


def test_labels_of_all_that_there_is_are_named_as_what_leaves_too_little(tmp_path):
    log = write_log(tmp_path / "few.log", service_log(25))
    labels = write_log(tmp_path / "l.csv", ["start,end", "2001-01-01,2031-01-01"])
    said = r"make 0 windows \(25 labelled ones left out\).* it is the labels that leave too few"
    with pytest.raises(DataError, match=said):
        run(config_of(log, tmp_path / "m", labels=labels))


@pytest.mark.parametrize("name", ["auto", "iso8601"])
@pytest.mark.parametrize("blank", [30, 2_000])
def test_blank_lines_alone_are_said_to_be_no_lines(tmp_path, name, blank):
    log = write_log(tmp_path / "blank.log", [""] * blank)
    with pytest.raises(DataError, match="the logs hold no lines; name a log that does"):
        run(config_of(log, tmp_path / "m", format={"name": name}))
    assert names(tmp_path) == ["blank.log"]


def test_a_training_that_is_interrupted_before_its_first_epoch_leaves_nothing(log, tmp_path):
    def interrupted():
        yield from read_lines((str(log),), 0.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config_of(log, tmp_path / "m"), interrupted(), Reporter(print, print))
    assert names(tmp_path) == []


def test_what_can_not_work_is_found_before_the_logs_are_read(log, tmp_path):
    def never():
        pytest.fail("a line was read")
        yield

    session = Reporter(print, print)
    with pytest.raises(UsageError, match="device 'abacus' can't be used"):
        train(config_of(log, tmp_path / "m", model={"device": "abacus"}), never(), session)
    with pytest.raises(StorageError, match="exists and is no model directory"):
        train(config_of(log, log.parent), never(), session)
    (tmp_path / "f").touch()
    with pytest.raises(StorageError, match="f is a file; choose another --out"):
        train(config_of(log, tmp_path / "f"), never(), session)
    assert names(tmp_path) == ["f"]


def test_settings_that_can_not_be_used_leave_nothing_behind(log, tmp_path):
    config = config_of(log, tmp_path / "m", templates={"masks": ["NO_SUCH"]})
    with pytest.raises(ConfigError, match="NO_SUCH"):
        run(config)
    assert names(tmp_path) == []


def test_a_place_below_a_file_is_said(log, tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(StorageError, match=r"can't write to .*f: Not a directory"):
        run(config_of(log, tmp_path / "f" / "m"))


def test_a_model_can_be_made_in_the_directory_at_hand(log, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert run(config_of(log, ".", model={"epochs": 1})).name == "here"
    assert Manifest.read(here).name == "here"


def test_a_format_asked_for_is_taken_and_auto_needs_one_that_fits(log):
    lines = list(read_lines([str(log)], 0.0))
    found, rest = choose_format(FormatConfig(name="plain"), iter(lines), print)
    assert (found.name, list(rest)) == ("plain", lines)
    said = []
    found, rest = choose_format(FormatConfig(), iter(lines), said.append)
    assert (found.name, list(rest)) == ("iso8601", lines)
    with pytest.raises(DataError, match="the logs hold no lines"):
        choose_format(FormatConfig(), [], print)
    numbers = [line.__class__(str(i), "p", i, i + 1, 0.0) for i, line in enumerate(lines)]
    with pytest.raises(FormatError, match=r"no line format fits .* Take --format plain"):
        choose_format(FormatConfig(), numbers, print)


def test_an_archive_that_unpacks_to_nonsense_is_called_damaged(tmp_path):
    packed = bytearray(gzip.compress(b"some words\n" * 3000, 0))  # stored: a flip moves nothing
    packed[100:200] = bytes(byte ^ 1 for byte in packed[100:200])
    path = tmp_path / "app.log.gz"
    path.write_bytes(packed)
    with pytest.raises(DataError, match=r"app.log.gz is damaged after \d+ unpacked bytes \(CRC"):
        choose_format(FormatConfig(), read_lines([str(path)], 0.0), print)


def test_labels_come_from_a_file_or_stand_in_the_line(tmp_path):
    path = write_log(tmp_path / "l.csv", ["key,label", "a,1"])
    assert read_labels(None) is None
    assert read_labels(path).keys == {"a": True}
    assert read_labels(TrainingConfig(logs="x", out="y", labels="in-line").labels) == (
        Labels.in_line()
    )


def killed_after(epochs, config, log):
    """Start the program, kill it when it has saved so many epochs, and return how far it was."""
    words = [
        *("train", log, "--out", config.out, "--key", KEY, "--gap", "30s", "--preset", "tiny"),
        *("--epochs", config.model.epochs, "--folds", "0", "--false-alarm-rate", "0.1"),
    ]
    program = subprocess.Popen(
        [sys.executable, "-c", f"{SAVE_ALWAYS}; cli.main()", *map(str, words)],
        stderr=subprocess.DEVNULL,
    )
    saved = config.out.with_name(f"{config.out.name}.training") / "model" / "progress.json"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and program.poll() is None:
        if saved.exists() and json.loads(saved.read_text())["epoch"] >= epochs:
            break
        time.sleep(0.01)
    program.send_signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    return json.loads(saved.read_text())["epoch"]


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(log, tmp_path):
    model = {"epochs": 40}
    config = config_of(log, tmp_path / "killed", model=model)
    done = killed_after(4, config, log)
    assert 4 <= done < 40
    assert not config.out.exists()
    epochs = []
    went_on = run(config, epochs=epochs)
    assert epochs[0] == ("model", done + 1)
    whole = run(config_of(log, tmp_path / "whole", model=model))
    assert went_on.files[WEIGHTS] == whole.files[WEIGHTS]
    assert went_on.files["calibration.json"] == whole.files["calibration.json"]
    rows = (config.out / "training.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == list(range(1, 41))
    assert names(tmp_path) == ["killed", "whole"]


class Stopped(Exception):  # noqa: N818  no error, a test's way to end a training
    """A training ends here."""


def stop_after(config, epochs):
    def report(_name, epoch):
        if epoch.epoch > epochs:
            raise Stopped

    with pytest.raises(Stopped):
        train(config, read_lines(config.logs, 0.0), Reporter(print, report))


def test_other_settings_begin_anew_and_leave_no_trace_of_the_first(log, tmp_path):
    stop_after(config_of(log, tmp_path / "m", model={"epochs": 9}), 5)
    epochs = []
    config = config_of(log, tmp_path / "m", model={"epochs": 2})
    run(config, epochs=epochs)
    assert epochs == [("model", 1), ("model", 2)]
    rows = (config.out / "training.jsonl").read_text().splitlines()
    assert [json.loads(row)["epoch"] for row in rows] == [1, 2]


def test_a_slip_in_the_second_start_does_not_lose_what_the_first_had_done(log, tmp_path):
    config = config_of(log, tmp_path / "m", model={"epochs": 9})
    stop_after(config, 5)
    slip = write_log(tmp_path / "l.csv", ["key,label", "nobody,1"])
    with pytest.raises(DataError, match="none of the 1 keys"):
        run(config.model_copy(update={"labels": slip}))
    epochs = []
    run(config, epochs=epochs)
    assert epochs[0] == ("model", 6)


@contextmanager
def file_limit(size):
    """Files can't grow past `size` bytes, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_space_the_old_model_stays_and_the_training_can_go_on(log, tmp_path):
    config = config_of(log, tmp_path / "m")
    old = run(config)
    newer = config_of(log, tmp_path / "m", model={"seed": 5})
    with file_limit(100_000), pytest.raises(StorageError, match="can't write"):
        run(newer)
    assert Manifest.read(config.out) == old
    assert names(tmp_path) == ["m", "m.training"]
    new = run(newer)
    assert Manifest.read(config.out) == new != old
    assert names(tmp_path) == ["m"]


def test_space_that_ends_while_the_model_is_saved_costs_nothing(log, tmp_path):
    config = config_of(log, tmp_path / "m")
    old = run(config)
    newer = config_of(log, tmp_path / "m", model={"seed": 5})
    stop_after(newer, 2)
    (tmp_path / ".m.new").write_text("in the way")
    with pytest.raises(StorageError, match=r"can't write to .*: File exists"):
        run(newer)
    assert Manifest.read(config.out) == old
    (tmp_path / ".m.new").unlink()
    epochs = []
    run(newer, epochs=epochs)
    assert epochs == []
    assert names(tmp_path) == ["m"]


@pytest.mark.parametrize(("hosts", "skew"), [(["a"], 0.0), (["a", "b"], 10.0)])
def test_clocks_may_differ_where_the_first_lines_name_several_hosts(hosts, skew):
    texts = [f"Nov  1 10:00:0{i} {hosts[i % len(hosts)]} app: did {i}" for i in range(9)]
    lines = [LogLine(text, "p", i, i + 1, 1.7e9) for i, text in enumerate(texts)]
    said, line_format = [], get_format(FormatConfig(name="syslog"))
    window, again = choose_skew(WindowConfig(), line_format, lines, said.append)
    assert (window.host_skew, list(again), len(said)) == (skew, lines, len(hosts) - 1)
    told, again = choose_skew(WindowConfig(host_skew="2s"), line_format, lines, said.append)
    assert (told.host_skew, list(again)) == (2.0, lines)
