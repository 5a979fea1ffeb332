"""What a sink is to be sent next of what waits for it, and what nobody is to hear of any more."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from logmlm.alerting.alert_json import load_alert
from logmlm.alerting.group_json import dump_group, load_group
from logmlm.alerting.grouping import (
    AlertGroup,
    GroupingPolicy,
    build_notification,
    dedup_key,
    for_single_alert,
    next_notification,
)
from logmlm.alerting.muting import Muter, MuteStatus, drop_muted, visible_part
from logmlm.alerting.store.database import DatabaseRow, StateDatabase
from logmlm.records import Alert, GroupStatus, Notification

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
