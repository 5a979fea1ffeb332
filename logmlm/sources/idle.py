"""Time for which a partition is known to have had nothing more to read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass

MAX_STEP_S = 1.0
"""The time between two looks counts as so much at most. After a longer pause (a stopped process,
a suspended or overloaded machine, a slow scorer) whoever writes may have stood still as well."""


@dataclass(slots=True)
class _Span:
    state: Hashable
    looked_at: float
    seconds: float


class IdleTimes:
    """Counts, for each partition, the seconds in which its source saw that nothing waits.

    A source calls `confirm` at each look that finds a partition read to its end, and `forget`
    where it found more, or could not look. The time between two looks counts only if both found
    the same state, and as `MAX_STEP_S` at most. `monotonic` tells seconds that no one can set.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.now = monotonic
        self._spans: dict[str, _Span] = {}

    def confirm(
        self, partition: str, state: Hashable, looked_at: float | None = None, grace: float = 0.0
    ) -> None:
        """Take it that nothing waited in a partition when it was looked at (None: now).

        `state` changes with everything that comes (a position, a size). Where the count starts, it
        starts `grace` seconds below 0.
        """
        looked_at = self.now() if looked_at is None else looked_at
        span = self._spans.get(partition)
        if span is None or span.state != state:
            self._spans[partition] = _Span(state, looked_at, -grace)
            return
        span.seconds += min(max(0.0, looked_at - span.looked_at), MAX_STEP_S)
        span.looked_at = looked_at

    def forget(self, partitions: Iterable[str]) -> None:
        """Start again with partitions: something came, or may have come unseen."""
        for partition in partitions:
            self._spans.pop(partition, None)

    def forget_all(self) -> None:
        """Start again with every partition: no look was possible."""
        self._spans.clear()

    def of(self, partitions: Collection[str]) -> Mapping[str, float]:
        """Return the seconds counted so far of those of the partitions that are idle."""
        spans = self._spans
        return {name: spans[name].seconds for name in partitions if name in spans}
