"""Silences: mute the alerts whose labels match, between a start and an end."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from logmlm.alerting.label_matchers import LabelMatcher
from logmlm.alerting.store.database import StateDatabase
from logmlm.errors import UsageError

KEEP_S = 7 * 86400.0
"""Time for which a silence that has ended is still listed."""
MAX_SILENCES = 1000


@dataclass(frozen=True, slots=True)
class Silence:
    """Mutes alerts that all its matchers match, from `starts_at` on, before `ends_at`."""

    id: str
    starts_at: float
    ends_at: float
    matchers: tuple[LabelMatcher, ...]
    comment: str
    created_by: str

    def mutes(self, labels: Mapping[str, str]) -> bool:
        """Return whether an alert with these labels is muted."""
        return all(matcher.matches(labels) for matcher in self.matchers)

    def is_active(self, now: float) -> bool:
        """Return whether the silence is in force at `now`."""
        return self.starts_at <= now < self.ends_at


def add_silence(
    state: StateDatabase,
    matchers: Sequence[LabelMatcher],
    now: float,
    span: tuple[float, float],
    **words: str,
) -> Silence:
    """Store a silence; `span` is its start and end, `words` its `comment` and `created_by`.

    Raises:
        UsageError: it would mute everything, or has ended, or there are too many.
        StorageError: it can't be stored.

    """
    if not matchers or all(matcher.matches({}) for matcher in matchers):
        raise UsageError("a silence needs a matcher that does not match every alert")
    starts_at, ends_at = max(now, span[0]), span[1]
    if ends_at <= starts_at:
        raise UsageError("a silence's end has to be after now, and after its beginning")
    comment, author = words.get("comment", ""), words.get("created_by", "")
    silence = Silence(secrets.token_hex(4), starts_at, ends_at, tuple(matchers), comment, author)
    with state.transaction():
        state.delete("silences", "ends_at < ?", now - KEEP_S)
        if state.count("silences") >= MAX_SILENCES:
            raise UsageError(f"there are {MAX_SILENCES} silences already; expire some")
        _put(state, silence)
    return silence


def list_silences(state: StateDatabase) -> list[Silence]:
    """Return all stored silences, those that end last first."""
    return [_silence(row) for row in state.select("silences", "1 ORDER BY ends_at DESC, id")]


def active_silences(state: StateDatabase, now: float) -> list[Silence]:
    """Return the silences that are in force at `now`."""
    where = "starts_at <= ? AND ends_at > ?"
    return [_silence(row) for row in state.select("silences", where, now, now)]


def expire_silence(state: StateDatabase, silence_id: str, now: float) -> Silence:
    """End a silence now; its id may be cut short.

    Raises:
        UsageError: there is none of this id, or several, or it has ended.

    """
    with state.transaction():
        found = [
            one for one in list_silences(state) if silence_id and one.id.startswith(silence_id)
        ]
        if len(found) != 1:
            many = "several silences' ids begin" if found else "no silence's id begins"
            raise UsageError(f"{many} with '{silence_id}'; logmlm silence list shows them")
        old = found[0]
        if old.ends_at <= now:
            raise UsageError(f"silence {old.id} has ended already")
        ended = Silence(old.id, old.starts_at, now, old.matchers, old.comment, old.created_by)
        _put(state, ended)
    return ended


def _put(state: StateDatabase, silence: Silence) -> None:
    matchers = [[m.name, m.operator, m.value] for m in silence.matchers]
    body = {"matchers": matchers, "comment": silence.comment, "created_by": silence.created_by}
    state.put(
        "silences",
        id=silence.id,
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        body=json.dumps(body),
    )


def _silence(row: Mapping[str, object]) -> Silence:
    body = json.loads(str(row["body"]))
    matchers = tuple(LabelMatcher(*three) for three in body["matchers"])
    starts_at, ends_at = float(str(row["starts_at"])), float(str(row["ends_at"]))
    return Silence(
        str(row["id"]), starts_at, ends_at, matchers, body["comment"], body["created_by"]
    )
