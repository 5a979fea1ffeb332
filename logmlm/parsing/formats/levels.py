"""A line's severity in one spelling."""

from __future__ import annotations

from types import MappingProxyType

from logmlm.parsing.formats.translated_levels import TRANSLATED

SYSLOG = ("EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG")
"""Names of the severities 0 to 7 (RFC 5424, table 2)."""

_OTEL = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL")
_PINO = MappingProxyType(
    {"10": "TRACE", "20": "DEBUG", "30": "INFO", "40": "WARNING", "50": "ERROR", "60": "FATAL"}
)
_SYNONYMS = MappingProxyType(
    {
        "WARN": "WARNING",
        "ERR": "ERROR",
        "CRIT": "CRITICAL",
        "EMERG": "EMERGENCY",
        "INFORMATION": "INFO",
        "INFORMATIONAL": "INFO",
        "DBG": "DEBUG",
        **dict.fromkeys(("DEBUG1", "DEBUG2", "DEBUG3", "DEBUG4", "DEBUG5"), "DEBUG"),
        "T": "TRACE",
        "D": "DEBUG",
        "I": "INFO",
        "W": "WARNING",
        "E": "ERROR",
        "F": "FATAL",
        "V": "VERBOSE",
        **{"VRB": "VERBOSE", "INF": "INFO", "WRN": "WARNING", "FTL": "FATAL"},
        **TRANSLATED,
        **dict.fromkeys(("D1", "D2", "D3", "D4", "D5"), "DEBUG"),
    }
)

LEVEL_WORDS = (
    "TRACE|DEBUG|DBG|VERBOSE|VRB|INFO|INF|NOTICE|WARNING|WARN|WRN|ERROR|ERR"
    "|CRITICAL|CRIT|SEVERE|FATAL|FTL|ALERT|EMERGENCY|EMERG|PANIC"
)
"""What a level looks like at the head of a line, for a pattern."""


def level_name(word: str) -> str:
    """`word` in upper case, with abbreviations spelt out: warn -> WARNING, err -> ERROR."""
    upper = word.strip().upper()
    return _SYNONYMS.get(upper, upper)


def syslog_level(number: str) -> str:
    """Name of a syslog severity 0 to 7, as journald's PRIORITY has it; else empty."""
    return SYSLOG[int(number)] if number in tuple("01234567") else ""


def otel_level(number: str) -> str:
    """Name of an OpenTelemetry severityNumber 1 to 24; else empty."""
    if not (number.isascii() and number.isdigit() and len(number) <= 2):
        return ""
    return _OTEL[(int(number) - 1) // 4] if 1 <= int(number) <= 24 else ""


def numeric_level(number: str) -> str:
    """Name of a level as pino and bunyan number them (30 is INFO); else empty."""
    return _PINO.get(number, "")
