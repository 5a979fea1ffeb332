"""What a sink is to be sent next of what waits for it, and what nobody is to hear of any more."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from logmlm.alerting.alert_json import load_alert
from logmlm.alerting.group_json import dump_group, load_group
from logmlm.alerting.grouping import Group, Grouping, decide, notification, novelty, single
from logmlm.alerting.muting import Mutes, Verdict, audible, without_muted
from logmlm.alerting.store.database import Row, State
from logmlm.records import Alert, Notification, Status

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A notification that is due, and what it covers.

    `group` is the state that it tells (None: an alert on its own), `last` the newest entry of
    the queue in it; `attempts` counts the tries that failed.
    """

    sink: str
    notification: Notification
    bundle: str
    last: int
    attempts: int
    group: Group | None = None


class Parcels:
    """Makes the parcels of the alerts and groups that are kept; for use within a transaction."""

    def __init__(self, state: State) -> None:
        self._state = state

    def next_single(self, sink: str, now: float) -> Parcel | None:
        """Return the first alert that waits on its own and is not muted now."""
        mutes = None
        first = "sink = ? AND bundle = '' ORDER BY attempts, seq LIMIT 1"
        while rows := self._rows(first, sink):
            row, alert = rows[0], self._alert(rows[0])
            mutes = mutes or Mutes.at(self._state, now)
            if (verdict := mutes.verdict(alert)) == "sent":
                return Parcel(sink, single(alert), "", row["seq"], row["attempts"])
            self._mute(row, verdict)
        return None

    def next_group(
        self, sink: str, grouping: Grouping, now: float, flush: bool
    ) -> Parcel | float | None:
        """Return a group that is due, or when one will be; `flush` has none wait for more."""
        due = "sink = ? AND (due <= ? OR due > ?) ORDER BY attempts, due LIMIT 1"
        while rows := self._state.select("bundles", due, sink, now, now + grouping.horizon):
            if parcel := self._due_parcel(rows[0], grouping, now):
                return parcel
        where = "sink = ? ORDER BY due"
        for row in self._state.select("bundles", where + ("" if flush else " LIMIT 1"), sink):
            if not flush:
                return float(row["due"])
            group, heard = self._heard(row, load_group(row["body"]), now)
            if group.untold and heard.incidents:
                return self._parcel(row, heard, "firing", now)
        return None

    def _due_parcel(self, row: Row, grouping: Grouping, now: float) -> Parcel | None:
        """Make the parcel of a group; None if it has to wait after all, or is forgotten."""
        group = heard = load_group(row["body"])
        decision = decide(group, grouping, now)
        if decision.what == "firing" and decision.due <= now:
            group, heard = self._heard(row, group, now)
            if not heard.incidents:  # nobody is to hear of it now: as if it had been told
                group = replace(group, untold=(), notified_at=now)
            decision = decide(group, grouping, now)
        if decision.what == "forget" and decision.due <= now:
            self._state.delete("bundles", "id = ?", row["id"])
            return None
        if decision.what == "forget" or decision.due > now:
            self._state.put("bundles", **{**row, "due": decision.due, "body": dump_group(group)})
            return None
        logger.debug("sink %s is told of group %s: %s", row["sink"], group.key, decision.reason)
        told_now = heard if decision.what == "firing" else group
        return self._parcel(row, told_now, decision.what, now)

    def _heard(self, row: Row, group: Group, now: float) -> tuple[Group, Group]:
        """The group without what is muted of what waits; and what of it is told now."""
        mutes = Mutes.at(self._state, now)
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
        group = without_muted(group, muted, left)
        self._state.put("bundles", **{**row, "body": dump_group(group)})
        return group, audible(group, left, mutes)

    def _mute(self, row: Row, verdict: Verdict) -> None:
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
                kinds = {novelty(alert) for alert in left}
                mine = [alert for alert in [self._alert(row)] if novelty(alert) not in kinds]
                group = without_muted(load_group(bundle["body"]), mine, left)
                self._state.put("bundles", **{**bundle, "body": dump_group(group)})

    def settle_known(self, sink: str, group: Group) -> None:
        """Have alerts wait no longer that came while their like was told: they are in the count."""
        for row in self._rows("sink = ? AND bundle = ?", sink, group.key):
            if group.knows(self._alert(row)):
                self._state.delete("queue", "seq = ?", row["seq"])
                self._state.delete("waiting", "id = ?", row["alert"])

    def _rows(self, where: str, *values: object) -> list[Row]:
        return self._state.select("queue", where, *values)

    def _alert(self, row: Row) -> Alert:
        stored = self._state.get("alerts", row["alert"])
        if stored is None:  # was there when it was queued, and waits: can't be
            raise AssertionError(f"alert {row['alert']} is queued but not stored")
        return load_alert(stored["body"])

    def _parcel(self, row: Row, group: Group, status: Status, now: float) -> Parcel:
        sink = row["sink"]
        newest = "sink = ? AND bundle = ? ORDER BY seq DESC LIMIT 1"
        last = next((found["seq"] for found in self._rows(newest, sink, group.key)), 0)
        notice = notification(group, status, now)
        return Parcel(sink, notice, group.key, last, row["attempts"], group)


def covered(parcel: Parcel) -> tuple[str, tuple[str | int, ...]]:
    """Which rows of the queue a parcel tells; a number is given to another row one day."""
    if parcel.group is None:
        alert = parcel.notification.alerts[0].id
        return "sink = ? AND seq = ? AND alert = ?", (parcel.sink, parcel.last, alert)
    of = (parcel.sink, parcel.bundle, parcel.last)
    return "sink = ? AND bundle = ? AND seq <= ?", of
