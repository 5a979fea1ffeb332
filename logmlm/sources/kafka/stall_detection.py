"""Notices a consumer that has stopped without a word."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from kafka import TopicPartition

IDLE_POLLS = 2
"""Polls that must have come back empty: the consumer had nothing left to hand over."""


class StallDetector:
    """Looks at positions every `timeout` seconds, if nothing came meanwhile.

    A consumer has stalled if a partition's position is where it was at the last look though
    records lay behind it even then. Records that just came prove nothing.
    """

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self._timeout = timeout
        self._clock = clock
        self._before: Mapping[TopicPartition, tuple[int, int]] = {}
        self.rest()

    def rest(self) -> None:
        """Begin anew: records came, or none could."""
        self._looked_at = self._clock()
        self._before = {}
        self._idle = 0

    def is_due(self) -> bool:
        """Say whether to look, after another poll that gave nothing."""
        self._idle += 1
        waited = self._clock() - self._looked_at
        if waited < 0:  # the clock was set back
            self.rest()
        return waited >= self._timeout and self._idle >= IDLE_POLLS

    def stalled(self, offsets: Mapping[TopicPartition, tuple[int, int]]) -> list[TopicPartition]:
        """Partitions that have stalled, of all by position and end."""
        before, self._before = self._before, dict(offsets)
        self._looked_at, self._idle = self._clock(), 0
        return [
            name
            for name, (position, _) in offsets.items()
            if name in before and before[name][0] == position < before[name][1]
        ]


class PeriodicTimer:
    """Says when something is due: at first, and then every so many seconds."""

    def __init__(self, every_s: float, clock: Callable[[], float]) -> None:
        self._every_s = every_s
        self._clock = clock
        self._at = -math.inf

    def is_due(self) -> bool:
        """Say so, once for each time."""
        now = self._clock()
        is_due = not 0 <= now - self._at < self._every_s  # below 0: the clock was set back
        if is_due:
            self._at = now
        return is_due


class UnassignedTimer:
    """Notices a member that has been without its share of the partitions for `limit` seconds."""

    def __init__(self, limit: float, clock: Callable[[], float]) -> None:
        self.limit = limit
        self._clock = clock
        self._since: float | None = None

    def is_too_long(self, is_settled: bool) -> bool:
        """Say so, once for each time that it lasts so long."""
        now = self._clock()
        if is_settled or self._since is None or now < self._since:  # the last: it was set back
            self._since = None if is_settled else now
        elif now - self._since >= self.limit:
            self._since = None
            return True
        return False
