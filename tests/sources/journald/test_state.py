"""What is known of the journal survives, damage is found, and no cursor that is needed is lost."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.errors import StorageError
from logmlm.records import Checkpoint
from logmlm.sources.journald.state import CursorHistory, JournalState, SequencePosition, load, save

STATE = JournalState("s=a;i=5", {"a": SequencePosition(Checkpoint(5, 7, 1.5), "web1", 3.0)})


def test_what_was_saved_is_loaded_again(tmp_path):
    path = tmp_path / "journal.json"
    assert load(path) is None
    save(path, STATE)
    assert load(path) == STATE


def test_a_flipped_bit_or_a_cut_is_found(tmp_path):
    path = tmp_path / "journal.json"
    save(path, STATE)
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with suppress(StorageError):
            assert load(path) == STATE  # a bit of white space means nothing
    for length in range(0, len(whole) - 2, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match="is damaged"):
            load(path)


def test_a_state_of_a_newer_version_and_one_that_can_not_be_read_are_told(tmp_path):
    path = tmp_path / "journal.json"
    path.write_text(json.dumps({"version": 2}))
    with pytest.raises(StorageError, match="newer logmlm"):
        load(path)
    with pytest.raises(StorageError, match="can't read"):
        load(tmp_path)


def test_the_trail_begins_where_it_was_left_and_ends_at_the_newest():
    trail = CursorHistory("start")
    assert trail.cursor({}) == trail.newest == "start"
    trail.add("a", 1, "a1")
    assert (trail.cursor({"a": 1}), trail.newest) == ("a1", "a1")
    assert trail.cursor({"a": 2}) == "a1"
    trail.skip("a2")
    assert trail.cursor({"a": 2}) == trail.newest == "a2"


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("abc"), max_size=300),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 200)),
    st.integers(1, 5),
    st.integers(2, 6),
)
def test_no_entry_that_is_still_needed_lies_before_the_cursor(names, safe, stretch, most):
    trail = CursorHistory(None, stretch, most)
    entries = [(name, number) for number, name in enumerate(names)]
    for place, (name, number) in enumerate(entries):
        trail.add(name, number, str(place))
    cursor = trail.cursor(safe)
    begin = int(cursor) if cursor is not None else 0
    assert all(number < safe.get(name, 0) for name, number in entries[:begin])
    assert len(trail._spans) <= most
