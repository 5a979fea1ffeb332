"""Window policies: when the windows of each kind begin and end; used by `Windower`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf, nextafter, ulp
from operator import attrgetter
from zlib import crc32

from logmlm.config.training import WindowConfig
from logmlm.records import ClosedBy, Event


class Rule:
    """Policy of one kind of window, in watermark time; this base is `count`, by length alone.

    A run is a sequence of lines of one group that no pause and no cut by age interrupts.
    """

    ended: ClosedBy = "length"
    complete_at_end = False
    keyed = False
    """Whether all lines of a window have the same key."""
    outlives_length = False
    """Whether a run continues after a cut by length, so that its start still matters."""
    detects_cuts = False
    """Whether windows record if their beginning was seen; a replay must then know of cuts."""
    quiet = inf
    """Seconds without lines after which open windows are due."""
    pause = inf
    """A run ends at a pause of more seconds than this between lines of one host, by its clock."""
    group: Callable[[Event], Hashable]
    """Grouping key: lines with equal values belong to one run, until it ends."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.group = lambda _: None

    def shard_key(self, event: Event, index: int) -> tuple[str, float]:  # noqa: ARG002  see `group`
        """Return the unit of sharding: windows of different units share nothing but the watermark.

        It contains the key by which windows group; `index` counts the partition's events from 0.
        """
        return "", index // self._size

    def is_closed(self, last: float, watermark: float) -> bool:
        """Return true if a run with its newest line at `last` is over; monotone in `last`."""
        return self.clock(watermark) > self.closes_at(last)

    def clock(self, watermark: float) -> float:
        """Convert a watermark to the unit of `closes_at`; monotone."""
        return watermark

    def closes_at(self, last: float) -> float:  # noqa: ARG002  no time counts
        """Return the `clock` value beyond which a run with its newest line at `last` is over.

        It is monotone in `last`.
        """
        return inf

    def lasts_until(self, last: float) -> float:  # noqa: ARG002  no time counts
        """Return a watermark at which no run with its newest line at `last` or later is over."""
        return inf

    def phase(self, group: Hashable) -> float:  # noqa: ARG002  no time counts
        """Return the offset, in seconds, of a group's cuts by age from multiples of that age."""
        return 0.0

    def is_cut(self, last: float, watermark: float, phase: float) -> bool:  # noqa: ARG002  as above
        """Return true if a cut by age lies between `last` and `watermark`, for runs of `phase`."""
        return False

    def whole_until(self, last: float, phase: float) -> float:  # noqa: ARG002  no time counts
        """Return a watermark before which no run with a line at `last` or later is cut by age."""
        return inf


class _SessionPolicy(Rule):
    ended = "idle"
    complete_at_end = True
    keyed = True
    outlives_length = True
    detects_cuts = True

    def __init__(self, gap: float, max_age: float, host_skew: float) -> None:
        """Take times in seconds; clocks of hosts may differ by `host_skew`.

        The host whose clock is ahead advances the watermark, so runs stay open that much longer.
        """
        self.quiet = gap + host_skew
        self.pause = gap if host_skew else inf
        self._max_age = max_age
        self.group = attrgetter("key")

    def shard_key(self, event: Event, index: int) -> tuple[str, float]:  # noqa: ARG002  only `count` counts
        return event.key, 0.0

    def closes_at(self, last: float) -> float:
        return last + self.quiet

    def lasts_until(self, last: float) -> float:
        return last + self.quiet

    def phase(self, group: Hashable) -> float:
        # A checksum is the same in each process and on each machine; `hash` is not.
        return crc32(str(group).encode("utf-8", "backslashreplace")) / 2**32 * self._max_age

    def is_cut(self, last: float, watermark: float, phase: float) -> bool:
        return self._age(watermark, phase) > self._age(last, phase)

    def whole_until(self, last: float, phase: float) -> float:
        end = (self._age(last, phase) + 1) * self._max_age + phase
        # Product, sum and `_age` are each rounded by half a unit in the last place at most.
        return end - 4 * ulp(abs(end) + self._max_age)

    def _age(self, time: float, phase: float) -> float:
        """Return the index of the interval of `max_age` seconds that contains `time`."""
        return (time - phase) // self._max_age


class _Spans(Rule):
    ended = "span"
    outlives_length = True

    def __init__(self, span: float, keyed: bool, host_skew: float) -> None:
        """Take times in seconds; a span stays open for `host_skew` more, for hosts that lag."""
        self.quiet = span + host_skew
        self._span = span
        self._skew = host_skew
        self.keyed = keyed
        self.group = lambda event: self.shard_key(event, 0)

    def shard_key(self, event: Event, index: int) -> tuple[str, float]:  # noqa: ARG002  only `count` counts
        return event.key if self.keyed else "", event.timestamp // self._span

    def clock(self, watermark: float) -> float:
        return (watermark - self._skew) // self._span

    def closes_at(self, last: float) -> float:
        return last // self._span

    def lasts_until(self, last: float) -> float:
        # `clock` rounds too, by half a unit in the last place.
        end = _before_multiple(last // self._span + 1, self._span) + self._skew
        return end - 2 * ulp(end) if self._skew else end


def _before_multiple(count: float, unit: float) -> float:
    """Return a time just before `count` times `unit`; the product itself may be rounded up."""
    return nextafter(count * unit, -inf)


def rule_of(config: WindowConfig) -> Rule:
    """Return the policy of the configured kind of window."""
    if config.kind == "session":
        return _SessionPolicy(config.gap, config.max_age, config.host_skew_s)
    if config.kind == "time":
        return _Spans(config.span, config.key is not None, config.host_skew_s)
    return Rule(config.size)
