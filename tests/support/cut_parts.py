"""A service's log of sessions that last for minutes, so that some are open at any moment."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

BEGIN = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
KEY = r"(req-\d+)"
SHORTEST_S, LONGEST_S = 60.0, 600.0
WORK = (
    ("query orders", "rows {n} read"),
    ("query stock", "rows {n} read"),
    ("cache miss for item {n}", "item {n} loaded", "item {n} cached"),
    ("upload of {n} bytes begins", "upload stored as {n}"),
)


@dataclass(frozen=True)
class Log:
    """Lines with their times, and the keys of odd sessions."""

    lines: list[tuple[float, str]]
    odd: set[str] = field(default_factory=set)

    def write(self, path: Path, begin: float = 0.0, end: float = float("inf")) -> Path:
        """Write the lines from `begin` to `end`."""
        with path.open("w", encoding="utf-8") as file:
            for time, text in self.lines:
                if begin <= time < end:
                    file.write(f"{stamp(time)} INFO {text}\n")
        return path


def stamp(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def service_log(
    hours: float, sessions: int, seed: int, odd_share: float = 0.0, begin: float = BEGIN
) -> Log:
    """So many sessions that begin at any time of so many hours; some are odd."""
    luck = random.Random(seed)  # noqa: S311  no secret
    lines, odd = [], set()
    for number in range(sessions):
        key = f"req-{seed}{number:06d}"
        texts = _session(luck)
        if luck.random() < odd_share:
            odd.add(key)
            texts = _made_odd(texts, luck)
        start = begin + luck.uniform(0, hours * 3600)
        length = luck.uniform(SHORTEST_S, LONGEST_S)
        # Pauses between steps, none longer than the gap of 180 s that the windows have.
        weights = [luck.expovariate(1) + 0.2 for _ in texts[1:]]
        scale = length / sum(weights)
        time = start
        for text, pause in zip(texts, [0.0, *weights], strict=True):
            time += min(pause * scale, 170.0)
            lines.append((time, f"{key} {text.format(n=luck.randrange(10_000))}"))
    lines.sort()
    return Log(lines, odd)


def _session(luck: random.Random) -> list[str]:
    steps = ["opened from 10.0.0.{n}", "user {n} authenticated", "profile loaded"]
    for _ in range(luck.randint(2, 5)):
        steps += luck.choices(WORK, (6, 4, 3, 1))[0]
    if luck.random() < 0.3:
        steps.append("token refreshed")
        steps += luck.choices(WORK, (6, 4, 3, 1))[0]
    return [*steps, "logout", "closed after {n} ms"]


def _made_odd(texts: list[str], luck: random.Random) -> list[str]:
    """An error that training never saw, an order that it never saw, or steps that are not there."""
    kind = luck.randrange(3)
    place = luck.randrange(3, len(texts) - 2)
    if kind == 0:
        return [*texts[:place], "user {n} authenticated", *texts[place:]]
    if kind == 1:
        return [text for text in texts if "read" not in text and "loaded" not in text]
    return [*texts[:place], "closed after {n} ms", "profile loaded", *texts[place:]]
