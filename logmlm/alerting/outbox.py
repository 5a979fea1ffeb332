"""Alerts that are still to be delivered, for each sink, durable; and those that never will be."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

from logmlm.alerting.alert_json import dump_alert
from logmlm.alerting.dead_letters import dead_letter_counts, move_to_dead_letters
from logmlm.alerting.group_json import dump_group, load_group
from logmlm.alerting.grouping import (
    AlertGroup,
    GroupingPolicy,
    group_key,
    mark_notified,
    next_notification,
    with_new_alert,
)
from logmlm.alerting.muting import Muter, MuteStatus, visible_part
from logmlm.alerting.notification_builder import (
    NotificationBuilder,
    PendingNotification,
    queue_rows,
)
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
