"""JSON lines with named fields: OpenTelemetry, ECS, journald's export, common loggers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from functools import partial
from types import MappingProxyType
from typing import Any

from logmlm.parsing.formats.attributes import ALIASES, RECORDS
from logmlm.parsing.formats.json_batches import first_of
from logmlm.parsing.formats.json_flat import Flat, below, flatten
from logmlm.parsing.formats.json_levels import LEVELS, level_of
from logmlm.parsing.formats.json_messages import message_of_fields, own_message, request_attributes
from logmlm.parsing.formats.json_times import TIMES, time_of, time_of_value
from logmlm.parsing.formats.line_format import Continuation, first_line
from logmlm.records import Fields
from logmlm.system.json_message import field, message_text
from logmlm.system.line_text import strip_controls
from logmlm.system.text import loads

JsonObject = dict[str, Any]

_MESSAGES = ("body", "Body", "message", "MESSAGE", "msg", "log", "event")
_HOLDERS = (
    *("fields", "record", "jsonPayload", "payload", "log", "event", "entry", "data"),
    *("properties", "Properties", "@fields", "protoPayload", "status"),
)
"""Objects in which a logger's message, level and time may be."""
_BRACKET = re.compile(r"\s*[\[\]]\s*$")
"""The first and the last line of a file that is one array, with a record on each line."""
_MOST_HELD = 2
_MOST_WRAPPED = 2
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
        "loggerName": "log.logger",
        "Category": "log.logger",
        "SourceContext": "log.logger",
        "name": "log.logger",
        "traceId": "trace_id",
        "TraceId": "trace_id",
        "trace.id": "trace_id",
        "spanId": "span_id",
        "SpanId": "span_id",
        "span.id": "span_id",
    }
)
_USED = frozenset(("severityNumber", "SeverityNumber", "PRIORITY", *TIMES, *LEVELS))


@dataclass(frozen=True, slots=True)
class FieldNames:
    """Names of the fields that a user calls message, time and level; None leaves it open.

    `a.b` is the field of that name, or field `b` of field `a`.
    """

    message: str | None = None
    time: str | None = None
    level: str | None = None


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """A format of one JSON object a line; `read` takes the fields from the object."""

    name: str
    zone: tzinfo
    read: Callable[[JsonObject, tzinfo], Fields | None]
    continuation: Continuation = "discard"
    comment: re.Pattern[str] | None = _BRACKET

    def parse(self, text: str, now: float) -> Fields | None:  # noqa: ARG002  JSON's dates have years
        """See `LineFormat.parse`."""
        record = load_object(text)
        return None if record is None else self.read(record, self.zone)


def json_lines(zone: tzinfo, names: FieldNames | None = None) -> JsonFormat:
    """Objects with a message: OpenTelemetry's JSON, ECS, journald's export, common loggers.

    Nested fields become attributes with dotted names, `attributes` and `resource` fall away
    before names, and OpenTelemetry's names are used where they exist. Where `names` are given,
    and the object has such a field, it goes before the usual ones.
    """
    read = fields_of if names is None else partial(fields_by_names, names)
    return JsonFormat("json", zone, read)


def load_object(text: str) -> JsonObject | None:
    """Return the JSON object that a text is; None if it is none, or is nested too deep."""
    if not text.lstrip().startswith("{"):
        return None
    if text.endswith(","):
        text = text[:-1]  # within an array
    try:
        record = loads(text)
    except (ValueError, RecursionError):  # not JSON, or nested too deep for the parser
        return None
    return record if isinstance(record, dict) else None


def fields_of(record: JsonObject, zone: tzinfo, depth: int = 0) -> Fields | None:
    """Return the fields of an object; None if nothing in it is a message.

    `depth` counts the objects that it came from: JSON in a text, or one of several records.
    """
    flat = flatten(record)
    message = _usual_message(record, flat)
    if message:
        return Fields(time_of(flat, record, zone), level_of(flat), message, _attributes(flat))
    wrapped = None
    if depth < _MOST_WRAPPED:
        wrapped = _wrapped_fields(flat, zone, depth) or _first_fields(record, zone, depth)
    return wrapped or _unusual_fields(record, flat, zone)


def fields_by_names(names: FieldNames | None, record: JsonObject, zone: tzinfo) -> Fields | None:
    """Return the fields of an object, where the user may have named some."""
    if names is None:
        return fields_of(record, zone)
    flat = flatten(record)
    value = None if names.message is None else field(record, names.message)
    message = first_line(message_text(value).strip())
    if message:
        flat.pop(names.message or "", None)
        found = Fields(time_of(flat, record, zone), level_of(flat), message, _attributes(flat))
    else:
        read = fields_of(record, zone)
        if read is None:
            return None
        found = read
    time = None if names.time is None else time_of_value(field(record, names.time), zone)
    word = "" if names.level is None else message_text(field(record, names.level))
    level = (level_of({"level": word}) if word else "") or found.level
    timestamp = found.timestamp if time is None else time
    return Fields(timestamp, level, found.message, found.attributes)


def _attributes(flat: Flat) -> Flat:
    attributes: Flat = {}
    for name, value in flat.items():
        if name not in _USED and value:
            attributes.setdefault(_NAMES.get(name, name), value)
    return attributes


def _usual_message(record: JsonObject, flat: Flat) -> str:
    """Take the message under one of the usual names out of `flat`; empty if none says anything.

    What is JSON itself, or names the object beside it that holds the message, says nothing.
    """
    for name in _MESSAGES:
        if name in flat:
            text = first_line(flat[name].strip())
            if text:
                if isinstance(record.get(text), dict) or (name == "log" and text[0] == "{"):
                    return ""
                del flat[name]
                return strip_controls(text) if "\x1b" in text else text
    return ""


def _unusual_fields(record: JsonObject, flat: Flat, zone: tzinfo) -> Fields | None:
    """Return the fields of an object whose message is in an unusual place, or is made of others."""
    message, inner, prefix = own_message(record, flat), record, ""
    if not message:
        message, inner, prefix = _held_message(record, flat, 0)
    if not message:
        message, inner, prefix = _constant(flat) or message_of_fields(record, flat), record, ""
    if not message:
        return None
    time = time_of(below(flat, prefix), inner, zone)
    if time is None and prefix:
        time = time_of(flat, record, zone)
    level = level_of(below(flat, prefix))
    while prefix and not level:
        prefix = prefix[: prefix.rfind(".", 0, -1) + 1]
        level = level_of(below(flat, prefix))
    return Fields(time, level, strip_controls(message), _other_attributes(flat))


def _other_attributes(flat: Flat) -> Flat:
    attributes = _attributes(flat)
    for name, value in request_attributes(flat):
        attributes.setdefault(name, value)
    if "short_message" in flat:  # GELF marks fields of one's own
        return {name.removeprefix("_"): value for name, value in attributes.items()}
    return attributes


def _wrapped_fields(flat: Flat, zone: tzinfo, depth: int) -> Fields | None:
    """Return the fields of a JSON object that is the text of `log`, with those around it."""
    inner = load_object(flat.get("log", ""))
    found = None if inner is None else fields_of(inner, zone, depth + 1)
    if found is None:
        return None
    outer = {name: value for name, value in flat.items() if name != "log"}
    time = time_of(outer, {}, zone) if found.timestamp is None else found.timestamp
    attributes = {**found.attributes}
    for name, value in _attributes(outer).items():
        attributes.setdefault(name, value)
    return Fields(time, found.level or level_of(outer), found.message, attributes)


def _first_fields(record: JsonObject, zone: tzinfo, depth: int) -> Fields | None:
    """Return the fields of the first of several records in an object."""
    batch = first_of(record)
    if batch is None:
        return None
    first, count = batch
    found = fields_of(first, zone, depth + 1)
    if found is None or count == 1:
        return found
    attributes = {**found.attributes, RECORDS: str(count)}
    return Fields(found.timestamp, found.level, found.message, attributes)


def _held_message(record: JsonObject, flat: Flat, depth: int) -> tuple[str, JsonObject, str]:
    """Find the message in an inner object: itself, the object, and what its names begin with."""
    for name in (*_HOLDERS, *_constants(flat)):
        inner = record.get(name)
        if not isinstance(inner, dict):
            continue
        prefix = f"{name}."
        own = below(flat, prefix)
        message = _usual_message(inner, own) or own_message(inner, own)
        if message:
            return message, inner, prefix
        if depth < _MOST_HELD:
            message, deep, more = _held_message(inner, own, depth + 1)
            if message:
                return message, deep, prefix + more
    return "", record, ""


def _constants(flat: Flat) -> Iterator[str]:
    return (first_line(flat[name].strip()) for name in _MESSAGES if name in flat)


def _constant(flat: Flat) -> str:
    """A message that names an object in which none is."""
    return next(filter(None, _constants(flat)), "")
