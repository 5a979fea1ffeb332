"""Where the daemon's lines come from; keys have the names of Vector and OpenTelemetry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from logmlm.config import Duration, OneOf, Section, Size, Strings
from logmlm.kafkaconfig import KafkaSourceConfig

COMPRESSED = ("*.gz", "*.bz2", "*.xz", "*.zst")


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


class SourceConfig(OneOf):
    """Where lines come from: one kind of source."""

    file: FileSourceConfig | None = None
    stdin: StdinSourceConfig | None = None
    kafka: KafkaSourceConfig | None = None
