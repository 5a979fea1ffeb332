"""What a line format is, and the kind that a regular expression describes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal, Protocol

from logmlm.formats.attributes import ALIASES
from logmlm.formats.levels import level_name
from logmlm.formats.timestamps import Clock, read_groups
from logmlm.records import Fields

Continuation = Literal["join", "discard"]
Groups = dict[str, str]
Refine = Callable[[Groups], Groups]

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


@dataclass(frozen=True, slots=True)
class PatternFormat:
    """A format described by a regular expression with named groups, matched at line's head.

    The groups `timestamp`, `level`, `message` and `label` become the fields; others become
    attributes, under OpenTelemetry's name where `ALIASES` has one. Groups whose name begins
    with `_` are for `refine` and `clock` alone; empty ones and `-` are left out.
    """

    name: str
    pattern: re.Pattern[str]
    zone: tzinfo
    continuation: Continuation = "join"
    refine: Refine | None = None
    clock: Clock = read_groups

    def parse(self, text: str, now: float) -> Fields | None:
        """See `LineFormat.parse`."""
        match = self.pattern.match(first_line(text))
        if match is None:
            return None
        groups = {name: value for name, value in match.groupdict().items() if value}
        if self.refine is not None:
            groups = self.refine(groups)
        message = groups.get("message", "")
        return Fields(
            timestamp=self.clock(groups, now, self.zone),
            level=level_name(groups.get("level", "")),
            message=message if groups.get("logtag") == PARTIAL else message.strip(),
            attributes=_attributes(groups),
            label=groups.get("label"),
        )


PARTIAL = "P"
"""The attribute `logtag` of a line whose rest follows in the next (Kubernetes CRI)."""


def is_partial(fields: Fields) -> bool:
    """Whether the line's message goes on in the next line of its stream."""
    return fields.attributes.get("logtag") == PARTIAL


def first_line(text: str) -> str:
    """Return the first line of `text` that is not empty."""
    return text.lstrip("\r\n").partition("\n")[0]


def _attributes(groups: Mapping[str, str]) -> dict[str, str]:
    return {
        ALIASES.get(name, name): value
        for name, value in groups.items()
        if value not in ("", "-") and name not in _OWN_FIELDS and name[0] != "_"
    }
