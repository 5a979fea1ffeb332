"""The program's own log, on standard error: one line a thing, JSON where no person watches."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from logmlm.config.server import LogConfig
from logmlm.system.text import dump_json, one_line

NOISY_LOGGERS = ("urllib3", "requests")
"""Libraries whose words below an error hold addresses, which may be secrets."""
_PLAIN = frozenset({*vars(logging.makeLogRecord({})), "asctime", "message"})
"""What every record has; anything else was given as `extra`."""


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: `time` (RFC 3339, UTC), `level`, `message`, `logger`.

    Fields given as `extra` stand beside these; an error's traceback is in `traceback`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object, on one line whatever the message holds."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
        }
        extra = {
            name: value
            for name, value in vars(record).items()
            if name not in _PLAIN and not name.startswith("_")  # libraries mark records so
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return dump_json(extra | fields)


class TextFormatter(logging.Formatter):
    """A record as a line for people; what would end the line in a message is shown escaped."""

    def __init__(self) -> None:
        super().__init__("logmlm: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """Return the line, without a traceback."""
        return one_line(super().formatMessage(record))


@contextmanager
def logging_configured(stream: TextIO, config: LogConfig) -> Iterator[None]:
    """Log to `stream` meanwhile, Python's own warnings too."""
    in_json = config.format == "json" or (config.format == "auto" and not stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if in_json else TextFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(config.level.upper())
    logging.captureWarnings(True)
    try:
        with _quiet_libraries():
            yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        root.removeHandler(handler)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NOISY_LOGGERS]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
