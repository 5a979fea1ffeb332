"""The outbox survives, forgets nothing that waits, doubles nothing, and stays bounded."""

from contextlib import closing

import pytest
from http_parts import alert

from logmlm import outbox
from logmlm.groups import Grouping
from logmlm.outbox import Outbox, Parcel
from logmlm.state import State

GROUPS = Grouping(("model",))


@pytest.fixture
def state(tmp_path):
    with closing(State(tmp_path / "state.db")) as state:
        yield state


def numbered(number, **changes):
    return alert(f"ODD {number}", first=number * 100, **changes)


def store(box, *alerts, now=0.0, verdict="sent"):
    return box.store([(one, verdict) for one in alerts], now)


def drained(box, sink, now=0.0, flush=False):
    """Ids of all that is due, each accepted."""
    ids = []
    while isinstance(parcel := box.next(sink, now, flush), Parcel):
        ids += [one.id for one in parcel.notification.alerts]
        box.accepted(parcel, now)
    return ids


def test_alerts_wait_for_each_sink_in_order_until_it_accepted_them(state):
    box = Outbox(state, {"a": None, "b": None})
    first, second = numbered(1), numbered(2)
    assert store(box, first, second) == [first, second]
    assert not box.is_settled(first.id)
    assert drained(box, "a") == [first.id, second.id]
    assert box.is_settled(first.id)
    assert drained(Outbox(state, {"a": None, "b": None}), "b") == [first.id, second.id]
    assert box.next("a", 9.0) is box.next("b", 9.0) is None


def test_an_alert_is_told_as_it_was_made(state):
    box = Outbox(state, {"a": None})
    made = alert("ODD \ud800 \x00 ö")
    store(box, made)
    (told,) = box.next("a", 0.0).notification.alerts
    assert (told.labels, told.annotations) == (made.labels, made.annotations)


def test_an_id_that_was_stored_is_left_alone_and_old_ones_are_forgotten(state, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_SEEN", 3)
    box = Outbox(state, {"a": None})
    assert store(box, numbered(1), numbered(1)) == [numbered(1)]
    for number in (2, 3, 4):
        store(box, numbered(number), now=float(number))
    assert store(box, numbered(2)) == []
    assert len(store(box, numbered(1), now=5.0)) == 1
    assert box.is_settled("never stored")


def test_what_is_muted_is_kept_but_waits_for_nobody(state):
    box = Outbox(state, {"a": None, "b": GROUPS})
    store(box, numbered(1), verdict="silenced")
    assert box.is_settled(numbered(1).id)
    assert box.next("a", 99.0) is box.next("b", 99.0) is None
    assert state.get("alerts", numbered(1).id)["verdict"] == "silenced"


def test_a_group_is_told_once_for_all_that_came_and_settles_them(state):
    box = Outbox(state, {"g": GROUPS})
    many = [numbered(number) for number in range(30)]
    store(box, *many[:10])
    assert box.next("g", 0.0) == 30.0
    store(box, *many[10:], now=20.0)
    parcel = box.next("g", 30.0)
    (told,) = parcel.notification.alerts
    assert told.annotations["count"] == "30"
    late = numbered(99)
    store(box, late, now=30.0)
    box.accepted(parcel, 31.0)
    assert all(box.is_settled(one.id) for one in many)
    assert not box.is_settled(late.id)
    same = numbered(100)
    store(box, same, now=32.0)
    assert box.is_settled(same.id), "its receiver knows that such an alert fires"
    assert box.next("g", 32.0) == 332.0
    end = box.next("g", 332.0)
    assert end.notification.status == "resolved"
    assert end.notification.alerts[0].annotations["count"] == "32"
    box.accepted(end, 332.0)
    assert box.is_settled(late.id)
    assert state.count("queue") == 0
    assert box.next("g", 332.0 + 3600.0) is None
    assert state.count("bundles") == 0


def test_at_a_stop_groups_do_not_wait(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(1))
    assert drained(box, "g", 1.0) == []
    assert drained(box, "g", 1.0, flush=True) == [numbered(1).id]
    assert box.next("g", 1.0, flush=True) is None


def test_a_clock_that_was_put_back_holds_no_group_up(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(1), now=1e9)
    assert drained(box, "g", 5.0) == [numbered(1).id]
    other = alert("ODD", labels={"model": "n"})
    state_of = Outbox(state, {"g": GROUPS})
    store(state_of, other, now=6.0)
    assert drained(state_of, "g", 36.0) == [other.id]


def test_what_failed_comes_after_the_others(state):
    box = Outbox(state, {"a": None, "g": GROUPS})
    store(box, numbered(1), numbered(2), alert("ODD", labels={"model": "n"}))
    first = box.next("a", 0.0)
    box.put_off(first, 0.0)
    assert box.next("a", 0.0).notification.alerts[0].id == numbered(2).id
    group = box.next("g", 30.0)
    box.put_off(group, 30.0)
    other = box.next("g", 30.0)
    assert other.bundle != group.bundle
    box.put_off(other, 30.0)
    assert box.next("g", 30.0).attempts == 1


def test_dead_letters_hold_the_alert_and_settle_it_when_no_sink_is_left(state):
    box = Outbox(state, {"a": None, "g": GROUPS})
    store(box, numbered(1), numbered(2))
    box.bury(box.next("a", 0.0), "HTTP 400", 5.0)
    assert not box.is_settled(numbered(1).id)
    box.bury(box.next("g", 30.0), "HTTP 401", 6.0)
    assert box.is_settled(numbered(1).id)
    assert not box.is_settled(numbered(2).id)
    letters = [(row["sink"], row["alert"], row["reason"]) for row in state.select("dead")]
    one, two = numbered(1).id, numbered(2).id
    assert letters == [("a", one, "HTTP 400"), ("g", one, "HTTP 401"), ("g", two, "HTTP 401")]
    store(box, numbered(3), now=7.0)
    assert box.next("g", 7.0) == 37.0, "a group that was refused begins anew"


def test_sinks_that_are_gone_or_changed_leave_nothing_behind(state):
    store(Outbox(state, {"old": None, "was": GROUPS, "gone": GROUPS}), numbered(1), numbered(2))
    box = Outbox(state, {"was": None})
    box.adopt(9.0)
    assert {row["sink"] for row in state.select("dead", "reason = ?", outbox.NO_SINK)} == {
        "old",
        "gone",
    }
    assert drained(box, "was", 9.0) == [numbered(1).id, numbered(2).id]
    assert state.count("bundles") == state.count("queue") == state.count("waiting") == 0


def test_all_tables_are_bounded_and_what_waits_is_kept(state, monkeypatch):
    for name, most in (("MAX_WAITING", 20), ("MAX_DEAD", 10), ("MAX_ALERTS", 5)):
        monkeypatch.setattr(outbox, name, most)
    box = Outbox(state, {"a": None, "b": None})
    for number in range(40):
        store(box, numbered(number), now=float(number))
        drained(box, "b")
    assert len(drained(box, "a")) == 20
    assert state.count("dead") == 10
    store(box, numbered(99), now=99.0)
    assert state.count("alerts") <= 6
    assert state.get("alerts", numbered(99).id) is not None
