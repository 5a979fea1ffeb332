"""The outbox survives, forgets nothing that waits, and never doubles an alert."""

import json
import os

import pytest

from logmlm import outbox
from logmlm.errors import StorageError
from logmlm.outbox import DeadLetters, Outbox
from logmlm.records import Alert


def alert(number):
    return Alert(f"id{number}", "f", {"severity": "info"}, {"summary": "ö"}, 1.5, None)


def test_what_was_saved_waits_again_after_a_restart(tmp_path):
    path = tmp_path / "outbox.json"
    box = Outbox(path)
    assert box.put(alert(1), ["a", "b"])
    assert box.put(alert(2), ["a"])
    assert box.pop("a") == alert(1)
    box.save()
    again = Outbox(path)
    assert list(again.waiting("a")) == [alert(2)]
    assert list(again.waiting("b")) == [alert(1)]
    assert again.sinks == ["a", "b"]
    assert not again.put(alert(1), ["a"])
    assert again.put(alert(3), ["a"])


def test_nothing_is_written_before_save_or_without_a_change(tmp_path):
    path = tmp_path / "outbox.json"
    box = Outbox(path)
    box.save()
    assert not path.exists()
    box.put(alert(1), ["a"])
    assert not path.exists()
    box.save()
    inode = path.stat().st_ino
    assert not box.put(alert(1), ["a"])
    box.save()
    assert path.stat().st_ino == inode


def test_old_ids_are_forgotten_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_SEEN", 2)
    box = Outbox(tmp_path / "outbox.json")
    for number in (1, 2, 3):
        box.put(alert(number), [])
    assert not box.put(alert(3), [])
    assert not box.put(alert(2), [])
    assert box.put(alert(1), [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"version": 1, "seen": [], "queues": {"a": [{}]}}', "is damaged"),
        ('{"version": 2}', "newer logmlm"),
    ],
)
def test_a_damaged_outbox_is_told_and_kept(tmp_path, text, message):
    path = tmp_path / "outbox.json"
    path.write_text(text)
    with pytest.raises(StorageError, match=message) as caught:
        Outbox(path)
    assert f"move {path} away" in str(caught.value)
    assert path.read_text() == text


def test_an_outbox_that_can_not_be_read_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="can't read"):
        Outbox(tmp_path)


def test_dead_letters_hold_the_alert_and_the_reason(tmp_path):
    path = tmp_path / "dead.jsonl"
    DeadLetters(path).add(alert(1), "hook", "HTTP 400", 5.0)
    DeadLetters(path).add(alert(2), "hook", "HTTP 404", 6.0)
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["at"], first["sink"], first["reason"]) == (5.0, "hook", "HTTP 400")
    assert first["alert"]["id"] == "id1"
    assert first["alert"]["annotations"] == {"summary": "ö"}
    assert second["alert"]["id"] == "id2"


def test_the_dead_letters_do_not_grow_for_ever(tmp_path):
    path = tmp_path / "dead.jsonl"
    path.touch()
    os.truncate(path, outbox.MAX_DEAD_BYTES + 1)
    DeadLetters(path).add(alert(1), "hook", "x", 5.0)
    assert len(path.read_text().splitlines()) == 1
    assert (tmp_path / "dead.jsonl.1").stat().st_size == outbox.MAX_DEAD_BYTES + 1


def test_dead_letters_that_can_not_be_written_are_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="can't write"):
        DeadLetters(tmp_path / "none" / "dead.jsonl").add(alert(1), "hook", "x", 5.0)
