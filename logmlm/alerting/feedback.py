"""What people said of alerts: false alarms, whose like does not page again, and true ones.

The like of an alert has the same *pattern*: the same set of odd lines by their templates (for a
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
    """What was said of an alert, at `at`; a false alarm's pattern is muted before `until`."""

    alert: Alert
    verdict: Judgement
    at: float
    until: float


def give_feedback(
    state: StateDatabase, alert: Alert, verdict: Judgement, now: float, until: float
) -> Feedback:
    """Keep what was said of an alert, in place of what was said before.

    Raises:
        StorageError: it can't be kept.

    """
    said = Feedback(alert, verdict, now, until if verdict == "false alarm" else now)
    state.put(
        "feedback",
        alert=alert.id,
        at=said.at,
        verdict=verdict,
        until=said.until,
        pattern=alert.annotations.get("pattern", ""),
        body=dump_alert(alert),
    )
    return said


def muted_patterns(state: StateDatabase, now: float) -> set[str]:
    """Patterns of which nobody is to hear now.

    What was said last of a pattern counts: an alert called true takes back the false ones.
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
    """All that was said, the oldest first."""
    for row in state.select("feedback", "1 ORDER BY at"):
        yield Feedback(load_alert(row["body"]), row["verdict"], row["at"], row["until"])


def write_labels(found: Sequence[Feedback], out: TextIO) -> int:
    """Write the anomalies among what was said as labels (`start`, `end`, `name`); their number.

    This is what `logmlm train --labels` and `evaluate --labels` take: true alerts are kept out
    of training, and false alarms, which are normal, stay in it, as windows without a label do.
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
