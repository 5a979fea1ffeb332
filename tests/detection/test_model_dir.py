"""The model directory: written whole or not at all, and opened only undamaged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from offline_parts import logmlm

from logmlm.detection.approximations import ACCURATE, EXACT, FAST, StatisticsTable
from logmlm.detection.calibration import STATISTICS, Calibration
from logmlm.detection.manifest import Manifest
from logmlm.detection.model_dir import (
    TrainingWindows,
    load_calibration,
    replacing,
    require_replaceable,
    sample,
    save_calibration,
)
from logmlm.detection.screening import Screen
from logmlm.errors import ModelError, StorageError
from logmlm.system.atomic_files import recover_directory


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "manifest.json").write_text("old")
    return directory


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_new_model_takes_the_place_of_the_old_one_and_leaves_nothing_beside_it(model):
    with replacing(model) as fresh:
        (fresh / "manifest.json").write_text("new")
        assert (model / "manifest.json").read_text() == "old"
    assert (model / "manifest.json").read_text() == "new"
    assert names(model.parent) == ["model"]


def test_a_first_model_makes_its_parents(tmp_path):
    with replacing(tmp_path / "a" / "b") as fresh:
        (fresh / "manifest.json").write_text("new")
    assert names(tmp_path / "a" / "b") == ["manifest.json"]


def _write_half(directory, error):
    with replacing(directory) as fresh:
        (fresh / "half").write_text("half")
        raise error


@pytest.mark.parametrize(
    ("error", "seen"),
    [(OSError(28, "No space left on device"), StorageError), (KeyboardInterrupt(), None)],
)
def test_after_an_error_the_old_model_stays_and_nothing_beside_it(model, error, seen):
    with pytest.raises(seen or type(error)):
        _write_half(model, error)
    assert (model / "manifest.json").read_text() == "old"
    assert names(model.parent) == ["model"]


def test_the_old_model_comes_back_where_the_new_one_can_not_take_its_place(model, monkeypatch):
    move = Path.replace

    def fail_for_the_new_one(path, target):
        if path.name == ".model.new":
            raise OSError(5, "Input/output error")
        return move(path, target)

    monkeypatch.setattr(Path, "replace", fail_for_the_new_one)
    with pytest.raises(StorageError, match=r"can't write .*model: Input/output"), replacing(model):
        pass
    assert (model / "manifest.json").read_text() == "old"
    assert names(model.parent) == ["model"]


STOPPED = """
import os, signal, sys
from pathlib import Path
from logmlm.detection.model_dir import replacing

def stop(event, names):
    if event == "os.rename" and os.fspath(names[0]).endswith(".new"):
        os.kill(os.getpid(), int(sys.argv[2]))

sys.addaudithook(stop)
with replacing(Path(sys.argv[1])) as fresh:
    (fresh / "manifest.json").write_text("new")
"""


def killed_while_replacing(model, number):
    """A process that sends itself that signal when the old model is away and the new not there."""
    return subprocess.Popen([sys.executable, "-c", STOPPED, model, str(int(number))])


@pytest.mark.parametrize("through", ["path", "link"])
def test_a_model_is_opened_after_a_kill_between_the_old_one_and_the_new(
    trained, tmp_path, caplog, through
):
    model = tmp_path / "model"
    shutil.copytree(trained.model, model)
    (tmp_path / "link").symlink_to(model)
    assert killed_while_replacing(model, signal.SIGKILL).wait() == -signal.SIGKILL
    assert names(tmp_path) == [".model.new", ".model.old", "link"]
    found = Manifest.read(model if through == "path" else tmp_path / "link")
    assert found == Manifest.read(trained.model)
    assert names(tmp_path) == [".model.new", "link", "model"]
    assert f"putting a new {model} there was cut off; the old one is back" in caplog.text
    with replacing(model):
        pass
    assert names(tmp_path) == ["link", "model"]


def test_a_training_that_begins_brings_a_killed_ones_model_back(trained, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(trained.model, model)
    assert killed_while_replacing(model, signal.SIGKILL).wait() == -signal.SIGKILL
    (tmp_path / "short.log").write_text("one line\n")
    outcome = logmlm("train", tmp_path / "short.log", "--out", model, "--format", "plain")
    assert outcome.code == 65
    assert Manifest.read(model) == Manifest.read(trained.model)


def test_who_opens_a_model_while_it_is_replaced_waits_for_the_new_one(model):
    process = killed_while_replacing(model, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    assert names(model.parent) == [".model.new", ".model.old"]
    restored = []
    opening = threading.Thread(target=lambda: restored.append(recover_directory(model)))
    opening.start()
    opening.join(0.5)
    assert opening.is_alive()
    process.send_signal(signal.SIGCONT)
    opening.join()
    assert (process.wait(), restored) == (0, [False])
    assert (model / "manifest.json").read_text() == "new"
    assert names(model.parent) == ["model"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_who_may_not_move_a_model_back_is_told_to(model, caplog):
    old = model.rename(model.with_name(".model.old"))
    home = Path(tempfile.mkdtemp())  # what pytest gives is closed to others
    home.chmod(0o755)
    shutil.move(old, home)
    os.seteuid(65534)
    try:
        with pytest.raises(ModelError, match="there is no"):
            Manifest.read(home / "model")
    finally:
        os.seteuid(0)
    assert "cut off ([Errno 13] Permission denied" in caplog.text
    assert f"move {home / '.model.old'} there" in caplog.text
    shutil.rmtree(home)


def test_what_a_killed_training_left_is_used_up(model):
    leftover = model.parent / ".model.new"
    leftover.mkdir()
    (leftover / "half.bin").write_text("half")
    older = model.parent / ".model.old"
    older.mkdir()
    with replacing(model) as fresh:
        (fresh / "manifest.json").write_text("new")
    assert names(model) == ["manifest.json"]
    assert names(model.parent) == ["model"]


@pytest.mark.parametrize(("mode", "files"), [(0o700, 0o600), (0o750, 0o640), (0o755, 0o644)])
def test_whoever_may_read_the_old_model_may_read_the_new_one(model, mode, files):
    model.chmod(mode)
    before = os.umask(0)
    try:
        with replacing(model) as fresh:
            assert fresh.stat().st_mode & 0o777 == 0o700
            (fresh / "secretive").write_text("x")
            (fresh / "secretive").chmod(0o600)
            (fresh / "open").write_text("x")
    finally:
        os.umask(before)
    assert model.stat().st_mode & 0o777 == mode
    assert {path.stat().st_mode & 0o777 for path in model.iterdir()} == {files}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to any group")
def test_a_new_model_is_of_the_old_ones_group(model):
    os.chown(model, -1, 12345)
    with replacing(model) as fresh:
        (fresh / "x").touch()
    assert {path.stat().st_gid for path in (model, model / "x")} == {12345}


@pytest.mark.parametrize("is_there", [False, True])
def test_a_first_model_is_its_owners_alone_whatever_the_umask(tmp_path, is_there):
    place = tmp_path / "models" / "app"
    if is_there:
        place.mkdir(parents=True)
    before = os.umask(0)
    try:
        with replacing(place) as fresh:
            (fresh / "x").write_text("x")
    finally:
        os.umask(before)
    assert place.stat().st_mode & 0o777 == 0o700
    assert (place / "x").stat().st_mode & 0o777 == 0o600


def test_a_place_that_can_not_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match=r"can't write to .*file: Not a directory"),
        replacing(tmp_path / "file" / "model"),
    ):
        pytest.fail("there is no place")


def test_only_a_model_or_nothing_is_replaced(model, tmp_path):
    required = ("manifest.json",)
    require_replaceable(model, required)
    require_replaceable(tmp_path / "free", required)
    (tmp_path / "empty").mkdir()
    require_replaceable(tmp_path / "empty", required)
    with pytest.raises(StorageError, match="exists and is no model directory; choose another"):
        require_replaceable(tmp_path, required)
    with pytest.raises(StorageError, match="is a file; choose another --out"):
        require_replaceable(model / "manifest.json", required)


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.lists(words, max_size=5).map(tuple), st.integers(-1, 4)), max_size=5))
def test_training_windows_are_read_back_as_they_were(tmp_path_factory, pairs):
    directory = tmp_path_factory.getbasetemp()
    windows = TrainingWindows(tuple(w for w, _ in pairs), tuple(f for _, f in pairs))
    windows.save(directory)
    assert TrainingWindows.read(directory) == windows


def test_training_windows_are_no_pickle(tmp_path):
    TrainingWindows((("a", "b"), ("a",)), (0, -1)).save(tmp_path)
    with np.load(tmp_path / "windows.npz", allow_pickle=False) as arrays:
        assert {name: arrays[name].tolist() for name in arrays} == {
            "vocabulary": ["a", "b"],
            "tokens": [0, 1, 0],
            "lengths": [2, 1],
            "folds": [0, -1],
        }


def test_damaged_training_windows_are_an_error(tmp_path):
    with pytest.raises(ModelError, match=r"can't read .*windows\.npz"):
        TrainingWindows.read(tmp_path)
    TrainingWindows((("a", "b"),), (0,)).save(tmp_path)
    path = tmp_path / "windows.npz"
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"\x80\x04N.", whole[:100] + b"x" + whole[101:]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"can't read .*windows\.npz"):
            TrainingWindows.read(tmp_path)
    with pytest.raises(StorageError, match=r"can't write .*windows\.npz"):
        TrainingWindows((), ()).save(tmp_path / "nowhere")


def test_a_sample_is_in_order_without_repeats_and_the_same_for_a_seed():
    chosen = sample(1000, 10, seed=3).tolist()
    assert chosen == sorted(set(chosen))
    assert len(chosen) == 10
    assert chosen == sample(1000, 10, seed=3).tolist()
    assert chosen != sample(1000, 10, seed=4).tolist()
    assert sample(4, 10, seed=3).tolist() == [0, 1, 2, 3]
    assert sample(4, 4, seed=3).tolist() == [0, 1, 2, 3]


def test_a_calibration_is_read_back_as_it_was(tmp_path):
    held_out = np.random.default_rng(0).gamma(2.0, size=(200, len(STATISTICS)))
    calibration = Calibration.fit(held_out, 0.05, 10.0)
    save_calibration(calibration, None, tmp_path)
    assert load_calibration(tmp_path) == (calibration, None)


def test_a_calibration_without_a_word_of_a_screen_is_of_an_older_version_and_read(tmp_path):
    held_out = np.random.default_rng(0).gamma(2.0, size=(200, len(STATISTICS)))
    calibration = Calibration.fit(held_out, 0.05, 10.0)
    (tmp_path / "calibration.json").write_text(json.dumps(calibration.as_dict()))
    assert load_calibration(tmp_path) == (calibration, None)


def test_a_screen_of_an_older_version_whose_looks_are_no_more_is_left_out(tmp_path):
    held_out = np.random.default_rng(0).gamma(2.0, size=(200, len(STATISTICS)))
    calibration = Calibration.fit(held_out, 0.05, 10.0)
    older = {"look": {"in_order": None, "as_bag": 0}, "level": 0.5, "calibration": {}}
    state = calibration.as_dict() | {"screen": older}
    (tmp_path / "calibration.json").write_text(json.dumps(state))
    assert load_calibration(tmp_path) == (calibration, None)


def test_a_screen_is_read_back_as_it_was_and_its_damage_is_found(tmp_path):
    rng = np.random.default_rng(0)
    held_out, edited = (rng.gamma(k, size=(500, len(STATISTICS))) for k in (2.0, 9.0))
    calibration = Calibration.fit(held_out, 0.05, 10.0)
    clear, odd = (
        StatisticsTable(
            tuple((i, 7) for i in range(500)), dict.fromkeys((EXACT, FAST, ACCURATE), found)
        )
        for found in (held_out, edited)
    )
    screen = Screen.fit(calibration, clear, [odd], 0.99)
    save_calibration(calibration, screen, tmp_path)
    assert load_calibration(tmp_path) == (calibration, screen)
    state = json.loads((tmp_path / "calibration.json").read_text())
    *_, step = state["screen"]["steps"]
    for damage in (
        {"steps": [step | {"level": 7.0}]},
        {"steps": [step | {"level": "x"}]},
        {"steps": [step | {"look": {}}]},
        {"steps": [step | {"calibration": {}}]},
        {"steps": 7},
        {"surge": {"threshold": 0}},
        {"measured": {}},
    ):
        damaged = state | {"screen": state["screen"] | damage}
        (tmp_path / "calibration.json").write_text(json.dumps(damaged))
        with pytest.raises(ModelError, match="damaged"):
            load_calibration(tmp_path)


@pytest.mark.parametrize("content", [None, "", "[]", "{", "{}", json.dumps({"version": 9})])
def test_a_damaged_calibration_is_an_error(tmp_path, content):
    if content is not None:
        (tmp_path / "calibration.json").write_text(content)
    with pytest.raises(ModelError, match=r"calibration\.json"):
        load_calibration(tmp_path)
