"""Notifications that are due, built in stages: mute, deduplicate, build.

A delivery step goes `mute -> deduplicate -> build -> send -> record`, as Alertmanager's
notification pipeline does. The first three stages are here; `delivery` has the last two.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from logmlm.alerting.grouping import (
    AggregatedAlert,
    AlertGroup,
    GroupingPolicy,
    NextNotification,
    group_key,
    next_notification,
)
from logmlm.alerting.muting import MutedGroup, Muter, MuteStatus, mute
from logmlm.alerting.serialization import dump_group, load_alert, load_group
from logmlm.alerting.store.database import DatabaseRow, StateDatabase
from logmlm.records import Alert, GroupStatus, Notification
from logmlm.system.text import format_rfc3339

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """A notification that is due, and the rows of the outbox that it covers.

    `group` is the state of the group that it tells (None: an alert on its own), and `bundle` the
    key of that group. `last` is the newest row of the queue that it covers; `attempts` counts the
    tries that failed. `mutes` were in force when it was built.
    """

    sink: str
    notification: Notification
    bundle: str
    last: int
    attempts: int
    group: AlertGroup | None = None
    mutes: Muter = field(default_factory=Muter)


class NotificationBuilder:
    """Builds the next notification of each sink from what waits in the outbox.

    A sink with a `GroupingPolicy` gets groups, one without gets each alert on its own.
    """

    def __init__(self, state: StateDatabase, sinks: Mapping[str, GroupingPolicy | None]) -> None:
        self._state = state
        self._sinks = sinks

    def next(
        self, sink: str, now: float, flush: bool = False
    ) -> PendingNotification | float | None:
        """Return the notification that is due, or when one will be (None: nothing waits).

        One that failed comes after those that did not. With `flush`, groups do not wait for more
        alerts. Alerts that are muted by now leave the queue.

        Raises:
            StorageError: the state can't be read or written.

        """
        with self._state.transaction():
            policy = self._sinks.get(sink)
            grouped = self._next_group(sink, policy, now, flush) if policy else None
            alone = self._next_single(sink, now)
        if isinstance(grouped, PendingNotification) and alone is not None:
            return min(alone, grouped, key=lambda pending: pending.attempts)
        return alone or grouped

    def _next_single(self, sink: str, now: float) -> PendingNotification | None:
        """Build from the first alert that waits on its own and is not muted."""
        mutes = None
        first = "sink = ? AND bundle = '' ORDER BY attempts, seq LIMIT 1"
        while rows := self._state.select("queue", first, sink):
            row, alert = rows[0], queued_alert(self._state, rows[0])
            if mutes is None:
                mutes = Muter.at(self._state, now)
            if (status := mutes.status(alert)) == "sent":
                return PendingNotification(
                    sink, build_single(alert), "", row["seq"], row["attempts"]
                )
            self._take_out(sink, "", alert.id, status)
        return None

    def _next_group(
        self, sink: str, policy: GroupingPolicy, now: float, flush: bool
    ) -> PendingNotification | float | None:
        """Build from the first group that is due, or return when one will be."""
        due = "sink = ? AND (due <= ? OR due > ?) ORDER BY attempts, due LIMIT 1"
        while rows := self._state.select("bundles", due, sink, now, now + policy.horizon):
            if pending := self._due_group(rows[0], policy, now):
                return pending
        where = "sink = ? ORDER BY due"
        for row in self._state.select("bundles", where + ("" if flush else " LIMIT 1"), sink):
            if not flush:
                return float(row["due"])
            muted = self._mute(row, now)
            self._keep_unmuted(row, muted)
            if muted.rest.untold and muted.audible.incidents:
                return self._build(row, muted.audible, "firing", muted.mutes, now)
        return None

    def _due_group(
        self, row: DatabaseRow, policy: GroupingPolicy, now: float
    ) -> PendingNotification | None:
        """Run the stages for a group; None if it has to wait after all, or is forgotten."""
        muted = self._mute(row, now)
        decision = deduplicate(muted, policy, now)
        if decision.drops_muted:
            self._keep_unmuted(row, muted)
        group, what, due = decision.group, decision.next.what, decision.next.due
        if what != "forget" and due <= now:
            logger.debug(
                "sink %s is told of group %s: %s", row["sink"], group.key, decision.next.reason
            )
            return self._build(row, group, what, muted.mutes, now)
        if due <= now:
            self._state.delete("bundles", "id = ?", row["id"])
        else:
            self._state.put("bundles", **{**row, "due": due, "body": dump_group(group)})
        return None

    def _mute(self, row: DatabaseRow, now: float) -> MutedGroup:
        group = load_group(row["body"])

        def waiting() -> list[Alert]:
            where = "sink = ? AND bundle = ? ORDER BY seq"
            rows = self._state.select("queue", where, row["sink"], group.key)
            return [queued_alert(self._state, each) for each in rows]

        return mute(group, waiting, self._state, now)

    def _keep_unmuted(self, row: DatabaseRow, muted: MutedGroup) -> None:
        """Take the muted alerts of a group out of the outbox."""
        for alert_id, status in muted.removed:
            self._take_out(row["sink"], muted.rest.key, alert_id, status)
        if muted.removed:
            self._state.put("bundles", **{**row, "body": dump_group(muted.rest)})

    def _take_out(self, sink: str, bundle: str, alert_id: str, status: MuteStatus) -> None:
        """Take a muted alert out of a queue; it waits no longer if it is in no other."""
        logger.info("alert %s is not told to sink %s: %s", alert_id, sink, status)
        rows = "sink = ? AND bundle = ? AND alert = ?"
        self._state.delete("queue", rows, sink, bundle, alert_id)
        if self._state.count("queue", "alert = ?", alert_id):
            return
        if self._state.delete("waiting", "id = ?", alert_id):
            for stored in self._state.select("alerts", "id = ?", alert_id):
                self._state.put("alerts", **{**stored, "verdict": status})

    def _build(
        self, row: DatabaseRow, group: AlertGroup, status: GroupStatus, mutes: Muter, now: float
    ) -> PendingNotification:
        """Build what a sink is sent of a group, which covers all that waits for it now."""
        sink, newest = row["sink"], "sink = ? AND bundle = ? ORDER BY seq DESC LIMIT 1"
        rows = self._state.select("queue", newest, sink, group.key)
        last = rows[0]["seq"] if rows else 0
        notification = build(group, status, now)
        return PendingNotification(
            sink, notification, group.key, last, row["attempts"], group, mutes
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of `deduplicate`: `next` is sent next, and tells of `group`.

    With `drops_muted`, the muted alerts of the group leave the outbox.
    """

    next: NextNotification
    group: AlertGroup
    drops_muted: bool


def deduplicate(muted: MutedGroup, policy: GroupingPolicy, now: float) -> Decision:
    """Decide what the receiver does not know yet of a group, and when it is told.

    Mutes apply to a group at the time when it would fire, and to nothing else: the end of a group
    that the receiver knows to fire is sent. A group of which nothing is audible then counts as
    told; the decision is made anew for that group alone.
    """
    decision = next_notification(muted.group, policy, now)
    if decision.what != "firing" or decision.due > now:
        return Decision(decision, muted.group, drops_muted=False)
    rest = muted.rest
    if not muted.audible.incidents:
        rest = replace(rest, untold=(), notified_at=now)
    if not (muted.audible.incidents and rest.untold == muted.group.untold):
        decision = next_notification(rest, policy, now)
    fires = decision.what == "firing" and decision.due <= now
    return Decision(decision, muted.audible if fires else rest, drops_muted=True)


def build(group: AlertGroup, status: GroupStatus, now: float) -> Notification:
    """Build the notification of a group: an alert for each label set, with its count.

    Those of a `resolved` group end when the group was resolved, which is `now` at first.
    """
    ended = group.resolved_at if group.status == "resolved" else now
    return Notification(
        group.key,
        status,
        tuple(
            _aggregate(incident, ended if status == "resolved" else None)
            for incident in group.incidents.values()
        ),
        dict(group.labels),
        group.truncated,
    )


def build_single(alert: Alert) -> Notification:
    """Build the notification of one alert: its label set is a group of its own."""
    return Notification(group_key(alert.labels), "firing", (alert,), dict(alert.labels))


def queued_alert(state: StateDatabase, row: DatabaseRow) -> Alert:
    """Return the alert of a row of the queue."""
    stored = state.get("alerts", row["alert"])
    if stored is None:  # was there when it was queued, and waits: can't be
        raise AssertionError(f"alert {row['alert']} is queued but not stored")
    return load_alert(stored["body"])


def _aggregate(incident: AggregatedAlert, ends_at: float | None) -> Alert:
    """Return the oddest alert of a label set, annotated with how many others there were."""
    annotations = {
        **incident.oddest.annotations,
        "count": str(incident.count),
        "first_at": format_rfc3339(incident.first_at),
        "last_at": format_rfc3339(incident.last_at),
    }
    if incident.count > 1:
        annotations["examples"] = "\n".join(row.lstrip() for row in incident.examples)
    return replace(
        incident.oddest,
        id=incident.id,
        annotations=annotations,
        starts_at=incident.first_at,
        ends_at=None if ends_at is None else max(ends_at, incident.first_at),
    )
