"""Grouping: the state of a group of alerts, and Alertmanager's timers that notify of it.

All functions are pure; times are UTC epoch seconds and handed in.
https://prometheus.io/docs/alerting/latest/alertmanager/#grouping
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from logmlm.records import Alert, GroupStatus

ALL_LABELS = "..."
"""Alertmanager's word for grouping by all labels."""
MAX_INCIDENTS = 50
"""Label sets that are kept of one group; further ones are counted."""
MAX_EXAMPLES = 5
MAX_NOTIFIED = 500
"""Deduplication keys that are remembered of one group."""
MAX_FLAPS = 20
ARRIVED_MEANWHILE = "came meanwhile"


@dataclass(frozen=True, slots=True)
class GroupingPolicy:
    """The grouping of one sink's alerts; times in seconds, as in `AlertingConfig`.

    For `resolved_for` seconds a resolved group is sent again every `repeat_interval` seconds.
    """

    by: Sequence[str]
    group_wait: float = 30.0
    group_interval: float = 300.0
    repeat_interval: float = 4 * 3600.0
    resolve_after: float = 300.0
    flap_window: float = 3600.0
    resolved_for: float = 0.0

    @property
    def horizon(self) -> float:
        """The longest time, in seconds, that a notification can be due ahead."""
        waits = (self.group_wait, self.group_interval, self.repeat_interval)
        return 2 * max(*waits, self.resolve_after, self.flap_window)

    def labels(self, alert: Alert) -> dict[str, str]:
        """Return the labels that name the group of an alert."""
        if ALL_LABELS in self.by:
            return dict(alert.labels)
        return {name: alert.labels[name] for name in self.by if name in alert.labels}


@dataclass(frozen=True, slots=True)
class AggregatedAlert:
    """The alerts of one label set in a group that fires.

    `oddest` has the highest score; `examples` describes the `MAX_EXAMPLES` oddest in one row
    each. `first_at` and `last_at` are event times. The receiver was notified of `told` of `count`.
    """

    id: str
    oddest: Alert
    count: int
    first_at: float
    last_at: float
    examples: tuple[str, ...] = ()
    told: int = 0


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """The state of one group for one receiver.

    `status` was notified last (`new`: nothing yet) at `notified_at`. `told` holds the
    deduplication keys (a label set with an anomaly pattern) that the receiver knows, `untold`
    those that it does not know yet, the first of which came at `since`. The latest alert came at
    `last`.
    """

    key: str
    labels: Mapping[str, str]
    since: float
    last: float
    status: Literal["new", "firing", "resolved"] = "new"
    notified_at: float = 0.0
    resolved_at: float = 0.0
    flaps: int = 0
    incidents: Mapping[str, AggregatedAlert] = field(default_factory=dict)
    truncated: int = 0
    told: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()

    def knows(self, alert: Alert) -> bool:
        """Return whether the receiver knows that such an alert fires, and not of its end."""
        return self.status == "firing" and dedup_key(alert) in self.told


@dataclass(frozen=True, slots=True)
class NextNotification:
    """The next notification of a group, when it is due, and why; `forget` sends nothing."""

    what: Literal["firing", "resolved", "forget"]
    due: float
    reason: str


def next_notification(group: AlertGroup, timers: GroupingPolicy, now: float) -> NextNotification:
    """Decide the next notification of a group.

    - A group that the receiver does not know fires: `group_wait` after its first alert, and
      `group_interval` after the notification that the group was resolved.
    - Something new in a group that fires, which is a label set or an anomaly pattern:
      `group_interval` after the last notification. More of the same only adds to the count.
    - Nothing new: again after `repeat_interval`, or after `group_interval` if that is longer.
    - No alert for `resolve_after`: resolved, `group_interval` after the last notification at the
      earliest. A group that fires again within `flap_window` of its end flaps: each time in a
      row doubles `resolve_after`, up to `flap_window`.

    A time ahead of `now` was set before the clock was put back: what waits for it is due at once.
    """
    interval = _after(group.notified_at, timers.group_interval, now)
    if group.untold:
        if group.status == "firing":
            return NextNotification("firing", interval, "something new in a group that fires")
        wait = _after(group.since, timers.group_wait, now)
        if group.status == "resolved":
            return NextNotification("firing", max(wait, interval), "a group fires again")
        return NextNotification("firing", wait, "a new group")
    return _nothing_new(group, timers, interval, now)


def _nothing_new(
    group: AlertGroup, timers: GroupingPolicy, interval: float, now: float
) -> NextNotification:
    repeat = _after(group.notified_at, timers.repeat_interval, now)
    if group.status == "firing":
        quiet = max(_after(group.last, resolve_after(group, timers), now), interval)
        again = max(repeat, interval)
        if quiet <= again:
            return NextNotification("resolved", quiet, "nothing new came")
        return NextNotification("firing", again, "a group still fires")
    if repeat <= group.resolved_at + timers.resolved_for:
        return NextNotification("resolved", repeat, "a group is still resolved")
    return NextNotification(
        "forget", _after(group.resolved_at, timers.flap_window, now), "long resolved"
    )


def resolve_after(group: AlertGroup, timers: GroupingPolicy) -> float:
    """Return the seconds without an alert after which a group is resolved; more where it flaps."""
    longest = max(timers.resolve_after, timers.flap_window)
    return min(timers.resolve_after * 2.0**group.flaps, longest)


def with_new_alert(
    group: AlertGroup | None, alert: Alert, timers: GroupingPolicy, now: float
) -> AlertGroup:
    """Return the group (None: a new one) with another alert."""
    if group is None:
        labels = timers.labels(alert)
        group = AlertGroup(group_key(labels), labels, since=now, last=now)
    elif group.status == "resolved" and not group.untold:
        again = 0 <= now - group.resolved_at < timers.flap_window
        flaps = min(group.flaps + 1, MAX_FLAPS) if again else 0
        group = replace(group, since=now, flaps=flaps, incidents={}, truncated=0, told=())
    group = with_alert(group, alert)
    new = dedup_key(alert)
    if new in group.untold or group.knows(alert):
        return replace(group, last=now)
    since = now if group.status == "firing" and not group.untold else group.since
    return replace(group, last=now, since=since, untold=(*group.untold, new)[-MAX_NOTIFIED:])


def mark_notified(
    group: AlertGroup, sent: AlertGroup, status: GroupStatus, now: float
) -> AlertGroup:
    """Return the group after the receiver accepted `sent`, an earlier state of it."""
    group = replace(group, incidents=_without_notified(group.incidents, sent.incidents))
    if status == "resolved":
        at = group.resolved_at if group.status == "resolved" else now
        group = replace(group, status="resolved", notified_at=now, resolved_at=at)
        # Alerts that came while the end was in flight have to be notified anew.
        came = (ARRIVED_MEANWHILE,) if pending_counts(group) else ()
        return replace(group, since=now, untold=(*group.untold, *came)) if came else group
    untold = tuple(new for new in group.untold if new not in sent.untold)
    known = (*group.told, *sent.untold)[-MAX_NOTIFIED:]
    return replace(group, status="firing", notified_at=now, told=known, untold=untold)


def pending_counts(group: AlertGroup) -> dict[str, int]:
    """Return by label set how many alerts the receiver was not notified of, if any."""
    counts = {name: each.count - each.told for name, each in group.incidents.items()}
    return {name: count for name, count in counts.items() if count > 0}


def _without_notified(
    incidents: Mapping[str, AggregatedAlert], sent: Mapping[str, AggregatedAlert]
) -> dict[str, AggregatedAlert]:
    told = {name: each.count for name, each in sent.items()}
    return {n: replace(each, told=told.get(n, each.told)) for n, each in incidents.items()}


def group_key(labels: Mapping[str, str]) -> str:
    """Return the key of a group in Alertmanager's form: the route, then the group's labels."""
    quoted = (f"{name}={json.dumps(labels[name])}" for name in sorted(labels))
    return "{}:{" + ", ".join(quoted) + "}"


def dedup_key(alert: Alert) -> str:
    """Return the key by which alerts are alike to a receiver: labels and anomaly pattern."""
    return f"{alert.fingerprint}/{alert.annotations.get('pattern', '')}"


def _after(moment: float, wait: float, now: float) -> float:
    return moment + wait if moment <= now else now


def with_alerts(group: AlertGroup, alerts: Iterable[Alert]) -> AlertGroup:
    """Return the group with these alerts alone in its counts."""
    group = replace(group, incidents={}, truncated=0)
    for alert in alerts:
        group = with_alert(group, alert)
    return group


def with_alert(group: AlertGroup, alert: Alert) -> AlertGroup:
    """Return the group with an alert counted in its label set."""
    known = group.incidents.get(alert.fingerprint)
    if known is None and len(group.incidents) >= MAX_INCIDENTS:
        return replace(group, truncated=group.truncated + 1)
    incident = _new_incident(alert) if known is None else _joined(known, alert)
    return replace(group, incidents={**group.incidents, alert.fingerprint: incident})


def _new_incident(alert: Alert) -> AggregatedAlert:
    return AggregatedAlert(alert.id, alert, 1, alert.starts_at, alert.starts_at, (_example(alert),))


def _joined(incident: AggregatedAlert, alert: Alert) -> AggregatedAlert:
    oddest = max(incident.oddest, alert, key=_value)
    # Rows begin with the score in a fixed width, so that their order is that of the scores.
    examples = sorted((*incident.examples, _example(alert)), reverse=True)[:MAX_EXAMPLES]
    return replace(
        incident,
        oddest=oddest,
        count=incident.count + 1,
        first_at=min(incident.first_at, alert.starts_at),
        last_at=max(incident.last_at, alert.starts_at),
        examples=tuple(examples),
    )


def _example(alert: Alert) -> str:
    return f"{_value(alert):12.3f}  {alert.id}  {alert.annotations.get('summary', '')}"


def _value(alert: Alert) -> float:
    return float(alert.annotations.get("score", "0"))
