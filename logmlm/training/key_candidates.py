"""Find what lines of a log could be grouped by: fields of the format, and ids in messages.

A good key makes the log predictable: given the line before it of the same key, a line is less
surprising than given the line before it in the file. That is measured by prequential code length
(Dawid, "Present position and potential developments", 1984) with an adaptive bigram model
(Witten & Bell, IEEE Transactions on Information Theory 1991), which charges each key for what it
has to learn, so that no held-out part is needed.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from types import MappingProxyType
from typing import Final

from logmlm.parsing.formats import ALIASES, attribute
from logmlm.records import Event

MAX_CANDIDATES: Final = 24
"""Keys that are judged, those of most lines first."""
MAX_ALTERNATIVES: Final = 4
"""Ids that one key joins at most: a job's, a lock's, a connection's."""
MIN_COVERAGE: Final = 0.5
"""Share of lines that carry the key; with less, most windows would be of lines without one."""
MIN_PART_COVERAGE: Final = 0.05
"""Share of lines that an alternative of a joined key carries."""
MIN_LINES_A_RUN: Final = 1.5
"""Lines in a row of one key, in the mean; with less, there is no order to learn."""
MIN_DIVERSITY: Final = 0.25
"""Share of lines that differ from the one before them of the same key. Where each key has a line
of its own, the key says what the line is, and not to what it belongs."""
MAX_SPREAD: Final = 0.5
"""Share of the log over which the lines of a key are spread, of what chance would make of them."""
MIN_GAIN: Final = 0.05
"""Share of the code length that a key saves at least."""
MIN_PART_GAIN: Final = 0.01
"""Share of it that a further alternative saves at least."""
MAX_STOLEN: Final = 0.01
"""Share of lines whose key a further alternative changes at most."""
IDLE_S: Final = 60.0
"""A pause after which lines of one key are taken for two runs here."""

_CONTENT: Final = frozenset(
    (
        *("method", "path", "query", "status", "bytes", "referrer", "user_agent", "logger"),
        *("stream", "template", "url", "uri", "protocol", "level", "severity", "message", "msg"),
        *("caller", "line", "lineno", "function", "func", "file", "filename", "time", "timestamp"),
        *("duration", "elapsed", "latency", "size", "version", "code"),
    )
)
"""Attributes that tell what a line says, whatever it belongs to."""
_SHORT: Final[Mapping[str, str]] = MappingProxyType(
    {long: short for short, long in ALIASES.items()}
)
_WORD: Final = r"[\w.:/@-]*\w"
_NAMED_ID: Final = re.compile(
    r"(?<!\w)(?P<lead>[A-Za-z_]{2,24}(?:[=#:_-]|[:=] | ))(?P<id>(?=[A-Za-z_.:/@-]{0,24}[0-9])"
    rf"{_WORD})"
)
_SHAPES: Final = (
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}:[0-9]{1,5}",
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"[0-9a-f]{16,64}",
)
_SAMPLED: Final = 3_000


@dataclass(frozen=True, slots=True)
class KeyCandidate:
    """A key with its value for each event, "" where an event has none."""

    key: str
    values: tuple[str, ...]
    code_length: float
    """Nats to say which template each line is of, given the line before it of the same key."""

    @property
    def coverage(self) -> float:
        """Share of events that carry the key."""
        return sum(map(bool, self.values)) / max(1, len(self.values))


def best_key(events: Sequence[Event]) -> KeyCandidate | None:
    """Return the key that makes these events most predictable; None where none helps enough."""
    unkeyed = code_length(events, [""] * len(events))
    named = [*_attributes(events)]
    found = [each for each in _judged(events, named) if each.coverage >= MIN_COVERAGE]
    patterns = _judged(events, list(_patterns(events)), MIN_PART_COVERAGE)
    if joined := _joined(events, patterns):
        found.append(joined)
    best = min(found, key=lambda each: each.code_length, default=None)
    if best is None or best.code_length > (1 - MIN_GAIN) * unkeyed:
        return None
    return best


def code_length(
    events: Sequence[Event], keys: Sequence[str], kinds: Sequence[int] | None = None
) -> float:
    """Return the nats that the templates of the events take, each given the one before of its key.

    Lines without a key follow each other. After `IDLE_S` seconds a key begins anew. Which lines
    have a key, or a key of which of `kinds`, is charged for too, given the line before: it tells
    of what template they are.
    """
    followers: dict[tuple[int, str | None], Counter[str]] = defaultdict(Counter)
    seen: Counter[str] = Counter()
    totals: Counter[tuple[int, str | None]] = Counter()
    last: dict[str, tuple[str, float]] = {}
    kinds = kinds or [int(bool(key)) for key in keys]
    nats = _kinds_length(events, kinds)
    for count, (event, key, kind) in enumerate(zip(events, keys, kinds, strict=True)):
        token, before = event.template_id, last.get(key)
        is_fresh = before is None or event.timestamp - before[1] > IDLE_S
        context = kind, None if is_fresh or before is None else before[0]
        known, distinct = followers[context], len(followers[context])
        alone = (seen[token] + 0.5) / (count + 0.5 * (len(seen) + 1))
        share = (known[token] + distinct * alone) / (totals[context] + distinct) if known else alone
        nats -= log(share)
        known[token] += 1
        totals[context] += 1
        seen[token] += 1
        last[key] = token, event.timestamp
    return nats


def _kinds_length(events: Sequence[Event], kinds: Sequence[int]) -> float:
    """Return the nats to say of what kind the lines' keys are, given the template before each."""
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    nats, before, distinct = 0.0, "", len(set(kinds))
    for event, kind in zip(events, kinds, strict=True):
        # Krichevsky & Trofimov's estimate, IEEE Transactions on Information Theory 1981.
        counts = seen[before]
        nats -= log((counts[kind] + 0.5) / (counts.total() + distinct / 2))
        counts[kind] += 1
        before = event.template_id
    return nats


def _judged(
    events: Sequence[Event],
    candidates: Sequence[tuple[str, tuple[str, ...]]],
    coverage: float = MIN_COVERAGE,
) -> list[KeyCandidate]:
    by_coverage = sorted(candidates, key=lambda each: -sum(map(bool, each[1])))
    return [
        KeyCandidate(key, values, code_length(events, values))
        for key, values in by_coverage[:MAX_CANDIDATES]
        if sum(map(bool, values)) >= coverage * len(events) and _groups(events, values)
    ]


def _groups(events: Sequence[Event], values: Sequence[str]) -> bool:
    """Return whether these values group lines: runs of several, unlike lines, close in time."""
    last: dict[str, tuple[str, float]] = {}
    runs = repeats = differing = 0
    for event, value in zip(events, values, strict=True):
        if not value:
            continue
        before = last.get(value)
        last[value] = event.template_id, event.timestamp
        if before is None or event.timestamp - before[1] > IDLE_S:
            runs += 1
            continue
        repeats += 1
        differing += before[0] != event.template_id
    if not repeats or runs + repeats < MIN_LINES_A_RUN * runs:
        return False
    return differing >= MIN_DIVERSITY * repeats and _spread(values) <= MAX_SPREAD


def _spread(values: Sequence[str]) -> float:
    """Return how far lines of a key lie apart, as a share of what they would in random order."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, value in enumerate(values):
        if value:
            places[value].append(place)
    several = [each for each in places.values() if len(each) > 1]
    found = sum((each[-1] - each[0]) * len(each) for each in several)
    chance = sum(len(values) * (len(each) - 1) / (len(each) + 1) * len(each) for each in several)
    return found / chance if chance else 1.0


def _attributes(events: Sequence[Event]) -> Iterator[tuple[str, tuple[str, ...]]]:
    fields = [event.fields for event in events]
    known = [set(event.line.attributes) for event in events]
    names = Counter(
        name
        for each, more in zip(fields, known, strict=True)
        for name in more | set(each.attributes)
    )
    for name, count in names.items():
        short = _SHORT.get(name, name)
        is_name = all(part.isidentifier() for part in short.split("."))
        if count < MIN_COVERAGE * len(events) or not is_name or _is_content(short):
            continue
        yield (
            short,
            tuple(
                (event.line.attributes.get(name) or attribute(each, name) or "")
                for event, each in zip(events, fields, strict=True)
            ),
        )


def _is_content(name: str) -> bool:
    return name.rpartition(".")[2].lower() in _CONTENT or name.startswith(("http.", "url."))


def _patterns(events: Sequence[Event]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield patterns for ids in messages, unbracketed, with what each finds."""
    leads: Counter[str] = Counter()
    for event in events[:_SAMPLED]:
        leads.update({found["lead"] for found in _NAMED_ID.finditer(event.fields.message)})
    least = MIN_PART_COVERAGE * min(len(events), _SAMPLED)
    named = [lead for lead, count in leads.most_common(MAX_CANDIDATES) if count >= least]
    for pattern in [*_SHAPES, *(_literal(lead) + _WORD for lead in named)]:
        yield pattern, _found(pattern, events)


def _literal(text: str) -> str:
    return re.escape(text).replace("\\ ", " ")


def _found(pattern: str, events: Sequence[Event]) -> tuple[str, ...]:
    search = re.compile(_key(pattern)).search
    return tuple((m[1] if (m := search(event.fields.message)) else "") for event in events)


def _key(*patterns: str) -> str:
    return rf"(?<!\w)({'|'.join(patterns)})"


def _joined(events: Sequence[Event], parts: Sequence[KeyCandidate]) -> KeyCandidate | None:
    """Join the pattern that helps most with others, as long as each helps further.

    A further one is for lines that have no key yet: it leaves the others' keys as they are.
    """
    chosen: list[str] = []
    kinds, best = [0] * len(events), None
    for part in sorted(parts, key=lambda each: each.code_length):
        if len(chosen) == MAX_ALTERNATIVES:
            break
        values = _found("|".join([*chosen, part.key]), events)
        if best is not None and _changes(best.values, values) > MAX_STOLEN * len(events):
            continue
        more = [
            kind or (len(chosen) + 1 if value else 0)
            for kind, value in zip(kinds, values, strict=True)
        ]
        tried = KeyCandidate(part.key, values, code_length(events, values, more))
        if best is None or tried.code_length < (1 - MIN_PART_GAIN) * best.code_length:
            chosen.append(part.key)
            kinds, best = more, tried
    if best is None or best.coverage < MIN_COVERAGE:
        return None
    return replace(best, key=_key(*chosen))


def _changes(before: Sequence[str], after: Sequence[str]) -> int:
    return sum(bool(old) and old != new for old, new in zip(before, after, strict=True))
