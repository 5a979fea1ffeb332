"""Syslog messages that begin with a priority but not with RFC 3164's time, as many senders do."""

from __future__ import annotations

import re
from datetime import tzinfo

from logmlm.parsing.formats.line_format import PatternFormat, Refine
from logmlm.parsing.formats.timestamps import BSD, ISO

_PRI = r"<(?P<_pri>\d{1,3})>"
_TAG = r"(?:(?P<service>[^\s:\[<]{1,64})(?:\[(?P<pid>\d+)\])?:(?:\s+|$))?"
_HOST = r"(?:(?P<host>[^\s\[]*[^\s\[:]) +)?"
_MNEMONIC = (
    r"(?P<message>(?:%(?P<msgid>[A-Z]\w*-(?:\w+-)?[0-7]-\w+): ?)?\S.*)"  # %FAC-SEV-MNEM: text
)
_YEAR_FIRST = (
    r"(?P<_year>\d{4}) (?P<_month>[A-Z][a-z]{2}) {1,2}(?P<_day>\d\d?) "
    r"(?P<_hour>\d\d):(?P<_minute>\d\d):(?P<_second>\d\d)(?:\.(?P<_fraction>\d{1,9}))?"
)
_BEFORE_TIME = r"(?:\d{1,10}:)?+:? ?(?:(?P<host>[^\s:%]{1,255}+): )?[*.]?"
_CISCO = tuple(
    rf"{_PRI}{_BEFORE_TIME}{stamp}(?: (?P<_zone>[A-Z]{{1,5}}|[+-]\d\d:?\d\d))? ?: {_MNEMONIC}"
    for stamp in (BSD, _YEAR_FIRST)
)
_UPTIME = rf"{_PRI}{_BEFORE_TIME}(?:\w[:.\w]*: )?(?=%){_MNEMONIC}"
_DATED = rf"{_PRI}\[?{ISO}\]?:? +{_HOST}{_TAG}(?P<message>.*)"
_BARE = rf"{_PRI}\s*{_TAG}(?P<message>\S.*)"


def with_priority_alone(zone: tzinfo, refine: Refine) -> PatternFormat:
    """Build what reads messages of a PRI and no time that RFC 3164 knows; `refine` reads the PRI.

    In turn: Cisco's `seq: host: time: %FACILITY-SEVERITY-MNEMONIC: text`, an ISO 8601 time with a
    blank, and a message without a time, which is then that of its receipt (RFC 3164, 4.3.2).
    """
    found = PatternFormat("syslog", re.compile(_BARE, re.ASCII), zone, normalize=refine)
    for pattern in (_DATED, _UPTIME, *_CISCO):
        compiled = re.compile(pattern, re.ASCII)
        found = PatternFormat("syslog", compiled, zone, normalize=refine, fallback=found)
    return found
