"""When a JSON line was written: the fields that say it, and the shapes that their values have."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import Any

from logmlm.parsing.formats.text_times import read_time

TIMES = (
    *("timeUnixNano", "@timestamp", "timestamp", "Timestamp"),
    *("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP", "time", "ts", "asctime"),
    "observedTimeUnixNano",
)
"""Names that say the time and nothing else: they are no attributes."""
MORE_TIMES = (
    *("@t", "eventTime", "event_time", "eventTimestamp", "log_time", "logged_at", "datetime"),
    *("timeMillis", "time_iso8601", "time_local", "timeGenerated", "TimeGenerated", "StartUTC"),
    *("requestReceivedTimestamp", "start_time", "Time", "TIMESTAMP", "DATE", "date", "created"),
    *("dt", "t", "receiveTimestamp"),
)
"""Names that say the time where none of `TIMES` does; they stay attributes."""
_OBJECTS = (*TIMES, "instant", *MORE_TIMES)
_PAIRS = (
    ("seconds", "nanos", 1e9),
    ("Seconds", "Nanos", 1e9),
    ("epochSecond", "nanoOfSecond", 1e9),
    ("sec", "nsec", 1e9),
    ("sec", "usec", 1e6),
    ("tv_sec", "tv_nsec", 1e9),
    ("tv_sec", "tv_usec", 1e6),
)
_WRAPPED = ("$date", "$numberLong", "timestamp", "value", "iso", "repr")
_LEAST_S = 1e8
"""A number under a name that may mean something else is a time from 1973 on."""
_MOST_WRAPPED = 3
_CALENDAR = range(5, 8)


def time_of(
    flat: Mapping[str, str], record: Mapping[str, Any], zone: tzinfo, prefix: str = ""
) -> float | None:
    """Return UTC epoch seconds of an object, or None if it names no time.

    `flat` are the scalars by dotted names; those of `record` begin with `prefix` there.
    """
    for name in TIMES:
        text = flat.get(prefix + name if prefix else name)
        timestamp = read_time(text, zone) if text is not None else None
        if timestamp:  # OpenTelemetry writes 0 for an unknown time
            return timestamp
    return _time_of_object(record, zone) or _unlikely_time(flat, zone, prefix)


def time_of_value(value: Any, zone: tzinfo) -> float | None:
    """Return UTC epoch seconds of the value of a field that says the time; None if it is none."""
    return _read_object(value, zone)


def _unlikely_time(flat: Mapping[str, str], zone: tzinfo, prefix: str) -> float | None:
    for name in MORE_TIMES:
        text = flat.get(prefix + name)
        timestamp = read_time(text, zone) if text is not None else None
        if timestamp is not None and timestamp >= _LEAST_S:
            return timestamp
    return None


def _time_of_object(record: Mapping[str, Any], zone: tzinfo) -> float | None:
    """The time of the first of `_OBJECTS` whose value is an object or a list that says one."""
    for name in _OBJECTS:
        value = record.get(name)
        if isinstance(value, (dict, list)) and (found := _read_object(value, zone)) is not None:
            return found
    return None


def _read_object(value: Any, zone: tzinfo) -> float | None:
    """Read `{"$date": x}`, `{"seconds": s, "nanos": n}`, `[2026, 11, 21, 10, 0]` and their kin."""
    for _ in range(_MOST_WRAPPED):
        if not isinstance(value, dict):
            break
        for seconds, part, unit in _PAIRS:
            if seconds in value:
                return _sum(value[seconds], value.get(part, 0), unit, zone)
        value = next((value[name] for name in _WRAPPED if name in value), None)
    if isinstance(value, list):
        return _read_calendar(value, zone)
    is_scalar = isinstance(value, (str, int, float)) and not isinstance(value, bool)
    return read_time(str(value), zone) if is_scalar else None


def _sum(seconds: Any, part: Any, unit: float, zone: tzinfo) -> float | None:
    whole = read_time(str(seconds), zone) if isinstance(seconds, (str, int, float)) else None
    if whole is None:
        return None
    with suppress(ValueError, OverflowError):
        fraction = float(part) / unit if isinstance(part, (str, int, float)) else 0.0
        return whole + fraction if 0 <= fraction < 1 else whole
    return whole


def _read_calendar(value: list[Any], zone: tzinfo) -> float | None:
    """Read year, month, day, hour, minute, second and nanoseconds, as Jackson writes them."""
    if len(value) not in _CALENDAR or not all(type(part) is int for part in value):
        return None
    nanos = value[6] if len(value) > 6 else 0
    with suppress(ValueError, OverflowError):
        year, month, day, hour, minute, second = [*value, 0][:6]
        moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
        return moment.timestamp() + (nanos / 1e9 if 0 <= nanos < 1e9 else 0.0)
    return None
