"""When a receiver is told of a group: Alertmanager's timers, as a pure function of time."""

from dataclasses import replace

import pytest
from http_parts import alert
from hypothesis import given
from hypothesis import strategies as st

from logmlm.alerting.grouping import (
    MAX_EXAMPLES,
    MAX_INCIDENTS,
    GroupingPolicy,
    mark_notified,
    next_notification,
    with_new_alert,
)
from logmlm.alerting.notification import build, build_single
from logmlm.alerting.serialization import dump_group, load_group

TIMERS = GroupingPolicy(("model", "host"))
WAIT, INTERVAL, REPEAT, QUIET = 30.0, 300.0, 14400.0, 300.0


def group_of(*alerts, at=0.0, timers=TIMERS):
    group = None
    for one in alerts:
        group = with_new_alert(group, one, timers, at)
    return group


def fired(group, at):
    return mark_notified(group, group, "firing", at)


def ended(group, at):
    return mark_notified(group, group, "resolved", at)


def decided(group, now=0.0, timers=TIMERS):
    found = next_notification(group, timers, now)
    return found.what, found.due


def test_a_new_group_waits_for_others_and_then_fires():
    group = group_of(alert(), at=100.0)
    assert next_notification(group, TIMERS, 100.0).reason == "a new group"
    assert decided(group, 100.0) == ("firing", 100.0 + WAIT)
    assert decided(with_new_alert(group, alert("ODD b"), TIMERS, 120.0), 120.0) == ("firing", 130.0)


def test_more_of_the_same_only_adds_to_the_count_until_it_is_repeated_or_ends():
    group = fired(group_of(alert("ODD a")), 30.0)
    group = with_new_alert(group, alert("ODD a", first=5), TIMERS, 200.0)
    assert decided(group, 200.0) == ("resolved", 200.0 + QUIET)
    for now in range(400, 20_000, 200):
        group = with_new_alert(group, alert("ODD a", first=now), TIMERS, float(now))
    assert decided(group, now) == ("firing", 30.0 + REPEAT)
    assert next_notification(group, TIMERS, now).reason == "a group still fires"
    (summed,) = build(group, "firing", now).alerts
    assert summed.annotations["count"] == "100"


@pytest.mark.parametrize("new", [alert("ODD a", level="ERROR"), alert("ODD other")])
def test_another_label_set_or_pattern_is_told_after_the_interval(new):
    group = fired(group_of(alert("ODD a")), 30.0)
    group = with_new_alert(group, new, TIMERS, 40.0)
    assert decided(group, 40.0) == ("firing", 30.0 + INTERVAL)
    group = fired(group, 330.0)
    assert group.untold == ()


@pytest.mark.parametrize("repeat", [1.0, 60.0, 299.0])
def test_repeats_that_are_asked_for_more_often_than_the_interval_keep_no_group_open(repeat):
    timers = replace(TIMERS, repeat_interval=repeat, resolve_after=400.0)
    group = fired(group_of(alert(), timers=timers), 30.0)
    assert decided(group, 30.0, timers) == ("firing", 30.0 + INTERVAL)
    group = fired(group, 330.0)
    assert decided(group, 330.0, timers) == ("resolved", 330.0 + INTERVAL)


def test_a_quiet_group_is_resolved_but_not_too_soon_after_it_was_told():
    group = group_of(alert())
    assert decided(fired(group, 30.0), 30.0) == ("resolved", 330.0)
    late = fired(group, 4000.0)
    assert decided(late, 4000.0) == ("resolved", 4000.0 + INTERVAL)
    (end,) = build(late, "resolved", 4300.0).alerts
    assert end.ends_at == 4300.0


def test_a_group_that_fires_again_keeps_the_interval_and_resolves_later_each_time():
    group, now, waits = group_of(alert()), 30.0, []
    for _ in range(6):
        group = fired(group, now)
        what, due = decided(group, now)
        assert what == "resolved"
        waits.append(due - group.last)
        group = ended(group, due)
        group = with_new_alert(group, alert(), TIMERS, due + 60)
        assert next_notification(group, TIMERS, due + 60).reason == "a group fires again"
        what, now = decided(group, due + 60)
        assert (what, now) == ("firing", due + INTERVAL)
    assert waits[0] == 330.0
    assert waits[2:] == [1200.0, 2400.0, 3600.0, 3600.0]


def test_a_group_that_was_quiet_for_long_flaps_no_more_and_is_forgotten():
    group = ended(fired(group_of(alert()), 30.0), 330.0)
    assert decided(group, 330.0) == ("forget", 330.0 + 3600.0)
    assert with_new_alert(group, alert(), TIMERS, 400.0).flaps == 1
    assert with_new_alert(group, alert(), TIMERS, 330.0 + 3600.0).flaps == 0
    assert len(with_new_alert(group, alert("ODD"), TIMERS, 400.0).incidents) == 1


def test_resolved_is_said_again_for_as_long_as_the_receiver_wants():
    timers = replace(TIMERS, repeat_interval=60.0, resolved_for=120.0, group_interval=0.0)
    group = ended(fired(group_of(alert()), 30.0), 400.0)
    assert decided(group, 400.0, timers) == ("resolved", 460.0)
    group = ended(group, 460.0)
    assert build(group, "resolved", 520.0).alerts[0].ends_at == 1000.0  # its start
    assert decided(ended(group, 520.0), 520.0, timers) == ("forget", 400.0 + 3600.0)


def test_what_comes_while_a_notification_is_on_its_way_is_told_by_the_next():
    sent = group_of(alert("ODD a"))
    meanwhile = with_new_alert(sent, alert("ODD other"), TIMERS, 31.0)
    group = mark_notified(meanwhile, sent, "firing", 32.0)
    assert group.untold == meanwhile.untold[1:]
    assert decided(group, 32.0) == ("firing", 32.0 + INTERVAL)
    sent = fired(group, 400.0)
    meanwhile = with_new_alert(sent, alert("ODD a", first=3), TIMERS, 800.0)
    group = mark_notified(meanwhile, sent, "resolved", 801.0)
    assert decided(group, 801.0) == ("firing", 801.0 + INTERVAL)


def test_times_ahead_of_a_clock_that_was_put_back_are_due_at_once():
    group = group_of(alert(), at=1e6)
    assert decided(group, 5.0) == ("firing", 5.0)
    assert decided(fired(group, 1e6), 5.0) == ("resolved", 5.0)


def test_a_groups_alert_is_the_oddest_and_tells_of_the_others():
    alerts = [alert(f"ODD {i}", value=float(v), first=i) for i, v in enumerate([2, 30, 4])]
    group = group_of(*alerts)
    notice = build(group, "firing", 40.0)
    (summed,) = notice.alerts
    assert notice.group_key == '{}:{model="m"}'
    assert notice.group_labels == {"model": "m"}
    assert summed.id == alerts[0].id
    assert summed.annotations["lines"] == "> ODD 1"
    assert summed.annotations["count"] == "3"
    assert summed.annotations["first_at"] == summed.annotations["last_at"]
    rows = summed.annotations["examples"].splitlines()
    assert [row.split()[1] for row in rows] == [alerts[i].id for i in (1, 2, 0)]
    assert summed.fingerprint == alerts[0].fingerprint
    assert "examples" not in build(group_of(alerts[0]), "firing", 0.0).alerts[0].annotations


def test_a_storm_stays_bounded():
    group = None
    for number in range(300):
        labels = {"x": str(number % 70)}
        group = with_new_alert(
            group, alert(f"ODD {number}", labels=labels, first=number), TIMERS, 0.0
        )
    notice = build(group, "firing", 0.0)
    assert len(notice.alerts) == MAX_INCIDENTS
    counts = sum(int(one.annotations["count"]) for one in notice.alerts)
    assert counts + notice.truncated == 300
    rows = [one.annotations["examples"].splitlines() for one in notice.alerts]
    assert max(map(len, rows)) == MAX_EXAMPLES


def test_all_labels_can_make_the_group():
    every = GroupingPolicy(("...",))
    assert every.labels(alert()) == alert().labels
    assert build_single(alert()).group_key == group_of(alert(), timers=every).key


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ODD a", "ODD b", "ODD c", None]),
            st.floats(1.0, 2000.0),
        ),
        max_size=40,
    )
)
def test_every_alert_is_in_a_firing_notification_and_every_firing_ends(steps):
    """A receiver that takes all: nothing untold for ever, never too often, always an end."""
    now, group, last, firing, untold = 0.0, None, -1e9, False, 0
    for text, pause in [*steps, *[(None, 100.0)] * 400]:
        now += pause
        if group is not None:
            group = load_group(dump_group(group))
            found = next_notification(group, TIMERS, now)
            if found.due <= now:
                if found.what == "forget":
                    assert not firing
                    assert not untold
                    group = None
                    continue
                assert now - last >= TIMERS.group_interval - 1e-6 or last < group.since - 3600
                if found.what == "firing":
                    firing, untold = True, 0
                else:
                    assert firing
                    assert now - group.last >= TIMERS.resolve_after - 1e-6
                    firing = False
                last, group = now, mark_notified(group, group, found.what, now)
        if text is not None:
            group = with_new_alert(group, alert(text), TIMERS, now)
            untold += bool(group.untold)
    assert not firing
    assert not untold
