"""JSON lines with named fields: OpenTelemetry, ECS, journald's export, common loggers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from types import MappingProxyType
from typing import Any

from logmlm.formats.attributes import ALIASES
from logmlm.formats.levels import level_name, numeric_level, otel_level, syslog_level
from logmlm.formats.line_format import Continuation, first_line
from logmlm.formats.timestamps import read_field
from logmlm.jsontext import read_json
from logmlm.records import Fields

Record = dict[str, Any]

_MESSAGES = ("body", "Body", "message", "MESSAGE", "msg", "log", "event")
_TIMES = (
    "timeUnixNano",
    "@timestamp",
    "timestamp",
    "Timestamp",
    "_SOURCE_REALTIME_TIMESTAMP",
    "__REALTIME_TIMESTAMP",
    "time",
    "ts",
    "asctime",
    "observedTimeUnixNano",
)
_LEVELS = (
    "severityText",
    "SeverityText",
    "log.level",
    "level",
    "levelname",
    "severity",
    "loglevel",
    "lvl",
)
_NAMES = MappingProxyType(
    dict(ALIASES)
    | {
        "hostname": "host.name",
        "host.hostname": "host.name",
        "_HOSTNAME": "host.name",
        "SYSLOG_IDENTIFIER": "service.name",
        "_SYSTEMD_UNIT": "systemd.unit",
        "_PID": "process.pid",
        "SYSLOG_PID": "process.pid",
        "threadName": "thread.name",
        "thread_name": "thread.name",
        "process.thread.name": "thread.name",
        "logger_name": "log.logger",
        "name": "log.logger",
        "traceId": "trace_id",
        "TraceId": "trace_id",
        "trace.id": "trace_id",
        "spanId": "span_id",
        "SpanId": "span_id",
        "span.id": "span_id",
    }
)
_TRANSPARENT = frozenset(("attributes", "Attributes", "resource", "Resource"))
_ANY_VALUES = frozenset(("stringValue", "intValue", "doubleValue", "boolValue"))
_USED = frozenset(("severityNumber", "SeverityNumber", "PRIORITY", *_TIMES, *_LEVELS))


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """A format of one JSON object a line; `read` takes the fields from the object."""

    name: str
    zone: tzinfo
    read: Callable[[Record, tzinfo], Fields | None]
    continuation: Continuation = "discard"

    def parse(self, text: str, now: float) -> Fields | None:  # noqa: ARG002  JSON's dates have years
        """See `LineFormat.parse`."""
        record = _load(text)
        return None if record is None else self.read(record, self.zone)


def json_lines(zone: tzinfo) -> JsonFormat:
    """Objects with a message: OpenTelemetry's JSON, ECS, journald's export, zap, pino.

    Nested fields become attributes with dotted names, `attributes` and `resource` fall away
    before names, and OpenTelemetry's names are used where they exist.
    """
    return JsonFormat("json", zone, _named_fields)


def _load(text: str) -> Record | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        record = read_json(text)
    except (ValueError, RecursionError):  # not JSON, or nested too deep for the parser
        return None
    return record if isinstance(record, dict) else None


def _named_fields(record: Record, zone: tzinfo) -> Fields | None:
    flat = _flatten(record)
    message = _message(record, flat)
    if message is None:
        return None
    attributes: dict[str, str] = {}
    for name, value in flat.items():
        if name not in _USED and value:
            attributes.setdefault(_NAMES.get(name, name), value)
    return Fields(_timestamp(flat, zone), _level(flat), message, attributes)


def _message(record: Record, flat: dict[str, str]) -> str | None:
    """Take the message out of `flat`; None if there is none."""
    for name in _MESSAGES:
        if name in flat:
            return first_line(flat.pop(name).strip())
    if isinstance(record.get("MESSAGE"), list):
        return _decode(record["MESSAGE"])
    return " ".join(f"{name[5:]}={flat[name]}" for name in flat if name.startswith("body.")) or None


def _decode(codes: list[Any]) -> str | None:
    """Text that journald exports as an array of bytes, as it does where it is not UTF-8."""
    try:
        return first_line(bytes(codes).decode(errors="replace").strip())
    except (TypeError, ValueError):  # not a list of numbers 0 to 255
        return None


def _timestamp(flat: dict[str, str], zone: tzinfo) -> float | None:
    for name in _TIMES:
        timestamp = read_field(flat[name], zone) if name in flat else None
        if timestamp:  # OpenTelemetry writes 0 for an unknown time
            return timestamp
    return None


def _level(flat: dict[str, str]) -> str:
    for name in _LEVELS:
        if flat.get(name):
            return numeric_level(flat[name]) or level_name(flat[name])
    if "PRIORITY" in flat:
        return syslog_level(flat["PRIORITY"])
    return otel_level(flat.get("severityNumber", flat.get("SeverityNumber", "")))


def _flatten(record: Record) -> dict[str, str]:
    """Scalars by dotted name, in the object's order; the first one of a name stays."""
    flat: dict[str, str] = {}
    todo: list[tuple[str, Any]] = [("", record)]
    while todo:
        name, value = todo.pop()
        value = _unwrapped(value)
        if isinstance(value, dict):
            todo.extend(reversed([(_join(name, key), child) for key, child in value.items()]))
        elif isinstance(value, (str, int, float)):
            flat.setdefault(name, _text(value))
    return flat


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and prefix not in _TRANSPARENT else name


def _unwrapped(value: Any) -> Any:
    """OTLP's `{"stringValue": x}` is x, and its list of `{"key", "value"}` is an object."""
    if isinstance(value, list):
        return dict(_pairs(value))
    if isinstance(value, dict) and len(value) == 1 and not _ANY_VALUES.isdisjoint(value):
        return next(iter(value.values()))
    return value


def _pairs(items: list[Any]) -> Iterator[tuple[str, Any]]:
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("key"), str) and "value" in item:
            yield item["key"], item["value"]


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
