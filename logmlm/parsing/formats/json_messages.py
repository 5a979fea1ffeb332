"""The message of a JSON line that has none under the usual names, or none that says anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from logmlm.parsing.formats.json_levels import LEVELS, MORE_LEVELS
from logmlm.parsing.formats.json_times import MORE_TIMES, TIMES
from logmlm.parsing.formats.line_format import first_line
from logmlm.system.json_message import (
    MOST_PARTS,
    error_text,
    journal_text,
    message_text,
    scalar_text,
)

Record = Mapping[str, Any]

MORE_MESSAGES = (
    *("@m", "textPayload", "short_message", "Message", "RenderedMessage", "renderedMessage"),
    *("log_message", "logMessage", "eventMessage", "output"),
)
"""Names of a message where none of the usual ones is there: Serilog, Google Cloud, GELF, .NET."""
_STRUCTURED = ("body", "Body", "message", "msg", "Message", "@m")
_TEMPLATES = ("@mt", "MessageTemplate", "messageTemplate", "{OriginalFormat}")
_PROPERTIES = ("Properties", "properties", "State", "args")
_HOLE = re.compile(r"\{\{|\}\}|\{[@$]?(\w+)(?:,-?\d{1,9})?(?::[^{}]*)?\}")
"""A hole of a message template, or an escaped brace (messagetemplates.org)."""
_MOST_HOLES = 64
_LONGEST_VALUE = 4_096
"""So many holes are filled at most, with so much of a value, or a line could grow without end."""

_METHODS = (
    *("RequestMethod", "request_method", "http.request.method", "httpRequest.requestMethod"),
    *("httpMethod", "requestMethod", "request.method", "http_method", "cs-method", "method"),
    "verb",
)
_PATHS = (
    *("RequestPath", "request_uri", "requestURI", "url.path", "httpRequest.requestUrl"),
    *("request.uri", "request.path", "resourcePath", "request_path", "cs-uri-stem", "uri"),
    *("http_path", "path", "url"),
)
_STATUSES = (
    *("DownstreamStatus", "http.response.status_code", "httpRequest.status", "responseStatus.code"),
    *("response.status", "status_code", "statusCode", "response_code", "http_status", "sc-status"),
    "status",
)
_REQUEST = re.compile(r"[A-Z]{3,16} \S+(?: HTTP/[\d.]+)?", re.ASCII)
_CALLS = (
    ("eventSource", "eventName"),
    ("protoPayload.serviceName", "protoPayload.methodName"),
)
"""A service and what was called of it: CloudTrail's events, Google Cloud's audit log."""
_CODES = ("errorCode", "errorMessage")
_NO_WORDS = frozenset(
    (
        *TIMES,
        *(name for name in MORE_TIMES if len(name) > 1),
        *LEVELS,
        *MORE_LEVELS,
        *("severityNumber", "SeverityNumber", "PRIORITY", "instant.epochSecond"),
        *("instant.nanoOfSecond", "t.$date", "time.seconds", "time.nanos"),
        *("host", "hostname", "host.name", "pid", "process.pid", "_PID"),
        *("trace_id", "traceId", "TraceId", "trace.id", "span_id", "spanId", "SpanId", "span.id"),
    )
)
"""Names of fields that make no message."""
_MOST_WORDS = 32


def own_message(record: Record, flat: Mapping[str, str]) -> str:
    """Return the message of an object whose fields of the usual names hold no text; may be empty.

    In turn: a message that is a list or an object, one under a less usual name, a template with
    its holes filled.
    """
    return _structured(record, flat) or _named(flat) or _rendered(record, flat)


def message_of_fields(record: Record, flat: Mapping[str, str]) -> str:
    """Return what the fields of an object without a message say happened; may be empty.

    In turn: a call of a service, a web request, what an error says, all fields.
    """
    return _call(flat) or request_of(flat) or error_text(record) or _all_fields(flat)


def _all_fields(flat: Mapping[str, str]) -> str:
    """Return `name=value` of the fields that may say what happened, sorted by name."""
    words = (
        f"{name}={text}"
        for name in sorted(flat)
        if name not in _NO_WORDS and (text := scalar_text(flat[name]))
    )
    return " ".join(islice(words, _MOST_WORDS))


def request_of(flat: Mapping[str, str]) -> str:
    """Return `METHOD /path STATUS` of an object about a web request, as of access logs."""
    method, path = _first(flat, _METHODS), _first(flat, _PATHS)
    status = _first(flat, _STATUSES)
    if method and path:
        return " ".join(word for word in (method, path.partition("?")[0], status) if word)
    request = flat.get("request", "")
    if _REQUEST.fullmatch(request):
        method, target = request.split(" ")[:2]
        return f"{method} {target.partition('?')[0]} {status}".rstrip()
    return ""


def request_attributes(flat: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield a request's method, path and status under OpenTelemetry's names."""
    places = (
        ("http.request.method", _METHODS),
        ("url.path", _PATHS),
        ("http.response.status_code", _STATUSES),
    )
    for name, spellings in places:
        if value := _first(flat, spellings):
            yield name, value.partition("?")[0]


def _structured(record: Record, flat: Mapping[str, str]) -> str:
    """A message that is a list or an object."""
    if isinstance(record.get("MESSAGE"), list):
        return first_line((journal_text(record["MESSAGE"]) or "").strip())
    for name in _STRUCTURED:
        value = record.get(name)
        if isinstance(value, list) and (text := message_text(value)):
            return text
        if isinstance(value, dict) and (text := _parts(flat, f"{name}.")):
            return text
    return ""


def _parts(flat: Mapping[str, str], prefix: str) -> str:
    """`name=value` of the fields of an object, in their order."""
    start = len(prefix)
    inner = ((name[start:], text) for name, text in flat.items() if name.startswith(prefix))
    return " ".join(f"{name}={scalar_text(text)}" for name, text in islice(inner, MOST_PARTS))


def _named(flat: Mapping[str, str]) -> str:
    return next((text for name in MORE_MESSAGES if (text := _line(flat.get(name, "")))), "")


def _line(text: str) -> str:
    return first_line(text.strip())


def _rendered(record: Record, flat: Mapping[str, str]) -> str:
    """A message template with its holes filled from the fields."""
    template = next((flat[name] for name in _TEMPLATES if flat.get(name)), "")
    if not template:
        return ""
    ready = record.get("@r")
    renderings = iter(ready if isinstance(ready, list) else ())

    def fill(hole: re.Match[str]) -> str:
        name = hole[1]
        if name is None:
            return hole[0][0]
        if ":" in hole[0] and isinstance(text := next(renderings, None), str):
            return text[:_LONGEST_VALUE]  # Serilog gives in @r what holes with a format become
        return _value(record, flat, name)[:_LONGEST_VALUE] or hole[0]

    return _line(_HOLE.sub(fill, template, count=_MOST_HOLES))


def _value(record: Record, flat: Mapping[str, str], name: str) -> str:
    for prefix in ("", *(f"{group}." for group in _PROPERTIES)):
        if (text := flat.get(prefix + name)) is not None:
            return text
    value = record.get(name)
    return message_text(value) if isinstance(value, (dict, list)) else ""


def _call(flat: Mapping[str, str]) -> str:
    for service, name in _CALLS:
        if flat.get(service) and flat.get(name):
            words = (flat[service], flat[name], *(flat.get(code, "") for code in _CODES))
            return " ".join(scalar_text(word) for word in words if word)
    return ""


def _first(flat: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((flat[name] for name in names if flat.get(name)), "")
