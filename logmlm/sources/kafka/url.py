"""What of Kafka a command reads: `kafka://HOST:PORT[,HOST:PORT…]/TOPIC[?since=…][&until=…]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from logmlm.errors import UsageError

SCHEME = "kafka://"
_TIMES = ("since", "until")


@dataclass(frozen=True, slots=True)
class KafkaUrl:
    """A topic, from a time (the beginning) to a time (its end as it is when reading starts).

    Times are UTC epoch seconds; the last one is not part of it. Without `servers`, those of
    a configuration are asked.
    """

    servers: tuple[str, ...]
    topic: str
    since: float | None
    until: float | None

    @classmethod
    def parse(cls, text: str, now: float) -> KafkaUrl:
        """Read an address; times are RFC 3339, or an age such as `-24h`.

        Raises:
            UsageError: it is none; the text holds nothing that might be a secret.

        """
        place, _, query = text.removeprefix(SCHEME).partition("?")
        servers, _, topic = place.partition("/")
        if "@" in servers:
            raise UsageError(
                "a Kafka address holds no user and no password; put 'sasl' into --kafka-config FILE"
            )
        if not topic or "/" in topic:
            raise UsageError(f"'{SCHEME}{place}' should be {SCHEME}HOST:PORT/TOPIC")
        times = _times(query, now)
        since, until = times.get("since"), times.get("until")
        if None not in (since, until) and not since < until:  # type: ignore[operator]  # neither is None
            raise UsageError(f"'{query}': 'since' should lie before 'until'")
        return cls(tuple(filter(None, servers.split(","))), unquote(topic), since, until)

    def section(self) -> Mapping[str, Any]:
        """The keys of the section `source.kafka` that an address stands for."""
        return {"topics": self.topic, "pattern": None, "auto_offset_reset": "earliest"} | (
            {"bootstrap_servers": self.servers} if self.servers else {}
        )


def _times(query: str, now: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _TIMES or name in found:
            raise UsageError(f"'{name}' of a Kafka address: give 'since' and 'until', each once")
        found[name] = _time(unquote(value), now)
    return found


def _time(text: str, now: float) -> float:
    """UTC epoch seconds, not before 1970."""
    from logmlm.config.types import parse_duration  # pydantic is not for --help

    try:
        if text.startswith("-"):
            seconds = now - float(parse_duration(text[1:]))  # type: ignore[arg-type]  # of a str it makes a float
        else:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise ValueError("no offset")
            seconds = moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"'{text}' is no time; write it like 2026-11-21T10:00:00Z, or as an age like -24h"
        ) from error
    return max(0.0, seconds)
