"""With `start_at: end`, what a file holds at the first look is never read."""

import errno
import gzip
import json
import os
import shutil
import tempfile
from math import inf
from pathlib import Path

import pytest
from file_parts import LONG_BANNER, Desk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logmlm.errors import StorageError
from logmlm.sources.file import source as file_source
from logmlm.sources.file.checkpoints import CheckpointStore


@pytest.fixture(scope="module", autouse=True)
def _scans_each_second():
    """Hold off no look at the files because the last one took long on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_source, "SCANS_SHARE", inf)
        yield


@pytest.fixture
def begin(tmp_path):
    """Make a desk that takes its first look at these files, and may be killed after it."""

    def begin(files, *, killed, **config):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        desk = Desk(tmp_path, start_at="end", **config)
        desk.source.begin()
        if killed:
            desk.start()
        return desk

    return begin


def killed(test):
    return pytest.mark.parametrize("killed", [False, True])(test)


@killed
@pytest.mark.parametrize("banner", ["Log opened\n", LONG_BANNER, "Log opened\nall\nof old\n"])
def test_a_copy_that_is_there_at_first_starts_at_its_end(begin, tmp_path, killed, banner):
    desk = begin({f"app.log.{i}": banner for i in range(12)}, killed=killed)
    assert desk.texts(2) == []
    for i in range(12):
        desk.write(f"new {i}\n", tmp_path / f"app.log.{i}")
    assert sorted(desk.texts(4)) == sorted(f"new {i}" for i in range(12))


@killed
def test_a_copy_of_less_starts_at_its_own_end(begin, tmp_path, killed):
    desk = begin({"app.log": "one\ntwo\nthree\n", "app.log.2": "one\ntwo\n"}, killed=killed)
    assert desk.texts(2) == []
    desk.write("three\nfour\n", tmp_path / "app.log.2")
    desk.write("more\n")
    assert sorted(desk.texts(3)) == ["four", "more", "three"]


@killed
@pytest.mark.parametrize("first", ["", "part", "x" * 2000, "one\npart"])
def test_a_line_without_its_newline_is_read_whole_once_it_has_it(begin, killed, first):
    desk = begin({"app.log": first}, killed=killed)
    assert desk.texts(2) == []
    desk.write(" end\nnext\n")
    assert desk.texts(2) == [first.rpartition("\n")[2] + " end", "next"]


@killed
def test_a_file_for_which_there_was_no_room_starts_at_its_end(begin, tmp_path, killed):
    names = [f"app.log.{i}" for i in range(6)]
    desk = begin({name: f"{name}\nold\n" for name in names}, killed=killed, room=2)
    for i, name in enumerate(names):
        desk.write(f"new {i}\n", tmp_path / name)
    assert sorted(desk.texts(40)) == [f"new {i}" for i in range(6)]


@killed
def test_a_file_that_could_not_be_read_starts_at_its_end(begin, tmp_path, killed, monkeypatch):
    real, secret = os.open, tmp_path / "app.log.secret"

    def refuse(path, *given, **named):
        if Path(path) == secret:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        desk = begin({"app.log": "a\n", secret.name: "old\nolder\npart"}, killed=killed)
        assert desk.texts(2) == []
        desk.write("ial\nnew\n", secret)
        assert desk.texts(2) == []
    assert desk.texts(2) == ["partial", "new"]


@killed
def test_an_archive_that_is_like_another_is_left_out_though_that_goes(begin, tmp_path, killed):
    packed = gzip.compress(b"one\ntwo\n")
    for name in ("app.log.1.gz", "app.log.2.gz"):
        (tmp_path / name).write_bytes(packed)
    desk = begin({"app.log": "one\ntwo\n"}, killed=killed, exclude=[], rotate_wait=2)
    assert desk.texts(3) == []
    desk.write("three\n")
    (tmp_path / "app.log.1.gz").unlink()
    assert desk.texts(9) == ["three"]
    os.truncate(desk.log, 0)
    desk.texts(2)
    desk.write("four\n")
    assert desk.texts(9) == ["four"]


@killed
def test_what_is_written_anew_in_the_place_of_a_copy_is_read_from_its_beginning(
    begin, tmp_path, killed
):
    other = tmp_path / "app.log.other"
    desk = begin({"app.log": "one\ntwo\n", other.name: "one\ntwo\n"}, killed=killed)
    other.write_text("brand new 1\nbrand new 2\n")
    assert desk.texts(2) == ["brand new 1", "brand new 2"]


@killed
def test_a_copy_that_was_emptied_and_filled_again_is_read_from_its_beginning(
    begin, tmp_path, killed
):
    other = tmp_path / "app.log.other"
    desk = begin({"app.log": "one\ntwo\n", other.name: "one\ntwo\n"}, killed=killed)
    os.truncate(other, 0)
    assert desk.texts(2) == []
    desk.write("one\ntwo\nthree\n", other)
    assert desk.texts(2) == ["one", "two", "three"]


def test_starts_are_forgotten_once_their_files_are_begun_or_gone(begin, tmp_path):
    desk = begin({f"app.log.{i}": "Log opened\n" for i in range(3)}, killed=False)
    assert len(list(CheckpointStore(desk.state).starts)) == 2
    desk.write("new\n", tmp_path / "app.log.1")
    assert desk.texts(2) == ["new"]
    (tmp_path / "app.log.2").unlink()
    desk.poll(4)
    assert list(CheckpointStore(desk.state).starts) == []
    assert "starts" not in json.loads(desk.state.read_text())


def test_an_older_version_reads_the_checkpoints_with_starts_and_this_one_those_without(begin):
    desk = begin({"app.log": "a\n", "app.log.1": "a\n"}, killed=False)
    stored = json.loads(desk.state.read_text())
    assert (stored["version"], len(stored["files"]), len(stored["starts"])) == (2, 1, 1)
    del stored["starts"], stored["starts_checksum"]
    desk.state.write_text(json.dumps(stored))
    assert len(list(CheckpointStore(desk.state))) == 1


def test_a_damaged_start_is_noticed(begin):
    desk = begin({"app.log": "a\n", "app.log.1": "a\n"}, killed=False)
    text = desk.state.read_text()
    desk.state.write_text(text.replace('"size": 2}]', '"size": 3}]'))
    with pytest.raises(StorageError, match=r"is damaged \(its checksum of starts"):
        CheckpointStore(desk.state)


class Start(Desk):
    """Files with one banner or none, written to before and after the first look."""

    def __init__(self, directory, banner, room):
        super().__init__(directory, room, start_at="end", rotate_wait=3)
        self.banner = banner
        self.written = 0
        self.expected, self.handed, self.open_lines = [], [], {}
        self.uncommitted = []
        self.is_seen = False

    def path(self, number):
        return self.directory / f"app.log.{number}"

    def append(self, number, end="\n"):
        path = self.path(number)
        if not path.exists():
            text = self.banner
            self.write(text, path)
            if self.is_seen:
                self.expected += text.splitlines()
        if number not in self.open_lines:
            self.open_lines[number] = f"line {self.written}"
            self.write(self.open_lines[number], path)
            self.written += 1
        self.write(end, path)
        if end == "\n":
            line = self.open_lines.pop(number)
            if self.is_seen:
                self.expected.append(line)

    def begin_line(self, number):
        self.append(number, "")

    def copy(self, number):
        """Copies are there at the first look, as long as they are copies."""
        other = self.path((number + 1) % 4)
        if not self.is_seen and self.path(number).exists() and number not in self.open_lines:
            self.open_lines.pop((number + 1) % 4, None)
            shutil.copy(self.path(number), other)

    def look(self, *_):
        if not self.is_seen:
            self.source.begin()
            self.is_seen = True
        self.uncommitted += self.poll()

    def save(self, *_):
        if self.is_seen:
            self.commit(self.uncommitted)
            self.handed += [line.text for line in self.uncommitted]
            self.uncommitted = []

    def kill(self, *_):
        self.uncommitted = []
        self.start()


ACTIONS = st.tuples(
    st.sampled_from(
        [
            *(Start.append, Start.append, Start.begin_line, Start.copy),
            *(Start.look, Start.save, Start.kill),
        ]
    ),
    st.integers(0, 3),
)


@example([(Start.append, 0), (Start.copy, 0), (Start.look, 0), (Start.append, 1)], "")
@settings(max_examples=60, deadline=None)
@given(st.lists(ACTIONS, max_size=30), st.sampled_from(["", "ok\n", LONG_BANNER]))
def test_what_was_there_at_the_first_look_is_not_read_and_all_else_is_once(actions, banner):
    first_look(actions, banner, room=100)


@settings(max_examples=30, deadline=None)
@given(st.lists(ACTIONS, max_size=30), st.sampled_from(["", "ok\n", LONG_BANNER]))
def test_so_it_is_with_room_for_one_open_file(actions, banner):
    first_look(actions, banner, room=1)


def first_look(actions, banner, room):
    with tempfile.TemporaryDirectory() as name:
        world = Start(Path(name), banner, room)
        for action, number in actions:
            action(world, number)
        world.look()
        for number in range(4):  # now no file is a copy of another
            world.append(number)
        for _ in range(40 if room == 1 else 8):
            world.look()
        world.save()
        world.source.close()
        assert sorted(world.handed) == sorted(world.expected)
