"""What nobody is to hear of now: silenced alerts, and the like of those called false alarms."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from logmlm.alerting.feedback import muted_patterns
from logmlm.alerting.grouping import ARRIVED_MEANWHILE, AlertGroup, dedup_key, with_alert
from logmlm.alerting.silences import Silence, active_silences
from logmlm.alerting.store.database import StateDatabase
from logmlm.records import Alert

MuteStatus = Literal["sent", "silenced", "false alarm"]


@dataclass(frozen=True, slots=True)
class Muter:
    """The silences and muted patterns in force at one moment."""

    silences: Sequence[Silence] = ()
    patterns: Collection[str] = ()

    @classmethod
    def at(cls, state: StateDatabase, now: float) -> Muter:
        """Those that count now.

        Raises:
            StorageError: they can't be read.

        """
        return cls(active_silences(state, now), muted_patterns(state, now))

    def __bool__(self) -> bool:
        return bool(self.silences or self.patterns)

    def verdict(self, alert: Alert) -> MuteStatus:
        """What becomes of an alert; of two with the same `dedup_key` the same."""
        if any(silence.mutes(alert.labels) for silence in self.silences):
            return "silenced"
        return "false alarm" if alert.annotations.get("pattern") in self.patterns else "sent"


def drop_muted(group: AlertGroup, muted: Sequence[Alert], left: Sequence[Alert]) -> AlertGroup:
    """Take alerts out of a group that wait to be told and are muted; `left` are those that are not.

    Nothing muted is new to anybody. A label set that the receiver knows to fire stays, with its
    count, as its end is still to be told.
    """
    if not muted:
        return group
    gone = {dedup_key(alert) for alert in muted}
    group = replace(group, untold=tuple(new for new in group.untold if new not in gone))
    if group.status == "firing":
        known = _label_sets((*group.told, *group.untold))
        kept = {name: each for name, each in group.incidents.items() if name in known}
        return replace(group, incidents=kept)
    return group if ARRIVED_MEANWHILE in group.untold else _made_of(group, left)


def visible_part(group: AlertGroup, left: Sequence[Alert], mutes: Muter) -> AlertGroup:
    """What of a group is told now; `left` are its alerts that wait and are not muted.

    A label set whose oddest alert is muted is told by those that wait, if there are any.
    """
    if not mutes:
        return group
    others = _made_of(group, left)
    incidents = {}
    for name, incident in group.incidents.items():
        verdict = mutes.verdict(incident.oddest)
        if verdict == "sent" or (
            verdict == "false alarm" and _other_pattern_fires(group, name, mutes)
        ):
            incidents[name] = incident
        if verdict != "sent" and name in others.incidents:
            incidents[name] = others.incidents[name]
    return replace(group, incidents=incidents) if incidents else others


def _made_of(group: AlertGroup, alerts: Iterable[Alert]) -> AlertGroup:
    group = replace(group, incidents={}, truncated=0)
    for alert in alerts:
        group = with_alert(group, alert)
    return group


def _other_pattern_fires(group: AlertGroup, label_set: str, mutes: Muter) -> bool:
    """Whether the receiver knows a pattern of these labels to fire that is not muted."""
    patterns = {pattern for known, _, pattern in map(_parts, group.told) if known == label_set}
    return group.status == "firing" and not patterns <= set(mutes.patterns)


def _label_sets(novelties: Iterable[str]) -> set[str]:
    return {_parts(each)[0] for each in novelties}


def _parts(new: str) -> tuple[str, str, str]:
    return new.partition("/")
