"""When a line was written: pieces of patterns that find a timestamp, and what reads them.

The groups that hold parts of a timestamp have names that begin with `_`, so that they do
not become attributes; `timestamp` holds an ISO 8601 one whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from types import MappingProxyType

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = rf"(?P<_month>{'|'.join(_MONTHS)})"
_CLOCK = r"(?P<_hour>\d\d):(?P<_minute>\d\d):(?P<_second>\d\d)(?:[.,](?P<_fraction>\d{1,9}))?"
_ISO_LOCAL = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"

_OFFSETS_H: Mapping[str, float] = MappingProxyType(
    dict.fromkeys(("Z", "UTC", "GMT", "WET"), 0)
    | {"CET": 1, "WEST": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "HKT": 8, "JST": 9, "KST": 9}
    | {"AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13}
    | {"HST": -10, "AKST": -9, "AKDT": -8, "PDT": -7, "MDT": -6, "EDT": -4}
)
"""Names of zones that stand for one offset alone; EST, CST, IST and the like do not."""
_ZONE_WORD = "|".join(_OFFSETS_H)
_HALF = r"(?: ?(?P<_half>[AP]M)\b)?"
ISO_LOCAL = rf"(?P<timestamp>{_ISO_LOCAL})"
ISO = rf"(?P<timestamp>{_ISO_LOCAL}(?: ?(?:Z|[+-]\d\d(?::?\d\d)?)\b)?)"
ISO += rf"{_HALF}(?: (?P<_zone>{_ZONE_WORD})\b)?"
ISO_T = ISO.replace("[T ]", "T")
BSD = rf"{_MONTH} {{1,2}}(?P<_day>\d\d?)(?: (?P<_year>\d{{4}}))? {_CLOCK}"
CTIME = rf"[A-Z][a-z]{{2}} {_MONTH} {{1,2}}(?P<_day>\d\d?) {_CLOCK} (?P<_year>\d{{4}})"
CLF = rf"(?P<_day>\d\d)/{_MONTH}/(?P<_year>\d{{4}}):{_CLOCK} (?P<_zone>[+-]\d{{4}})"
REDIS = rf"(?P<_day>\d\d) {_MONTH}(?: (?P<_year>\d{{4}}))? {_CLOCK}"
SLASHED = rf"(?P<_year>\d{{4}}|\d\d)/(?P<_month>\d\d)/(?P<_day>\d\d) {_CLOCK}"
COMPACT = (
    r"(?P<_year>\d\d)(?P<_month>\d\d)(?P<_day>\d\d) "
    r"(?P<_hour>\d\d)(?P<_minute>\d\d)(?P<_second>\d\d)"
)
PADDED = (  # MariaDB pads the hour with a blank
    r"(?P<_year>\d{4})-(?P<_month>\d\d)-(?P<_day>\d\d)(?:T| {1,2})"
    r"(?P<_hour>\d\d?):(?P<_minute>\d\d):(?P<_second>\d\d)(?:[.,](?P<_fraction>\d{1,9}))?"
    rf"{_HALF}(?: ?(?P<_zone>(?:{_ZONE_WORD})\b|[+-]\d\d:?\d\d\b))?"
)
MONTH, CLOCK = _MONTH, _CLOCK
EPOCH = r"(?P<_epoch>\d{9,10})"

_LOCAL_SECONDS = re.compile(r"[0-5]\d(?:[.,]\d{1,6})?", re.ASCII).fullmatch
DAY_S = 86400.0
HALF_YEAR_S = 365.25 * DAY_S / 2
_LONGEST_WITHOUT_LEAP_DAY = 8  # years: 1896 to 1904, as 1900 had none
_FIRST_S, LAST_S = -62135596800.0, 253402300799.0
"""The years 1 to 9999, which datetime knows."""
_MINUTE, SECOND = len("2026-11-21 14:57"), len("2026-11-21 14:57:34")
"""How much of an ISO 8601 timestamp says the minute, and the second."""
MILLISECONDS = {f"{mark}{n:03}": n / 1000 for mark in ".," for n in range(1000)}

TimestampParser = Callable[[Mapping[str, str], float, tzinfo], float | None]
"""Reads the groups of a match, against `now`, in a zone: UTC epoch seconds, or None."""


def read_groups(groups: Mapping[str, str], now: float, zone: tzinfo) -> float | None:
    """UTC epoch seconds of the groups that this module's patterns find.

    None if there are none, or if they are no time (month 13, 30 February).
    """
    try:
        if "timestamp" in groups:
            text = _whole_day(groups["timestamp"], groups.get("_half"))
            return read_iso(text, named_zone(groups.get("_zone", ""), zone))
        if "_epoch" in groups:
            return float(groups["_epoch"])
        return (
            _read_parts(groups, now, named_zone(groups.get("_zone", ""), zone))
            if "_day" in groups
            else None
        )
    except (ValueError, OverflowError):
        return None


def read_iso(text: str, zone: tzinfo) -> float:
    """UTC epoch seconds of an ISO 8601 timestamp, read in `zone` where it names none.

    Raises:
        ValueError: the text is no timestamp.
        OverflowError: the time lies outside the years 1 to 9999.

    """
    if is_local(text):  # nearly always
        return _within(second_start(text[:SECOND], zone) + fraction(text[SECOND:]))
    return _seconds(datetime.fromisoformat(text[:19] + text[19:].replace(" ", "")), zone)


def is_local(text: str) -> bool:
    """Whether an ISO 8601 timestamp ends with its seconds, in microseconds at the finest."""
    return text[_MINUTE : _MINUTE + 1] == ":" and _LOCAL_SECONDS(text, _MINUTE + 1) is not None


def second_start(text: str, zone: tzinfo) -> float:
    """Where the second of an `is_local` timestamp begins; errors are those of `read_iso`."""
    return _minute_start(text[:_MINUTE], zone) + int(text[_MINUTE + 1 :])


@lru_cache(maxsize=64)
def _minute_start(text: str, zone: tzinfo) -> float:
    """Lines of one moment stand together, and no zone changes within a minute."""
    return _seconds(datetime.fromisoformat(text), zone)


def fraction(text: str) -> float:
    """Seconds of what stands behind a whole second: nothing, or a point or a comma and digits."""
    seconds = MILLISECONDS.get(text)
    return float(f"0{text}".replace(",", ".")) if seconds is None else seconds


def read_number(number: float) -> float:
    """UTC epoch seconds of a count of seconds, milli-, micro- or nanoseconds since 1970.

    The unit follows from the size: seconds up to the year 5138, and so on.

    Raises:
        ValueError: the number is none, or negative, or beyond the year 9999.

    """
    for unit in (1.0, 1e3, 1e6, 1e9):
        if 0 <= number / unit < 1e11:
            return number / unit
    raise ValueError(f"{number} is no time since 1970")


def read_field(text: str, zone: tzinfo) -> float | None:
    """UTC epoch seconds of a named field: ISO 8601, or a number since 1970; None if neither."""
    with suppress(ValueError, OverflowError):
        return read_iso(text, zone) if text[4:5] == "-" else read_number(float(text))
    return None


def strptime_parser(pattern: str) -> TimestampParser:
    """Build a clock for the group `timestamp`: strptime, `epoch`, `epoch_ms` or `iso8601`.

    A format without a year has it guessed, as for RFC 3164.
    """

    def read(groups: Mapping[str, str], now: float, zone: tzinfo) -> float | None:
        try:
            return _read_as(pattern, groups["timestamp"], now, zone)
        except (KeyError, ValueError, OverflowError):
            return None

    return read


def nearest_year(date: datetime, now: float) -> datetime:
    """`date` (aware) in the year that puts it nearest to `now`, at most one day after it.

    RFC 3164, section 4.1.2: its timestamps have no year. A 29 February goes to a leap year.

    Raises:
        ValueError: no year will do.
        OverflowError: `now` lies outside the years 1 to 9999.

    """
    limit = _within(now + DAY_S)
    newest = datetime.fromtimestamp(limit, date.tzinfo).year
    for year in range(newest, newest - _LONGEST_WITHOUT_LEAP_DAY - 1, -1):
        with suppress(ValueError):  # 29 February, in a year that has none
            moment = date.replace(year=year)
            if moment.timestamp() <= limit:
                return moment
    raise ValueError(f"no year puts {date:%d %B} near {now}")


def _whole_day(text: str, half: str | None) -> str:
    """Return an ISO 8601 timestamp with its hour counted from 0 to 23."""
    return text if half is None else f"{text[:11]}{_hour(text[11:13], half)}{text[13:]}"


def _hour(hour: str, half: str | None) -> str:
    """Return an hour counted from 0 to 23; with `half`, AM or PM, it is counted to 12."""
    if half is None:
        return hour
    if not 1 <= int(hour) <= 12:
        raise ValueError(f"{hour} {half} is no hour")
    return f"{int(hour) % 12 + (12 if half == 'PM' else 0):02}"


def _read_as(pattern: str, text: str, now: float, zone: tzinfo) -> float:
    if pattern == "iso8601":
        return read_iso(text, zone)
    if pattern in ("epoch", "epoch_ms"):
        return _within(float(text) / (1e3 if pattern == "epoch_ms" else 1.0))
    if any(directive in pattern for directive in ("%Y", "%y", "%c", "%x")):
        return _seconds(datetime.strptime(text, pattern), zone)
    moment = datetime.strptime(f"2000 {text}", f"%Y {pattern}")  # 2000 has a 29 February
    return _seconds(nearest_year(moment.replace(tzinfo=moment.tzinfo or zone), now), zone)


def _read_parts(groups: Mapping[str, str], now: float, zone: tzinfo) -> float:
    year, second = groups.get("_year"), int(groups["_second"])
    if second >= 60:
        raise ValueError(f"second {second}")
    hour = _hour(groups["_hour"], groups.get("_half"))
    minute = groups["_month"], groups["_day"], hour, groups["_minute"]
    limit = now if year is None else None
    start = _start_of_minute(year, minute, limit, zone)
    micros = int(groups.get("_fraction", "0")[:6].ljust(6, "0"))
    found = ((start + second) * 1_000_000 + micros) / 1_000_000
    if limit is not None and found > limit + DAY_S:  # a minute is not as fine as `nearest_year` is
        moment = datetime.fromtimestamp(found, zone)
        return _seconds(nearest_year(moment, now), zone)
    return _within(found)


@lru_cache(maxsize=64)
def _start_of_minute(
    year: str | None, parts: tuple[str, str, str, str], now: float | None, zone: tzinfo
) -> int:
    """Where a minute begins: its month, day, hour and minute; `now` is what a year is guessed by.

    A count of seconds, as no zone changes within one.
    """
    month, day, hour, minute = parts
    moment = datetime(
        2000 if year is None else int(year) + (2000 if len(year) == 2 else 0),
        int(month) if month.isdigit() else _MONTHS.index(month) + 1,
        int(day),
        int(hour),
        int(minute),
        tzinfo=zone,
    )
    return int(_seconds(moment if now is None else nearest_year(moment, now), zone))


@lru_cache(maxsize=64)
def named_zone(name: str, zone: tzinfo) -> tzinfo:
    """Return the zone that a line names, as an offset or one of `_OFFSETS_H`; else `zone`."""
    if name in _OFFSETS_H:
        hours = _OFFSETS_H[name]
        return timezone(timedelta(hours=hours)) if hours else UTC
    if name[:1] in ("+", "-"):
        offset = timedelta(hours=int(name[1:3]), minutes=int(name[3:].lstrip(":") or 0))
        return timezone(offset if name[0] == "+" else -offset)
    return zone


def _seconds(moment: datetime, zone: tzinfo) -> float:
    return _within((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())


def _within(seconds: float) -> float:
    if _FIRST_S <= seconds <= LAST_S:
        return seconds
    raise OverflowError(f"{seconds} lies outside the years 1 to 9999")
