"""List, show and retry the alerts of a state directory, whether a daemon runs or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from logmlm.alerting.serialization import load_alert
from logmlm.alerting.store.database import DatabaseRow, StateDatabase
from logmlm.errors import StorageError, UsageError
from logmlm.records import Alert

STATE = "state.db"


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """An alert and the state of its delivery.

    It was made at `at`. `status` is `sent`, `silenced` or `false alarm`, or, where a sink
    does not have it yet or never will, `waiting` or `dead`. `waiting` and `dead` name the sinks,
    the latter with the reason.
    """

    alert: Alert
    at: float
    status: str
    waiting: tuple[str, ...]
    dead: tuple[tuple[str, str], ...]


def open_state(directory: Path) -> StateDatabase:
    """Open the state of a daemon that has run.

    Raises:
        StorageError: there is none, or it can't be used.

    """
    path = directory / STATE
    if not path.exists():
        raise StorageError(
            f"there is no {path}; give the daemon's --state-dir or --config, and run it once"
        )
    return StateDatabase(path)


def list_alerts(state: StateDatabase, limit: int | None = None) -> Iterator[AlertStatus]:
    """Yield the stored alerts, the latest first, then the dead letters older than these."""
    rows = state.select("alerts", "1 ORDER BY at DESC, rowid DESC LIMIT ?", limit or -1)
    for row in rows:
        yield _known(state, row)
    if limit is None or len(rows) < limit:
        older = (
            "body != '' AND alert NOT IN (SELECT id FROM alerts) GROUP BY alert ORDER BY at DESC"
        )
        for row in state.select("dead", older):
            yield _known(state, {**row, "id": row["alert"], "verdict": "sent"})


def find_alert(state: StateDatabase, alert_id: str) -> AlertStatus:
    """Return the alert whose id begins so.

    Raises:
        UsageError: there is none, or several.

    """
    start = (alert_id, len(alert_id), alert_id)
    rows = state.select("alerts", "? != '' AND substr(id, 1, ?) = ? LIMIT 2", *start)
    if not rows:
        where = "? != '' AND substr(alert, 1, ?) = ? AND body != '' GROUP BY alert LIMIT 2"
        found = state.select("dead", where, *start)
        rows = [{**row, "id": row["alert"], "verdict": "sent"} for row in found]
    if len(rows) != 1:
        many = "several alerts' ids begin" if rows else "no alert's id begins"
        raise UsageError(f"{many} with '{alert_id}'; logmlm alerts list shows them")
    return _known(state, rows[0])


def retry_dead_letters(state: StateDatabase, ids: Sequence[str] | None = None) -> int:
    """Move dead letters (None: all) back to the queues of their sinks; return how many.

    Raises:
        UsageError: an id is none of a dead letter.

    """
    with state.transaction():
        if ids is None:
            rows = state.select("dead")
        else:
            rows = [row for alert_id in ids for row in _letters(state, alert_id)]
        letters = {row["seq"]: row for row in rows if row["body"]}
        for row in letters.values():
            _requeue(state, row)
    return len(letters)


def _letters(state: StateDatabase, alert_id: str) -> list[DatabaseRow]:
    alert = find_alert(state, alert_id).alert
    rows = state.select("dead", "alert = ?", alert.id)
    if not rows:
        raise UsageError(
            f"alert {alert.id} is no dead letter; logmlm alerts list --dead shows them"
        )
    return rows


def _requeue(state: StateDatabase, row: DatabaseRow) -> None:
    if state.get("alerts", row["alert"]) is None:
        state.put("alerts", id=row["alert"], at=row["at"], verdict="sent", body=row["body"])
    seq = state.next_seq("queue")
    state.put("queue", seq=seq, sink=row["sink"], alert=row["alert"], bundle="", attempts=0)
    state.delete("dead", "seq = ?", row["seq"])


def _known(state: StateDatabase, row: DatabaseRow) -> AlertStatus:
    waiting = tuple(found["sink"] for found in state.select("queue", "alert = ?", row["id"]))
    letters = state.select("dead", "alert = ?", row["id"])
    dead = tuple((found["sink"], found["reason"]) for found in letters)
    status = row["verdict"]
    if status == "sent" and (waiting or dead):
        status = "dead" if dead else "waiting"
    return AlertStatus(load_alert(row["body"]), row["at"], status, waiting, dead)
