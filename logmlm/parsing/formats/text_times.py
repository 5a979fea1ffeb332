"""Times in a field of their own, in the spellings beside ISO 8601 that programs write."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, tzinfo

from logmlm.parsing.formats.timestamps import CLF, named_zone, read_field, read_groups

_LONGEST = 64
_DAY = r"(?:[A-Z][a-z]{2,8},? )?"
_MONTH = r"(?P<_month>[A-Z][a-z]{2})"
_CLOCK = r"(?P<_hour>\d\d):(?P<_minute>\d\d):(?P<_second>\d\d)(?:[.,](?P<_fraction>\d{1,9}))?"
_ZONE = r"(?: ?(?P<_zone>Z|[A-Z]{3,5}|[+-]\d\d:?\d\d))?"
_PATTERNS = tuple(
    re.compile(pattern, re.ASCII)
    for pattern in (
        CLF,  # 21/Nov/2026:10:00:00 +0000
        # RFC 5322 and RFC 850: Sat, 21 Nov 2026 10:00:00 GMT
        rf"{_DAY}(?P<_day>\d\d?)[ -]{_MONTH}[ -](?P<_year>\d{{4}}|\d\d) {_CLOCK}{_ZONE}",
        # ctime, and date(1): Sat Nov 21 10:00:00 UTC 2026
        rf"{_DAY}{_MONTH} {{1,2}}(?P<_day>\d\d?) {_CLOCK}{_ZONE} (?P<_year>\d{{4}})",
        # Python's and Java's: Nov 21, 2026 10:00:00
        rf"{_MONTH} {{1,2}}(?P<_day>\d\d?),? (?P<_year>\d{{4}}),? {_CLOCK}{_ZONE}",
        rf"(?P<_year>\d{{4}})[/.](?P<_month>\d\d)[/.](?P<_day>\d\d)[ T-]{_CLOCK}{_ZONE}",
    )
)
_NAMED = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?) ?([A-Z]{1,5}|\[[\w/+-]+\])", re.ASCII
)
_NAMED_TWICE = re.compile(  # Java's ...+01:00[Europe/Berlin], Go's ... +0100 CET m=+0.1
    r"(.*\d|.*Z)(?:\[[\w/+-]+\]| [A-Z]{1,5}(?: m=[+-]?[\d.]+)?)", re.ASCII
)
_MILLISECONDS = re.compile(r"/Date\((\d{1,15})(?:[+-]\d{4})?\)/", re.ASCII)
_COMPACT = re.compile(r"\d{8}T\d{6}(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)


def read_time(text: str, zone: tzinfo) -> float | None:
    """Return UTC epoch seconds of a field's text, or None if it is no time.

    ISO 8601 also with the name of a zone, a count since 1970 (see `read_number`), the dates of
    RFC 5322, HTTP and ctime, those of access logs, `2026/11/21 10:00:00`, `/Date(1795255200000)/`.
    Where it names no zone, it is read in `zone`.
    """
    found = read_field(text, zone)
    if found is None and len(text) <= _LONGEST:
        return _read_words(text.strip(), zone)
    return found


def _read_words(text: str, zone: tzinfo) -> float | None:
    if match := _NAMED.fullmatch(text):
        return read_field(match[1], UTC if match[2] == "Z" else named_zone(match[2], zone))
    match = _NAMED_TWICE.fullmatch(text)
    if match and (found := read_field(match[1], zone)) is not None:
        return found
    if match := _MILLISECONDS.fullmatch(text):
        return int(match[1]) / 1e3
    if _COMPACT.fullmatch(text):
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    for pattern in _PATTERNS:
        if match := pattern.fullmatch(text):
            groups = {name: value for name, value in match.groupdict().items() if value}
            zoned = UTC if groups.get("_zone") == "Z" else zone
            return read_groups(groups, 0.0, zoned)
    return None
