"""The kinds of source, by the key of the config that asks for each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.config.sources import (
    FileSourceConfig,
    JournaldSourceConfig,
    SourceConfig,
    StdinSourceConfig,
    SyslogSourceConfig,
)
from logmlm.sources.base import Source
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.source import FileSource
from logmlm.sources.journald.source import JournaldSource
from logmlm.sources.stdin import StdinSource
from logmlm.sources.syslog.source import SyslogSource

CGROUPS = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The model that scores what a source hands over."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source has from outside: a directory for its state, clocks, wait, standard input.

    `clock` tells UTC epoch seconds, `monotonic` seconds that nobody sets; `wait` waits so many
    seconds, or less; `left` tells how many true seconds a stop has left, infinitely many before
    one.
    """

    directory: Path
    clock: Callable[[], float]
    wait: Callable[[float], object]
    stdin: int
    model: ModelInfo
    left: Callable[[], float] = lambda: math.inf
    monotonic: Callable[[], float] = time.monotonic


def create_source(config: SourceConfig, around: SourceContext) -> Source:
    """Open the source that the config names.

    Raises:
        StorageError: its state or what it reads can't be used.

    """
    return SOURCE_FACTORIES[config.kind](getattr(config, config.kind), around)


def own_systemd_units(cgroups: str) -> list[str]:
    """Units that this process belongs to, of a `/proc/PID/cgroup` (cgroups(7))."""
    found = []
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        unit = path.rpartition("/")[2]
        if controllers in ("", "name=systemd") and unit.endswith(".service"):
            found.append(unit)
    return sorted(set(found))


def _file(config: FileSourceConfig, around: SourceContext) -> Source:
    checkpoints = CheckpointStore(around.directory / "checkpoints.json")
    return FileSource(
        config, checkpoints, clock=around.clock, wait=around.wait, monotonic=around.monotonic
    )


def _journald(config: JournaldSourceConfig, around: SourceContext) -> Source:
    return JournaldSource(
        config,
        around.directory / "journal.json",
        clock=around.clock,
        wait=around.wait,
        own_units=own_systemd_units(CGROUPS.read_text(encoding="utf-8")),
        monotonic=around.monotonic,
    )


def _kafka(config: KafkaSourceConfig, around: SourceContext) -> Source:
    from logmlm.sources.kafka.source import KafkaSource

    return KafkaSource(
        config,
        group=f"logmlm-{around.model.name}",
        model=around.model.digest,
        clock=around.clock,
        wait=around.wait,
        left=around.left,
        monotonic=around.monotonic,
    )


def _syslog(config: SyslogSourceConfig, around: SourceContext) -> Source:
    return SyslogSource(config, clock=around.clock, monotonic=around.monotonic)


def _stdin(config: StdinSourceConfig, around: SourceContext) -> Source:
    return StdinSource(config, around.stdin, clock=around.clock, monotonic=around.monotonic)


SOURCE_FACTORIES: Mapping[str, Callable[[Any, SourceContext], Source]] = MappingProxyType(
    {"file": _file, "journald": _journald, "kafka": _kafka, "syslog": _syslog, "stdin": _stdin}
)
