"""Where the daemon's lines come from; keys have the names of Vector and OpenTelemetry."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from logmlm.config.kafka import MAX_LINE_BYTES, KafkaSourceConfig
from logmlm.config.types import (
    Duration,
    ExactlyOne,
    Size,
    StrictModel,
    StringList,
    WrittenAs,
    split_host_port,
)

PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""Names of syslog's severities, by number (RFC 5424, section 6.2.1; journalctl(1))."""

COMPRESSED_SUFFIXES = ("*.gz", "*.bz2", "*.xz", "*.zst")


def _priority(value: object) -> object:
    return PRIORITIES[value] if isinstance(value, int) and value in range(8) else value


Priority = Annotated[
    Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"],
    BeforeValidator(_priority),
    WrittenAs({"type": "integer", "minimum": 0, "maximum": 7}),
]


class FingerprintConfig(StrictModel):
    """How a file is told from others: by its first `bytes`, not by its path."""

    bytes: Annotated[Size, Field(ge=16, le=65536)] = 1024


class FileSourceConfig(StrictModel):
    """Files that are followed: new lines, rotation by rename or copy, truncation.

    What was rotated while logmlm was down is found beside its old path, in the directories of
    `include` and in those that `rotated` names (`olddir`), packed as .gz too, and read on.
    Archives that were never followed are read where `exclude` lets in `*.gz`.
    `start_at` counts for the files that are there at the very first start; a file that comes
    later is read from its beginning. A file that left `include` (rotated away) is let go when
    nothing came for `rotate_wait`. A line over `max_line_bytes` is cut.
    """

    include: Annotated[StringList, Field(min_length=1)]
    exclude: StringList = COMPRESSED_SUFFIXES
    rotated: StringList = ()
    start_at: Literal["beginning", "end"] = "end"
    max_line_bytes: Size = MAX_LINE_BYTES
    rotate_wait: Duration = 30.0
    fingerprint: FingerprintConfig = Field(default_factory=FingerprintConfig)


class StdinSourceConfig(StrictModel):
    """Lines from standard input, until its end.

    Nothing can be read again after a stop, so what is in open windows then is scored.
    """

    max_line_bytes: Size = MAX_LINE_BYTES


class JournaldSourceConfig(StrictModel):
    """systemd's journal, read by journalctl; every entry is a line of JSON, as `-o json` has it.

    `units` and `max_priority` (a name, or 0 to 7; entries of that priority and more urgent ones)
    say which entries are read; without them, all are, but never those of logmlm's own unit.
    `start_at` counts for the very first start. A message over `max_line_bytes` is cut.
    `directory` or `files` name another journal than this machine's.
    """

    units: StringList = ()
    max_priority: Priority | None = None
    start_at: Literal["beginning", "end"] = "end"
    max_line_bytes: Size = MAX_LINE_BYTES
    directory: Path | None = None
    files: StringList = ()

    @model_validator(mode="after")
    def _one_journal(self) -> JournaldSourceConfig:
        if self.directory is not None and self.files:
            raise ValueError("give 'directory' or 'files', not both")
        return self


def _address(value: object) -> object:
    text = str(value) if isinstance(value, (int, str)) else ""
    if not re.fullmatch(r"((\[[0-9a-fA-F:.]+\]|[0-9.]+):)?[0-9]{1,5}", text) or (
        split_host_port(text)[1] > 65535
    ):
        raise ValueError(f"'{value}' is no address; write it like 127.0.0.1:5514 or 5514")
    return text


def _mode(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not re.fullmatch("0?[0-7]{3}", value):
        raise ValueError(f"'{value}' is no mode such as '660', of three digits from 0 to 7")
    return int(value, 8)


ListenAddress = Annotated[
    str,
    BeforeValidator(_address),
    WrittenAs({"type": "integer", "minimum": 0, "maximum": 65535}),
]
_Mode = Annotated[
    int,
    BeforeValidator(_mode),
    WrittenAs({"type": "string", "pattern": "^0?[0-7]{3}$"}),
    Field(ge=0, le=0o777),
]


class SyslogSourceConfig(StrictModel):
    """Syslog messages that are sent here, each a line: RFC 3164 or RFC 5424, as they come.

    `udp` and `tcp` are addresses, a port alone one of 127.0.0.1; `tcp` takes counted octets and
    lines (RFC 6587). `unix` is the path of a datagram socket, `unix_stream` that of a stream.
    Delivery is at most once: a datagram that the kernel has no room for is lost (and counted),
    as is what was sent while logmlm was down, or taken by one that was killed. At a clean stop
    open windows are scored. For logs that must not be lost, let rsyslog write files.
    `receive_buffer` is what the kernel is asked to keep. Who connects while `max_connections`
    are open is turned away. A message over `max_line_bytes` is cut.
    """

    udp: ListenAddress | None = None
    tcp: ListenAddress | None = None
    unix: Path | None = None
    unix_stream: Path | None = None
    unix_mode: _Mode = 0o660
    max_line_bytes: Size = 100 * 1024
    max_connections: Annotated[int, Field(ge=1)] = 256
    receive_buffer: Size = 4 * 1024 * 1024

    @model_validator(mode="after")
    def _listens(self) -> SyslogSourceConfig:
        if all(one is None for one in (self.udp, self.tcp, self.unix, self.unix_stream)):
            raise ValueError("give one or more of 'udp', 'tcp', 'unix' and 'unix_stream'")
        return self


class SourceConfig(ExactlyOne):
    """Where lines come from: one kind of source."""

    file: FileSourceConfig | None = None
    journald: JournaldSourceConfig | None = None
    syslog: SyslogSourceConfig | None = None
    stdin: StdinSourceConfig | None = None
    kafka: KafkaSourceConfig | None = None

    @property
    def kind(self) -> str:
        """The key that was given."""
        return next(iter(self.model_fields_set))
