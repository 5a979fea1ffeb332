"""One journal entry: who it is, where it stands, and the line that it makes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from logmlm.system.json_message import journal_text
from logmlm.system.text import loads

_FIRST = ("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT")
_CURSOR = re.compile(r"s=(?P<sequence>[0-9a-f]+);i=(?P<number>[0-9a-f]+)")
_UNIT_FIELDS = ("_SYSTEMD_UNIT", "_SYSTEMD_USER_UNIT")

SequencePlace = tuple[str, int]
"""The sequence that an entry is of, and its number there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the journal.

    `sequence` names the journal that counted it, and `number` is its place there: the same
    entry has the same two whenever it is read. `units` are those that it came from.
    """

    sequence: str
    number: int
    cursor: str
    text: str
    host: str
    units: tuple[str, ...]
    cut: bool


def read_entry(raw: str, max_line_bytes: int) -> Entry | None:
    """Read a line of `journalctl -o json`; None if it is none.

    The entry's text is the same JSON object, the message first, so that a model that was trained
    on `journalctl -o json` reads it as it read those. A message that journalctl gives as bytes,
    as it does where it is not UTF-8, is text; several messages are joined by spaces; one over
    `max_line_bytes` is cut.
    """
    try:
        record = loads(raw)
        place = sequence_position(record)
    except (ValueError, RecursionError):
        return None
    if place is None:
        return None
    message = journal_text(record.get("MESSAGE"))
    short = _cut(message, max_line_bytes)
    ordered = {name: record[name] for name in _FIRST if name in record}
    if message is not None:
        ordered["MESSAGE"] = short
    ordered |= {name: record[name] for name in sorted(record) if name not in ordered}
    return Entry(
        *place,
        cursor=record["__CURSOR"],
        text=json.dumps(ordered, ensure_ascii=False),
        host=str(record.get("_HOSTNAME", "")),
        units=tuple(str(record[name]) for name in _UNIT_FIELDS if name in record),
        cut=short != message,
    )


def sequence_position(record: Any) -> SequencePlace | None:
    """An entry's sequence and number; None if it has none.

    systemd 254 and later give them as `__SEQNUM_ID` and `__SEQNUM`; in all versions they stand
    in the cursor (systemd.journal-fields(7); journal files: systemd.io/JOURNAL_FILE_FORMAT).
    """
    if not isinstance(record, Mapping) or not isinstance(record.get("__CURSOR"), str):
        return None
    sequence, number = record.get("__SEQNUM_ID"), str(record.get("__SEQNUM"))
    if isinstance(sequence, str) and number.isdecimal():
        return sequence, int(number)
    match = _CURSOR.match(record["__CURSOR"])
    return None if match is None else (match["sequence"], int(match["number"], 16))


def _cut(message: str | None, max_line_bytes: int) -> str | None:
    if message is None or len(message) * 4 <= max_line_bytes:
        return message
    raw = message.encode("utf-8", "backslashreplace")
    if len(raw) <= max_line_bytes:
        return message
    return raw[:max_line_bytes].decode("utf-8", "ignore")
