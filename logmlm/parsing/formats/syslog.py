"""Syslog: as daemons write it to files (RFC 3164) and as it travels (RFC 5424)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import tzinfo

from logmlm.parsing.formats.levels import LEVEL_WORDS, syslog_level
from logmlm.parsing.formats.line_format import Groups, PatternFormat
from logmlm.parsing.formats.syslog_priority import with_priority_alone
from logmlm.parsing.formats.timestamps import BSD, ISO, ISO_T

_TAG = r"(?P<service>(?:-- )?[^\s:\[]+(?: \d[\w.]*)?)(?:\[(?P<pid>\d+)\])?:(?:\s+|$)"
_TAG_AHEAD = r"(?=[^\s:\[]+(?:\[\d+\])?:(?:\s|$))"
_HOST = r"(?P<host>[^\s\[]*[^\s\[:])"

# rsyslog's own stamp is ISO 8601; there a host and a tag must follow, or any line with a
# date before it would do. `_TAG` takes what daemons really write: `syslogd 1.4.1:`, `-- root[1]:`.
_RFC3164 = (
    r"(?:<(?P<_pri>\d{1,3})>)?"
    rf"(?:{ISO_T} (?!(?:{LEVEL_WORDS})\b)(?=\S+ {_TAG_AHEAD})|{BSD} )"
    rf"(?:{_HOST} +)?(?:{_TAG})?(?P<message>.*)"
)
_RFC5424 = (
    rf"<(?P<_pri>\d{{1,3}})>1 (?:-|{ISO}) (?P<host>\S+) (?P<service>\S+) "
    r"(?P<pid>\S+) (?P<msgid>\S+) "
    r'(?:-|(?P<_data>(?:\[(?:[^\]"\\]|"(?:[^"\\]|\\.)*"|\\.)*\])+))(?: \ufeff?(?P<message>.*)|$)'
)
_PARAMETER = re.compile(r' ([^\s="\]]{1,32})="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r'\\(["\\\]])')
_JOURNALCTL = re.compile(
    r"-- (?:(?:Logs begin|Journal begins) at |(?:Boot [\da-f]{32}|Reboot|No entries) --)"
)
_FACILITIES = 24
_FACILITY = "syslog.facility.code"


def syslog(zone: tzinfo) -> PatternFormat:
    """RFC 3164, with or without PRI, and rsyslog's and journalctl's ISO 8601 variant.

    Lines of RFC 5424 among them are read as such, and so are lines with a PRI and no time or
    another one: a port gets what senders send.
    """
    return PatternFormat(
        "syslog",
        re.compile(_RFC3164, re.ASCII),
        zone,
        normalize=_with_priority,
        added_names=frozenset((_FACILITY,)),
        digit_dependent=frozenset(("_pri",)),
        comment=_JOURNALCTL,
        fallback=replace(rfc5424(zone), fallback=with_priority_alone(zone, _with_priority)),
    )


def rfc5424(zone: tzinfo) -> PatternFormat:
    """RFC 5424; parameters of structured data become attributes under their own names."""
    return PatternFormat("rfc5424", re.compile(_RFC5424, re.ASCII), zone, normalize=_structured)


def _with_priority(groups: Groups) -> Groups:
    """PRI is facility * 8 + severity (RFC 5424, section 6.2.1)."""
    if "_pri" in groups and int(groups["_pri"]) < 8 * _FACILITIES:
        facility, severity = divmod(int(groups["_pri"]), 8)
        groups["level"] = syslog_level(str(severity))
        groups[_FACILITY] = str(facility)
    return groups


def _structured(groups: Groups) -> Groups:
    for name, value in _PARAMETER.findall(groups.get("_data", "")):
        groups.setdefault(name, _ESCAPED.sub(r"\1", value))
    return _with_priority(groups)
