"""How alerts become notifications: the words and timers of Alertmanager.

https://prometheus.io/docs/alerting/latest/configuration/#route
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from logmlm.config.types import (
    DURATION_FORM,
    Duration,
    StrictModel,
    StringList,
    parse_duration,
)

NonNegativeDuration = Annotated[float, BeforeValidator(parse_duration), DURATION_FORM, Field(ge=0)]
"""A duration that may be nothing."""
DEFAULT_GROUP_BY = ("alertname", "service", "host", "source", "model")


class AlertingConfig(StrictModel):
    """Groups of alerts, for the sinks that are `grouped`.

    By default all are but `stdout` and `file`, which keep a record of each alert.
    """

    group_by: StringList = DEFAULT_GROUP_BY
    """Alerts with the same values of these labels are one group; `...` takes all labels."""
    group_wait: NonNegativeDuration = 30.0
    """How long the first alert of a group waits for others."""
    group_interval: NonNegativeDuration = 300.0
    """The least time between two notifications of a group."""
    repeat_interval: Duration = 4 * 3600.0
    """When a group that still fires is sent again, though nothing in it is new."""
    resolve_after: Duration = 300.0
    """A group without a new anomaly for so long is resolved."""
    flap_window: Duration = 3600.0
    """A group that fires again so soon after it was resolved flaps: each time doubles its
    `resolve_after`, up to this time."""
