"""When windows begin and end: the rules that a `Windower` goes by, for each kind."""

from __future__ import annotations

from math import inf

from logmlm.config import WindowConfig
from logmlm.records import ClosedBy, Event

Group = tuple[str, float]
"""A window's key, and what tells apart windows of one key."""


class Rule:
    """When runs begin and end, in times of the watermark; for `count`, by length alone."""

    ended: ClosedBy = "length"
    complete_at_end = False
    outlives_length = False
    """Whether a run goes on after a cut by length, so that its start still matters."""
    quiet = inf

    def __init__(self, size: int) -> None:
        self._size = size

    def group(self, event: Event) -> Group:  # noqa: ARG002  lines of all keys count
        """Lines that belong together if nothing ends their run."""
        return "", 0.0

    def unit(self, event: Event, index: int) -> tuple[str, float]:  # noqa: ARG002  see `group`
        """What can't be parted: windows of different units depend on one another by time alone.

        `index` counts the events of the partition from 0.
        """
        return "", index // self._size

    def is_over(self, last: float, watermark: float) -> bool:  # noqa: ARG002  no time counts
        """Whether a run whose newest line counted at `last` is over; monotone in `last`."""
        return False

    def lasts_until(self, last: float) -> float:  # noqa: ARG002  no time counts
        """A watermark at which neither such a run nor one with a newer line is over."""
        return inf

    def is_cut(self, last: float, watermark: float) -> bool:  # noqa: ARG002  no time counts
        """Whether the run's next line, counting at `watermark`, starts a new run."""
        return False


class _Timed(Rule):
    """Rules whose windows end by time, in each group by itself."""

    def unit(self, event: Event, index: int) -> tuple[str, float]:  # noqa: ARG002  only `count` counts
        return self.group(event)


class _Sessions(_Timed):
    ended = "idle"
    complete_at_end = True
    outlives_length = True

    def __init__(self, gap: float, max_age: float) -> None:
        self.quiet = gap
        self._max_age = max_age

    def group(self, event: Event) -> Group:
        return event.key, 0.0

    def is_over(self, last: float, watermark: float) -> bool:
        return watermark > last + self.quiet

    def lasts_until(self, last: float) -> float:
        return last + self.quiet

    def is_cut(self, last: float, watermark: float) -> bool:
        return watermark // self._max_age > last // self._max_age


class _Spans(_Timed):
    ended = "span"
    outlives_length = True

    def __init__(self, span: float, keyed: bool) -> None:
        self.quiet = span
        self._keyed = keyed

    def group(self, event: Event) -> Group:
        return event.key if self._keyed else "", event.timestamp // self.quiet

    def is_over(self, last: float, watermark: float) -> bool:
        return watermark // self.quiet > last // self.quiet

    def lasts_until(self, last: float) -> float:
        return last  # and to the end of its span, but for rounding


def rule_of(config: WindowConfig) -> Rule:
    """The rule of a kind of window."""
    if config.kind == "session":
        return _Sessions(config.gap, config.max_age)
    return (
        _Spans(config.span, config.key is not None) if config.kind == "time" else Rule(config.size)
    )
