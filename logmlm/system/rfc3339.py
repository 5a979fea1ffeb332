"""Times as text, RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime

_LAST_SECOND = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


def format_rfc3339(seconds: float) -> str:
    """UTC epoch seconds as RFC 3339; years outside 1970 to 9999 are brought to the nearest."""
    time = datetime.fromtimestamp(min(max(seconds, 0.0), _LAST_SECOND), tz=UTC)
    return time.isoformat().replace("+00:00", "Z")
