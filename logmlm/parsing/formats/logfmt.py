"""logfmt: lines of `name=value` pairs, as Go's loggers and Heroku write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import tzinfo

from logmlm.parsing.formats.attributes import ALIASES
from logmlm.parsing.formats.levels import level_name
from logmlm.parsing.formats.line_format import Continuation, first_line
from logmlm.parsing.formats.timestamps import read_field
from logmlm.records import Fields

_PAIR = r'[A-Za-z_@][\w.@/-]{0,200}=(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s"]*+)'
_LINE = re.compile(rf"\s*(?:{_PAIR}(?:\s++|$))++$", re.ASCII)
_NAME_AND_VALUE = re.compile(r'([\w.@/-]+)=(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^\s"]*+))', re.ASCII)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_MESSAGES = ("msg", "message")
_TIMES = ("ts", "time", "timestamp", "t", "@timestamp")
_LEVELS = ("level", "lvl", "severity")
_LEAST = 2


@dataclass(frozen=True, slots=True)
class LogfmtFormat:
    """Lines that are pairs alone, at least two, among them a message, a level or a time.

    Where no pair is the message, all pairs are that say neither level nor time.
    """

    name: str
    zone: tzinfo
    continuation: Continuation = "join"

    def parse(self, text: str, now: float) -> Fields | None:  # noqa: ARG002  the dates have years
        """See `LineFormat.parse`."""
        line = first_line(text)
        if "=" not in line or _LINE.match(line) is None:
            return None
        pairs: dict[str, str] = {}
        for name, quoted, bare in _NAME_AND_VALUE.findall(line):
            pairs.setdefault(name, _ESCAPE.sub(_unescaped, quoted) if quoted else bare)
        if len(pairs) < _LEAST or not any(name in pairs for name in _MESSAGES + _TIMES + _LEVELS):
            return None
        return self._fields(pairs)

    def _fields(self, pairs: dict[str, str]) -> Fields:
        time = next((pairs.pop(name) for name in _TIMES if name in pairs), "")
        level = next((pairs.pop(name) for name in _LEVELS if name in pairs), "")
        message = next((pairs.pop(name) for name in _MESSAGES if name in pairs), None)
        if message is None:
            message = " ".join(f"{name}={value}" for name, value in pairs.items())
        attributes = {ALIASES.get(name, name): value for name, value in pairs.items() if value}
        timestamp = read_field(time, self.zone) if time else None
        return Fields(timestamp, level_name(level), first_line(message.strip()), attributes)


def logfmt(zone: tzinfo) -> LogfmtFormat:
    """Go's logrus, go-kit and log/slog, Prometheus, Grafana, Heroku."""
    return LogfmtFormat("logfmt", zone)


def _unescaped(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[1], match[1])
