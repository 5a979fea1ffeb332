"""Groups of alerts as JSON, for what is kept."""

from __future__ import annotations

import json
from typing import Any

from logmlm.alerting.alert_json import from_dict, plain
from logmlm.alerting.grouping import AggregatedAlert, AlertGroup


def dump_group(group: AlertGroup) -> str:
    """A group as one line of JSON."""
    values: dict[str, Any] = {
        name: getattr(group, name) for name in AlertGroup.__dataclass_fields__
    }
    values["incidents"] = {
        name: {**_fields(incident), "oddest": plain(incident.oddest)}
        for name, incident in group.incidents.items()
    }
    return json.dumps(values)


def load_group(text: str) -> AlertGroup:
    """Read what `dump_group` wrote."""
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
