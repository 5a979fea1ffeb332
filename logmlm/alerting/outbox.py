"""Alerts that are still to be delivered, for each sink, durable; and those that never will be.

What a sink is to be sent next of what waits for it, and what nobody is to hear of any more.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from logmlm.alerting.dead_letters import dead_letter_counts, move_to_dead_letters
from logmlm.alerting.grouping import (
    AlertGroup,
    GroupingPolicy,
    build_notification,
    dedup_key,
    for_single_alert,
    group_key,
    mark_notified,
    next_notification,
    with_new_alert,
)
from logmlm.alerting.muting import Muter, MuteStatus, drop_muted, visible_part
from logmlm.alerting.serialization import dump_alert, dump_group, load_alert, load_group
from logmlm.alerting.store.database import DatabaseRow, StateDatabase
from logmlm.records import Alert, GroupStatus, Notification

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


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """A notification that is due, and what it covers.

    `group` is the state that it tells (None: an alert on its own), `last` the newest entry of
    the queue in it; `attempts` counts the tries that failed.
    """

    sink: str
    notification: Notification
    bundle: str
    last: int
    attempts: int
    group: AlertGroup | None = None


class NotificationBuilder:
    """Makes the parcels of the alerts and groups that are kept; for use within a transaction."""

    def __init__(self, state: StateDatabase) -> None:
        self._state = state

    def next_single(self, sink: str, now: float) -> PendingNotification | None:
        """Return the first alert that waits on its own and is not muted now."""
        mutes = None
        first = "sink = ? AND bundle = '' ORDER BY attempts, seq LIMIT 1"
        while rows := self._rows(first, sink):
            row, alert = rows[0], self._alert(rows[0])
            mutes = mutes or Muter.at(self._state, now)
            if (verdict := mutes.verdict(alert)) == "sent":
                return PendingNotification(
                    sink, for_single_alert(alert), "", row["seq"], row["attempts"]
                )
            self._mute(row, verdict)
        return None

    def next_group(
        self, sink: str, grouping: GroupingPolicy, now: float, flush: bool
    ) -> PendingNotification | float | None:
        """Return a group that is due, or when one will be; `flush` has none wait for more."""
        due = "sink = ? AND (due <= ? OR due > ?) ORDER BY attempts, due LIMIT 1"
        while rows := self._state.select("bundles", due, sink, now, now + grouping.horizon):
            if parcel := self._due_notification(rows[0], grouping, now):
                return parcel
        where = "sink = ? ORDER BY due"
        for row in self._state.select("bundles", where + ("" if flush else " LIMIT 1"), sink):
            if not flush:
                return float(row["due"])
            group, heard = self._without_notified(row, load_group(row["body"]), now)
            if group.untold and heard.incidents:
                return self._pending(row, heard, "firing", now)
        return None

    def _due_notification(
        self, row: DatabaseRow, grouping: GroupingPolicy, now: float
    ) -> PendingNotification | None:
        """Make the parcel of a group; None if it has to wait after all, or is forgotten."""
        group = heard = load_group(row["body"])
        decision = next_notification(group, grouping, now)
        if decision.what == "firing" and decision.due <= now:
            group, heard = self._without_notified(row, group, now)
            if not heard.incidents:  # nobody is to hear of it now: as if it had been told
                group = replace(group, untold=(), notified_at=now)
            decision = next_notification(group, grouping, now)
        if decision.what == "forget" and decision.due <= now:
            self._state.delete("bundles", "id = ?", row["id"])
            return None
        if decision.what == "forget" or decision.due > now:
            self._state.put("bundles", **{**row, "due": decision.due, "body": dump_group(group)})
            return None
        logger.debug("sink %s is told of group %s: %s", row["sink"], group.key, decision.reason)
        told_now = heard if decision.what == "firing" else group
        return self._pending(row, told_now, decision.what, now)

    def _without_notified(
        self, row: DatabaseRow, group: AlertGroup, now: float
    ) -> tuple[AlertGroup, AlertGroup]:
        """The group without what is muted of what waits; and what of it is told now."""
        mutes = Muter.at(self._state, now)
        if not mutes:
            return group, group
        muted: list[Alert] = []
        left: list[Alert] = []
        for each in self._rows("sink = ? AND bundle = ? ORDER BY seq", row["sink"], group.key):
            alert = self._alert(each)
            verdict = mutes.verdict(alert)
            (left if verdict == "sent" else muted).append(alert)
            if verdict != "sent":
                self._mute(each, verdict)
        group = drop_muted(group, muted, left)
        self._state.put("bundles", **{**row, "body": dump_group(group)})
        return group, visible_part(group, left, mutes)

    def _mute(self, row: DatabaseRow, verdict: MuteStatus) -> None:
        """Take an alert out of a queue; it waits no longer if it is in no other."""
        alert_id = row["alert"]
        logger.info("alert %s is not told to sink %s: %s", alert_id, row["sink"], verdict)
        self._state.delete("queue", "seq = ?", row["seq"])
        if self._state.count("queue", "alert = ?", alert_id):
            return
        if self._state.delete("waiting", "id = ?", alert_id):
            for stored in self._state.select("alerts", "id = ?", alert_id):
                self._state.put("alerts", **{**stored, "verdict": verdict})

    def withdraw(self, alert_id: str) -> None:
        """Take an alert out of all queues and groups, as if it had never been in them."""
        for row in self._rows("alert = ?", alert_id):
            self._state.delete("queue", "seq = ?", row["seq"])
            for bundle in self._state.select(
                "bundles", "id = ?", f"{row['sink']}\n{row['bundle']}"
            ):
                rest = self._rows(
                    "sink = ? AND bundle = ? ORDER BY seq", row["sink"], row["bundle"]
                )
                left = [self._alert(each) for each in rest]
                kinds = {dedup_key(alert) for alert in left}
                mine = [alert for alert in [self._alert(row)] if dedup_key(alert) not in kinds]
                group = drop_muted(load_group(bundle["body"]), mine, left)
                self._state.put("bundles", **{**bundle, "body": dump_group(group)})

    def settle_known(self, sink: str, group: AlertGroup) -> None:
        """Have alerts wait no longer that came while their like was told: they are in the count."""
        for row in self._rows("sink = ? AND bundle = ?", sink, group.key):
            if group.knows(self._alert(row)):
                self._state.delete("queue", "seq = ?", row["seq"])
                self._state.delete("waiting", "id = ?", row["alert"])

    def _rows(self, where: str, *values: object) -> list[DatabaseRow]:
        return self._state.select("queue", where, *values)

    def _alert(self, row: DatabaseRow) -> Alert:
        stored = self._state.get("alerts", row["alert"])
        if stored is None:  # was there when it was queued, and waits: can't be
            raise AssertionError(f"alert {row['alert']} is queued but not stored")
        return load_alert(stored["body"])

    def _pending(
        self, row: DatabaseRow, group: AlertGroup, status: GroupStatus, now: float
    ) -> PendingNotification:
        sink = row["sink"]
        newest = "sink = ? AND bundle = ? ORDER BY seq DESC LIMIT 1"
        last = next((found["seq"] for found in self._rows(newest, sink, group.key)), 0)
        notice = build_notification(group, status, now)
        return PendingNotification(sink, notice, group.key, last, row["attempts"], group)


def queue_rows(parcel: PendingNotification) -> tuple[str, tuple[str | int, ...]]:
    """Which rows of the queue a parcel tells; a number is given to another row one day."""
    if parcel.group is None:
        alert = parcel.notification.alerts[0].id
        return "sink = ? AND seq = ? AND alert = ?", (parcel.sink, parcel.last, alert)
    of = (parcel.sink, parcel.bundle, parcel.last)
    return "sink = ? AND bundle = ? AND seq <= ?", of


class Outbox:
    """A queue for each sink. A sink with a `GroupingPolicy` gets groups, one without each alert.

    An alert *waits* until a receiver accepted it, or all refused it for good.
    """

    def __init__(self, state: StateDatabase, sinks: Mapping[str, GroupingPolicy | None]) -> None:
        self._state = state
        self._sinks = sinks
        self._builder = NotificationBuilder(state)
        self.dropped: Counter[str] = Counter()
        """Dead letters that were deleted because too many lay here, by sink."""
        self._said_dropped = 0
        self._said_dropped_at = float("-inf")

    def reconcile_sinks(self, now: float) -> None:
        """Fit what an earlier run left to the sinks of today."""
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
        """Keep alerts, and queue those to be sent for every sink; those that are new.

        An id that was stored before is left alone. An alert that a receiver knows to fire
        already is not queued for it and does not wait: it is in the count that is told next.
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
        """Take alerts for such as were stored before, and are settled."""
        with self._state.transaction():
            for alert_id in alert_ids:
                if self._state.get("seen", alert_id) is None:
                    self._state.put("seen", id=alert_id, at=now)

    def withdraw(self, alert_ids: Iterable[str]) -> None:
        """Forget alerts, as if they had never been stored."""
        with self._state.transaction():
            for alert_id in alert_ids:
                self._builder.withdraw(alert_id)
                for table in ("waiting", "seen", "alerts"):
                    self._state.delete(table, "id = ?", alert_id)

    def is_settled(self, alert_id: str) -> bool:
        """Whether an alert that was stored needs nothing more."""
        return self._state.get("waiting", alert_id) is None

    def waiting(self) -> dict[str, int]:
        """How many alerts wait for each sink."""
        return {sink: self._state.count("queue", "sink = ?", sink) for sink in self._sinks}

    def is_behind(self, now: float) -> bool:
        """Whether so much waits that no more should be made: `MAX_OVERDUE`, or nearly too many.

        What waits for nothing but its group's time to be told is not overdue.
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

    def next(
        self, sink: str, now: float, flush: bool = False
    ) -> PendingNotification | float | None:
        """Return what is due for a sink, or when something will be (None: nothing waits).

        What failed before comes after what did not. With `flush`, groups don't wait for more.
        What was silenced, or called a false alarm, while it waited is not told.
        """
        with self._state.transaction():
            grouping, parcels = self._sinks.get(sink), self._builder
            grouped = parcels.next_group(sink, grouping, now, flush) if grouping else None
            alone = parcels.next_single(sink, now)
        if isinstance(grouped, PendingNotification) and alone is not None:
            return min(alone, grouped, key=lambda parcel: parcel.attempts)
        return alone or grouped

    def accepted(self, parcel: PendingNotification, now: float) -> None:
        """Note that the receiver took a parcel: its alerts wait no longer."""
        rows, of = queue_rows(parcel)
        with self._state.transaction():
            in_them = f"id IN (SELECT alert FROM queue WHERE {rows})"  # noqa: S608  SQL of our own
            self._state.delete("waiting", in_them, *of)
            self._state.delete("queue", rows, *of)
            if parcel.group is not None:
                group = self._group(parcel.sink, parcel.bundle) or parcel.group
                group = mark_notified(group, parcel.group, parcel.notification.status, now)
                self._keep_group(parcel.sink, parcel.bundle, group, now, attempts=0)
                self._builder.settle_known(parcel.sink, group)

    def retry_later(self, parcel: PendingNotification, now: float) -> None:
        """Note that a parcel failed, and is to be tried again after the others."""
        with self._state.transaction():
            if parcel.group is not None:
                group = self._group(parcel.sink, parcel.bundle) or parcel.group
                attempts = parcel.attempts + 1
                self._keep_group(parcel.sink, parcel.bundle, group, now, attempts=attempts)
                return
            rows, of = queue_rows(parcel)
            for row in self._rows(rows, *of):
                self._state.put("queue", **{**row, "attempts": parcel.attempts + 1})

    def dead_letter(self, parcel: PendingNotification, reason: str, now: float) -> None:
        """Put a parcel's alerts into the dead letters; its group begins anew."""
        sink, key = parcel.sink, parcel.bundle
        with self._state.transaction():
            if parcel.group is None:
                where, of = queue_rows(parcel)
                move_to_dead_letters(self._state, sink, self._rows(where, *of), reason, now)
                return
            group = self._group(sink, key) or parcel.group
            rows = self._rows("sink = ? AND bundle = ?", sink, key)
            buried = move_to_dead_letters(self._state, sink, rows, reason, now)
            group = visible_part(group, (), Muter.at(self._state, now))
            dead_letter_counts(self._state, sink, group, buried, reason, now)
            self._state.delete("bundles", "id = ?", _bundle_id(sink, key))

    def _queue(self, alert: Alert, groups: dict[tuple[str, str], AlertGroup], now: float) -> bool:
        """Queue an alert for every sink; whether some receiver knows that such a one fires."""
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
        """Keep a group as it is now; `attempts` None are as many as before."""
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
