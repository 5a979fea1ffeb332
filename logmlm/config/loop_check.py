"""Configurations in which what logmlm writes comes back to it, or is written by two."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from logmlm.config.document import Location
from logmlm.config.globs import is_excluded
from logmlm.config.kafka import KafkaSinkConfig, KafkaSourceConfig
from logmlm.config.run import RunConfig
from logmlm.config.sources import FileSourceConfig


def find_feedback_loops(config: RunConfig) -> Iterator[tuple[Location, str]]:
    """Each key that makes a loop, and a sentence about it."""
    kafka, files = config.source.kafka, config.source.file
    if kafka is not None and kafka.dead_letter_topic in kafka.topics:
        yield (
            ("source", "kafka", "dead_letter_topic"),
            f"'{kafka.dead_letter_topic}' is one of the 'topics' that are read; name another",
        )
    appended: set[str] = set()
    for number, sink in enumerate(config.sinks):
        if kafka is not None and sink.kafka is not None and _reads_topic(kafka, sink.kafka):
            yield (
                ("sinks", number, "kafka", "topic"),
                f"'{sink.kafka.topic}' is read by 'source.kafka': alerts would come back as lines",
            )
        if sink.file is None:
            continue
        place: Location = ("sinks", number, "file", "path")
        if files is not None and _follows(files, sink.file.path):
            yield (
                place,
                f"{sink.file.path} is followed by 'source.file': alerts would come back as lines;"
                " put it elsewhere, or into 'exclude'",
            )
        path = os.path.abspath(sink.file.path)  # noqa: PTH100  Path.absolute leaves '..' in
        if path in appended:
            yield place, f"{sink.file.path} is the file of another sink; give each its own"
        appended.add(path)


def _reads_topic(source: KafkaSourceConfig, sink: KafkaSinkConfig) -> bool:
    """Whether a source reads the topic of a sink, where they name a broker in common."""
    if not set(source.bootstrap_servers) & set(sink.bootstrap_servers):
        return False
    if source.subscription is None:
        return sink.topic in source.topics
    return re.match(source.subscription, sink.topic) is not None


def _follows(source: FileSourceConfig, path: Path) -> bool:
    """Whether a file would be followed if it were there; links are not looked through."""
    whole = os.path.abspath(path)  # noqa: PTH100  as above
    if any(is_excluded(text, source.exclude) for text in (str(path), whole)):
        return False
    patterns = [os.path.abspath(pattern) for pattern in source.include]  # noqa: PTH100  as above
    parts = whole.split("/")
    return whole in patterns or any(_matches(parts, each.split("/")) for each in patterns)


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether glob would find a path of these parts: `**` is any number of directories."""
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_matches(parts[i:], patterns[1:]) for i in range(len(parts) + 1))
    if not parts or (parts[0].startswith(".") and not patterns[0].startswith(".")):
        return False
    return fnmatchcase(parts[0], patterns[0]) and _matches(parts[1:], patterns[1:])
