"""Build the receivers of a configuration: each is a sink, and how its alerts are grouped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from logmlm.alerting.delivery import Receiver
from logmlm.alerting.grouping import ALL_LABELS, GroupingPolicy
from logmlm.alerting.sinks.alertmanager import RESOLVED_FOR_S
from logmlm.alerting.sinks.registry import SINKS, Clock
from logmlm.config.alerting import AlertingConfig
from logmlm.config.run import RunConfig
from logmlm.config.sinks import AlertmanagerConfig
from logmlm.config.types import BaseSinkConfig
from logmlm.errors import StorageError
from logmlm.records import DeliveryResult, Notification

SendNotification = Callable[[Notification], DeliveryResult]


def build_receivers(config: RunConfig, out: TextIO, clock: Clock) -> list[Receiver]:
    """Build every sink of the configuration; `out` is standard output.

    Raises:
        ConfigError: a file or certificate of a sink can't be used.

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
    """Make a closed standard output a later try, so that it does not stop the other receivers."""

    def sent(notification: Notification) -> DeliveryResult:
        try:
            return send(notification)
        except StorageError as error:
            return DeliveryResult("later", str(error))

    return sent


def grouping_policy(sink: BaseSinkConfig, config: AlertingConfig) -> GroupingPolicy | None:
    """Return how alerts are grouped for a sink (None: not at all).

    An Alertmanager groups alerts itself, so each label set is sent to it as a group.
    """
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
