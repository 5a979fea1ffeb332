"""Groups of alerts as JSON, for what is kept."""

from __future__ import annotations

import json
from typing import Any

from logmlm.alerting.alert_json import from_plain, plain
from logmlm.alerting.grouping import Group, Incident


def dump_group(group: Group) -> str:
    """A group as one line of JSON."""
    values: dict[str, Any] = {name: getattr(group, name) for name in Group.__dataclass_fields__}
    values["incidents"] = {
        name: {**_fields(incident), "oddest": plain(incident.oddest)}
        for name, incident in group.incidents.items()
    }
    return json.dumps(values)


def load_group(text: str) -> Group:
    """Read what `dump_group` wrote."""
    values = json.loads(text)
    values["incidents"] = {
        name: Incident(
            **{
                **incident,
                "oddest": from_plain(incident["oddest"]),
                "examples": tuple(incident["examples"]),
            }
        )
        for name, incident in values["incidents"].items()
    }
    return Group(**{**values, "told": tuple(values["told"]), "untold": tuple(values["untold"])})


def _fields(incident: Incident) -> dict[str, Any]:
    return {name: getattr(incident, name) for name in Incident.__dataclass_fields__}
