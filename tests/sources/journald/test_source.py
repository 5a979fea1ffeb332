"""The journal is read entry by entry, each once, through restarts, rotation and vacuuming."""

import json
import logging
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from journal_parts import BOOT, Desk, entries, needs_journal, script
from trials import journal as trials

from logmlm.config.sources import JournaldSourceConfig
from logmlm.config.training import FormatConfig
from logmlm.errors import StorageError
from logmlm.parsing.formats import get_format
from logmlm.records import Checkpoint
from logmlm.sources.journald import journalctl
from logmlm.sources.journald.source import FORGET_AFTER_S, MAX_BACK_OFF_S

pytestmark = needs_journal


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.stop()


def test_each_entry_is_a_line_of_json_with_its_number_as_position(desk):
    desk.journal.count(3)
    source = desk.start()
    lines = desk.read(3)
    assert [(line.start, line.end) for line in lines] == [(1, 2), (2, 3), (3, 4)]
    assert lines[0].text.startswith('{"MESSAGE": "entry 0", "PRIORITY": "6", "SYSLOG_IDENTIFIER"')
    assert {line.received_at for line in lines} == {1000.0}
    (partition,) = source.checkpoints()
    assert {line.partition for line in lines} == {partition}
    assert source.describe(partition) == "journal of web1"
    assert (source.name, source.exhausted, source.replayable) == ("journald", False, True)


def test_entries_that_come_later_are_followed_into_the_next_file(desk):
    desk.journal.count(2)
    desk.start()
    assert desk.messages(2) == entries(0, 2)
    desk.journal.count(2)
    assert desk.messages(2) == entries(2, 4)
    desk.journal.rotate()
    desk.journal.count(2)
    assert desk.messages(2) == entries(4, 6)


def test_at_the_end_means_behind_what_is_there_at_the_very_first_start_only(desk):
    desk.config["start_at"] = "end"
    desk.journal.count(3)
    desk.start()
    assert desk.read(0) == []
    desk.stop()
    desk.journal.count(2)
    desk.start()
    assert desk.messages(2) == entries(3, 5)


def test_a_journal_that_is_empty_at_the_first_start_is_read_from_its_beginning(desk):
    desk.config["start_at"] = "end"
    desk.start()
    assert desk.read(0) == []
    desk.journal.count(2)
    assert desk.messages(2) == entries(0, 2)


def test_a_restart_begins_at_the_safe_position_with_the_same_numbers(desk):
    desk.journal.count(1000)
    desk.start()
    lines = desk.read(1000)
    desk.commit(lines, open_lines=300)
    (expected,) = desk.source.checkpoints().values()
    desk.start()
    assert list(desk.source.checkpoints().values()) == [expected]
    again = desk.read(300)
    assert [(line.partition, line.start, line.text) for line in again] == [
        (line.partition, line.start, line.text) for line in lines[-300:]
    ]
    assert desk.source.discarded.total() == 0


def test_a_restart_after_everything_was_dealt_with_hands_over_nothing_twice(desk):
    desk.journal.count(5)
    desk.start()
    desk.commit(desk.read(5))
    desk.start()
    assert desk.read(0) == []
    desk.journal.count(1)
    assert desk.messages(1) == ["entry 5"]


def test_what_came_before_a_reboot_is_read_after_it(desk):
    desk.journal.count(2)
    desk.start()
    desk.commit(desk.read(2))
    desk.stop()
    desk.journal.count(2)
    desk.journal.count(2, _BOOT_ID="3" * 32)
    desk.start()
    assert desk.messages(4) == entries(2, 6)


def test_an_entry_vacuumed_before_it_was_read_is_said_and_counted_and_no_other_is_lost(
    desk, caplog
):
    desk.journal.count(3)
    desk.start()
    desk.commit(desk.read(3))
    desk.stop()
    desk.journal.count(2)
    desk.journal.rotate()
    desk.journal.count(2)
    desk.journal.vacuum()
    desk.start()
    assert desk.messages(2) == entries(5, 7)
    assert desk.source.discarded["gap"] == 1
    assert "the journal has a gap: after entry 3" in caplog.text
    desk.start()
    assert desk.messages(2) == entries(5, 7)


def test_entries_that_were_vacuumed_after_they_were_read_make_no_gap(desk):
    """The next entry of the sequence follows directly on the one that is gone."""
    desk.journal.count(6)
    desk.start()
    desk.commit(desk.read(6))
    (name,) = desk.source.checkpoints()
    answer = json.dumps({"__CURSOR": f"s={name};i=7;b={BOOT};m=1;t=1;x=1"})
    desk.parts["program"] = script(desk.state.with_name("one"), f"echo '{answer}'", "sleep 1")
    desk.start()
    desk.source.poll(0.0)
    assert desk.source.discarded["gap"] == 0


def test_a_gap_that_comes_while_reading_is_counted(desk):
    desk.journal.count(2)
    desk.start()
    desk.read(2)
    (name,) = desk.source.checkpoints()
    cursor = f"s={name};i={{}};b={BOOT};m=1;t=1;x=1"
    follow = json.dumps({"__CURSOR": cursor.format("9"), "MESSAGE": "m"})
    first = json.dumps({"__CURSOR": cursor.format("8"), "MESSAGE": "m"})
    program = script(
        desk.state.with_name("two"),
        f"case \"$*\" in *--follow*) echo '{json.dumps({'__CURSOR': cursor.format('3')})}';",
        f"echo '{follow}'; exec sleep 5;; *) echo '{first}';; esac",
    )
    desk.source._child.close()
    desk.source._child = None
    desk.source._program = program
    desk.now += 100
    assert [line.start for line in desk.read(2)] == [3, 9]
    assert desk.source.discarded["gap"] == 2


@pytest.mark.parametrize(("first", "reason"), [(8, "gap"), (9, "gap"), (10, "unsure_gap")])
def test_what_was_vacuumed_past_the_next_entry_that_was_read_is_no_sure_gap(desk, first, reason):
    """Entries 1 and 9 are read; then the journal begins at `first`."""
    cursor = f"s=a;i={{:x}};b={BOOT};m=1;t=1;x=1"
    one, nine, begin = (
        json.dumps({"__CURSOR": cursor.format(number), "MESSAGE": "m"}) for number in (1, 9, first)
    )
    desk.parts["program"] = script(
        desk.state.with_name("two"),
        f"case \"$*\" in *--follow*) echo '{one}'; echo '{nine}'; exec sleep 5;;",
        f"*) echo '{begin}';; esac",
    )
    desk.start()
    assert [line.start for line in desk.read(2)] == [1, 9]
    assert dict(+desk.source.discarded) == {reason: 1}


def test_a_gap_that_can_not_be_asked_about_is_told(desk, caplog):
    lines = [json.dumps({"__CURSOR": f"s=a;i={i}", "MESSAGE": "m"}) for i in (5, 7)]
    echo = "; ".join(f"echo '{line}'" for line in lines)
    program = f'case "$*" in *--follow*) {echo}; exec sleep 3;; *) exit 3;; esac'
    desk.parts["program"] = script(desk.state.with_name("odd"), program)
    desk.start()
    assert [line.start for line in desk.read(2)] == [5, 7]
    assert "can't see whether the journal has a gap" in caplog.text


def test_an_empty_journal_after_a_stop_is_a_gap_once(desk, caplog):
    desk.journal.count(2)
    desk.start()
    desk.commit(desk.read(2))
    desk.stop()
    desk.journal.rotate()
    desk.journal.vacuum()
    desk.start()
    assert desk.read(0) == []
    desk.source._child._child.kill()
    desk.read(0)
    desk.now += 5
    desk.read(0)
    assert desk.source.discarded["gap"] == 1
    assert "entries were vacuumed" in caplog.text


def test_rotated_and_vacuumed_again_and_again_no_entry_that_is_there_is_lost(tmp_path):
    assert "3 gaps counted" in trials.vacuum(tmp_path, turns=5)


def test_units_and_priority_are_filtered(desk):
    desk.journal.write("one", _SYSTEMD_UNIT="one.service")
    desk.journal.write("two", _SYSTEMD_UNIT="two.service")
    desk.journal.write("two, shouting", _SYSTEMD_UNIT="two.service", PRIORITY=3)
    desk.config["units"] = ["two"]
    desk.start()
    assert desk.messages(2) == ["two", "two, shouting"]
    assert desk.source.discarded["gap"] == 0
    desk.state.unlink()
    desk.config["max_priority"] = 4
    desk.start()
    assert desk.messages(1) == ["two, shouting"]


def test_our_own_unit_is_never_read(desk):
    desk.journal.write("own", _SYSTEMD_UNIT="logmlm@a.service")
    desk.journal.write("own too", _SYSTEMD_UNIT="user@1.service", _SYSTEMD_USER_UNIT="l.service")
    desk.journal.write("other")
    desk.parts["own_units"] = ["logmlm@a.service", "l.service"]
    desk.start()
    assert desk.messages(1) == ["other"]
    assert desk.source.discarded["own_unit"] == 2
    desk.source.commit({})
    desk.start()
    assert desk.messages(1) == ["other"]


def test_messages_that_are_no_plain_text_are_text_all_the_same(desk):
    desk.journal.write(
        b"caf\xe9\nsecond", ["first", "other"], [b"\xff1", "2"], "x" * 9000, "y" * 2000
    )
    desk.config["max_line_bytes"] = 5000
    desk.start()
    expected = ["caf\ufffd\nsecond", "first other", "\ufffd1 2", "x" * 5000, "y" * 2000]
    assert desk.messages(5) == expected
    assert desk.source.discarded == {"cut": 1}


def test_an_entry_too_long_to_be_read_is_counted(desk):
    desk.journal.write("before", "x" * 3_000_000, "after")
    desk.config["max_line_bytes"] = 1000
    desk.start()
    assert desk.messages(2) == ["before", "after"]
    assert desk.source.discarded["too_long"] == 1


def test_the_reader_sees_what_a_training_on_journalctls_json_saw(desk):
    several = ["first", "other"], [b"\xff1", "2"]
    desk.journal.write("plain", b"caf\xe9", "two\nlines", *several, PRIORITY=3)
    desk.start()
    lines = desk.read(5)
    command = ["journalctl", f"--directory={desk.journal.directory}", "-o", "json"]
    trained = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    form = get_format(FormatConfig(name="json"))
    expected = [form.parse(text, 0.0) for text in trained.splitlines()]
    assert [form.parse(line.text, 0.0) for line in lines] == expected
    messages = [fields.message for fields in expected]
    assert messages == ["plain", "caf\ufffd", "two", "first other", "\ufffd1 2"]
    assert {fields.level for fields in expected} == {"ERROR"}


def test_a_journalctl_that_dies_is_started_again_later_each_time(desk, caplog):
    desk.journal.count(2)
    desk.start()
    assert len(desk.read(2)) == 2
    desk.source._child._child.send_signal(signal.SIGKILL)
    desk.read(0)
    desk.read(0)
    assert "journalctl ended by signal 9; trying again in 1 s" in caplog.text
    desk.journal.count(1)
    desk.now += 1
    assert desk.messages(1) == ["entry 2"]


def test_one_that_can_not_be_run_is_tried_again_at_growing_distance(desk, caplog):
    desk.journal.count(1)
    desk.config["directory"] = desk.state.with_name("none")
    desk.start()
    started = desk.now
    for _ in range(400):
        desk.source.poll(0.5 if "in 60 s" not in caplog.text else 60.0)
        if caplog.text.count("in 60 s") > 1:
            break
    assert "journalctl says: Failed to open" in caplog.text
    assert "journalctl ended with exit code 1; trying again in 2 s" in caplog.text
    assert desk.now - started < 400
    desk.now -= 2 * MAX_BACK_OFF_S
    before = len(caplog.records)
    desk.source.poll(0.5)
    desk.source.poll(0.5)
    assert len(caplog.records) > before


def test_a_journal_that_can_not_be_asked_is_tried_again(desk, caplog):
    desk.journal.count(1)
    desk.start()
    desk.commit(desk.read(1))
    desk.stop()
    desk.parts["program"] = script(desk.state.with_name("broken"), "echo no >&2; exit 3")
    desk.start()
    assert desk.source.poll(0.5) == []
    assert "can't read the journal: no; trying again in 1 s" in caplog.text


def test_without_journalctl_the_start_is_refused(desk):
    desk.parts["program"] = "no-such-journalctl"
    with pytest.raises(StorageError, match="there is no no-such-journalctl here"):
        desk.start()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["echo nonsense"], "something else than JSON"),
        (["echo why >&2", "exit 1"], "can't read the journal: why"),
        (["#!/none"], ""),
    ],
)
def test_what_is_no_journalctl_is_told(desk, lines, message):
    desk.config["start_at"] = "end"
    desk.parts["program"] = script(desk.state.with_name("odd"), *lines)
    if not message:
        Path(desk.parts["program"]).write_text("#!/none\n")
        message = "can't ask"
    with pytest.raises(StorageError, match=message):
        desk.start()


def test_a_program_that_can_not_be_started_is_tried_again(desk, caplog):
    desk.parts["program"] = script(desk.state.with_name("odd"))
    desk.start()
    Path(desk.parts["program"]).write_text("#!/none\n")
    assert desk.source.poll(0.5) == []
    assert "can't run" in caplog.text


def test_lines_that_are_no_entries_are_counted(desk):
    cursor = json.dumps(
        {"__CURSOR": "s=1;i=5", "__SEQNUM": "6", "__SEQNUM_ID": "2", "MESSAGE": [999]}
    )
    program = [f"echo '{line}'" for line in ("{", "[]", '{"__CURSOR": "?"}', "{}", cursor)]
    desk.parts["program"] = script(desk.state.with_name("odd"), *program, "exec sleep 3")
    desk.start()
    (line,) = desk.read(1)
    assert (line.partition, line.start) == ("2", 6)
    assert (
        line.text
        == '{"MESSAGE": [999], "__CURSOR": "s=1;i=5", "__SEQNUM": "6", "__SEQNUM_ID": "2"}'
    )
    assert desk.source.discarded["unreadable"] == 4
    assert desk.source.describe("2") == "journal of an unnamed host"


def test_half_of_a_character_in_an_entry_is_a_question_mark(desk):
    entry = json.dumps({"__CURSOR": "s=1;i=5", "MESSAGE": "a\ud800b", "_HOSTNAME": "h\udfff"})
    program = script(desk.state.with_name("odd"), "cat << 'END'", entry, "END", "exec sleep 3")
    desk.parts["program"] = program
    desk.start()
    (line,) = desk.read(1)
    assert line.text == '{"MESSAGE": "a?b", "_HOSTNAME": "h?", "__CURSOR": "s=1;i=5"}'
    assert desk.source.describe("1") == "journal of h?"


def test_an_entry_that_comes_after_its_followers_is_counted(desk):
    lines = [json.dumps({"__CURSOR": f"s=a;i={i}", "MESSAGE": "m"}) for i in (5, 4, 6)]
    program = [f"echo '{line}'" for line in lines]
    desk.parts["program"] = script(desk.state.with_name("odd"), *program, "exec sleep 3")
    desk.start()
    assert [line.start for line in desk.read(2)] == [5, 6]
    assert desk.source.discarded["out_of_order"] == 1


def test_a_child_that_does_not_end_is_killed(desk):
    program = script(
        desk.state.with_name("stubborn"), "trap '' TERM", "exec 2>&-", "while :; do sleep 0.1; done"
    )
    desk.parts["program"] = program
    desk.start()
    desk.source.poll(0.2)
    child = desk.source._child
    desk.source.close()
    assert child.ended == "by signal 9"
    child.close()


def test_the_child_ends_when_the_daemon_is_killed(desk):
    desk.journal.count(1)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from logmlm.sources.journald.journalctl import Journalctl\n"
        "child = Journalctl('journalctl', sys.argv[1:], 1000)\n"
        "print(child._child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [os.sys.executable, "-c", code, f"--directory={desk.journal.directory}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while _is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_running(pid)


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_lag_is_what_the_journal_has_beyond_what_was_read(desk):
    desk.journal.count(2)
    desk.start()
    desk.read(2)
    (name,) = desk.source.checkpoints()
    assert desk.source.lag() == {name: 0}
    desk.journal.count(3)
    assert desk.source.lag() == {name: 0}
    desk.now += 40
    assert desk.source.lag() == {name: 3}
    desk.source._program = script(desk.state.with_name("broken"), "exit 3")
    desk.now += 40
    assert desk.source.lag() == {}
    desk.source._program = script(desk.state.with_name("silent"))
    desk.now += 40
    assert desk.source.lag() == {}


def test_sequences_not_seen_for_a_week_are_forgotten_but_never_the_newest(desk):
    desk.journal.count(1)
    desk.start()
    desk.commit(desk.read(1))
    desk.journal.rotate()
    desk.now += 2 * FORGET_AFTER_S
    desk.source.commit({})
    assert len(desk.source.checkpoints()) == 1
    desk.journal.count(1)
    desk.commit(desk.read(1))
    desk.source.changes()
    desk.source.commit({})
    assert len(desk.source.checkpoints()) == 1
    desk.now += 2 * FORGET_AFTER_S
    desk.journal.count(1)
    desk.commit(desk.read(1))
    assert len(desk.source.checkpoints()) == 1
    desk.source.commit({"gone": Checkpoint(1, 1, None)})
    assert "gone" not in desk.source.checkpoints()


def test_a_sequence_that_nothing_comes_to_is_said_to_have_ended_before_it_is_forgotten(desk):
    desk.journal.count(1)
    desk.start()
    desk.commit(desk.read(1))
    (old,) = desk.source.checkpoints()
    assert not desk.source.changes().ended
    desk.journal.rotate()
    desk.now += 2 * FORGET_AFTER_S
    desk.journal.count(1, _BOOT_ID="3" * 32)
    (line,) = desk.read(1)
    assert line.partition != old
    desk.commit([line])
    assert old in desk.source.checkpoints()
    assert desk.source.changes().ended == {old}
    assert not desk.source.changes().ended
    desk.commit([line])
    assert old not in desk.source.checkpoints()
    assert desk.source.describe(old) == "journal of an unnamed host"


def test_the_state_is_written_only_when_it_changed(desk):
    desk.journal.count(1)
    desk.start()
    desk.commit(desk.read(1))
    inode = desk.state.stat().st_ino
    desk.source.commit(desk.source.checkpoints())
    assert desk.state.stat().st_ino == inode


def test_a_look_before_the_start_says_whether_the_journal_can_be_read(desk, tmp_path):
    config = JournaldSourceConfig(**desk.config)
    assert journalctl.check_access(config) == [
        "note: the journal holds nothing that this user can read"
    ]
    desk.journal.count(1)
    assert journalctl.check_access(config) == ["the journal can be read"]
    hint = script(tmp_path / "hint", "echo 'Hint: you see little' >&2", "echo '{}'")
    assert journalctl.check_access(config, hint) == ["note: journalctl says: Hint: you see little"]


def test_this_machines_journal_is_read_unless_another_is_named(tmp_path):
    path = tmp_path / "machine-id"
    assert journalctl.journal_options(JournaldSourceConfig(), path) == []
    path.write_text("uninitialized\n")
    assert journalctl.journal_options(JournaldSourceConfig(), path) == []
    path.write_text("4" * 32 + "\n")
    assert journalctl.journal_options(JournaldSourceConfig(), path) == ["_MACHINE_ID=" + "4" * 32]
    several = JournaldSourceConfig(files=["/a", "/b"])
    assert journalctl.journal_options(several) == ["--file=/a", "--file=/b"]
    assert journalctl.match_options(JournaldSourceConfig(units="x", max_priority=0)) == [
        "--unit=x",
        "--priority=emerg",
    ]


def test_what_the_child_complains_of_is_logged(desk, caplog):
    desk.parts["program"] = script(desk.state.with_name("loud"), "echo oh dear >&2", "exec sleep 3")
    with caplog.at_level(logging.WARNING):
        desk.start()
        for _ in range(100):
            desk.source.poll(0.05)
            if caplog.records:
                break
    assert "journalctl says: oh dear" in caplog.text


# Idle journals


def polled(desk, names, times=20, step_s=0.5):
    """Idle seconds after so many silent polls, by a clock that goes on as it is told."""
    for _ in range(times):
        assert desk.source.poll(0.05) == []
        desk.now += step_s
        found = desk.source.idle(names)
    return found


def test_a_journal_that_was_read_to_its_end_is_idle_until_an_entry_comes(desk):
    desk.parts["monotonic"] = lambda: desk.now
    desk.journal.count(3)
    desk.start()
    desk.read(3)
    names = list(desk.source.checkpoints())
    first = polled(desk, names)
    assert 8.0 <= first[names[0]] <= 10.0
    assert desk.source.is_idle()
    assert 15.0 <= polled(desk, names)[names[0]] <= 20.0
    desk.journal.count(1)
    desk.read(1)
    assert desk.source.idle(names) == {}


def test_a_silent_journalctl_that_lags_makes_no_journal_idle(desk):
    desk.parts["monotonic"] = lambda: desk.now
    desk.journal.count(3)
    desk.start()
    desk.read(3)
    names = list(desk.source.checkpoints())
    os.kill(desk.source._child._child.pid, signal.SIGSTOP)
    desk.journal.count(1)
    assert polled(desk, names) == {}
    assert not desk.source.is_idle()
    os.kill(desk.source._child._child.pid, signal.SIGCONT)
    assert len(desk.read(1)) == 1
    assert polled(desk, names)[names[0]] >= 8.0


def test_a_journal_that_can_not_be_asked_is_not_idle(desk):
    desk.parts["monotonic"] = lambda: desk.now
    desk.journal.count(3)
    desk.start()
    desk.read(3)
    names = list(desk.source.checkpoints())
    desk.source._program = script(desk.state.with_name("broken"), "exit 1")
    assert polled(desk, names) == {}
