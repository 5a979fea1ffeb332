"""Suppression: active silences, and alert patterns that an operator marked as false alarms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from logmlm.alerting.feedback import muted_patterns
from logmlm.alerting.grouping import ARRIVED_MEANWHILE, AlertGroup, dedup_key, with_alerts
from logmlm.alerting.silences import Silence, active_silences
from logmlm.alerting.store.database import StateDatabase
from logmlm.records import Alert

MuteStatus = Literal["sent", "silenced", "false alarm"]


@dataclass(frozen=True, slots=True)
class Muter:
    """The silences and muted patterns that are in force at one time."""

    silences: Sequence[Silence] = ()
    patterns: Collection[str] = ()

    @classmethod
    def at(cls, state: StateDatabase, now: float) -> Muter:
        """Read the silences and patterns that are in force at `now`.

        Raises:
            StorageError: they can't be read.

        """
        return cls(active_silences(state, now), muted_patterns(state, now))

    def __bool__(self) -> bool:
        return bool(self.silences or self.patterns)

    def status(self, alert: Alert) -> MuteStatus:
        """Return what becomes of an alert; the same for all with one `dedup_key`."""
        if any(silence.mutes(alert.labels) for silence in self.silences):
            return "silenced"
        return "false alarm" if alert.annotations.get("pattern") in self.patterns else "sent"


@dataclass(frozen=True, slots=True)
class MutedGroup:
    """A group, and what muting leaves of it.

    `rest` is the group without the alerts `removed`, which wait and are muted, and `audible` is
    the part of it that may be told now.
    """

    group: AlertGroup
    rest: AlertGroup
    audible: AlertGroup
    removed: Sequence[tuple[str, MuteStatus]]
    mutes: Muter


def mute(
    group: AlertGroup, waiting: Callable[[], Sequence[Alert]], state: StateDatabase, now: float
) -> MutedGroup:
    """Apply to a group the mutes that are in force at `now`.

    `waiting` reads the alerts of the group that are still to be told; it is called only if
    anything is muted at all.

    Raises:
        StorageError: the mutes can't be read.

    """
    mutes = Muter.at(state, now)
    if not mutes:
        return MutedGroup(group, group, group, (), mutes)
    statuses = [(alert, mutes.status(alert)) for alert in waiting()]
    left = [alert for alert, status in statuses if status == "sent"]
    muted = [(alert, status) for alert, status in statuses if status != "sent"]
    rest = drop_muted(group, [alert for alert, _ in muted], left)
    audible = visible_part(rest, left, mutes)
    return MutedGroup(group, rest, audible, [(alert.id, status) for alert, status in muted], mutes)


def drop_muted(group: AlertGroup, muted: Sequence[Alert], left: Sequence[Alert]) -> AlertGroup:
    """Take muted alerts that wait to be told out of a group; `left` are the others that wait.

    Nothing muted is new to a receiver. A label set that the receiver knows to fire stays, with
    its count, because its end is still to be told.
    """
    if not muted:
        return group
    gone = {dedup_key(alert) for alert in muted}
    group = replace(group, untold=tuple(new for new in group.untold if new not in gone))
    if group.status == "firing":
        known = _label_sets((*group.told, *group.untold))
        kept = {name: each for name, each in group.incidents.items() if name in known}
        return replace(group, incidents=kept)
    return group if ARRIVED_MEANWHILE in group.untold else with_alerts(group, left)


def visible_part(group: AlertGroup, left: Sequence[Alert], mutes: Muter) -> AlertGroup:
    """Return the part of a group that may be told now; `left` wait and are not muted.

    A label set whose oddest alert is muted is told by the alerts that wait, if there are any.
    """
    if not mutes:
        return group
    others = with_alerts(group, left)
    incidents = {}
    for name, incident in group.incidents.items():
        status = mutes.status(incident.oddest)
        if status == "sent" or (
            status == "false alarm" and _other_pattern_fires(group, name, mutes)
        ):
            incidents[name] = incident
        if status != "sent" and name in others.incidents:
            incidents[name] = others.incidents[name]
    return replace(group, incidents=incidents) if incidents else others


def _other_pattern_fires(group: AlertGroup, label_set: str, mutes: Muter) -> bool:
    """Return whether the receiver knows of a firing pattern with these labels that is not muted."""
    patterns = {pattern for known, _, pattern in map(_parts, group.told) if known == label_set}
    return group.status == "firing" and not patterns <= set(mutes.patterns)


def _label_sets(novelties: Iterable[str]) -> set[str]:
    return {_parts(each)[0] for each in novelties}


def _parts(new: str) -> tuple[str, str, str]:
    return new.partition("/")
