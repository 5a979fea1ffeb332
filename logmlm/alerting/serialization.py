"""Alerts and groups of alerts to JSON and back, as they are stored and exported.

An alert is stored without its score.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from logmlm.alerting.grouping import AggregatedAlert, AlertGroup
from logmlm.records import Alert


def plain(alert: Alert) -> dict[str, Any]:
    """Return an alert as plain data."""
    return {
        "id": alert.id,
        "fingerprint": alert.fingerprint,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
    }


def from_dict(values: Mapping[str, Any]) -> Alert:
    """Return the alert of which `plain` made these values."""
    return Alert(**values)


def dump_alert(alert: Alert) -> str:
    """Return an alert as one line of JSON."""
    return json.dumps(plain(alert))


def load_alert(text: str) -> Alert:
    """Return the alert that `dump_alert` wrote."""
    return from_dict(json.loads(text))


def dump_group(group: AlertGroup) -> str:
    """Return a group as one line of JSON."""
    values: dict[str, Any] = {
        name: getattr(group, name) for name in AlertGroup.__dataclass_fields__
    }
    values["incidents"] = {
        name: {**_fields(incident), "oddest": plain(incident.oddest)}
        for name, incident in group.incidents.items()
    }
    return json.dumps(values)


@lru_cache(maxsize=8)  # a delivery reads its group twice: to build and to record
def load_group(text: str) -> AlertGroup:
    """Return the group that `dump_group` wrote; calls with the same text may share it."""
    values = json.loads(text)
    values["incidents"] = {
        name: AggregatedAlert(
            **{
                **incident,
                "oddest": from_dict(incident["oddest"]),
                "examples": tuple(incident["examples"]),
            }
        )
        for name, incident in values["incidents"].items()
    }
    return AlertGroup(
        **{**values, "told": tuple(values["told"]), "untold": tuple(values["untold"])}
    )


def _fields(incident: AggregatedAlert) -> dict[str, Any]:
    return {name: getattr(incident, name) for name in AggregatedAlert.__dataclass_fields__}
