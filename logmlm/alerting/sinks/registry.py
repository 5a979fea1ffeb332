"""The kinds of sink, by the key of the configuration that asks for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TextIO

from logmlm.alerting.sinks.alertmanager import AlertmanagerSink
from logmlm.alerting.sinks.base import Sink
from logmlm.alerting.sinks.file import FileSink
from logmlm.alerting.sinks.stdout import StdoutSink
from logmlm.alerting.sinks.webhook import WebhookSink
from logmlm.config.kafka import KafkaSinkConfig

Clock = Callable[[], float]
"""Returns UTC epoch seconds."""


def _kafka(config: KafkaSinkConfig) -> Sink:
    from logmlm.alerting.sinks.kafka import KafkaSink  # the one sink that needs kafka-python

    return KafkaSink(config)


SINKS: Mapping[str, Callable[[Any, Clock, TextIO], Sink]] = MappingProxyType(
    {
        "stdout": lambda config, _, out: StdoutSink(config, out),
        "file": lambda config, *_: FileSink(config),
        "webhook": lambda config, clock, _: WebhookSink(config, clock=clock),
        "alertmanager": lambda config, clock, _: AlertmanagerSink(config, clock=clock),
        "kafka": lambda config, *_: _kafka(config),
    }
)
"""Makes each kind of sink from its section, a clock, and standard output."""
