"""Alerts that a sink will never be sent, kept where they can be seen and tried again."""

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
    """Put rows of a sink's queue into the dead letters; how many there are of each label set."""
    buried: list[str] = []
    label_sets: Counter[str] = Counter()
    for row in rows:
        stored = state.get("alerts", row["alert"])
        body = stored["body"] if stored else ""
        _put(state, sink, row["alert"], body, reason, now)
        state.delete("queue", "seq = ?", row["seq"])
        if not state.count("queue", "alert = ?", row["alert"]):
            state.delete("waiting", "id = ?", row["alert"])
        buried.append(row["alert"])
        if body:
            label_sets[load_alert(body).fingerprint] += 1
    _say(sink, buried, reason)
    return label_sets


def dead_letter_counts(
    state: StateDatabase,
    sink: str,
    group: AlertGroup,
    buried: Counter[str],
    reason: str,
    now: float,
) -> None:
    """Put a letter for those alerts that are in a group's counts alone, and in no queue.

    It is that of the oddest alert of their label set; `buried` of them lie there already.
    """
    letters = []
    for name, count in pending_counts(group).items():
        if (left := count - buried[name]) > 0:
            alert = group.incidents[name].oddest
            why = f"{reason}; stands for {left} alerts like it"
            _put(state, sink, alert.id, dump_alert(alert), why, now)
            letters.append(alert.id)
    _say(sink, letters, reason)


class DeadLetterCounts:
    """How many dead letters there are of each sink; cheap to ask often."""

    def __init__(self, state: StateDatabase) -> None:
        self._state = state
        self._seen = (0, 1)
        self._counts: dict[str, int] = {}

    def counts(self) -> dict[str, int]:
        """Those of sinks that have some, also of sinks that are gone."""
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
