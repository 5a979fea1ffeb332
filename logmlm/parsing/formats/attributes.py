"""The names of attributes: OpenTelemetry's where they exist, and short ones for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from logmlm.records import Fields

ALIASES = MappingProxyType(
    {
        "host": "host.name",
        "service": "service.name",
        "unit": "systemd.unit",
        "pid": "process.pid",
        "thread": "thread.name",
        "logger": "log.logger",
        "stream": "log.iostream",
        "template": "log.record.template",
        "client": "client.address",
        "server": "server.address",
        "method": "http.request.method",
        "path": "url.path",
        "query": "url.query",
        "status": "http.response.status_code",
        "bytes": "http.response.body.size",
        "referrer": "http.request.header.referer",
        "user_agent": "user_agent.original",
        "user": "user.name",
        "db": "db.namespace",
    }
)
"""Short name -> OpenTelemetry's (semantic conventions 1.27; `systemd.unit` is our own)."""

RECORDS = "log.records"
"""Attribute: how many records a line of JSON holds, of which the first is read; none for one."""

_MOST_DIGITS = 6


def further_records(attributes: Mapping[str, str]) -> int:
    """Return how many records a line holds beside the one that is read.

    A line may have a field of that name itself, which may say anything.
    """
    count = attributes.get(RECORDS)
    if count is None or not (count.isascii() and count.isdigit() and len(count) <= _MOST_DIGITS):
        return 0
    return max(0, int(count) - 1)


def attribute(fields: Fields, name: str) -> str | None:
    """Look an attribute up by its full name or by its alias; None if there is none."""
    value = fields.attributes.get(name)
    return fields.attributes.get(ALIASES.get(name, name)) if value is None else value
