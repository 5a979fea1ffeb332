"""Lines that begin with a date: none of them goes on with the line before it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import tzinfo

from logmlm.parsing.formats.generic import iso8601
from logmlm.parsing.formats.levels import LEVEL_WORDS
from logmlm.parsing.formats.line_format import PatternFormat
from logmlm.parsing.formats.syslog import rfc5424, syslog
from logmlm.parsing.formats.timestamps import CLF, CTIME, ISO_T, PADDED, SLASHED

_LEVEL = rf"(?:[\[(<]?(?P<level>{LEVEL_WORDS})[\])>]?:?\s+)?(?P<message>\S.*)"
_TAGLESS = rf"{ISO_T} (?!(?:{LEVEL_WORDS})\b)(?P<host>[\w.:-]{{1,255}}) +(?P<message>\S.*)"


def dated(zone: tzinfo, is_syslog: bool) -> PatternFormat:
    """Build what reads lines that begin with a date and are not of the log's own format.

    In a log of syslog a host follows an ISO 8601 date, with a tag or without one.
    """
    found: PatternFormat | None = None
    for date in (CLF, CTIME, SLASHED, PADDED):
        pattern = re.compile(rf"\[?{date}\]?:?\s+{_LEVEL}", re.ASCII)
        found = PatternFormat("dated", pattern, zone, fallback=found)
    found = replace(iso8601(zone), fallback=found)
    if is_syslog:
        found = PatternFormat("dated", re.compile(_TAGLESS, re.ASCII), zone, fallback=found)
    found = replace(rfc5424(zone), fallback=found)
    return replace(syslog(zone), fallback=found)
