"""The outbox survives, forgets nothing that waits, doubles nothing, and stays bounded."""

from contextlib import closing
from dataclasses import replace

import pytest
from http_parts import alert

from logmlm.alerting import outbox
from logmlm.alerting.feedback import give_feedback
from logmlm.alerting.grouping import GroupingPolicy
from logmlm.alerting.label_matchers import LabelMatcher
from logmlm.alerting.notification import PendingNotification
from logmlm.alerting.outbox import Outbox
from logmlm.alerting.serialization import load_alert
from logmlm.alerting.silences import add_silence
from logmlm.alerting.store.database import StateDatabase

GROUPS = GroupingPolicy(("model",))


@pytest.fixture
def state(tmp_path):
    with closing(StateDatabase(tmp_path / "state.db")) as state:
        yield state


def numbered(number, **changes):
    return alert(f"ODD {number}", first=number * 100, **changes)


def store(box, *alerts, now=0.0, verdict="sent"):
    return box.store([(one, verdict) for one in alerts], now)


def drained(box, sink, now=0.0, flush=False):
    """Ids of all that is due, each accepted."""
    ids = []
    while isinstance(pending := box.notifications.next(sink, now, flush), PendingNotification):
        ids += [one.id for one in pending.notification.alerts]
        box.ack(pending, now)
    return ids


def test_alerts_wait_for_each_sink_in_order_until_it_accepted_them(state):
    box = Outbox(state, {"a": None, "b": None})
    first, second = numbered(1), numbered(2)
    assert store(box, first, second) == [first, second]
    assert not box.is_settled(first.id)
    assert drained(box, "a") == [first.id, second.id]
    assert box.is_settled(first.id)
    assert drained(Outbox(state, {"a": None, "b": None}), "b") == [first.id, second.id]
    assert box.notifications.next("a", 9.0) is box.notifications.next("b", 9.0) is None


def test_an_alert_is_told_as_it_was_made(state):
    box = Outbox(state, {"a": None})
    made = alert("ODD \ud800 \x00 ö")
    store(box, made)
    (told,) = box.notifications.next("a", 0.0).notification.alerts
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
    assert box.notifications.next("a", 99.0) is box.notifications.next("b", 99.0) is None
    assert state.get("alerts", numbered(1).id)["verdict"] == "silenced"


def test_a_group_is_told_once_for_all_that_came_and_settles_them(state):
    box = Outbox(state, {"g": GROUPS})
    many = [numbered(number) for number in range(30)]
    store(box, *many[:10])
    assert box.notifications.next("g", 0.0) == 30.0
    store(box, *many[10:], now=20.0)
    pending = box.notifications.next("g", 30.0)
    (told,) = pending.notification.alerts
    assert told.annotations["count"] == "30"
    late = numbered(99)
    store(box, late, now=30.0)
    box.ack(pending, 31.0)
    assert all(box.is_settled(one.id) for one in many)
    assert box.is_settled(late.id), "its like was told meanwhile"
    assert state.count("queue") == 0
    same = numbered(100)
    store(box, same, now=32.0)
    assert box.is_settled(same.id), "its receiver knows that such an alert fires"
    assert box.notifications.next("g", 32.0) == 332.0
    end = box.notifications.next("g", 332.0)
    assert end.notification.status == "resolved"
    assert end.notification.alerts[0].annotations["count"] == "32"
    box.ack(end, 332.0)
    assert box.notifications.next("g", 332.0 + 3600.0) is None
    assert state.count("bundles") == 0


def test_more_of_what_a_receiver_knows_waits_for_nothing_and_is_never_too_many(state, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_WAITING", 20)
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(0))
    assert drained(box, "g", 30.0) == [numbered(0).id]
    for number in range(1, 100):
        store(box, numbered(number), now=30.0 + number)
        assert box.waiting() == {"g": 0}
    assert state.count("dead") == 0
    end = box.notifications.next("g", 1000.0)
    assert end.notification.alerts[0].annotations["count"] == "100"


def test_what_is_in_a_refused_count_alone_has_a_dead_letter_that_says_so(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(0))
    drained(box, "g", 30.0)
    store(box, *[numbered(number) for number in range(1, 10)], now=40.0)
    store(box, alert("ODD", labels={"x": "y"}, first=1), now=40.0)
    box.dead_letter(box.notifications.next("g", 1000.0), "HTTP 400", 1000.0)
    other, counted = state.select("dead")
    assert other["reason"] == "HTTP 400"
    assert counted["reason"] == "HTTP 400; stands for 9 alerts like it"
    assert load_alert(counted["body"]).fingerprint == numbered(0).fingerprint
    assert state.count("queue") == state.count("bundles") == 0


def test_a_refused_end_of_what_was_told_whole_is_no_dead_letter(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(0))
    drained(box, "g", 30.0)
    box.dead_letter(box.notifications.next("g", 1000.0), "HTTP 400", 1000.0)
    assert state.count("dead") == 0


def test_an_alert_that_joins_a_failing_group_does_not_make_it_new(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(1), alert("ODD", labels={"model": "n"}))
    failing = box.notifications.next("g", 30.0)
    for attempts in range(3):
        box.retry_later(replace(failing, attempts=attempts), 30.0)
    store(box, alert("ODD new", labels=failing.group.labels), now=31.0)
    other = box.notifications.next("g", 31.0)
    assert (other.bundle != failing.bundle, other.attempts) == (True, 0)
    box.ack(other, 31.0)
    again = box.notifications.next("g", 31.0)
    assert (again.bundle, again.attempts) == (failing.bundle, 3)


def test_a_place_in_the_queue_that_another_alert_has_by_now_is_left_alone(state):
    old = Outbox(state, {"old": None})
    store(old, numbered(1))
    pending = old.notifications.next("old", 0.0)
    box = Outbox(state, {"new": None})
    box.reconcile_sinks(1.0)
    store(box, numbered(2), now=1.0)
    assert box.notifications.next("new", 1.0).last == pending.last
    for ended in (
        old.retry_later,
        old.ack,
        lambda p, now: old.dead_letter(p, "HTTP 400", now),
    ):
        ended(pending, 2.0)
        assert box.notifications.next("new", 2.0).attempts == 0
    assert drained(box, "new", 2.0) == [numbered(2).id]


def test_it_is_behind_where_due_alerts_wait_and_not_where_groups_wait_for_their_time(
    state, monkeypatch
):
    monkeypatch.setattr(outbox, "MAX_OVERDUE", 5)
    box = Outbox(state, {"g": GROUPS, "a": None})
    store(box, numbered(0))
    drained(box, "g", 30.0)
    drained(box, "a")
    news = [alert("ODD other", first=1 + number) for number in range(5)]
    store(box, *news, now=40.0)
    assert not box.is_behind(40.0), "its time is 330"
    assert box.is_behind(330.0)
    drained(box, "a", 330.0)
    assert not box.is_behind(330.0), "one receiver is enough"
    drained(box, "g", 330.0)
    store(box, *[alert("ODD third", first=11 + number) for number in range(5)], now=340.0)
    drained(box, "g", 340.0)
    assert not box.is_behind(340.0)
    monkeypatch.setattr(outbox, "MAX_WAITING", 10)
    assert box.is_behind(340.0), "half of all that may wait"


def silence(state, name, value, now=0.0):
    add_silence(state, [LabelMatcher(name, "=", value)], now, (now, now + 1e6))


def test_what_is_silenced_while_it_waits_is_not_told(state):
    box = Outbox(state, {"a": None, "g": GROUPS})
    muted, heard = (alert("ODD", labels={"host": h}, first=ord(h)) for h in "mh")
    store(box, muted, heard)
    silence(state, "host", "m")
    assert drained(box, "a", 1.0) == [heard.id]
    assert not box.is_settled(muted.id), "another queue holds it"
    pending = box.notifications.next("g", 30.0)
    assert [one.labels["host"] for one in pending.notification.alerts] == ["h"]
    box.ack(pending, 30.0)
    assert box.is_settled(muted.id)
    assert state.get("alerts", muted.id)["verdict"] == "silenced"
    assert state.get("alerts", heard.id)["verdict"] == "sent"
    end = box.notifications.next("g", 330.0)
    assert [one.labels["host"] for one in end.notification.alerts] == ["h"]


def test_a_group_that_waits_and_is_muted_whole_is_forgotten_also_at_a_stop(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(1), numbered(2), now=1e6)
    give_feedback(state, numbered(1), "false alarm", 1e6, 1e9)
    assert drained(box, "g", 1e6 + 1, flush=True) == []
    assert drained(box, "g", 1e6 + 30) == []
    assert state.count("queue") == state.count("waiting") == state.count("bundles") == 0
    assert state.get("alerts", numbered(1).id)["verdict"] == "false alarm"


def test_a_group_that_fires_is_not_repeated_while_it_is_silenced_but_its_end_is_told(state):
    often = replace(GROUPS, repeat_interval=60.0, group_interval=0.0)
    box = Outbox(state, {"g": often})
    store(box, numbered(1))
    assert drained(box, "g", 30.0) == [numbered(1).id]
    assert box.notifications.next("g", 90.0).notification.status == "firing"
    silence(state, "model", "m", now=91.0)
    for now in (91.0, 151.0, 211.0, 271.0):
        assert not isinstance(box.notifications.next("g", now), PendingNotification)
    assert box.notifications.next("g", 271.0) == 300.0
    assert box.notifications.next("g", 300.0).notification.status == "resolved"


def test_a_label_set_with_a_false_alarm_is_told_by_its_other_alerts(state):
    box = Outbox(state, {"g": GROUPS})
    false, true = alert("ODD false", value=5.0), alert("ODD true", first=5)
    store(box, false, true)
    give_feedback(state, false, "false alarm", 1.0, 1e9)
    (told,) = box.notifications.next("g", 30.0).notification.alerts
    assert (told.id, told.annotations["count"]) == (true.id, "1")
    assert "ODD true" in told.annotations["lines"]


def test_in_a_group_that_fires_what_is_muted_is_not_told_as_new(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, alert("ODD first"))
    drained(box, "g", 30.0)
    false, true = alert("ODD false", value=5.0, first=5), alert("ODD true", first=9)
    store(box, false, now=40.0)
    give_feedback(state, false, "false alarm", 41.0, 1e9)
    assert box.notifications.next("g", 330.0) == 340.0, "its end"
    store(box, true, now=331.0)
    pending = box.notifications.next("g", 340.0)
    assert pending.notification.status == "firing"
    assert [one.id for one in pending.notification.alerts] == [true.id]


def test_at_a_stop_groups_do_not_wait(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(1))
    assert drained(box, "g", 1.0) == []
    assert drained(box, "g", 1.0, flush=True) == [numbered(1).id]
    assert box.notifications.next("g", 1.0, flush=True) is None


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
    first = box.notifications.next("a", 0.0)
    box.retry_later(first, 0.0)
    assert box.notifications.next("a", 0.0).notification.alerts[0].id == numbered(2).id
    group = box.notifications.next("g", 30.0)
    box.retry_later(group, 30.0)
    other = box.notifications.next("g", 30.0)
    assert other.bundle != group.bundle
    box.retry_later(other, 30.0)
    assert box.notifications.next("g", 30.0).attempts == 1


def test_dead_letters_hold_the_alert_and_settle_it_when_no_sink_is_left(state):
    box = Outbox(state, {"a": None, "g": GROUPS})
    store(box, numbered(1), numbered(2))
    box.dead_letter(box.notifications.next("a", 0.0), "HTTP 400", 5.0)
    assert not box.is_settled(numbered(1).id)
    box.dead_letter(box.notifications.next("g", 30.0), "HTTP 401", 6.0)
    assert box.is_settled(numbered(1).id)
    assert not box.is_settled(numbered(2).id)
    letters = [(row["sink"], row["alert"], row["reason"]) for row in state.select("dead")]
    one, two = numbered(1).id, numbered(2).id
    assert letters == [("a", one, "HTTP 400"), ("g", one, "HTTP 401"), ("g", two, "HTTP 401")]
    store(box, numbered(3), now=7.0)
    assert box.notifications.next("g", 7.0) == 37.0, "a group that was refused begins anew"


def test_sinks_that_are_gone_or_changed_leave_nothing_behind(state):
    store(Outbox(state, {"old": None, "was": GROUPS, "gone": GROUPS}), numbered(1), numbered(2))
    box = Outbox(state, {"was": None})
    box.reconcile_sinks(9.0)
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


def test_45000_alerts_that_nobody_takes_wait_or_are_dead_letters_or_are_counted_as_lost(
    state, caplog
):
    box = Outbox(state, {"a": None})
    made = 0
    for batch in range(45):
        store(box, *(numbered(made + i) for i in range(1000)), now=float(batch))
        made += 1000
    assert box.waiting() == {"a": 20_000}
    assert state.count("dead") == 20_000
    assert box.dropped == {"a": 5_000}
    said = [record.getMessage() for record in caplog.records if "are lost" in record.getMessage()]
    (sentence,) = said
    assert sentence.startswith("1000 alerts are lost: 20000 dead letters lie here")
    store(box, numbered(made), now=100.0)
    said = [record.getMessage() for record in caplog.records if "are lost" in record.getMessage()]
    assert said[1].startswith("4001 alerts are lost")


def test_what_is_withdrawn_is_in_no_queue_and_no_group_and_may_be_stored_again(state):
    box = Outbox(state, {"a": None, "g": GROUPS})
    gone, stays = numbered(1), alert("ODD other", first=900)
    store(box, gone, stays)
    box.withdraw([gone.id, "of nobody"])
    assert box.is_settled(gone.id)
    assert drained(box, "a") == [stays.id]
    (told,) = drained(box, "g", flush=True)
    assert told == stays.id
    assert store(box, gone) == [gone]
    assert not box.is_settled(gone.id)


def test_a_group_of_withdrawn_alerts_alone_is_told_to_nobody(state):
    box = Outbox(state, {"g": GROUPS})
    store(box, numbered(1), numbered(2))
    box.withdraw([numbered(1).id, numbered(2).id])
    assert drained(box, "g", now=1e6, flush=True) == []
    assert state.count("queue") == state.count("waiting") == 0


def test_what_another_process_has_delivered_is_not_stored(state):
    box = Outbox(state, {"a": None})
    box.mark_known([numbered(1).id], 0.0)
    assert store(box, numbered(1), numbered(2)) == [numbered(2)]
    assert box.is_settled(numbered(1).id)
