"""Operator feedback: false alarms, whose pattern does not page again, and true alerts.

Alerts that are alike have the same *pattern*: the same set of odd lines by their templates (for a
line without one, its text with digits replaced), whatever the key, the host or the file. A
template's id is the same after a new training, so a pattern outlives it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

from logmlm.alerting.serialization import dump_alert, load_alert
from logmlm.alerting.store.database import DatabaseRow, StateDatabase
from logmlm.records import Alert
from logmlm.system.text import format_rfc3339

Judgement = Literal["false alarm", "true"]
COLUMNS = ("start", "end", "name", "verdict", "alert", "key", "origin", "pattern")


@dataclass(frozen=True, slots=True)
class Feedback:
    """The judgement of an alert at time `at`; a false alarm mutes its pattern until `until`."""

    alert: Alert
    verdict: Judgement
    at: float
    until: float


def give_feedback(
    state: StateDatabase, alert: Alert, verdict: Judgement, now: float, until: float
) -> Feedback:
    """Store the judgement of an alert, in place of an earlier one.

    Raises:
        StorageError: it can't be stored.

    """
    feedback = Feedback(alert, verdict, now, until if verdict == "false alarm" else now)
    state.put(
        "feedback",
        alert=alert.id,
        at=feedback.at,
        verdict=verdict,
        until=feedback.until,
        pattern=alert.annotations.get("pattern", ""),
        body=dump_alert(alert),
    )
    return feedback


def muted_patterns(state: StateDatabase, now: float) -> set[str]:
    """Return the patterns that are muted at `now`.

    The last judgement of a pattern counts: a true alert unmutes what a false alarm muted.
    """
    latest: dict[str, DatabaseRow] = {}
    for row in state.select("feedback", "pattern != '' ORDER BY at"):
        latest[row["pattern"]] = row
    return {
        pattern
        for pattern, row in latest.items()
        if row["verdict"] == "false alarm" and row["at"] <= now < row["until"]
    }


def list_feedback(state: StateDatabase) -> Iterator[Feedback]:
    """Yield all feedback, the oldest first."""
    for row in state.select("feedback", "1 ORDER BY at"):
        yield Feedback(load_alert(row["body"]), row["verdict"], row["at"], row["until"])


def write_labels(found: Sequence[Feedback], out: TextIO) -> int:
    """Write the true alerts as labels (`start`, `end`, `name`) and return their number.

    `logmlm train --labels` and `evaluate --labels` read the file: true alerts are left out of
    training; false alarms are normal, so they stay in it as windows without a label do.
    """
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    true = [one for one in found if one.verdict == "true"]
    for one in true:
        notes = one.alert.annotations
        end = notes.get("last_line_at", format_rfc3339(one.alert.starts_at))
        summary = notes.get("summary", "")
        row = (format_rfc3339(one.alert.starts_at), end, summary, one.verdict, one.alert.id)
        writer.writerow([*row, *(notes.get(name, "") for name in ("key", "origin", "pattern"))])
    return len(true)
