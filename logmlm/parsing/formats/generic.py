"""Formats for what no program's own format fits: a date at the head, or nothing at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import tzinfo

from logmlm.parsing.formats.levels import LEVEL_WORDS
from logmlm.parsing.formats.line_format import Continuation, PatternFormat, first_line
from logmlm.parsing.formats.timestamps import ISO
from logmlm.records import Fields

_SEPARATOR = r"(?:[-|] +)?"
# A level in brackets or before a colon may be in lower case; a bare one may not, for then it
# is the message's first word.
_LEVEL = (
    rf"[\[(<]?(?P<level>(?i:{LEVEL_WORDS})(?= *[\])>:])|(?:{LEVEL_WORDS})(?=[\s|]))"
    r" *[\])>]?:?"
)
# What stands before a level: a process, a thread, or a name. Only before a level that is no
# word of a sentence: one in brackets or in upper case.
_BEFORE = (
    r"(?:\[(?P<pid>\d{1,10})\]|\[(?P<thread>[^\[\]]{1,200})\]|(?P<logger>[\w.$/:-]{1,200}))"
    rf"(?=\s+{_SEPARATOR}(?:[\[(<](?i:{LEVEL_WORDS}) *[\])>]|(?:{LEVEL_WORDS})[\s|:]))"
    rf"\s+{_SEPARATOR}"
)
_ISO8601 = (
    rf"\[?{ISO}\]?:?\s+{_SEPARATOR}(?:(?:{_BEFORE})?{_LEVEL}\s+{_SEPARATOR})?(?P<message>\S.*)"
)


def iso8601(zone: tzinfo) -> PatternFormat:
    """Lines that begin with an ISO 8601 date and time, and perhaps a level after it.

    Between both may stand a process, a thread or a name. gunicorn, structlog and Serilog write so.
    """
    return PatternFormat("iso8601", re.compile(_ISO8601, re.ASCII), zone)


@dataclass(frozen=True, slots=True)
class PlainFormat:
    """Every line that is not blank is a message, without timestamp or level."""

    name: str = "plain"
    continuation: Continuation = "discard"

    def parse(self, text: str, now: float) -> Fields | None:  # noqa: ARG002  no date, no year to guess
        """See `LineFormat.parse`."""
        message = first_line(text).strip()
        return Fields(None, "", message) if message else None


def plain_text(zone: tzinfo) -> PlainFormat:  # noqa: ARG001  builders of formats are called alike
    """No structure; never chosen by `auto`, for it fits everything."""
    return PlainFormat()
