"""What the daemon is told: where lines come from, where alerts go, where it keeps its state.

How lines are read and scored stands in the model directory, never here, so that training and
serving cannot differ.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from logmlm.config.alerting import AlertingConfig
from logmlm.config.server import LogConfig, ServerConfig
from logmlm.config.sinks import SinkConfig, StdoutConfig
from logmlm.config.sources import SourceConfig
from logmlm.config.training import RedactionConfig
from logmlm.config.types import NonEmptyPath, StrictModel

RESERVED_LABELS = frozenset({"alertname", "severity", "source", "model"})


class RunModelConfig(StrictModel):
    """The model directory, and the device that scores (`auto` takes a GPU if there is one).

    With `exact` every window is scored exactly; else those that one look
    does not clear. `alerts_per_day` or `false_alarm_rate` goes before what was trained for; then
    every window is scored exactly too.
    """

    path: NonEmptyPath
    device: Annotated[str, Field(min_length=1)] = "auto"
    exact: bool = False
    alerts_per_day: Annotated[float, Field(gt=0)] | None = None
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> RunModelConfig:
        if self.alerts_per_day is not None and self.false_alarm_rate is not None:
            raise ValueError("give alerts_per_day or false_alarm_rate, not both")
        return self


class RunConfig(StrictModel):
    """What `logmlm run` is told.

    `state_dir` None means systemd's state directory, or the user's. `labels` are put on every
    alert; they should be few and of few values, like `service` and `host`.
    """

    model: RunModelConfig
    source: SourceConfig
    sinks: Annotated[tuple[SinkConfig, ...], Field(min_length=1)] = (
        SinkConfig(stdout=StdoutConfig()),
    )
    state_dir: NonEmptyPath | None = None
    labels: Annotated[dict[str, str], Field(max_length=16)] = Field(default_factory=dict)
    alerting: AlertingConfig = Field(default_factory=AlertingConfig)
    redact: RedactionConfig = RedactionConfig()
    http: ServerConfig = ServerConfig()
    log: LogConfig = LogConfig()

    @field_validator("labels")
    @classmethod
    def _labels_have_names(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
                raise ValueError(f"'{name}' is no label's name; use letters, digits and _")
            if name in RESERVED_LABELS:
                raise ValueError(f"label '{name}' is set by logmlm itself")
        return labels

    @field_validator("sinks")
    @classmethod
    def _names_differ(cls, sinks: tuple[SinkConfig, ...]) -> tuple[SinkConfig, ...]:
        name, count = Counter(sink.name for sink in sinks).most_common(1)[0]
        if count > 1:
            raise ValueError(f"{count} sinks are named '{name}'; give each a 'name' of its own")
        return sinks
