"""What was written is what is read: damage is an error, nothing else."""

import shutil
import sqlite3
import threading
from contextlib import closing

import pytest
from trials import state as trials
from trials.state import put

from logmlm.alerting.store.database import StateDatabase
from logmlm.alerting.store.schema import VERSION
from logmlm.errors import StorageError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


def test_rows_come_back_as_they_were_put(path):
    with closing(StateDatabase(path)) as state:
        state.put("sinks", name="s", attempts=1, due=2.5, reason="ö", accepted_at=0.0)
        state.put("sinks", name="s", attempts=2, due=2.5, reason="ö", accepted_at=0.0)
    with closing(StateDatabase(path)) as state:
        row = {"name": "s", "attempts": 2, "due": 2.5, "reason": "ö", "accepted_at": 0.0}
        assert state.get("sinks", "s") == row
        assert state.get("sinks", "t") is None
        assert state.count("sinks") == state.count("sinks", "attempts = ?", 2) == 1
        assert state.delete("sinks", "name = ?", "s") == 1
        assert state.select("sinks") == []


def test_a_transaction_happens_whole_or_not_at_all(path):
    def break_off(state):
        with state.transaction():
            put(state, 2)
            with state.transaction():
                put(state, 3)
            raise KeyError

    with closing(StateDatabase(path)) as state:
        put(state, 1)
        with pytest.raises(KeyError):
            break_off(state)
        assert [row["id"] for row in state.select("alerts")] == ["a1"]
        with state.transaction():
            put(state, 4)
    with closing(StateDatabase(path)) as state:
        assert state.count("alerts") == 2


def test_threads_and_a_second_process_write_in_turn(path):
    def write(state, first):
        for number in range(first, first + 20):
            with state.transaction():
                put(state, number)

    with closing(StateDatabase(path)) as one, closing(StateDatabase(path)) as other:
        threads = [
            threading.Thread(target=write, args=(state, first))
            for first, state in ((0, one), (100, one), (200, other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.count("alerts") == other.count("alerts") == 60


def test_keys_by_number_grow(path):
    with closing(StateDatabase(path)) as state:
        assert state.next_seq("queue") == 1
        state.put("queue", seq=1, sink="s", alert="a", bundle="", attempts=0)
        assert state.next_seq("queue") == 2


def test_a_newer_version_is_refused(path):
    StateDatabase(path).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StorageError, match="newer logmlm"):
        StateDatabase(path)


@pytest.mark.parametrize("text", [b"", b"{}", b"SQLite format 3\0" + b"\0" * 5000])
def test_a_file_that_is_no_database_is_damage_and_stays(path, text):
    path.write_bytes(text)
    with pytest.raises(StorageError, match="is damaged") as caught:
        StateDatabase(path)
    assert f"move {path}" in str(caught.value)
    assert path.read_bytes() == text


@pytest.mark.parametrize("name", ["state.db-wal", "state.db-tally"])
def test_what_is_left_of_a_database_that_is_gone_is_not_mixed_into_a_new_one(path, name):
    path.with_name(name).write_bytes(b"old")
    with pytest.raises(StorageError, match=f"{name} is there"):
        StateDatabase(path)


def test_a_place_that_can_not_be_used_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="can't make"):
        StateDatabase(tmp_path / "none" / "state.db")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE alerts SET body = 'y'",
        "UPDATE alerts SET at = 7.5",
        "DELETE FROM alerts WHERE id = 'a1'",
        "UPDATE totals SET rows = rows + 1",
        "DROP INDEX alerts_at",
        "DROP TABLE totals",
        "CREATE TABLE mine (a)",
    ],
)
def test_what_somebody_else_changed_is_found_when_it_is_opened(path, sql):
    with closing(StateDatabase(path)) as state:
        put(state, 1)
        put(state, 2)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DROP TRIGGER alerts_deleted") if sql.startswith("DELETE") else None
        raw.execute(sql)
        raw.commit()
    with pytest.raises(StorageError, match="is damaged"):
        StateDatabase(path)


def test_what_is_changed_while_it_is_open_is_found_when_it_is_read(path):
    with closing(StateDatabase(path)) as state:
        put(state, 1)
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("UPDATE alerts SET body = 'y'")
            raw.commit()
        with pytest.raises(StorageError, match="a row of 'alerts' is not what was written"):
            state.get("alerts", "a1")


def test_damage_is_told_without_a_word_of_what_the_rows_hold(path):
    with closing(StateDatabase(path)) as state, state.transaction():
        state.put("alerts", id="a", at=1.0, verdict="sent", body='{"password": "hunter2"}')
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alerts SET body = CAST(X'7B22FF' || body AS TEXT)")
    with pytest.raises(StorageError, match=r"is damaged .* move .* away") as raised:
        StateDatabase(path)
    assert "hunter2" not in str(raised.value)


def test_a_closed_database_says_so(path):
    state = StateDatabase(path)
    state.close()
    with pytest.raises(StorageError, match="is closed"):
        state.select("alerts")


@pytest.mark.parametrize("with_log", [False, True], ids=["closed", "with its log"])
def test_cut_anywhere_or_with_a_bit_flipped_it_is_never_silently_wrong(tmp_path, with_log):
    """Each damage is an error, or what stood there last is read: nothing is lost without a word."""
    assert "the others harmless" in trials.damage(tmp_path, times=40, with_log=with_log)


def test_damaged_positions_are_told_or_an_error(tmp_path):
    assert "the others harmless" in trials.damage_positions(tmp_path, times=40)


def test_a_writer_that_is_killed_loses_nothing_and_leaves_nothing_that_looks_damaged(tmp_path):
    assert "3 kills" in trials.killed(tmp_path, times=3)


@pytest.fixture
def crashed(tmp_path, path):
    """What a process leaves that is killed after five transactions."""
    with closing(StateDatabase(path)) as state:
        for number in range(5):
            put(state, number)
        place = tmp_path / "crashed"
        place.mkdir()
        for found in path.parent.glob("state.db*"):
            shutil.copy(found, place)
    return place / "state.db"


@pytest.mark.parametrize("spoil", ["flip", "cut", "gone"])
def test_transactions_that_a_damaged_log_lost_are_missed(crashed, spoil):
    """The log's header, its last byte, or all of it: SQLite takes each for an earlier end."""
    log = crashed.with_name("state.db-wal")
    whole = log.read_bytes()
    flipped = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
    log.write_bytes({"flip": flipped, "cut": whole[:-1], "gone": b""}[spoil])
    lost = 1 if spoil == "cut" else 5
    for _ in range(2):  # opened once, the log is no longer there
        with pytest.raises(StorageError, match=f"transactions are missing, {lost} of them"):
            StateDatabase(crashed)
    crashed.with_name("state.db-tally").rename(crashed.with_name("away"))
    with closing(StateDatabase(crashed)) as state:
        assert state.count("alerts") == 5 - lost
        put(state, 9)


@pytest.mark.parametrize("text", ["", "5\n", "0" * 60])
def test_a_tally_that_is_not_what_was_written_is_damage(crashed, text):
    crashed.with_name("state.db-tally").write_text(text)
    with pytest.raises(StorageError, match=r"state\.db-tally is damaged: move it away"):
        StateDatabase(crashed)


def test_a_changed_count_of_transactions_is_damage(path):
    with closing(StateDatabase(path)) as state:
        put(state, 1)
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE totals SET rows = 7 WHERE name = 'transactions'")
    with pytest.raises(StorageError, match="its count of transactions"):
        StateDatabase(path)


def test_one_who_only_reads_or_gives_up_counts_for_nothing(path):
    def give_up(state):
        with state.transaction():
            put(state, 2)
            raise KeyError

    with closing(StateDatabase(path)) as state:
        put(state, 1)
        before = path.with_name("state.db-tally").read_text()
        with state.transaction():
            assert state.count("alerts") == 1
        with pytest.raises(KeyError):
            give_up(state)
        state.delete("alerts", "id = ?", "none")
        assert path.with_name("state.db-tally").read_text() == before


def test_a_tally_that_can_not_be_used_is_a_storage_error(path):
    StateDatabase(path).close()
    path.with_name("state.db-tally").unlink()
    path.with_name("state.db-tally").mkdir()
    with pytest.raises(StorageError, match=r"can't use .*state\.db-tally"):
        StateDatabase(path)


def test_a_full_disk_is_a_storage_error_and_what_was_committed_stays(path):
    assert "told" in trials.full_disk(path)


@pytest.mark.skipif(not trials.can_mount(), reason="needs the right to mount (unshare -rm)")
def test_the_daemon_ends_at_a_full_disk_and_goes_on_with_every_alert_once_there_is_room(tmp_path):
    assert "exit 74" in trials.full_tmpfs(tmp_path)
