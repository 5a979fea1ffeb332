"""Files are followed through growth, rotation, truncation and restarts, each line once."""

import errno
import gzip
import json
import logging
import os
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from file_parts import LONG_BANNER, Desk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.config.sources import FileSourceConfig, JournaldSourceConfig, StdinSourceConfig
from logmlm.errors import ConfigError, StorageError
from logmlm.records import Checkpoint
from logmlm.sources.archive.blocks import MAX_LINE_BYTES
from logmlm.sources.archive.reader import read_lines
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.discovery import FileDiscovery, rotation_candidates
from logmlm.sources.file.source import BATCH_BYTES, FORGET_AFTER_S
from logmlm.sources.lines import CHUNK_BYTES


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_lines_have_their_byte_positions_and_the_time_they_came(desk):
    desk.write("one\nzwölf\r\n\nrest")
    lines = desk.poll()
    assert [(line.text, line.start, line.end) for line in lines] == [
        ("one", 0, 4),
        ("zwölf", 4, 12),
        ("", 12, 13),
    ]
    assert {line.received_at for line in lines} == {1000.0}
    assert {line.number for line in lines} == {0}
    assert desk.source.describe(lines[0].partition) == str(desk.log)
    assert (desk.source.name, desk.source.exhausted) == ("file", False)


def test_a_file_in_the_place_of_one_that_was_rotated_goes_on_where_that_ends(desk):
    desk.write("one\n")
    (first,) = desk.source.poll(1.0)
    changes = desk.source.changes()
    assert changes.gained == {first.partition: Checkpoint(0, 0, None)}
    assert changes.follows == {}
    desk.log.rename(desk.directory / "app.log.1")
    desk.write("two\n")
    desk.now += 1
    (second,) = desk.source.poll(1.0)
    changes = desk.source.changes()
    assert changes.gained == {second.partition: Checkpoint(0, 0, None)}
    assert changes.follows == {second.partition: first.partition}
    assert desk.source.changes().follows == {}
    desk.commit([first, second])
    desk.start()
    assert desk.source.changes().follows == {second.partition: first.partition}


def test_a_file_that_was_copied_and_truncated_goes_on_where_its_copy_ends(desk):
    desk.write("one\n" * 50)
    (first, *_) = desk.source.poll(1.0)
    desk.source.changes()
    shutil.copy(desk.log, desk.directory / "old")
    desk.log.write_text("another\n")
    desk.now += 1
    desk.source.poll(1.0)
    desk.now += 1
    desk.source.poll(1.0)
    follows = desk.source.changes().follows
    assert list(follows.values()) == [first.partition]


def test_files_that_a_rotation_left_before_the_first_start_go_on_in_one_another(desk):
    for name, text in (("app.log.2", "one"), ("app.log.1", "two"), ("app.log", "three")):
        desk.write(f"{text}\n", desk.directory / name)
    of = {line.text: line.partition for line in desk.source.poll(1.0)}
    assert desk.source.changes().follows == {of["two"]: of["one"], of["three"]: of["two"]}


def test_files_that_came_and_were_rotated_while_nobody_looked_go_on_in_one_another(desk):
    desk.write("one\n")
    (first,) = desk.source.poll(1.0)
    desk.commit([first])
    desk.source.changes()
    desk.log.rename(desk.directory / "app.log.3")
    for name, text in (("app.log.2", "two"), ("app.log.1", "three"), ("app.log", "four")):
        desk.write(f"{text}\n", desk.directory / name)
    desk.start()
    of = {line.text: line.partition for line in desk.source.poll(1.0)}
    assert desk.source.changes().follows == {
        of["two"]: first.partition,
        of["three"]: of["two"],
        of["four"]: of["three"],
    }


def test_a_file_that_is_read_from_its_end_is_known_to_begin_there(tmp_path):
    desk = Desk(tmp_path, start_at="end")
    desk.write("one\n")
    desk.source.poll(1.0)
    desk.write("two\n")
    desk.now += 1
    (line,) = desk.source.poll(1.0)
    assert desk.source.changes().gained == {line.partition: Checkpoint(4, 4, None)}


def test_a_partial_last_line_waits_for_its_newline(desk):
    desk.write("one\ntw")
    assert desk.texts() == ["one"]
    desk.write("o")
    assert desk.texts() == []
    desk.write("!\nthree\n")
    assert desk.texts() == ["two!", "three"]


def test_what_is_not_read_yet_is_told_in_bytes(desk):
    assert desk.source.lag() == {}
    desk.write("one\n")
    desk.poll()
    desk.write("two\npart")
    assert sum(desk.source.lag().values()) == len("two\npart")
    desk.poll()
    assert sum(desk.source.lag().values()) == len("part")
    desk.log.write_text("")
    assert sum(desk.source.lag().values()) == 0


def test_an_empty_poll_waits_as_long_as_it_is_told_and_looks_again(desk):
    desk.poll()
    before = desk.now
    assert desk.source.poll(0.25) == []
    assert desk.now == before + 0.25
    desk.source._wait = lambda _: desk.write("late\n")
    assert desk.texts() == []
    desk.now += 1
    assert desk.texts() == ["late"]


def test_invalid_utf8_is_written_out_in_hexadecimal(desk):
    desk.write(b"caf\xe9 \xff\n")
    assert desk.texts() == ["caf\\xe9 \\xff"]


def test_a_lone_carriage_return_does_not_end_a_line(tmp_path):
    desk = Desk(tmp_path)
    desk.write("a\rb\nc\n")
    assert desk.texts() == ["a\rb", "c"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(("length", "cut"), [(9, 0), (10, 0), (11, 1), (12, 1), (200_000, 1)])
def test_a_line_over_the_limit_is_cut_and_counted(tmp_path, length, cut, end):
    desk = Desk(tmp_path, max_line_bytes=10)
    desk.write("x" * length + end + "next\n")
    lines = desk.poll(6)
    assert [line.text for line in lines] == ["x" * min(length, 10), "next"]
    assert lines[0].end == lines[1].start == length + len(end)
    assert desk.source.discarded["cut"] == cut


def test_a_long_line_that_is_not_too_long_is_whole_though_it_comes_in_pieces(tmp_path):
    desk = Desk(tmp_path, max_line_bytes="1MiB")
    desk.write("x" * 100_000)
    assert desk.texts() == []
    desk.write("y" * 100_000)
    assert desk.texts() == []
    desk.write("\nz\n")
    assert desk.texts(4) == ["x" * 100_000 + "y" * 100_000, "z"]


def test_a_file_renamed_away_is_read_to_its_end_and_the_new_one_from_its_beginning(desk):
    desk.write("old 1\n")
    assert desk.texts() == ["old 1"]
    desk.write("old 2\n")
    desk.log.rename(desk.directory / "app.log.1")
    desk.write("new 1\n")
    assert sorted(desk.texts(2)) == ["new 1", "old 2"]
    desk.write("old 3\n", desk.directory / "app.log.1")
    assert desk.texts(2) == ["old 3"]


def test_a_file_that_left_include_is_let_go_when_quiet_with_its_last_words(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")], rotate_wait=5)
    desk.write("old 1\n")
    desk.poll()
    away = tmp_path / "gone.1"
    desk.log.rename(away)
    assert desk.texts(4) == []
    desk.write("old 2\nlast wo", away)
    assert desk.texts(4) == ["old 2"]
    desk.write("rds", away)
    lines = desk.poll(12)
    assert [(line.text, line.end) for line in lines] == [("last words", 22)]
    assert not desk.source.lag()
    desk.write("too late\n", away)
    assert desk.texts(3) == []


def test_a_deleted_file_is_let_go_without_a_word(tmp_path):
    desk = Desk(tmp_path, rotate_wait=2)
    desk.write("a\n")
    desk.poll()
    desk.log.unlink()
    assert desk.texts(6) == []
    assert not desk.source.lag()


@pytest.mark.parametrize("include", ["app.log", "app.log*"])
def test_a_copied_and_truncated_file_loses_and_doubles_nothing(tmp_path, include):
    desk = Desk(tmp_path, include=[str(tmp_path / include)])
    desk.write("old 1\n")
    assert desk.texts() == ["old 1"]
    desk.write("old 2\n")
    shutil.copy(desk.log, tmp_path / "app.log.1")
    os.truncate(desk.log, 0)
    desk.write("n\n")
    assert sorted(desk.texts(3)) == ["n", "old 2"]
    desk.write("n2\n")
    assert desk.texts(2) == ["n2"]


def test_a_file_written_anew_to_the_same_length_is_noticed_after_many_looks(desk):
    desk.write("one\n")
    assert desk.texts(6) == ["one"]
    time.sleep(0.02)  # the file system's clock must go on
    desk.log.write_text("two\n")
    assert desk.texts(3) == ["two"]


def test_a_file_written_anew_to_a_greater_length_is_noticed_by_its_first_bytes(desk):
    desk.write("old\n")
    desk.poll()
    desk.log.write_text("brand new 1\nbrand new 2\n")
    assert desk.texts(2) == ["brand new 1", "brand new 2"]


def test_the_same_beginning_again_after_a_truncation_is_a_partition_of_its_own(desk):
    desk.write("banner\n")
    (first,) = desk.poll()
    desk.write("a\n")
    desk.poll()
    os.truncate(desk.log, 0)
    desk.write("banner\n")
    (second,) = desk.poll(2)
    assert (second.text, second.start) == ("banner", 0)
    assert second.partition == first.partition + "-2"
    os.truncate(desk.log, 3)
    desk.poll(2)
    desk.write("ner\n")
    assert desk.texts(2) == ["banner"]


def test_files_that_begin_alike_are_told_apart_as_soon_as_they_differ(desk):
    other = desk.directory / "app.log.other"
    desk.write("banner\n")
    assert desk.texts() == ["banner"]
    desk.write("banner\n", other)
    assert desk.texts(2) == []
    desk.write("other\n", other)
    assert desk.texts(2) == ["banner", "other"]
    desk.write("mine\n")
    assert desk.texts(2) == ["mine"]
    desk.start()
    assert sorted(desk.texts(2)) == ["banner", "banner", "mine", "other"]


def test_after_a_stop_the_known_file_is_gone_on_with_though_a_new_one_begins_alike(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write("Log opened\n")
    desk.commit(desk.poll())
    desk.write("old\n")
    desk.log.rename(tmp_path / "app.log.1")
    desk.write("Log opened\nnew\n")
    desk.start()
    assert sorted(desk.texts(2)) == ["Log opened", "new", "old"]


def test_what_the_former_version_knew_is_gone_on_with_though_a_new_file_begins_alike(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write("Log opened\n")
    desk.commit(desk.poll())
    files = json.loads(desk.state.read_text())["files"]
    for each in files:
        del each["mark"], each["met_at"]
    desk.state.write_text(json.dumps({"version": 1, "files": files}))
    desk.write("old\n")
    desk.log.rename(tmp_path / "app.log.1")
    desk.write("Log opened\nnew\n")
    desk.start()
    assert sorted(desk.texts(2)) == ["Log opened", "new", "old"]


@pytest.mark.parametrize("include", ["app.log", "app.log*"])
@pytest.mark.parametrize("banner", ["", LONG_BANNER])
@pytest.mark.parametrize("pause", [0, 5])
def test_a_new_file_that_begins_as_the_rotated_one_is_read_whole(tmp_path, include, banner, pause):
    desk = Desk(tmp_path, include=[str(tmp_path / include)], rotate_wait=3)
    desk.write(banner + "job ok\n")
    first = desk.poll()
    desk.log.rename(tmp_path / "app.log.1")
    assert desk.texts(pause) == []
    desk.write(banner + "job ok\n")
    second = desk.poll(2)
    assert [line.text for line in second] == [line.text for line in first]
    assert second[0].partition == first[0].partition + "-2"
    desk.write("job FAILED\n")
    assert desk.texts(2) == ["job FAILED"]
    assert not +desk.source.discarded


def test_a_new_file_in_the_place_of_one_that_was_packed_is_read_though_it_is_like_that(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write("job ok\njob ok\n")
    desk.poll()
    desk.log.rename(tmp_path / "app.log.1")
    pack(tmp_path / "app.log.1")
    desk.write("job ok\n")
    desk.start()
    assert desk.texts(2) == ["job ok"] * 3


def test_files_side_by_side_with_one_long_beginning_are_all_read(desk):
    for name in ("a", "b"):
        desk.write(LONG_BANNER + f"{name} 1\n", desk.directory / f"app.log.{name}")
    assert [text for text in desk.texts(2) if "#" not in text] == ["a 1", "b 1"]


def test_a_truncated_file_that_grew_past_where_it_was_read_is_noticed(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write(LONG_BANNER + "old\n")
    assert len(desk.poll()) == 2
    shutil.copy(desk.log, tmp_path / "app.log.1")
    desk.log.write_text(LONG_BANNER + "newer 1\nnewer 2\n")
    assert desk.texts(3)[1:] == ["newer 1", "newer 2"]


def test_a_copy_that_stays_is_said_and_counted_once_and_read_when_it_differs(tmp_path, caplog):
    desk = Desk(tmp_path, rotate_wait=3)
    desk.write("one\n")
    desk.poll()
    other = tmp_path / "app.log.other"
    desk.write("one\n", other)
    assert desk.texts(2) == []
    assert not +desk.source.discarded
    assert desk.texts(9) == []
    assert desk.source.discarded["lookalike"] == 1
    assert f"{other} holds nothing but what {desk.log} holds" in caplog.text
    desk.write("two\n", other)
    assert desk.texts(2) == ["one", "two"]
    other.unlink()
    desk.poll(2)
    assert desk.source.discarded["lookalike"] == 1


def test_a_file_moved_to_another_disk_goes_on_where_it_was_read_and_that_is_said(tmp_path, caplog):
    """As far as its content says it: another file with the same numbered kilobyte."""
    desk = Desk(tmp_path)
    desk.write("".join(f"line {i}\n" for i in range(300)))
    desk.commit(desk.poll(2))
    shutil.copy(desk.log, tmp_path / "copy")
    desk.log.unlink()
    (tmp_path / "taken").touch()  # or the copy could get the old number
    (tmp_path / "copy").rename(desk.log)
    desk.write("more\n")
    desk.start()
    assert desk.texts(2) == ["more"]
    assert desk.source.discarded["lookalike"] == 1
    assert "is another file than" in caplog.text


def test_a_log_truncated_unseen_that_holds_again_what_was_read_is_said(tmp_path, caplog):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write("Log opened\n")
    desk.commit(desk.poll())
    desk.write("old\n")
    shutil.copy(desk.log, tmp_path / "app.log.1")
    desk.log.write_text("Log opened\nnew\n")
    desk.start()
    assert desk.texts(3) == ["new"]
    assert desk.source.discarded["lookalike"] == 1
    assert "both hold what was read of the latter" in caplog.text


def test_of_archives_that_hold_the_same_one_is_read_and_the_other_said(tmp_path):
    desk = Desk(tmp_path, exclude=[], rotate_wait=3)
    for name in ("app.log.1", "app.log.2"):
        desk.write("job ok\n", tmp_path / name)
        pack(tmp_path / name)
    assert desk.texts(9) == ["job ok"]
    assert desk.source.discarded["lookalike"] == 1
    desk.commit([])
    desk.source.commit({name: Checkpoint(7, 7, None) for name in desk.source.checkpoints()})
    desk.start()
    inode = desk.state.stat().st_ino
    assert desk.texts(9) == []
    assert desk.source.discarded["lookalike"] == 1
    assert desk.state.stat().st_ino == inode


def test_an_archive_that_is_still_written_is_read_on_as_it_grows(tmp_path, caplog):
    desk = Desk(tmp_path, exclude=[], rotate_wait=3)
    lines = [os.urandom(50).hex() for _ in range(5000)]
    whole = gzip.compress("".join(line + "\n" for line in lines).encode())
    archive, half = tmp_path / "app.log.gz", len(whole) // 2
    desk.write(whole[:half], archive)
    found = desk.texts(14)
    assert 1000 < len(found) < 4000
    assert desk.source.discarded["damaged_archive"] == 1
    assert "ends in its midst, or is still being written" in caplog.text
    desk.write(whole[half:], archive)
    assert found + desk.texts(14) == lines
    desk.write(gzip.compress(b"another member\n") + b"\0\0", archive)
    assert desk.texts(2) == ["another member"]
    assert desk.source.discarded["damaged_archive"] == 1


def test_an_archive_with_something_else_in_it_is_counted_at_once(tmp_path):
    desk = Desk(tmp_path, exclude=[])
    desk.write(gzip.compress(b"one\n") + b"no gzip", tmp_path / "app.log.gz")
    assert desk.texts(3) == ["one"]
    assert desk.source.discarded["damaged_archive"] == 1


def test_a_copy_and_a_second_name_of_an_open_file_are_not_read_again(desk):
    desk.write("x" * 2000 + "\n")
    assert len(desk.poll()) == 1
    shutil.copy(desk.log, desk.directory / "app.log.copy")
    (desk.directory / "app.log.link").symlink_to(desk.log)
    os.link(desk.log, desk.directory / "app.log.hard")
    assert desk.texts(3) == []


def test_a_file_without_newline_is_known_once_it_is_long_enough(desk):
    desk.write("x" * 1023)
    desk.poll(2)
    assert not desk.source.checkpoints()
    desk.write("x")
    desk.poll(2)
    assert len(desk.source.checkpoints()) == 1


def test_excluded_and_irregular_files_are_left_alone(desk):
    desk.write("packed\n", desk.directory / "app.log.1.gz")
    (desk.directory / "app.log.d").mkdir()
    os.mkfifo(desk.directory / "app.log.pipe")
    (desk.directory / "app.log.nowhere").symlink_to(desk.directory / "nothing")
    assert desk.texts(2) == []


def test_at_the_end_means_behind_the_last_newline_at_the_very_first_start_only(tmp_path):
    desk = Desk(tmp_path, start_at="end")
    desk.write("old\npart")
    (tmp_path / "app.log.empty").touch()
    assert desk.texts() == []
    desk.write("ial\n")
    desk.write("first\n", tmp_path / "app.log.empty")
    desk.write("later\n", tmp_path / "app.log.later")
    assert sorted(desk.texts(2)) == ["first", "later", "partial"]


def test_a_stop_before_anything_was_committed_goes_on_at_the_same_place(tmp_path):
    desk = Desk(tmp_path, start_at="end")
    desk.write("old\n")
    desk.poll()
    desk.write("while down\n")
    desk.start()
    assert desk.texts() == ["while down"]


def test_a_start_without_files_reads_what_comes_later_from_its_beginning(tmp_path):
    desk = Desk(tmp_path, start_at="end")
    desk.poll()
    desk.write("while down\n")
    desk.start()
    assert desk.texts() == ["while down"]


def test_a_file_that_ends_in_a_line_without_end_is_begun_at_its_end(tmp_path):
    desk = Desk(tmp_path, start_at="end", max_line_bytes=10)
    desk.write("x" * 5000)
    desk.poll()
    desk.write("\nnext\n")
    assert desk.texts(2) == ["", "next"]


def test_a_restart_begins_at_the_safe_position(desk):
    desk.write("a\nb\nc\n")
    lines = desk.poll()
    desk.source.commit({lines[0].partition: Checkpoint(2, 6, 5.0)})
    desk.start()
    assert desk.source.checkpoints() == {lines[0].partition: Checkpoint(2, 6, 5.0)}
    again = desk.poll()
    assert again[0].partition == lines[0].partition
    assert [line.text for line in again] == ["b", "c"]


@pytest.mark.parametrize("include", ["app.log", "app.log*"])
def test_a_file_rotated_while_nobody_looked_is_read_to_its_end(tmp_path, include):
    desk = Desk(tmp_path, include=[str(tmp_path / include)])
    desk.write("old 1\n")
    desk.commit(desk.poll())
    desk.write("old 2\n")
    desk.log.rename(tmp_path / "app.log-20260101")
    desk.write("new 1\n")
    desk.write("stranger\n", tmp_path / "app.log-other.gz")
    desk.start()
    assert sorted(desk.texts(2)) == ["new 1", "old 2"]


def pack(path):
    """Compress a file as gzip does, and take its place."""
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def test_a_file_rotated_and_packed_while_nobody_looked_is_read_to_its_end(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write("old 1\n")
    (first,) = desk.poll()
    desk.commit([first])
    desk.write("old 2\nold 3\nlast wo")
    desk.log.rename(tmp_path / "app.log-20260101")
    pack(tmp_path / "app.log-20260101")
    desk.write("new 1\n")
    desk.start()
    lines = desk.poll(2)
    assert sorted(line.text for line in lines) == ["new 1", "old 2", "old 3"]
    old = [line for line in lines if line.partition == first.partition]
    assert [(line.start, line.end) for line in old] == [(6, 12), (12, 18)]
    assert desk.source.describe(first.partition).endswith("app.log-20260101.gz")
    assert desk.texts(40) == ["last wo"]


def test_a_packed_file_of_which_nothing_is_left_is_not_unpacked(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write("old 1\n")
    desk.commit(desk.poll())
    desk.log.rename(tmp_path / "app.log.1")
    pack(tmp_path / "app.log.1")
    desk.start()
    assert desk.texts(3) == []
    assert desk.source.lag() == {}


def test_what_lies_beside_and_lost_its_end_is_no_file_of_ours(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write("x" * 2000 + "\ny\n")
    desk.commit(desk.poll())
    desk.log.rename(tmp_path / "app.log.1")
    os.truncate(tmp_path / "app.log.1", 2001)
    desk.start()
    assert desk.texts(3) == []
    assert desk.source.lag() == {}


def test_a_great_archive_is_unpacked_piece_by_piece_and_not_waited_for(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    line = "x" * 99 + "\n"
    desk.write("first\n" + line * (5 * CHUNK_BYTES // len(line)))
    lines = desk.poll(12)
    desk.commit(lines)
    desk.write("the rest\n")
    desk.log.rename(tmp_path / "app.log.1")
    pack(tmp_path / "app.log.1")
    desk.start()
    before = desk.now
    assert desk.source.poll(1.0) == []
    assert sum(desk.source.lag().values()) == len("the rest\n")
    for _ in range(5):
        lines = desk.source.poll(1.0)
    assert [line.text for line in lines] == ["the rest"]
    assert desk.now == before


def test_a_file_that_is_being_packed_is_tried_again(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    desk.write("old 1\n")
    desk.commit(desk.poll())
    whole = gzip.compress(desk.log.read_bytes() + b"old 2\n")
    desk.log.unlink()
    packed = tmp_path / "app.log.1.gz"
    packed.write_bytes(whole[:15])
    desk.start()
    assert desk.texts(3) == []
    packed.write_bytes(whole)
    assert desk.texts(2) == ["old 2"]


def test_what_a_damaged_archive_still_holds_is_read_and_the_damage_counted(tmp_path, caplog):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")], rotate_wait=3)
    desk.write("old 1\n")
    desk.commit(desk.poll())
    lines = [os.urandom(500).hex() for _ in range(1000)]
    desk.write("\n".join(lines))
    whole = gzip.compress(desk.log.read_bytes())
    desk.log.unlink()
    (tmp_path / "app.log.1.gz").write_bytes(whole[: len(whole) // 2])
    desk.start()
    found = desk.texts(24)
    assert 100 < len(found) < 900
    assert found[:-1] == lines[: len(found) - 1]
    assert desk.source.discarded["damaged_archive"] == 1
    assert "an archive is damaged after" in caplog.text


def test_archives_that_are_included_are_read_once_however_long_they_stay(tmp_path):
    desk = Desk(tmp_path, exclude=[])
    desk.write("old 1\n")
    pack(desk.log)
    lines = desk.poll()
    assert [line.text for line in lines] == ["old 1"]
    desk.commit(lines)
    for _ in range(3):
        desk.now += FORGET_AFTER_S / 2
        desk.start()
        assert desk.texts(2) == []
    desk.write("new\n", tmp_path / "app.log.2")
    pack(tmp_path / "app.log.2")
    assert desk.texts(2) == ["new"]


def test_at_the_end_means_behind_an_included_archive_too(tmp_path):
    desk = Desk(tmp_path, exclude=[], start_at="end")
    desk.write("old 1\n")
    pack(desk.log)
    for _ in range(2):
        assert desk.texts(2) == []
        desk.start()


@pytest.mark.parametrize("while_down", [False, True])
def test_a_link_that_is_switched_leaves_nothing_of_the_old_file_unread(tmp_path, while_down):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    one, two = tmp_path / "data" / "one", tmp_path / "data" / "two"
    one.parent.mkdir()
    desk.write("one 1\n", one)
    desk.log.symlink_to(one)
    desk.commit(desk.poll())
    desk.write("one 2\n", one)
    desk.write("two 1\n", two)
    (tmp_path / "fresh").symlink_to(two)
    (tmp_path / "fresh").replace(desk.log)
    if while_down:
        desk.start()
    assert sorted(desk.texts(2)) == ["one 2", "two 1"]
    desk.write("one 3\n", one)
    assert desk.texts(2) == ["one 3"]


def test_a_file_deleted_while_open_is_read_to_its_end(desk):
    desk.write("a\n")
    desk.poll()
    with desk.log.open("a") as stream:
        desk.log.unlink()
        stream.write("b\nlast wo")
        stream.flush()
        assert desk.texts(2) == ["b"]
        stream.write("rds")
    assert desk.texts(40) == ["last words"]


def test_the_lag_is_what_was_not_handed_over_yet(desk):
    desk.write("a\n" + "x" * 98 + "\n" + "half")
    (partition, *_) = {line.partition for line in desk.poll()}
    assert desk.source.lag() == {partition: len("half")}
    desk.write("\nmore\n")
    assert desk.source.lag() == {partition: len("half\nmore\n")}


def test_many_files_are_read_in_turn(desk):
    line = "x" * 99 + "\n"
    count = 2 * CHUNK_BYTES // len(line)
    for name in ("app.log.1", "app.log.2", "app.log.3"):
        desk.write(name + "\n" + line * count, desk.directory / name)
    batches = [desk.poll() for _ in range(3)]
    assert len({line.partition for batch in batches for line in batch}) == 3
    for batch in batches:
        assert BATCH_BYTES <= sum(line.end - line.start for line in batch) <= CHUNK_BYTES
    assert sum(map(len, batches)) + len(desk.poll(20)) == 3 * (count + 1)


def test_no_path_is_made_anew_with_each_look(tmp_path):
    for name in ("app.log", "app.log.1"):
        (tmp_path / name).touch()
    found = FileDiscovery([f"{tmp_path}/*.log"], ["*.gz"])
    for look in (found.files, lambda: rotation_candidates([f"{tmp_path}/app.log"])):
        before, again = look(), look()
        assert [*before] == [*again] != []
        assert all(again[file_id] is path for file_id, path in before.items())


def test_small_files_are_read_many_at_once(desk):
    for number in range(30):
        desk.write("one\n" * number + "end\n", desk.directory / f"app.log.{number + 1}")
    assert sum(line.text == "end" for line in desk.poll()) == 30


def test_what_was_not_seen_for_a_week_is_forgotten(desk):
    desk.write("a\n")
    desk.poll()
    desk.now += 2 * FORGET_AFTER_S
    desk.poll()
    assert len(desk.source.checkpoints()) == 1
    desk.log.unlink()
    desk.now += FORGET_AFTER_S / 2
    desk.poll(3)
    desk.now += 60
    desk.poll()
    assert len(desk.source.checkpoints()) == 1
    desk.now += 2 * FORGET_AFTER_S
    desk.poll()
    assert not desk.source.checkpoints()
    desk.source.commit({"gone": Checkpoint(0, 0, None)})


@pytest.mark.parametrize("leave", ["unlink", "rename", "copy and truncate", "pack"])
@pytest.mark.parametrize("include", ["app.log", "app.log*"])
def test_a_partition_has_ended_when_its_file_left_or_was_renamed_and_nothing_comes(
    tmp_path, leave, include
):
    desk = Desk(tmp_path, include=[str(tmp_path / include)], exclude=[], rotate_wait=3)
    desk.write("one\n")
    (line,) = desk.poll()
    assert desk.texts(9) == []
    assert not desk.ended
    if leave == "copy and truncate":
        shutil.copy(desk.log, tmp_path / "app.log.1")
        os.truncate(desk.log, 0)
    elif leave == "unlink":
        desk.log.unlink()
    else:
        desk.log.rename(tmp_path / "app.log.1")
    if leave == "pack":
        pack(tmp_path / "app.log.1")
    desk.poll(12)
    assert desk.ended == {line.partition}
    desk.ended.clear()
    assert desk.texts(9) == []
    assert not desk.ended


def test_a_renamed_files_last_words_are_of_a_partition_that_has_ended(tmp_path):
    desk = Desk(tmp_path, rotate_wait=3)
    desk.write("one\nlast wo")
    (line,) = desk.poll()
    aside = tmp_path / "app.log.1"
    desk.log.rename(aside)
    desk.poll(9)
    assert desk.ended == {line.partition}
    desk.ended.clear()
    aside.unlink()
    assert desk.texts(9) == ["last wo"]
    assert desk.ended == {line.partition}


def test_of_archives_that_may_be_the_rest_the_newest_is_gone_on_with(tmp_path):
    desk = Desk(tmp_path, include=[str(tmp_path / "app.log")])
    for name in ("app.log.2", "app.log.4", "app.log"):
        desk.write("Log opened\n", tmp_path / name)
    desk.commit(desk.poll())
    for name in ("app.log.2", "app.log.4", "app.log"):
        desk.write(f"of {name}\n", tmp_path / name)
    desk.log.rename(tmp_path / "app.log.3")
    for number, written_at in ((2, 5000), (3, 6000), (4, 4000)):
        pack(tmp_path / f"app.log.{number}")
        os.utime(tmp_path / f"app.log.{number}.gz", (written_at, written_at))
    desk.start()
    assert desk.texts(3) == ["of app.log"]


def test_the_origin_of_what_is_forgotten_can_be_asked_for(desk):
    assert desk.source.describe("gone") == "a file that is gone"


def test_a_clock_set_back_does_not_stop_the_scanning(desk):
    desk.poll()
    desk.now -= 500
    desk.write("a\n")
    assert desk.texts() == ["a"]


def test_an_unreadable_file_is_told_once_and_read_when_it_can_be(desk, caplog, monkeypatch):
    desk.write("a\n")
    real, broken = os.open, [True]

    def opened(path, *rest):
        if broken and path == desk.log:
            raise OSError(errno.EACCES, "Permission denied")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", opened)
    with caplog.at_level(logging.WARNING):
        assert desk.texts(3) == []
    assert len(caplog.records) == 1
    assert f"can't read {desk.log}: Permission denied" in caplog.text
    broken.clear()
    assert desk.texts(2) == ["a"]


def test_a_disk_that_fails_while_reading_is_a_storage_error(desk, monkeypatch):
    desk.write("a\n")
    desk.poll()
    desk.write("b\n")

    def pread(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(StorageError, match="Input/output error"):
        desk.poll()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 1, "files": [{}]}', "is damaged"),
        ('{"version": 9, "files": []}', "newer logmlm"),
    ],
)
def test_damaged_checkpoints_are_told_and_kept(tmp_path, text, message):
    path = tmp_path / "checkpoints.json"
    path.write_text(text)
    with pytest.raises(StorageError, match=message) as caught:
        CheckpointStore(path)
    assert f"move {path} away" in str(caught.value)
    assert path.read_text() == text


def test_checkpoints_that_can_not_be_read_are_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="can't read"):
        CheckpointStore(tmp_path)


def test_nothing_is_written_when_nothing_changed(desk):
    desk.write("a\n")
    desk.commit(desk.poll())
    inode = desk.state.stat().st_ino
    desk.source.commit(desk.source.checkpoints())
    desk.poll(5)
    assert desk.state.stat().st_ino == inode
    assert json.loads(desk.state.read_text())["version"] == 2


def test_a_smaller_fingerprint_still_knows_the_old_files(tmp_path):
    desk = Desk(tmp_path)
    desk.write("x" * 2000 + "\n")
    desk.commit(desk.poll())
    desk.config["fingerprint"] = {"bytes": 16}
    desk.write("y\n")
    desk.start()
    assert desk.texts() == ["y"]


def test_a_byte_order_mark_is_no_part_of_the_first_line(desk):
    desk.write("\ufeffone\n\ufefftwo\n")
    assert desk.texts() == ["one", "\ufefftwo"]


def test_a_name_that_is_no_utf8_is_followed_too(desk):
    desk.write("a\n", desk.directory / os.fsdecode(b"app.log.\xff"))
    (line,) = desk.poll()
    assert desk.source.describe(line.partition).endswith("app.log.\\xff")


class World(Desk):
    """A desk with a writer that numbers its lines, and a reader that notes what it is handed.

    `linked`: the log's name is a symbolic link, which is switched to another file to rotate.
    """

    def __init__(self, directory, include, banner, linked, room=100):
        config = {"exclude": []} if "*" in include else {}
        config |= {"include": [str(directory / include)], "rotate_wait": 3}
        super().__init__(directory, room, **config)
        self.sees_all_names = "*" in include
        self.banner = banner
        self.passed_over = 0
        self.linked = linked
        self.written = self.rotated = 0
        self.met = -1
        self.is_partial = False
        self.running = True
        self.handed = defaultdict(list)
        self.uncommitted = []
        if linked:
            self.link()

    def link(self):
        """Lead the log's name to a new file elsewhere."""
        target = self.directory / "data" / f"v{self.rotated}.log"
        target.parent.mkdir(exist_ok=True)
        target.touch()
        fresh = self.directory / "fresh"
        fresh.symlink_to(target)
        fresh.replace(self.log)

    def append(self, end="end\n"):
        if not self.log.exists() or not self.log.stat().st_size:
            self.write(self.banner or f"file {self.rotated}\n")
        if not self.is_partial:
            self.write(f"line {self.written} ")
            self.written += 1
        self.write(end)
        self.is_partial = not end.endswith("\n")

    def partial(self):
        self.append("part ")

    def read(self):
        self.now += 1
        if self.running and self.log.exists() and self.log.stat().st_size:
            self.met = self.rotated
        for line in self.poll() if self.running else ():
            self.handed[line.partition].append(line)
            self.uncommitted.append(line)

    def save(self):
        self.commit(self.uncommitted if self.running else [])
        self.uncommitted = [] if self.running else self.uncommitted

    def stop(self):
        self.running = False

    def restart(self):
        """What was not committed is handed over again."""
        for line in self.uncommitted:
            self.handed[line.partition].remove(line)
        self.uncommitted = []
        self.passed_over += self.source.discarded["lookalike"]
        self.start()
        self.running = True

    def rename(self):
        self.rotate(lambda target: self.link() if self.linked else self.log.rename(target))

    def copytruncate(self):
        self.rotate(lambda target: (shutil.copy(self.log, target), os.truncate(self.log, 0)))

    def delete(self):
        """Delete the log while it is open; what is in it must be read and kept before a stop."""
        if self.running and self.log.exists() and not self.is_partial:
            self.append()
            self.read()
            self.rotate(lambda _: self.link() if self.linked else self.log.unlink())
            (self.directory / "data" / f"v{self.rotated - 1}.log").unlink(missing_ok=True)
            for _ in range(3):  # a turn reads four files, and two that were packed may come first
                self.read()
            self.save()

    def pack(self):
        """Compress all that was rotated, as logrotate does some time later."""
        for path in [*self.directory.glob("app.log.*[0-9]"), *self.directory.glob("data/v*.log")]:
            if not (self.log.exists() and self.log.samefile(path)):
                packed = gzip.compress(path.read_bytes())
                path.with_name(path.name + ".gz").write_bytes(packed)
                path.unlink()

    def rotate(self, move):
        """Rotate; where rotated names are not included, a file was met before it goes."""
        if self.is_partial or not self.log.exists() or not self.log.stat().st_size:
            return
        if not (self.sees_all_names and not self.linked) and self.met != self.rotated:
            self.restart()
            self.read()
        self.append()
        self.rotated += 1
        move(self.directory / f"app.log.{self.rotated}")
        self.append()


ACTIONS = st.sampled_from(
    [
        World.append,
        World.partial,
        World.rename,
        World.copytruncate,
        World.delete,
        World.pack,
        World.read,
        World.save,
        World.stop,
        World.restart,
    ]
)


# Five files to read in a turn of four: the last is truncated after it was met, before it is read.
@example(
    [World.append, *[World.rename] * 4, World.copytruncate, World.delete],
    LONG_BANNER,
    ("app.log", False),
)
@example(
    [World.append, World.rename, World.rename, World.pack, World.delete],
    "",
    ("app.log*", False),
)
@settings(max_examples=100, deadline=None)
@given(
    st.lists(ACTIONS, max_size=30),
    st.sampled_from(["", "banner\n", LONG_BANNER]),
    st.sampled_from([("app.log", False), ("app.log*", False), ("app.log", True)]),
)
def test_whatever_happens_every_line_is_handed_over_once_and_in_order(actions, banner, layout):
    with tempfile.TemporaryDirectory() as name:
        include, linked = layout
        world = World(Path(name), include, banner, linked)
        world.read()
        for action in actions:
            action(world)
        finish(world, turns=8)


def finish(world, turns):
    """Write and read to the end: every line came once, and each partition's in order."""
    world.append()
    world.restart()
    for _ in range(turns):
        world.read()
    world.source.close()
    lines = [line for part in world.handed.values() for line in part]
    numbers = [int(line.text.split()[1]) for line in lines if line.text.startswith("line")]
    assert sorted(numbers) == list(range(world.written))
    for part in filter(None, world.handed.values()):
        assert part[0].start == 0
        assert all(one.end == two.start for one, two in pairwise(part))


@settings(max_examples=100, deadline=None)
@given(st.lists(ACTIONS.filter(lambda action: action is not World.delete), max_size=30))
def test_with_room_for_two_open_files_every_line_is_handed_over_once_and_in_order(actions):
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), "app.log*", "", linked=False, room=2)
        world.read()
        for action in actions:
            action(world)
        finish(world, turns=60)


def test_a_closed_file_is_idle_until_it_grows_and_ends_when_it_is_gone(tmp_path):
    desk = Desk(tmp_path, room=1, include=[str(tmp_path / "*.log")], rotate_wait=3)
    for name in "abc":
        desk.write(f"{name} one\n", tmp_path / f"{name}.log")
    assert sorted(desk.texts(8)) == ["a one", "b one", "c one"]
    assert len(desk.source.lag()) == 1, "one file is open"
    names = {desk.source.describe(each)[-5:]: each for each in desk.source.checkpoints()}
    assert len(desk.source.idle(names.values())) == 3
    assert desk.source.is_idle()
    closed = next(each for each in names if names[each] not in desk.source.lag())
    desk.write("two\n", tmp_path / closed)
    assert names[closed] not in desk.source.idle(names.values())
    assert not desk.source.is_idle()
    assert desk.texts(4) == ["two"]
    gone = next(each for each in names if names[each] not in desk.source.lag())
    (tmp_path / gone).unlink()
    desk.poll(8)
    assert names[gone] in desk.ended
    assert desk.source.is_idle()


class Jobs(World):
    """A world where files hold little but the same few lines, so that many are quite alike."""

    def __init__(self, directory, include, first):
        super().__init__(directory, include, "", linked=False)
        self.first = first
        self.lines = Counter()

    def append(self, end="ok"):
        is_new = not self.log.exists() or not self.log.stat().st_size
        for text in [self.first, f"job {end}"] if is_new and self.first else [f"job {end}"]:
            self.write(text + "\n")
            self.lines[text] += 1

    def fail(self):
        self.append("FAILED")

    def wait_long(self):
        for _ in range(6):
            self.read()

    def rotate(self, move):
        """Where rotated names are not included, a file was met before it goes."""
        if self.log.exists() and self.log.stat().st_size:
            if not self.sees_all_names and self.met != self.rotated:
                self.restart()
                self.read()
            self.rotated += 1
            move(self.directory / f"app.log.{self.rotated}")

    def copytruncate(self):
        """What runs looks before the log holds again what it held: nobody could tell later."""
        super().copytruncate()
        self.read()


JOBS = st.sampled_from(
    [
        *(Jobs.append, Jobs.fail, Jobs.rename, Jobs.copytruncate, Jobs.pack),
        *(Jobs.read, Jobs.wait_long, Jobs.save, Jobs.stop, Jobs.restart),
    ]
)


# What was packed is all of the second file and goes on from the first.
@example(
    [
        *(Jobs.append, Jobs.rename, Jobs.append, Jobs.append, Jobs.rename),
        *(Jobs.save, Jobs.restart, Jobs.pack),
    ],
    "app.log",
    "",
)
@settings(max_examples=100, deadline=None)
@given(
    st.lists(JOBS, max_size=30),
    st.sampled_from(["app.log", "app.log*"]),
    st.sampled_from(["", "Log opened", LONG_BANNER]),
)
def test_of_files_that_are_alike_each_line_is_read_once_or_it_is_said(actions, include, first):
    with tempfile.TemporaryDirectory() as name:
        world = Jobs(Path(name), include, first.rstrip())
        world.read()
        for action in actions:
            action(world)
        world.restart()
        world.wait_long()
        world.restart()
        world.wait_long()
        world.source.close()
        handed = Counter(line.text for part in world.handed.values() for line in part)
        passed_over = world.passed_over + world.source.discarded["lookalike"]
        assert not handed - world.lines, "a line was handed over twice"
        assert passed_over or not world.lines - handed, "a line was lost without a word"


# Idle files


def idle(desk, turns=1):
    """Seconds for which each partition is idle, in the order of their names' first lines."""
    names = list(desk.source.checkpoints())
    for _ in range(turns):
        desk.poll()
        found = desk.source.idle(names)
    return list(found.values())


def test_a_file_is_idle_from_the_look_that_finds_it_read_to_its_end(desk):
    desk.write("one\n")
    desk.poll()
    assert idle(desk) == [0.0]
    assert idle(desk, 3) == [3.0]
    assert desk.source.is_idle()
    desk.write("two\n")
    names = list(desk.source.checkpoints())
    assert desk.source.idle(names) == {}, "a line waits, though it is not read yet"
    assert not desk.source.is_idle()
    assert desk.texts() == ["two"]
    assert idle(desk) == [0.0]


def test_what_waits_in_a_file_longer_than_a_batch_keeps_it_from_being_idle(desk):
    desk.write("x" * 99 + "\n", desk.log)
    desk.poll()
    desk.write(("x" * 99 + "\n") * (3 * BATCH_BYTES // 100))
    while desk.source.lag() != dict.fromkeys(desk.source.checkpoints(), 0):
        desk.now += 60.0
        assert not desk.source.is_idle()
        desk.source.poll(0.0)
    assert idle(desk) == [0.0]


def test_of_many_files_none_is_idle_before_it_was_read_to_its_end(desk):
    for i in range(9):
        desk.write(f"{i}\n" + f"{i} more\n" * 9000, desk.directory / f"app.log{i}")
    found = {}
    while any(desk.source.lag().values()) or not found:
        desk.now += 60.0
        desk.source.poll(0.0)
        found = desk.source.idle(list(desk.source.checkpoints()))
        lag = desk.source.lag()
        assert all(lag[name] == 0 for name in found)
    assert len(desk.source.lag()) == 9


def test_a_line_without_its_end_starts_the_count_again_when_it_grows(desk):
    desk.write("one\ntwo")
    desk.poll()
    assert idle(desk, 3) == [2.0]
    desk.write(" and more")
    assert idle(desk) == [0.0]


def test_a_file_that_is_gone_for_good_stays_idle(desk):
    desk.config["rotate_wait"] = 5.0
    desk.start()
    desk.write("one\n")
    desk.poll()
    assert idle(desk, 2) == [1.0]
    desk.log.unlink()
    assert idle(desk, 20) == [21.0]
    assert not desk.source.lag()


def test_a_replaced_file_is_not_idle_as_long_as_its_rest_is_looked_for(desk):
    desk.config["rotate_wait"] = 5.0
    desk.start()
    desk.write("one\n")
    desk.poll()
    (old,) = desk.source.checkpoints()
    assert idle(desk, 2) == [1.0]
    os.truncate(desk.log, 0)
    desk.poll()
    desk.write("another\n")
    for _ in range(4):
        desk.poll()
        assert old not in desk.source.idle([old])
        assert not desk.source.is_idle()
    desk.poll(4)
    assert desk.source.idle([old]) == {old: 0.0}


def test_a_path_with_brackets_is_that_path_and_no_pattern(tmp_path):
    (tmp_path / "app[1].log").write_text("mine\n")
    (tmp_path / "app1.log").write_text("other\n")
    desk = Desk(tmp_path, include=[str(tmp_path / "app[1].log")])
    assert desk.texts(2) == ["mine"]
    (tmp_path / "app[1].log").rename(tmp_path / "gone")
    assert desk.texts(3) == []
    desk.write("again\n", tmp_path / "app[1].log")
    assert desk.texts(3) == ["again"]


def test_a_path_with_brackets_may_be_left_out(tmp_path):
    (tmp_path / "app[1].log").write_text("no\n")
    (tmp_path / "app2.log").write_text("yes\n")
    include = [str(tmp_path / "app*.log")]
    for exclude in ("app[1].log", str(tmp_path / "app[1].log")):
        desk = Desk(tmp_path, include=include, exclude=[exclude])
        desk.state.unlink(missing_ok=True)
        desk.start()
        assert desk.texts(2) == ["yes"]


def test_a_named_pipe_by_name_is_refused_with_what_to_do_and_below_a_pattern_told(tmp_path, caplog):
    pipe = tmp_path / "app.log.pipe"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"is a named pipe, which can't be followed.* < .*pipe"):
        Desk(tmp_path, include=[str(pipe)])
    desk = Desk(tmp_path)
    desk.write("one\n")
    assert desk.texts(3) == ["one"]
    assert caplog.text.count(f"{pipe} is a named pipe, which is not read") == 1


def test_standard_input_by_its_sign_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match=r"- is standard input.*source: \{stdin: \{\}\}"):
        Desk(tmp_path, include=["-"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("start_at", ["beginning", "end"])
def test_a_file_of_another_encoding_is_not_read_but_told_and_counted(
    tmp_path, caplog, encoding, start_at
):
    desk = Desk(tmp_path, start_at=start_at)
    desk.source.begin()
    lines = "".join(f"2026-11-21 10:00:{i:02} INFO session {i} opened\n" for i in range(60))
    desk.write(lines.encode(encoding))
    desk.write("one\n", tmp_path / "app.log.1")
    assert desk.texts(3) == ["one"]
    assert desk.source.discarded["no_text"] == 1
    assert f"{desk.log} is no text, and is not read: it" in caplog.text
    assert "UTF" in caplog.text
    assert caplog.text.count("is no text") == 1


def test_a_line_of_json_is_whole_up_to_the_limit_of_finished_logs(tmp_path):
    desk = Desk(tmp_path)
    long = json.dumps({"message": "x" * (MAX_LINE_BYTES - 20)})
    desk.write(f"{long}\n{{}}\n")
    assert desk.texts(20) == [long, "{}"]
    assert desk.source.discarded["cut"] == 0
    assert [line.text for line in read_lines([str(desk.log)], 0.0)] == [long, "{}"]


def test_lines_over_the_limit_of_finished_logs_are_told(tmp_path):
    log, warnings = tmp_path / "app.log", []
    log.write_text(f"{'x' * (MAX_LINE_BYTES + 9)}\nshort\n")
    lines = list(read_lines([str(log)], 0.0, warn=warnings.append))
    assert [len(line.text) for line in lines] == [MAX_LINE_BYTES, 5]
    assert warnings == [f"{log}: lines over 1 MiB were cut, 1 of them"]


def test_every_source_but_syslog_cuts_lines_where_finished_logs_are_cut():
    kafka = {"bootstrap_servers": "a:1", "topics": "t", "auto_offset_reset": "latest"}
    configs = [
        FileSourceConfig(include="a"),
        StdinSourceConfig(),
        JournaldSourceConfig(),
        KafkaSourceConfig(**kafka),
    ]
    assert {config.max_line_bytes for config in configs} == {MAX_LINE_BYTES}


def test_a_file_that_was_moved_to_another_directory_meanwhile_is_read_on(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    desk = Desk(tmp_path, rotated=[str(tmp_path / "ol*")])
    desk.write("one\n")
    desk.commit(desk.poll())
    desk.source.close()
    desk.write("two\n")
    desk.log.rename(old / "app.log.1")
    desk.write("three\n")
    desk.start()
    assert sorted(desk.texts(3)) == ["three", "two"]
    assert desk.texts(60) == []
    assert desk.source.discarded["lost_file"] == 0


def test_a_file_that_was_moved_to_another_device_meanwhile_is_read_on(tmp_path):
    """A copy has another number on disk, as on another device; it lies where a pattern points."""
    old = tmp_path / "old"
    old.mkdir()
    include = [str(tmp_path / "app.log*"), str(old / "*.never")]
    desk = Desk(tmp_path, include=include)
    desk.write("one\n")
    desk.commit(desk.poll())
    desk.source.close()
    desk.write("two\n")
    shutil.copy(desk.log, old / "app.log-20261201")
    desk.log.unlink()
    desk.write("three\n")
    desk.start()
    assert sorted(desk.texts(3)) == ["three", "two"]


def test_a_file_that_is_not_found_again_is_told_once_with_its_bytes_and_counted(tmp_path, caplog):
    desk = Desk(tmp_path, rotate_wait=5.0)
    desk.write("one\ntwo\n")
    lines = desk.poll()
    desk.commit(lines[:1])
    desk.source.close()
    desk.log.unlink()
    desk.start()
    assert desk.texts(10) == []
    told = f"{desk.log} was moved or deleted while nobody read it"
    assert told in caplog.text
    assert "4 bytes that were seen are not read, nor what was written after byte 8" in caplog.text
    assert desk.source.discarded["lost_file"] == 1
    desk.start()
    assert desk.texts(10) == []
    assert caplog.text.count(told) == 1


def test_a_file_that_was_rotated_out_of_sight_is_told_though_all_that_was_seen_is_read(
    tmp_path, caplog
):
    desk = Desk(tmp_path, rotate_wait=5.0)
    desk.write("one\n")
    desk.commit(desk.poll())
    desk.source.close()
    desk.log.unlink()
    desk.write("new\n")
    desk.start()
    assert desk.texts(10) == ["new"]
    assert "0 bytes that were seen are not read, nor what was written after byte 4" in caplog.text


def test_old_files_that_a_rotation_deletes_are_not_missed(tmp_path, caplog):
    desk = Desk(tmp_path, rotate_wait=2.0)
    for number in range(3):
        desk.write(f"file {number}\n", tmp_path / f"app.log.{number}")
    desk.commit(desk.poll())
    desk.source.close()
    (tmp_path / "app.log.2").unlink()
    (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
    desk.start()
    assert desk.texts(10) == []
    assert "while nobody read it" not in caplog.text


def test_a_file_where_rotated_wants_a_directory_is_refused(desk):
    desk.write("one\n")
    desk.config["rotated"] = [str(desk.log)]
    with pytest.raises(ConfigError, match="is a file; name the directory that files are moved to"):
        desk.start()
