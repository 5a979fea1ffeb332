"""A line format of the user's own, from the config."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo

from logmlm.config.regex import compile_user_pattern
from logmlm.config.training import CustomFormat
from logmlm.errors import ConfigError
from logmlm.parsing.formats.line_format import PatternFormat
from logmlm.parsing.formats.timestamps import strptime_parser

_NAMED = ("iso8601", "epoch", "epoch_ms")
_DATES = (("%d", "%m"), ("%d", "%b"), ("%d", "%B"), ("%j",), ("%c",), ("%x",))


def custom(name: str, settings: CustomFormat, zone: tzinfo) -> PatternFormat:
    """Build the format that `settings` describe; times without a zone are read in `zone`.

    Raises:
        ConfigError: the pattern has no group `message`, or the timestamp's format can't be
            used; the text names the key.

    """
    pattern = compile_user_pattern(settings.pattern, is_anchored=True)
    if "message" not in pattern.groupindex:
        raise ConfigError(
            f"format.custom.{name}.pattern has no group (?P<message>...); "
            "put one around the part of the line that is the message"
        )
    if settings.timestamp_format not in _NAMED and "timestamp" in pattern.groupindex:
        _check_strptime(name, settings.timestamp_format)
    clock = strptime_parser(settings.timestamp_format)
    return PatternFormat(name, pattern, zone, settings.continuation, clock=clock)


def _check_strptime(name: str, pattern: str) -> None:
    key = f"format.custom.{name}.timestamp_format"
    try:
        datetime.strptime("", pattern)
    except re.error as error:
        raise ConfigError(f"{key} '{pattern}' has a directive twice: {error}") from error
    except ValueError as error:
        if "directive" in str(error) or "stray" in str(error):
            raise ConfigError(f"{key}: {error}; see Python's strptime, or take iso8601") from error
    if not any(all(part in pattern for part in date) for date in _DATES):
        raise ConfigError(
            f"{key} '{pattern}' names no day; add the date (like '%d %b %H:%M:%S'), or leave the "
            "group (?P<timestamp>...) out and events take the time when their line was received"
        )
