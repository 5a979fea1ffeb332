"""Where the daemon's lines come from; keys have the names of Vector and OpenTelemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from logmlm.config import Duration, OneOf, Section, Size, Strings

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""Names of syslog's severities, by number (RFC 5424, section 6.2.1; journalctl(1))."""

COMPRESSED = ("*.gz", "*.bz2", "*.xz", "*.zst")


def _priority(value: object) -> object:
    return PRIORITIES[value] if isinstance(value, int) and value in range(8) else value


Priority = Annotated[
    Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"],
    BeforeValidator(_priority),
]


class FingerprintConfig(Section):
    """How a file is told from others: by its first `bytes`, not by its path."""

    bytes: Annotated[Size, Field(ge=16, le=65536)] = 1024


class FileSourceConfig(Section):
    """Files that are followed: new lines, rotation by rename, truncation.

    `start_at` counts for the files that are there at the very first start; a file that comes
    later is read from its beginning. A file that left `include` (rotated away) is let go when
    nothing came for `rotate_wait`. A line over `max_line_bytes` is cut.
    """

    include: Annotated[Strings, Field(min_length=1)]
    exclude: Strings = COMPRESSED
    start_at: Literal["beginning", "end"] = "end"
    max_line_bytes: Size = 100 * 1024
    rotate_wait: Duration = 30.0
    fingerprint: FingerprintConfig = Field(default_factory=FingerprintConfig)


class StdinSourceConfig(Section):
    """Lines from standard input, until its end. Nothing can be read again after a stop."""

    max_line_bytes: Size = 100 * 1024


class JournaldSourceConfig(Section):
    """systemd's journal, read by journalctl; every entry is a line of JSON, as `-o json` has it.

    `units` and `max_priority` (a name, or 0 to 7; entries of that priority and more urgent ones)
    say which entries are read; without them, all are, but never those of logmlm's own unit.
    `start_at` counts for the very first start. A message over `max_line_bytes` is cut.
    `directory` or `files` name another journal than this machine's.
    """

    units: Strings = ()
    max_priority: Priority | None = None
    start_at: Literal["beginning", "end"] = "end"
    max_line_bytes: Size = 100 * 1024
    directory: Path | None = None
    files: Strings = ()

    @model_validator(mode="after")
    def _one_journal(self) -> JournaldSourceConfig:
        if self.directory is not None and self.files:
            raise ValueError("give 'directory' or 'files', not both")
        return self


class SourceConfig(OneOf):
    """Where lines come from: one kind of source."""

    file: FileSourceConfig | None = None
    journald: JournaldSourceConfig | None = None
    stdin: StdinSourceConfig | None = None
