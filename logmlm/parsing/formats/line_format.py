"""What a line format is, and the kind that a regular expression describes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cached_property
from typing import Any, Literal, Protocol

from logmlm.parsing.formats.attributes import ALIASES
from logmlm.parsing.formats.levels import level_name
from logmlm.parsing.formats.timestamps import TimestampParser, read_groups
from logmlm.records import Fields

Continuation = Literal["join", "discard"]
Groups = dict[str, str]
Refine = Callable[[Groups], Groups]

_TIME_GROUPS = frozenset(
    (
        *("timestamp", "_epoch", "_zone", "_fraction"),
        *("_year", "_month", "_day", "_hour", "_minute", "_second"),
        "_half",
    )
)
_ASKED = ("message", "level", "label", "logtag")
EMPTY = (None, "", "-")
"""Values of groups that say that there is none."""
_OWN_FIELDS = frozenset(("timestamp", "level", "message", "label"))


class LineFormat(Protocol):
    """Where a line's timestamp, level, message and attributes are.

    `continuation` says what becomes of a line that does not match: joined to the event
    before it, or discarded and counted.
    """

    @property
    def name(self) -> str:
        """The name that `--format` takes."""
        ...

    @property
    def continuation(self) -> Continuation:
        """What becomes of a line that does not match."""
        ...

    def parse(self, text: str, now: float) -> Fields | None:
        """Return the fields of `text`, or None if it does not match; raise on no text whatever.

        `now` (UTC epoch seconds: when the line was received) is what a year is guessed by.
        Of a text of several lines only the first that holds anything is read, so that
        the message is one line, and joined lines parse as their first one did.
        """
        ...


class _LastTime:
    """The last line's time, and the text that it was read from; both together, or neither."""

    found: object = None
    now = 0.0
    time: float | None = None


@dataclass(frozen=True)
class PatternFormat:
    """A format described by a regular expression with named groups, matched at line's head.

    The groups `timestamp`, `level`, `message` and `label` become the fields; others become
    attributes, under OpenTelemetry's name where `ALIASES` has one. Groups whose name begins
    with `_` are for `normalize`, `extra_attributes` and `clock` alone; empty ones and `-` are left
    out.

    `normalize` works on the groups of every line. `extra_attributes` finds further attributes in
    them, once somebody asks for an attribute. Both leave the groups as they are that are no fields
    nor in `added_names`. Where none of `digit_dependent` is found, what `normalize` makes of level
    and message hangs on no digit; None: it may.

    What does not match is tried as `fallback`. Where that fails too, an assembler reads lines that
    begin with a date by `lenient`, and takes lines that `comment` matches for no part of the log.
    A format that `reads_all` matches all lines of an event; others match its first line.
    """

    name: str
    pattern: re.Pattern[str]
    zone: tzinfo
    continuation: Continuation = "join"
    normalize: Refine | None = None
    extra_attributes: Refine | None = None
    added_names: frozenset[str] = frozenset()
    digit_dependent: frozenset[str] | None = None
    clock: TimestampParser = read_groups
    fallback: PatternFormat | None = None
    lenient: PatternFormat | None = None
    comment: re.Pattern[str] | None = None
    reads_all: bool = False
    _last: _LastTime = field(default_factory=_LastTime, init=False, repr=False, compare=False)

    @cached_property
    def time_groups(self) -> tuple[str, ...]:
        """The groups that say the time."""
        return tuple(name for name in self.pattern.groupindex if name in _TIME_GROUPS)

    @cached_property
    def _has(self) -> tuple[bool, ...]:
        return tuple(name in self.pattern.groupindex for name in _ASKED)

    @property
    def is_declared(self) -> bool:
        """Whether it is known what `normalize` does; so it is where there is none."""
        return self.normalize is None or self.digit_dependent is not None

    @cached_property
    def direct_groups(self) -> Mapping[str, str]:
        """The groups that are attributes as they stand, by the attribute's name."""
        found = self.pattern.groupindex if self.is_declared else {}
        return {ALIASES.get(name, name): name for name in found if self._is_plain(name)}

    def _is_plain(self, name: str) -> bool:
        return name not in _OWN_FIELDS | self.added_names and name[0] != "_"

    def parse(self, text: str, now: float) -> Fields | None:
        """See `LineFormat.parse`."""
        head = text.lstrip("\r\n") if self.reads_all else first_line(text)
        match = self.pattern.match(head)
        if match is None:
            return None if self.fallback is None else self.fallback.parse(text, now)
        groups = None if self.normalize is None else self.normalize(_groups(match))
        message, level, label, logtag = self._asked(match, groups)
        partial = logtag == PARTIAL
        return Fields(
            self._time_of(match, now),
            level_name(level) if level else "",
            message if partial else message.strip(),
            LazyAttributes(self, head, match, groups),
            label or None,
            partial,
        )

    def ignores_digits(self, fields: Fields) -> bool:
        """Whether these fields are all the pattern's own, so that lines of one shape are alike."""
        return isinstance(fields.attributes, LazyAttributes)

    def _time_of(self, match: re.Match[str], now: float) -> float | None:
        """Lines of one moment stand together: what was read for the last one is read once."""
        last, found = self._last, match.group(*self.time_groups)
        if found != last.found or now != last.now:
            last.time = self.clock(
                {name: match[name] for name in self.time_groups if match[name]}, now, self.zone
            )
            last.found, last.now = found, now
        return last.time

    def _asked(
        self, match: re.Match[str], groups: Groups | None
    ) -> tuple[str, str | None, str | None, str | None]:
        """What every line is asked for; the other groups wait until somebody wants them."""
        if groups is not None:
            get = groups.get
            return get("message", ""), get("level"), get("label"), get("logtag")
        has_message, has_level, has_label, has_logtag = self._has
        return (
            (match["message"] or "") if has_message else "",
            match["level"] if has_level else None,
            match["label"] if has_label else None,
            match["logtag"] if has_logtag else None,
        )

    def attributes_of(self, match: re.Match[str], groups: Groups | None) -> dict[str, str]:
        """All attributes; `groups` are those that `normalize` gave, if it was asked."""
        if groups is None:
            groups = _groups(match) if self.normalize is None else self.normalize(_groups(match))
        return _named(groups if self.extra_attributes is None else self.extra_attributes(groups))


PARTIAL = "P"
"""The group `logtag` of a line whose rest follows in the next (Kubernetes CRI)."""


def first_line(text: str) -> str:
    """Return the first line of `text` that is not empty."""
    return text.lstrip("\r\n").partition("\n")[0]


class LazyAttributes(Mapping[str, str]):
    """A line's attributes, found when one is asked for: few ever are."""

    __slots__ = ("_format", "_found", "_groups", "_match", "_text")

    def __init__(
        self,
        line_format: PatternFormat,
        text: str,
        match: re.Match[str] | None = None,
        groups: Groups | None = None,
    ) -> None:
        """`match` and `groups` are what the format found in `text`, where that is known."""
        self._format = line_format
        self._text = text
        self._match = match
        self._groups = groups
        self._found: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._all[name]

    def get(self, name: str, default: Any = None) -> Any:
        """As of any mapping; without working out the others where that can be."""
        if self._found is None and self._match is not None:
            group = self._format.direct_groups.get(name)
            if group is not None:
                value = self._match[group]
                return default if value in EMPTY else value
            if name in ALIASES:
                return default
        return self._all.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return repr(self._all)

    @property
    def _all(self) -> dict[str, str]:
        if self._found is None:
            match = self._match or self._format.pattern.match(self._text)
            self._found = {} if match is None else self._format.attributes_of(match, self._groups)
        return self._found


def _groups(match: re.Match[str]) -> Groups:
    """What the groups hold that hold something."""
    return {name: value for name, value in match.groupdict().items() if value}


def _named(groups: Groups) -> dict[str, str]:
    return {
        ALIASES.get(name, name): value
        for name, value in groups.items()
        if value not in EMPTY and name not in _OWN_FIELDS and name[0] != "_"
    }
