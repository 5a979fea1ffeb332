"""Dead letters: alerts that a sink was not sent and never will be, unless they are retried."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from logmlm.alerting.grouping import AlertGroup, pending_counts
from logmlm.alerting.serialization import dump_alert, load_alert
from logmlm.alerting.store.database import DatabaseRow, StateDatabase

logger = logging.getLogger(__name__)


def move_to_dead_letters(
    state: StateDatabase, sink: str, rows: Iterable[DatabaseRow], reason: str, now: float
) -> Counter[str]:
    """Move rows of a sink's queue to the dead letters; return their number by label set."""
    moved: list[str] = []
    label_sets: Counter[str] = Counter()
    for row in rows:
        stored = state.get("alerts", row["alert"])
        body = stored["body"] if stored else ""
        _put(state, sink, row["alert"], body, reason, now)
        state.delete("queue", "seq = ?", row["seq"])
        if not state.count("queue", "alert = ?", row["alert"]):
            state.delete("waiting", "id = ?", row["alert"])
        moved.append(row["alert"])
        if body:
            label_sets[load_alert(body).fingerprint] += 1
    _say(sink, moved, reason)
    return label_sets


def dead_letter_counts(
    state: StateDatabase,
    sink: str,
    group: AlertGroup,
    moved: Counter[str],
    reason: str,
    now: float,
) -> None:
    """Add a dead letter for the alerts of each label set that are in a group's count alone.

    They are in no queue, so the oddest alert of their label set stands for them. `moved` alerts
    of a label set are dead letters already.
    """
    letters = []
    for name, count in pending_counts(group).items():
        if (left := count - moved[name]) > 0:
            alert = group.incidents[name].oddest
            why = f"{reason}; stands for {left} alerts like it"
            _put(state, sink, alert.id, dump_alert(alert), why, now)
            letters.append(alert.id)
    _say(sink, letters, reason)


class DeadLetterCounts:
    """Numbers of dead letters by sink, cheap to read often."""

    def __init__(self, state: StateDatabase) -> None:
        self._state = state
        self._seen = (0, 1)
        self._counts: dict[str, int] = {}

    def counts(self) -> dict[str, int]:
        """Return the number for each sink that has some, also for sinks that are gone."""
        seen = self._state.count("dead"), self._state.next_seq("dead")
        if seen != self._seen:
            sinks = self._state.distinct("dead", "sink")
            self._counts = {each: self._state.count("dead", "sink = ?", each) for each in sinks}
            self._seen = seen
        return dict(self._counts)


def _put(state: StateDatabase, sink: str, alert: str, body: str, reason: str, now: float) -> None:
    seq = state.next_seq("dead")
    state.put("dead", seq=seq, sink=sink, alert=alert, at=now, reason=reason, body=body)


def _say(sink: str, alerts: list[str], reason: str) -> None:
    if alerts:
        named = alerts[0] if len(alerts) == 1 else f"{alerts[0]} and {len(alerts) - 1} more"
        logger.error("dead letters for sink %s (%s): %s", sink, reason, named)
