"""Severity of a single line: its level, its HTTP status code, or its words."""

from __future__ import annotations

import re

from logmlm.parsing.formats import attribute
from logmlm.records import Fields

ERROR_LEVELS = frozenset(
    {
        *("ERROR", "ERR", "SEVERE", "FAILURE", "CRITICAL", "CRIT", "FATAL", "ALERT"),
        *("EMERGENCY", "EMERG", "PANIC"),
    }
)
ERROR_STATUS = 500
STATUS_NAMES = ("status", "status_code", "statusCode", "DownstreamStatus", "sc-status")
"""Attributes that hold an HTTP status code: OpenTelemetry's (by its alias) and common loggers'."""
_ERROR_WORDS = re.compile(
    r"\b(?:error|errors|fail|failed|fails|failure|failures|fatal|panic|critical|emergency"
    r"|exception|traceback|segfault|corrupt|corrupted|corruption|crash|crashed|abort|aborted"
    r"|oom|out of memory|killed|deadlock|unreachable|no space left|cannot|unable to)\b",
    re.IGNORECASE,
)


def is_error(fields: Fields) -> bool:
    """Return whether a line has the level ERROR or a higher one, or an HTTP status from 500 on."""
    if fields.level.upper() in ERROR_LEVELS:
        return True
    statuses = (attribute(fields, name) or "" for name in STATUS_NAMES)
    return any(
        len(status) == 3 and status.isascii() and status.isdigit() and int(status) >= ERROR_STATUS
        for status in statuses
    )


def reads_as_error(fields: Fields) -> bool:
    """Return whether a line is an error by level or status or, if it has no level, by its words."""
    return is_error(fields) or (not fields.level and bool(_ERROR_WORDS.search(fields.message)))
