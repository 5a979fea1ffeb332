"""Why a receiver did not take a notification, in a few fixed words."""

from __future__ import annotations

import re
from typing import Literal

from logmlm.records import DeliveryResult

Reason = Literal["timeout", "unreachable", "throttled", "server_error", "client_error", "other"]
REASONS: tuple[Reason, ...] = (
    *("timeout", "unreachable", "throttled", "server_error", "client_error", "other"),
)


def failure_reason(delivery: DeliveryResult) -> Reason:
    """Which of the fixed reasons a delivery failed for; its own words may hold anything."""
    status = re.match(r"HTTP (\d)(\d\d)", delivery.reason)
    if status is not None:
        if status[0].endswith("429"):
            return "throttled"
        return {"5": "server_error", "4": "client_error"}.get(status[1], "other")  # type: ignore[return-value]  # the words are among those
    if "timeout" in delivery.reason.lower():
        return "timeout"
    return "unreachable" if delivery.outcome == "later" else "other"
