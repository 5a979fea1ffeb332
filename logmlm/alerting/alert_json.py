"""An alert as JSON, as it is kept and exported: all but its score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from logmlm.records import Alert


def plain(alert: Alert) -> dict[str, Any]:
    """An alert as plain data."""
    return {
        "id": alert.id,
        "fingerprint": alert.fingerprint,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
    }


def from_dict(values: Mapping[str, Any]) -> Alert:
    """Make the alert again of what `plain` made of it."""
    return Alert(**values)


def dump_alert(alert: Alert) -> str:
    """An alert as one line of JSON."""
    return json.dumps(plain(alert))


def load_alert(text: str) -> Alert:
    """Read what `dump_alert` wrote."""
    return from_dict(json.loads(text))
