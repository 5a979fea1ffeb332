"""Alerts that are still to be delivered, for each sink, durable; and those that never will be."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from logmlm.alertjson import dump_alert, load_alert
from logmlm.groups import (
    Group,
    Grouping,
    add,
    decide,
    dump_group,
    group_key,
    load_group,
    notification,
    single,
    told,
)
from logmlm.records import Alert, Notification, Status
from logmlm.state import Row, State

MAX_WAITING = 20_000
"""Alerts that wait for one sink at most; older ones go to the dead letters."""
MAX_DEAD = 20_000
"""Dead letters that are kept at most; the oldest ones go."""
MAX_ALERTS = 20_000
"""Alerts that are kept to be shown, those that wait apart."""
MAX_SEEN = 200_000
"""Ids that are remembered, so that a replay sends nothing twice."""
NO_SINK = "the configuration has no such sink any more"
TOO_MANY = "too many alerts wait for this sink"

Verdict = Literal["sent", "silenced", "false alarm"]
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


class Outbox:
    """A queue for each sink. A sink with a `Grouping` gets groups, one without each alert.

    An alert *waits* until a receiver accepted it, or all refused it for good.
    """

    def __init__(self, state: State, sinks: Mapping[str, Grouping | None]) -> None:
        self._state = state
        self._sinks = sinks

    def adopt(self, now: float) -> None:
        """Fit what an earlier run left to the sinks of today."""
        with self._state.transaction():
            names = {*self._state.distinct("queue", "sink")}
            names |= {*self._state.distinct("bundles", "sink")}
            for sink in sorted(names - set(self._sinks)):
                self._bury_rows(sink, self._state.select("queue", "sink = ?", sink), NO_SINK, now)
            for sink in names:
                if self._sinks.get(sink) is None:
                    self._state.delete("bundles", "sink = ?", sink)
                    for row in self._state.select("queue", "sink = ? AND bundle != ''", sink):
                        self._state.put("queue", **{**row, "bundle": ""})

    def store(self, alerts: Iterable[tuple[Alert, Verdict]], now: float) -> list[Alert]:
        """Keep alerts, and queue those to be sent for every sink; those that are new.

        An id that was stored before is left alone. An alert that a receiver knows to fire
        already does not wait: it is in the count that the receiver is told next.
        """
        new: list[Alert] = []
        groups: dict[tuple[str, str], Group] = {}
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
                self._keep_group(sink, key, group, 0, now)
            self._prune(now)
        return new

    def is_settled(self, alert_id: str) -> bool:
        """Whether an alert that was stored needs nothing more."""
        return self._state.get("waiting", alert_id) is None

    def waiting(self) -> dict[str, int]:
        """How many alerts wait for each sink."""
        return {sink: self._state.count("queue", "sink = ?", sink) for sink in self._sinks}

    def next(self, sink: str, now: float, flush: bool = False) -> Parcel | float | None:
        """Return what is due for a sink, or when something will be (None: nothing waits).

        What failed before comes after what did not. With `flush`, groups don't wait for more.
        """
        with self._state.transaction():
            grouped = self._next_group(sink, now, flush)
            alone = self._next_single(sink)
        if isinstance(grouped, Parcel) and alone is not None:
            return min(alone, grouped, key=lambda parcel: parcel.attempts)
        return alone or grouped

    def accepted(self, parcel: Parcel, now: float) -> None:
        """Note that the receiver took a parcel: its alerts wait no longer."""
        rows = "sink = ? AND bundle = ? AND seq <= ?"
        if parcel.group is None:
            rows += " AND seq = ?3"
        of = (parcel.sink, parcel.bundle, parcel.last)
        with self._state.transaction():
            in_them = f"id IN (SELECT alert FROM queue WHERE {rows})"  # noqa: S608  SQL of our own
            self._state.delete("waiting", in_them, *of)
            self._state.delete("queue", rows, *of)
            if parcel.group is not None:
                group = self._group(parcel.sink, parcel.bundle) or parcel.group
                group = told(group, parcel.group, parcel.notification.status, now)
                self._keep_group(parcel.sink, parcel.bundle, group, 0, now)

    def put_off(self, parcel: Parcel, now: float) -> None:
        """Note that a parcel failed, and is to be tried again after the others."""
        with self._state.transaction():
            if parcel.group is not None:
                group = self._group(parcel.sink, parcel.bundle) or parcel.group
                self._keep_group(parcel.sink, parcel.bundle, group, parcel.attempts + 1, now)
                return
            for row in self._state.select("queue", "seq = ?", parcel.last):
                self._state.put("queue", **{**row, "attempts": parcel.attempts + 1})

    def bury(self, parcel: Parcel, reason: str, now: float) -> None:
        """Put a parcel's alerts into the dead letters; its group begins anew."""
        with self._state.transaction():
            if parcel.group is None:
                rows = self._state.select("queue", "seq = ?", parcel.last)
            else:
                where = "sink = ? AND bundle = ?"
                rows = self._state.select("queue", where, parcel.sink, parcel.bundle)
                self._state.delete("bundles", "id = ?", _bundle_id(parcel.sink, parcel.bundle))
            self._bury_rows(parcel.sink, rows, reason, now)

    def _queue(self, alert: Alert, groups: dict[tuple[str, str], Group], now: float) -> bool:
        """Queue an alert for every sink; whether some receiver knows that such a one fires."""
        known = False
        for sink, grouping in self._sinks.items():
            key = ""
            if grouping is not None:
                key = group_key(grouping.labels(alert))
                group = groups.get((sink, key)) or self._group(sink, key)
                groups[sink, key] = add(group, alert, grouping, now)
                known |= group is not None and group.knows(alert)
            seq = self._state.next_seq("queue")
            self._state.put("queue", seq=seq, sink=sink, alert=alert.id, bundle=key, attempts=0)
        return known

    def _next_single(self, sink: str) -> Parcel | None:
        where = "sink = ? AND bundle = '' ORDER BY attempts, seq LIMIT 1"
        for row in self._state.select("queue", where, sink):
            stored = self._state.get("alerts", row["alert"])
            if stored is None:  # was there when it was queued, and waits: can't be
                raise AssertionError(f"alert {row['alert']} is queued but not stored")
            notice = single(load_alert(stored["body"]))
            return Parcel(sink, notice, "", row["seq"], row["attempts"])
        return None

    def _next_group(self, sink: str, now: float, flush: bool) -> Parcel | float | None:
        grouping = self._sinks.get(sink)
        if grouping is None:
            return None
        due = "sink = ? AND (due <= ? OR due > ?) ORDER BY attempts, due LIMIT 1"
        while rows := self._state.select("bundles", due, sink, now, now + grouping.horizon):
            if parcel := self._due_parcel(rows[0], grouping, now):
                return parcel
        where = "sink = ? ORDER BY due"
        for row in self._state.select("bundles", where + ("" if flush else " LIMIT 1"), sink):
            if not flush:
                return float(row["due"])
            if (group := load_group(row["body"])).untold:
                return self._parcel(row, group, "firing", now)
        return None

    def _due_parcel(self, row: Row, grouping: Grouping, now: float) -> Parcel | None:
        """Make the parcel of a group; None if it has to wait after all, or is forgotten."""
        group = load_group(row["body"])
        decision = decide(group, grouping, now)
        if decision.what == "forget" and decision.due <= now:
            self._state.delete("bundles", "id = ?", row["id"])
            return None
        if decision.what == "forget" or decision.due > now:
            self._state.put("bundles", **{**row, "due": decision.due})
            return None
        logger.debug("sink %s is told of group %s: %s", row["sink"], group.key, decision.reason)
        return self._parcel(row, group, decision.what, now)

    def _parcel(self, row: Row, group: Group, status: Status, now: float) -> Parcel:
        sink = row["sink"]
        newest = "sink = ? AND bundle = ? ORDER BY seq DESC LIMIT 1"
        last = next((r["seq"] for r in self._state.select("queue", newest, sink, group.key)), 0)
        notice = notification(group, status, now)
        return Parcel(sink, notice, group.key, last, row["attempts"], group)

    def _group(self, sink: str, key: str) -> Group | None:
        row = self._state.get("bundles", _bundle_id(sink, key))
        return None if row is None else load_group(row["body"])

    def _keep_group(self, sink: str, key: str, group: Group, attempts: int, now: float) -> None:
        grouping = self._sinks[sink]
        if grouping is not None:
            self._state.put(
                "bundles",
                id=_bundle_id(sink, key),
                sink=sink,
                due=decide(group, grouping, now).due,
                attempts=attempts,
                body=dump_group(group),
            )

    def _bury_rows(self, sink: str, rows: Iterable[Row], reason: str, now: float) -> None:
        buried = []
        for row in rows:
            stored = self._state.get("alerts", row["alert"])
            seq = self._state.next_seq("dead")
            letter = {"seq": seq, "sink": sink, "alert": row["alert"], "at": now, "reason": reason}
            self._state.put("dead", **letter, body=stored["body"] if stored else "")
            self._state.delete("queue", "seq = ?", row["seq"])
            if not self._state.count("queue", "alert = ?", row["alert"]):
                self._state.delete("waiting", "id = ?", row["alert"])
            buried.append(row["alert"])
        if buried:
            named = buried[0] if len(buried) == 1 else f"{buried[0]} and {len(buried) - 1} more"
            logger.error("dead letters for sink %s (%s): %s", sink, reason, named)

    def _prune(self, now: float) -> None:
        """Keep all tables bounded."""
        state = self._state
        if state.count("queue") > MAX_WAITING:
            for sink in self._sinks:
                excess = state.count("queue", "sink = ?", sink) - MAX_WAITING
                if excess > 0:
                    oldest = state.select("queue", "sink = ? ORDER BY seq LIMIT ?", sink, excess)
                    self._bury_rows(sink, oldest, TOO_MANY, now)
        for table, most in (("seen", MAX_SEEN), ("dead", MAX_DEAD)):
            if (excess := state.count(table) - most) > 0:
                key = "id" if table == "seen" else "seq"
                oldest_first = f"SELECT {key} FROM {table} ORDER BY at LIMIT ?"  # noqa: S608  names of our own
                state.delete(table, f"{key} IN ({oldest_first})", excess)
        if (excess := state.count("alerts") - state.count("waiting") - MAX_ALERTS) > 0:
            state.delete(
                "alerts",
                "id IN (SELECT id FROM alerts WHERE id NOT IN (SELECT alert FROM queue)"
                " ORDER BY at LIMIT ?)",
                excess,
            )


def _bundle_id(sink: str, key: str) -> str:
    return f"{sink}\n{key}"
