"""Silences count from their beginning, before their end, and are bounded."""

from contextlib import closing

import pytest

from logmlm.alerting import silences as module
from logmlm.alerting.label_matchers import LabelMatcher
from logmlm.alerting.silences import (
    KEEP_S,
    active_silences,
    add_silence,
    expire_silence,
    list_silences,
)
from logmlm.alerting.store.database import StateDatabase
from logmlm.errors import UsageError

HOST = [LabelMatcher("host", "=", "web1")]


@pytest.fixture
def state(tmp_path):
    with closing(StateDatabase(tmp_path / "state.db")) as state:
        yield state


def test_a_silence_counts_before_its_end_and_is_listed_for_a_while_after_it(state):
    made = add_silence(state, HOST, 100.0, (100.0, 200.0), comment="c", created_by="me")
    assert list_silences(state) == active_silences(state, 100.0) == [made]
    assert made.mutes({"host": "web1", "x": "y"})
    assert not made.mutes({"host": "web2"})
    assert active_silences(state, 99.0) == active_silences(state, 200.0) == []
    other = add_silence(state, HOST, 201.0 + KEEP_S, (0.0, 1e9))
    assert list_silences(state) == [other]


def test_several_that_begin_so_are_not_guessed_at(state):
    for _ in range(17):
        add_silence(state, HOST, 0.0, (0.0, 1.0))
    starts = {one.id[:1] for one in list_silences(state)}
    assert len(starts) < 17
    ambiguous = next(s for s in starts if sum(x.id.startswith(s) for x in list_silences(state)) > 1)
    with pytest.raises(UsageError, match="several silences' ids begin"):
        expire_silence(state, ambiguous, 0.5)
    with pytest.raises(UsageError, match="no silence's id begins"):
        expire_silence(state, "", 0.5)


def test_there_are_only_so_many(state, monkeypatch):
    monkeypatch.setattr(module, "MAX_SILENCES", 2)
    for _ in range(2):
        add_silence(state, HOST, 0.0, (0.0, 1.0))
    with pytest.raises(UsageError, match="2 silences already"):
        add_silence(state, HOST, 0.0, (0.0, 1.0))
