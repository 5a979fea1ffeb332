"""Transactional outbox: the alerts that each sink still has to be sent.

Three writers record what became of a notification: `ack`, `retry_later` and `dead_letter`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from logmlm.alerting.dead_letters import dead_letter_counts, move_to_dead_letters
from logmlm.alerting.grouping import (
    AlertGroup,
    GroupingPolicy,
    dedup_key,
    group_key,
    mark_notified,
    next_notification,
    with_new_alert,
)
from logmlm.alerting.muting import MuteStatus, drop_muted, visible_part
from logmlm.alerting.notification import NotificationBuilder, PendingNotification, queued_alert
from logmlm.alerting.serialization import dump_alert, dump_group, load_group
from logmlm.alerting.store.database import DatabaseRow, StateDatabase
from logmlm.records import Alert

MAX_WAITING = 20_000
"""Alerts that wait for one sink at most; older ones go to the dead letters."""
MAX_DEAD = 20_000
"""Dead letters that are kept at most; the oldest ones go."""
MAX_ALERTS = 20_000
"""Alerts that are kept to be shown, those that wait apart."""
MAX_SEEN = 200_000
"""Ids that are remembered, so that a replay sends nothing twice."""
MAX_OVERDUE = 500
"""Alerts that are due and accepted by nobody: with more, it is behind."""
NO_SINK = "the configuration has no such sink any more"
TOO_MANY = "too many alerts wait for this sink"
SAY_DROPPED_EVERY_S = 60.0

logger = logging.getLogger(__name__)


def queue_rows(pending: PendingNotification) -> tuple[str, tuple[str | int, ...]]:
    """Return the condition for the queue's rows that a notification covers, and its values.

    A row's number alone does not do: the number of a deleted row is given to another one.
    """
    if pending.group is None:
        alert = pending.notification.alerts[0].id
        return "sink = ? AND seq = ? AND alert = ?", (pending.sink, pending.last, alert)
    of = (pending.sink, pending.bundle, pending.last)
    return "sink = ? AND bundle = ? AND seq <= ?", of


class Outbox:
    """A durable queue for each sink; a sink with a `GroupingPolicy` is sent groups of alerts.

    An alert *waits* until a receiver accepted it, or all refused it for good.
    """

    def __init__(self, state: StateDatabase, sinks: Mapping[str, GroupingPolicy | None]) -> None:
        self._state = state
        self._sinks = sinks
        self.notifications = NotificationBuilder(state, sinks)
        """Builds the next notification of a sink from what waits here."""
        self.dropped: Counter[str] = Counter()
        """Dead letters that were deleted because too many lay here, by sink."""
        self._said_dropped = 0
        self._said_dropped_at = float("-inf")

    def reconcile_sinks(self, now: float) -> None:
        """Fit the queues of an earlier run to the sinks of the configuration.

        Alerts of a sink that is gone become dead letters; a sink that is grouped no more is sent
        each alert on its own.
        """
        with self._state.transaction():
            names = {*self._state.distinct("queue", "sink")}
            names |= {*self._state.distinct("bundles", "sink")}
            for sink in sorted(names - set(self._sinks)):
                move_to_dead_letters(self._state, sink, self._rows("sink = ?", sink), NO_SINK, now)
            for sink in names:
                if self._sinks.get(sink) is None:
                    self._state.delete("bundles", "sink = ?", sink)
                    for row in self._state.select("queue", "sink = ? AND bundle != ''", sink):
                        self._state.put("queue", **{**row, "bundle": ""})

    def store(self, alerts: Iterable[tuple[Alert, MuteStatus]], now: float) -> list[Alert]:
        """Store alerts, queue those to be sent for every sink, and return those that are new.

        An id that was stored before is left alone. An alert that a receiver knows to fire
        already is not queued for it and does not wait: the next notification counts it.
        """
        new: list[Alert] = []
        groups: dict[tuple[str, str], AlertGroup] = {}
        with self._state.transaction():
            for alert, verdict in alerts:
                if self._state.get("seen", alert.id) is not None:
                    continue
                new.append(alert)
                self._state.put("seen", id=alert.id, at=now)
                body = dump_alert(alert)
                self._state.put("alerts", id=alert.id, at=now, verdict=verdict, body=body)
                if verdict == "sent" and not self._queue(alert, groups, now):
                    self._state.put("waiting", id=alert.id)
            for (sink, key), group in groups.items():
                self._keep_group(sink, key, group, now)
            self._prune(now)
        return new

    def mark_known(self, alert_ids: Iterable[str], now: float) -> None:
        """Remember alerts as stored before, and settled."""
        with self._state.transaction():
            for alert_id in alert_ids:
                if self._state.get("seen", alert_id) is None:
                    self._state.put("seen", id=alert_id, at=now)

    def withdraw(self, alert_ids: Iterable[str]) -> None:
        """Forget alerts, as if they had never been stored."""
        with self._state.transaction():
            for alert_id in alert_ids:
                self._withdraw(alert_id)
                for table in ("waiting", "seen", "alerts"):
                    self._state.delete(table, "id = ?", alert_id)

    def is_settled(self, alert_id: str) -> bool:
        """Return whether an alert that was stored needs nothing more."""
        return self._state.get("waiting", alert_id) is None

    def waiting(self) -> dict[str, int]:
        """Return how many alerts wait for each sink."""
        return {sink: self._state.count("queue", "sink = ?", sink) for sink in self._sinks}

    def is_behind(self, now: float) -> bool:
        """Return whether `MAX_OVERDUE` alerts are overdue, or half of `MAX_WAITING` wait.

        Alerts that wait for nothing but the time of their group are not overdue.
        """
        waiting = self._state.count("waiting")
        if waiting < MAX_OVERDUE or waiting >= MAX_WAITING // 2:
            return waiting >= MAX_OVERDUE
        early = (
            "SELECT queue.alert FROM bundles JOIN queue ON queue.sink = bundles.sink"
            " AND bundles.id = queue.sink || char(10) || queue.bundle WHERE bundles.due > ?"
        )
        overdue = f"id IN (SELECT alert FROM queue EXCEPT {early})"  # noqa: S608  SQL of our own
        return self._state.count("waiting", overdue, now) >= MAX_OVERDUE

    def ack(self, pending: PendingNotification, now: float) -> None:
        """Record that the receiver accepted a notification: its alerts wait no longer."""
        rows, of = queue_rows(pending)
        with self._state.transaction():
            in_them = f"id IN (SELECT alert FROM queue WHERE {rows})"  # noqa: S608  SQL of our own
            self._state.delete("waiting", in_them, *of)
            self._state.delete("queue", rows, *of)
            if pending.group is not None:
                group = self._group(pending.sink, pending.bundle) or pending.group
                group = mark_notified(group, pending.group, pending.notification.status, now)
                self._keep_group(pending.sink, pending.bundle, group, now, attempts=0)
                self._settle_known(pending.sink, group)

    def retry_later(self, pending: PendingNotification, now: float) -> None:
        """Record that a notification failed, and is to be tried again after the others."""
        attempts = pending.attempts + 1
        with self._state.transaction():
            if pending.group is not None:
                group = self._group(pending.sink, pending.bundle) or pending.group
                self._keep_group(pending.sink, pending.bundle, group, now, attempts)
                return
            rows, of = queue_rows(pending)
            for row in self._rows(rows, *of):
                self._state.put("queue", **{**row, "attempts": attempts})

    def dead_letter(self, pending: PendingNotification, reason: str, now: float) -> None:
        """Record that a notification is given up: its alerts become dead letters.

        Its group begins anew. Alerts that are in the group's counts alone, and not muted when the
        notification was built, have a dead letter for each label set.
        """
        sink, key = pending.sink, pending.bundle
        with self._state.transaction():
            if pending.group is None:
                where, of = queue_rows(pending)
                move_to_dead_letters(self._state, sink, self._rows(where, *of), reason, now)
                return
            group = self._group(sink, key) or pending.group
            rows = self._rows("sink = ? AND bundle = ?", sink, key)
            moved = move_to_dead_letters(self._state, sink, rows, reason, now)
            group = visible_part(group, (), pending.mutes)
            dead_letter_counts(self._state, sink, group, moved, reason, now)
            self._state.delete("bundles", "id = ?", _bundle_id(sink, key))

    def _withdraw(self, alert_id: str) -> None:
        """Take an alert out of all queues and groups, as if it had never been in them."""
        for row in self._rows("alert = ?", alert_id):
            self._state.delete("queue", "seq = ?", row["seq"])
            key = _bundle_id(row["sink"], row["bundle"])
            for bundle in self._state.select("bundles", "id = ?", key):
                where = "sink = ? AND bundle = ? ORDER BY seq"
                rest = self._rows(where, row["sink"], row["bundle"])
                left = [queued_alert(self._state, each) for each in rest]
                alert = queued_alert(self._state, row)
                is_last = dedup_key(alert) not in map(dedup_key, left)
                group = load_group(bundle["body"])
                group = drop_muted(group, [alert] if is_last else [], left)
                self._state.put("bundles", **{**bundle, "body": dump_group(group)})

    def _settle_known(self, sink: str, group: AlertGroup) -> None:
        """Let alerts wait no longer that came while their like was sent: they are in the count."""
        for row in self._rows("sink = ? AND bundle = ?", sink, group.key):
            if group.knows(queued_alert(self._state, row)):
                self._state.delete("queue", "seq = ?", row["seq"])
                self._state.delete("waiting", "id = ?", row["alert"])

    def _queue(self, alert: Alert, groups: dict[tuple[str, str], AlertGroup], now: float) -> bool:
        """Queue an alert for every sink; return whether some receiver knows of it already."""
        known = False
        for sink, grouping in self._sinks.items():
            key = ""
            if grouping is not None:
                key = group_key(grouping.labels(alert))
                group = groups.get((sink, key)) or self._group(sink, key)
                groups[sink, key] = with_new_alert(group, alert, grouping, now)
                if group is not None and group.knows(alert):
                    known = True
                    continue
            seq = self._state.next_seq("queue")
            self._state.put("queue", seq=seq, sink=sink, alert=alert.id, bundle=key, attempts=0)
        return known

    def _rows(self, where: str, *values: object) -> list[DatabaseRow]:
        return self._state.select("queue", where, *values)

    def _group(self, sink: str, key: str) -> AlertGroup | None:
        row = self._state.get("bundles", _bundle_id(sink, key))
        return None if row is None else load_group(row["body"])

    def _keep_group(
        self, sink: str, key: str, group: AlertGroup, now: float, attempts: int | None = None
    ) -> None:
        """Store a group, and when it is due next; `attempts` None keeps their number."""
        grouping = self._sinks[sink]
        if grouping is None:
            return
        before = self._state.get("bundles", _bundle_id(sink, key))
        if attempts is None:
            attempts = before["attempts"] if before else 0
        self._state.put(
            "bundles",
            id=_bundle_id(sink, key),
            sink=sink,
            due=next_notification(group, grouping, now).due,
            attempts=attempts,
            body=dump_group(group),
        )

    def _prune(self, now: float) -> None:
        """Keep all tables bounded."""
        state = self._state
        if state.count("queue") > MAX_WAITING:
            for sink in self._sinks:
                excess = state.count("queue", "sink = ?", sink) - MAX_WAITING
                if excess > 0:
                    oldest = self._rows("sink = ? ORDER BY seq LIMIT ?", sink, excess)
                    move_to_dead_letters(state, sink, oldest, TOO_MANY, now)
        if (excess := state.count("seen") - MAX_SEEN) > 0:
            state.delete("seen", "id IN (SELECT id FROM seen ORDER BY at LIMIT ?)", excess)
        if (excess := state.count("dead") - MAX_DEAD) > 0:
            self._drop(excess, now)
        if (excess := state.count("alerts") - state.count("waiting") - MAX_ALERTS) > 0:
            state.delete(
                "alerts",
                "id IN (SELECT id FROM alerts WHERE id NOT IN (SELECT alert FROM queue)"
                " ORDER BY at LIMIT ?)",
                excess,
            )

    def _drop(self, excess: int, now: float) -> None:
        """Delete the oldest dead letters: count them, and say so, but not each time."""
        oldest = "seq IN (SELECT seq FROM dead ORDER BY at, seq LIMIT ?)"
        for sink in self._state.distinct("dead", "sink"):
            if found := self._state.count("dead", f"sink = ? AND {oldest}", sink, excess):
                self.dropped[sink] += found
        self._state.delete("dead", oldest, excess)
        if not 0 <= now - self._said_dropped_at < SAY_DROPPED_EVERY_S:
            total = self.dropped.total()
            logger.error(
                "%d alerts are lost: %d dead letters lie here, and older ones were deleted"
                " (sinks: %s); see why their receivers take none",
                *(total - self._said_dropped, MAX_DEAD, ", ".join(sorted(self.dropped))),
            )
            self._said_dropped, self._said_dropped_at = total, now


def _bundle_id(sink: str, key: str) -> str:
    return f"{sink}\n{key}"
