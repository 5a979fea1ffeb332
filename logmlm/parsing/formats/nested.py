"""Messages that are records themselves: JSON or logfmt in the lines of a container runtime."""

from __future__ import annotations

import re
from datetime import tzinfo

from logmlm.parsing.formats.json_lines import FieldNames, fields_by_names, load_object
from logmlm.records import Fields

_PAIR = re.compile(
    r'([\w.@/-]++)=(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^\s"=]*+))(?:\s++|$)', re.ASCII
)
_ESCAPED = re.compile(r"\\(.)")
_MESSAGES = frozenset(("msg", "message"))
_OTHERS = frozenset(("ts", "time", "timestamp", "t", "level", "lvl", "severity"))
_MOST_PAIRS = 1_000


def inner_fields(message: str, zone: tzinfo, names: FieldNames | None) -> Fields | None:
    """Return what is in a message that is a JSON object or logfmt; None of any other.

    Of logfmt it must be pairs from its beginning to its end, a message and a time or level among
    them.
    """
    record = load_object(message) if message.startswith("{") else _pairs(message)
    return None if record is None else fields_by_names(names, record, zone)


def around(outer: Fields, inner: Fields) -> Fields:
    """Return a record's fields with those of the line around it, whose own names stay theirs."""
    return Fields(
        outer.timestamp if inner.timestamp is None else inner.timestamp,
        inner.level or outer.level,
        inner.message,
        {**inner.attributes, **outer.attributes},
    )


def _pairs(message: str) -> dict[str, str] | None:
    if "=" not in message:
        return None
    found: dict[str, str] = {}
    place = 0
    while place < len(message):
        pair = _PAIR.match(message, place)
        if pair is None or len(found) > _MOST_PAIRS:
            return None
        name, quoted, bare = pair.groups()
        found.setdefault(name, bare if quoted is None else _ESCAPED.sub(_unescaped, quoted))
        place = pair.end()
    is_record = not _MESSAGES.isdisjoint(found) and not _OTHERS.isdisjoint(found)
    return found if is_record else None


def _unescaped(escape: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t"}.get(escape[1], escape[1])
