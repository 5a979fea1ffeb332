"""A model directory that changes under a daemon is noticed, said once, and changes no score."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time

import offline_parts
import pytest

from logmlm.detection.detector import Detector
from logmlm.detection.manifest import Manifest
from logmlm.detection.model_watch import LOOK_EVERY_S, ModelWatch, file_stamps
from logmlm.errors import ModelError

WEIGHTS = "model.safetensors"


@pytest.fixture
def model(trained, tmp_path):
    return shutil.copytree(trained.model, tmp_path / "model")


@pytest.fixture
def watch(model):
    return ModelWatch(model, Manifest.read(model).digest)


class Clock:
    """Looks once each `LOOK_EVERY_S`."""

    def __init__(self, watch):
        self.watch, self.now = watch, 1000.0

    def look(self, times=1):
        for _ in range(times):
            self.watch.check(self.now)
            self.now += LOOK_EVERY_S
        return self.watch.has_changed


def warnings(caplog):
    return [found.getMessage() for found in caplog.records if found.levelno == logging.WARNING]


def test_a_model_that_stays_is_not_spoken_of(watch, caplog):
    assert not Clock(watch).look(5)
    assert warnings(caplog) == []


def flip(path):
    """Change a bit in place, as a copy over the file does."""
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        last = file.read(1)
        file.seek(-4, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))


def test_a_damaged_file_is_said_once_and_its_mending_too(model, watch, caplog):
    clock = Clock(watch)
    clock.look(3)
    whole = (model / WEIGHTS).read_bytes()
    flip(model / WEIGHTS)
    assert clock.look(4)
    (said,) = warnings(caplog)
    assert f"{model} changed under the running daemon and can't be opened any more" in said
    assert f"{model / WEIGHTS} is damaged" in said
    (model / WEIGHTS).write_bytes(whole)
    assert not clock.look(2)
    assert len(warnings(caplog)) == 1


def test_another_whole_model_is_said_and_how_it_comes_to_work(model, watch, caplog):
    clock = Clock(watch)
    clock.look(3)
    manifest = json.loads((model / "manifest.json").read_text())
    (model / "extra").write_text("x")
    read = Manifest.read(model)
    files = {
        **manifest["files"],
        "extra": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    }
    read.model_copy(update={"files": files}).write(model)
    assert clock.look(2)
    assert "holds another model now: reload or restart" in warnings(caplog)[0]


def test_a_copy_that_is_under_way_is_left_alone(model, watch, caplog):
    clock = Clock(watch)
    clock.look(3)
    whole = (model / WEIGHTS).read_bytes()
    for size in (10, 20, 30):
        (model / WEIGHTS).write_bytes(whole[:size])
        assert not clock.look()
    (model / WEIGHTS).write_bytes(whole)
    assert not clock.look(3)
    assert warnings(caplog) == []


def test_a_directory_that_is_gone_is_said(model, watch, caplog):
    clock = Clock(watch)
    clock.look(3)
    shutil.rmtree(model)
    assert clock.look(2)
    assert "there is no" in warnings(caplog)[0]
    assert file_stamps(model) == ()


def test_looks_are_far_apart(model, watch):
    watch.check(0.0)
    flip(model / WEIGHTS)
    for tenth in range(1, 99):
        watch.check(tenth / 10)
    assert not watch.has_changed


OVERWRITTEN = """
import sys
from pathlib import Path
from logmlm.detection.detector import Detector
from logmlm.sources.archive.reader import read_lines
model, log = Path(sys.argv[1]), sys.argv[2]
detector = Detector.load(model, "cpu", exact=True)
windows = list(detector.windows(read_lines([log], 0.0)))[:20]
for path in model.iterdir():  # over in place, as cp does; and cut, where a mapped file is SIGBUS
    path.write_bytes(b"" if path.name == "model.safetensors" else path.read_bytes()[::-1])
for score in detector.score(windows):
    print(score.value, sum(score.surprisals))
"""


def test_a_model_that_is_copied_over_in_place_scores_on_as_it_was(trained, model):
    detector = Detector.load(trained.model, "cpu", exact=True)
    words = [sys.executable, "-c", OVERWRITTEN, model, trained.odd_log]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    from logmlm.sources.archive.reader import read_lines

    windows = list(detector.windows(read_lines([str(trained.odd_log)], 0.0)))[:20]
    told = [f"{score.value} {sum(score.surprisals)}" for score in detector.score(windows)]
    assert done.stdout.splitlines() == told


def test_a_model_that_is_written_to_while_it_is_opened_is_refused(model, monkeypatch):
    from logmlm.detection import detector

    def touching(directory):
        os.utime(directory / WEIGHTS, (1, 1))
        return loaded(directory)

    loaded = detector.load_calibration
    monkeypatch.setattr(detector, "load_calibration", touching)
    with pytest.raises(ModelError, match="was written to while it was opened; try again"):
        Detector.load(model, "cpu")
    assert Detector.load  # and the next try opens it
    monkeypatch.undo()
    Detector.load(model, "cpu")


def test_the_daemon_itself_goes_on_with_its_model_and_says_so(trained, model, tmp_path):
    """The whole way: the command line, a real model, a copy over it, lines, alerts."""
    log = tmp_path / "app.log"
    log.touch()
    command = [sys.executable, "-m", "logmlm", "run", "--model", model, "--follow", log]
    command += ["--state-dir", tmp_path / "state", "--from-beginning", "--output", "json"]
    err = tmp_path / "err"
    with (
        err.open("w") as stream,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True) as child,
    ):
        try:
            wait_until(lambda: "ready" in err.read_text())
            for path in model.iterdir():
                path.write_bytes(b"" if path.name == WEIGHTS else path.read_bytes())
            wait_until(lambda: "changed under the running daemon" in err.read_text())
            offline_parts.write_log(log, trained.odd_log.read_text().splitlines())
            assert child.stdout is not None
            first = json.loads(child.stdout.readline())
        finally:
            child.terminate()
            child.wait(60)
    assert child.returncode == 0
    assert first["labels"]["alertname"] == "LogAnomaly"
    assert err.read_text().count("changed under the running daemon") == 1


def wait_until(holds, patience_s=120):
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
