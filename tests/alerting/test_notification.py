"""The stages of a notification: mute, deduplicate, build; each by itself, and in a row."""

from contextlib import closing
from dataclasses import replace

import pytest
from http_parts import alert

from logmlm.alerting.feedback import give_feedback
from logmlm.alerting.grouping import (
    MAX_EXAMPLES,
    GroupingPolicy,
    mark_notified,
    next_notification,
    with_new_alert,
)
from logmlm.alerting.label_matchers import LabelMatcher
from logmlm.alerting.muting import mute
from logmlm.alerting.notification import build, build_single, deduplicate
from logmlm.alerting.outbox import Outbox
from logmlm.alerting.silences import add_silence
from logmlm.alerting.store.database import StateDatabase

POLICY = GroupingPolicy(("model",))
LOUD, SILENCED = alert("ODD a", labels={"host": "a"}), alert("ODD b", labels={"host": "b"})


@pytest.fixture
def state(tmp_path):
    with closing(StateDatabase(tmp_path / "state.db")) as state:
        yield state


def group_of(*alerts, at=0.0):
    group = None
    for one in alerts:
        group = with_new_alert(group, one, POLICY, at)
    return group


def silence(state, host):
    add_silence(state, [LabelMatcher("host", "=", host)], 0.0, (0.0, 1e6))


def muted_at(state, group, *waiting, now=30.0):
    return mute(group, lambda: waiting, state, now)


def hosts(group):
    return [incident.oddest.labels["host"] for incident in group.incidents.values()]


def never():
    raise AssertionError("nothing is muted, so nothing has to be read")


def test_mute_reads_no_alert_and_changes_nothing_where_nothing_is_muted(state):
    group = group_of(LOUD, SILENCED)
    muted = mute(group, never, state, 30.0)
    assert muted.group is muted.rest is muted.audible is group
    assert not muted.removed


def test_mute_parts_what_is_silenced_from_the_rest(state):
    silence(state, "b")
    group = group_of(LOUD, SILENCED)
    muted = muted_at(state, group, LOUD, SILENCED)
    assert muted.removed == [(SILENCED.id, "silenced")]
    assert hosts(muted.group) == ["a", "b"]
    assert hosts(muted.rest) == hosts(muted.audible) == ["a"]
    assert len(muted.rest.untold) == 1


def test_mute_names_a_false_alarm_as_such(state):
    give_feedback(state, LOUD, "false alarm", 0.0, 1e6)
    muted = muted_at(state, group_of(LOUD), LOUD)
    assert muted.removed == [(LOUD.id, "false alarm")]
    assert not muted.audible.incidents


def test_deduplicate_tells_the_audible_part_of_a_group_that_is_due(state):
    silence(state, "b")
    muted = muted_at(state, group_of(LOUD, SILENCED), LOUD, SILENCED)
    decision = deduplicate(muted, POLICY, 30.0)
    assert (decision.next.what, decision.next.due) == ("firing", 30.0)
    assert decision.group is muted.audible
    assert decision.drops_muted


def test_deduplicate_leaves_a_group_that_is_not_due_as_it_is(state):
    silence(state, "b")
    muted = muted_at(state, group_of(LOUD, SILENCED), LOUD, SILENCED)
    decision = deduplicate(muted, POLICY, 29.0)
    assert (decision.next.what, decision.next.due) == ("firing", 30.0)
    assert decision.group is muted.group
    assert not decision.drops_muted


def test_deduplicate_forgets_a_new_group_that_is_muted_whole(state):
    silence(state, "a")
    decision = deduplicate(muted_at(state, group_of(LOUD), LOUD), POLICY, 1e5)
    assert decision.next.what == "forget"
    assert decision.drops_muted
    assert not decision.group.untold


def test_deduplicate_tells_the_end_of_a_group_that_is_silenced(state):
    fired = group_of(LOUD)
    fired = mark_notified(fired, fired, "firing", 30.0)
    silence(state, "a")
    muted = muted_at(state, fired, now=330.0)
    decision = deduplicate(muted, POLICY, 330.0)
    assert (decision.next.what, decision.group) == ("resolved", muted.group)


def test_deduplicate_decides_as_next_notification_does_where_nothing_is_muted(state):
    group = group_of(LOUD)
    for now in (0.0, 30.0, 1e5):
        decision = deduplicate(mute(group, never, state, now), POLICY, now)
        assert decision.next == next_notification(group, POLICY, now)
        assert decision.group is group


def test_build_makes_one_alert_of_each_label_set_with_its_count():
    group = group_of(LOUD, replace(LOUD, id="x", starts_at=LOUD.starts_at + 60), SILENCED)
    built = build(group, "firing", 30.0)
    assert (built.group_key, built.status) == (group.key, "firing")
    first, second = built.alerts
    assert (first.annotations["count"], second.annotations["count"]) == ("2", "1")
    assert first.annotations["first_at"] < first.annotations["last_at"]
    assert len(first.annotations["examples"].splitlines()) == 2 <= MAX_EXAMPLES
    assert "examples" not in second.annotations
    assert first.ends_at is None


def test_build_ends_the_alerts_of_a_resolved_group_when_it_was_resolved():
    group = group_of(LOUD)
    assert build(group, "resolved", 1e9).alerts[0].ends_at == 1e9
    again = mark_notified(group, group, "resolved", 1e9)
    assert build(again, "resolved", 2e9).alerts[0].ends_at == 1e9


def test_build_single_makes_a_group_of_the_labels_of_an_alert():
    built = build_single(LOUD)
    assert built.alerts == (LOUD,)
    assert built.group_labels == LOUD.labels
    assert build_single(SILENCED).group_key != built.group_key


def test_the_stages_in_a_row_give_a_pending_notification_that_covers_what_waits(state):
    box = Outbox(state, {"s": POLICY})
    box.store([(LOUD, "sent"), (SILENCED, "sent")], 0.0)
    silence(state, "b")
    pending = box.notifications.next("s", 30.0)
    assert [one.labels["host"] for one in pending.notification.alerts] == ["a"]
    assert (pending.bundle, pending.attempts) == (pending.group.key, 0)
    assert pending.last == state.select("queue")[-1]["seq"]
    assert bool(pending.mutes)
    assert state.get("alerts", SILENCED.id)["verdict"] == "silenced"
