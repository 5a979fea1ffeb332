"""The level of a JSON line: the fields that say it, and what their values mean."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from logmlm.parsing.formats.levels import level_name, numeric_level, otel_level, syslog_level
from logmlm.system.line_text import strip_controls

LEVELS = (
    *("severityText", "SeverityText", "log.level", "level", "levelname", "severity", "loglevel"),
    "lvl",
)
"""Names that say the level and nothing else: they are no attributes."""
MORE_LEVELS = (
    *("error_severity", "LogLevel", "log_level", "logLevel", "@l", "Level", "level.name", "LEVEL"),
    *("levelName", "Severity", "priority", "PRIORITY"),
)
"""Names that say the level where none of `LEVELS` does; they stay attributes."""
_MONGO = frozenset(("F", "E", "W", "I", "D", "D1", "D2", "D3", "D4", "D5"))
_GOOGLE = MappingProxyType(
    {
        **{"100": "DEBUG", "200": "INFO", "300": "NOTICE", "400": "WARNING", "500": "ERROR"},
        **{"600": "CRITICAL", "700": "ALERT", "800": "EMERGENCY"},
    }
)
"""Google Cloud's LogSeverity."""
_PYTHON = MappingProxyType(
    {"10": "DEBUG", "20": "INFO", "30": "WARNING", "40": "ERROR", "50": "CRITICAL"}
)


def level_of(flat: Mapping[str, str], prefix: str = "") -> str:
    """Return the level of an object with these scalars; empty if it names none.

    The names of its fields begin with `prefix` in `flat`.
    """
    for name in LEVELS:
        word = flat.get(prefix + name if prefix else name)
        if word:
            return _number(name, word, flat) or level_name(strip_controls(word))
    if "PRIORITY" in flat and (found := syslog_level(flat["PRIORITY"])):
        return found
    number = flat.get("severityNumber", flat.get("SeverityNumber", ""))
    return (otel_level(number) if number else "") or _other_level(flat, prefix)


def _number(name: str, word: str, flat: Mapping[str, str]) -> str:
    """Return the name of a level that is a number; its meaning depends on who wrote it."""
    if not word.isdigit():
        return ""
    if "short_message" in flat:  # GELF has syslog's
        return syslog_level(word)
    return (name == "severity" and _GOOGLE.get(word)) or numeric_level(word)


def _other_level(flat: Mapping[str, str], prefix: str) -> str:
    for name in MORE_LEVELS:
        if word := flat.get(prefix + name):
            return numeric_level(word) or ("" if word.isdigit() else level_name(word))
    if flat.get("s") in _MONGO and ("t.$date" in flat or "t.$date.$numberLong" in flat):
        return level_name(flat["s"])
    if "err_symbol" in flat and "label" in flat:  # MySQL's JSON error log
        return level_name(flat["label"])
    if "@t" in flat and ("@mt" in flat or "@m" in flat):  # Serilog leaves Information out
        return "INFO"
    return _PYTHON.get(flat.get(prefix + "levelno", ""), "")
