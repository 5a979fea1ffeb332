"""Receivers, as the configuration names them: a sink each, and how its alerts are grouped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TextIO

from logmlm.alerting.delivery import Receiver
from logmlm.alerting.grouping import ALL_LABELS, GroupingPolicy
from logmlm.alerting.sinks.alertmanager import RESOLVED_FOR_S, AlertmanagerSink
from logmlm.alerting.sinks.base import Sink
from logmlm.alerting.sinks.file import FileSink
from logmlm.alerting.sinks.stdout import StdoutSink
from logmlm.alerting.sinks.webhook import WebhookSink
from logmlm.config.alerting import AlertingConfig
from logmlm.config.kafka import KafkaSinkConfig
from logmlm.config.run import RunConfig
from logmlm.config.sinks import AlertmanagerConfig
from logmlm.config.types import BaseSinkConfig
from logmlm.errors import StorageError
from logmlm.records import DeliveryResult, Notification

Clock = Callable[[], float]
SendNotification = Callable[[Notification], DeliveryResult]
SINKS: Mapping[str, Callable[[Any, Clock, TextIO], Sink]] = MappingProxyType(
    {
        "stdout": lambda config, _, out: StdoutSink(config, out),
        "file": lambda config, *_: FileSink(config),
        "webhook": lambda config, clock, _: WebhookSink(config, clock=clock),
        "alertmanager": lambda config, clock, _: AlertmanagerSink(config, clock=clock),
        "kafka": lambda config, *_: _kafka(config),
    }
)
"""How each kind of sink is made, by its key in the configuration."""


def _kafka(config: KafkaSinkConfig) -> Sink:
    from logmlm.alerting.sinks.kafka import KafkaSink

    return KafkaSink(config)


def build_receivers(config: RunConfig, out: TextIO, clock: Clock) -> list[Receiver]:
    """Make every sink of the configuration; `out` is standard output.

    Raises:
        ConfigError: what a sink needs can't be used.

    """
    found = []
    for one in config.sinks:
        section = one.section
        sink = SINKS[one.kind](section, clock, out)
        send = (
            _retry_closed_stdout(sink.send)
            if one.kind == "stdout" and len(config.sinks) > 1
            else sink.send
        )
        groups = grouping_policy(section, config.alerting)
        found.append(Receiver(section.name, send, section.max_retries, groups, close=sink.close))
    return found


def _retry_closed_stdout(send: SendNotification) -> SendNotification:
    """Hold up no other receiver where standard output is closed: what waits for it waits."""

    def sent(notification: Notification) -> DeliveryResult:
        try:
            return send(notification)
        except StorageError as error:
            return DeliveryResult("later", str(error))

    return sent


def grouping_policy(sink: BaseSinkConfig, config: AlertingConfig) -> GroupingPolicy | None:
    """How alerts are grouped for a sink; an Alertmanager groups them itself."""
    if not sink.grouped:
        return None
    if isinstance(sink, AlertmanagerConfig):
        return GroupingPolicy(
            (ALL_LABELS,),
            group_wait=0.0,
            group_interval=0.0,
            repeat_interval=sink.resend_interval,
            resolve_after=config.resolve_after,
            flap_window=config.flap_window,
            resolved_for=RESOLVED_FOR_S,
        )
    return GroupingPolicy(
        config.group_by,
        group_wait=config.group_wait,
        group_interval=config.group_interval,
        repeat_interval=config.repeat_interval,
        resolve_after=config.resolve_after,
        flap_window=config.flap_window,
    )
