"""Prometheus counters of what others count by themselves."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter


class MirroredCounter:
    """Makes a counter with one label follow totals that someone else counts.

    Another owner's totals start anew, and are added to what was counted before.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._owner: object = None
        self._seen: dict[str, int] = {}

    def follow(self, owner: object, totals: Mapping[str, int]) -> None:
        """Count what came since the last call, by the label's values."""
        if owner is not self._owner:
            self._owner, self._seen = owner, {}
        for name, total in totals.items():
            self._counter.labels(name).inc(max(0, total - self._seen.get(name, 0)))
            self._seen[name] = total
