"""Receivers, as the configuration names them: a sink each, and how its alerts are grouped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TextIO

from logmlm.alertingconfig import AlertingConfig
from logmlm.couriers import Receiver
from logmlm.groups import Grouping
from logmlm.runconfig import RunConfig
from logmlm.sinks.base import Sink
from logmlm.sinks.stdout import StdoutSink
from logmlm.sinks.webhook import WebhookSink

Clock = Callable[[], float]
SINKS: Mapping[str, Callable[[Any, Clock, TextIO], Sink]] = MappingProxyType(
    {
        "stdout": lambda config, _, out: StdoutSink(config, out),
        "webhook": lambda config, clock, _: WebhookSink(config, clock=clock),
    }
)
"""How each kind of sink is made, by its key in the configuration."""


def receivers(config: RunConfig, out: TextIO, clock: Clock) -> list[Receiver]:
    """Make every sink of the configuration; `out` is standard output.

    Raises:
        ConfigError: what a sink needs can't be used.

    """
    found = []
    for one in config.sinks:
        section = one.section
        found.append(
            Receiver(
                section.name,
                SINKS[one.kind](section, clock, out).send,
                section.max_retries,
                grouping(config.alerting) if section.grouped else None,
            )
        )
    return found


def grouping(config: AlertingConfig) -> Grouping:
    """How alerts are grouped for sinks that get groups."""
    return Grouping(
        config.group_by,
        group_wait=config.group_wait,
        group_interval=config.group_interval,
        repeat_interval=config.repeat_interval,
        resolve_after=config.resolve_after,
        flap_window=config.flap_window,
    )
