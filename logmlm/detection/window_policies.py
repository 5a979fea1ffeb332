"""When windows begin and end: the rules that a `Windower` goes by, for each kind."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf, nextafter, ulp
from operator import attrgetter
from zlib import crc32

from logmlm.config.training import WindowConfig
from logmlm.records import ClosedBy, Event


class Rule:
    """When runs begin and end, in times of the watermark; for `count`, by length alone."""

    ended: ClosedBy = "length"
    complete_at_end = False
    keyed = False
    """Whether the lines of a window have one key, which is then the window's."""
    outlives_length = False
    """Whether a run goes on after a cut by length, so that its start still matters."""
    detects_cuts = False
    """Whether windows tell if their beginning was seen, so that a replay must know of cuts."""
    quiet = inf
    """For how long nothing may come before time alone ends what is open."""
    pause = inf
    """A run ends with a pause of more than this between lines of one host, by its own clock."""
    group: Callable[[Event], Hashable]
    """Says of lines whether they belong together, if nothing ends their run."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.group = lambda _: None

    def shard_key(self, event: Event, index: int) -> tuple[str, float]:  # noqa: ARG002  see `group`
        """What can't be parted: windows of different units depend on one another by time alone.

        It holds the key by which windows group; `index` counts the events of the partition from 0.
        """
        return "", index // self._size

    def is_closed(self, last: float, watermark: float) -> bool:
        """Whether a run whose newest line counted at `last` is over; monotone in `last`."""
        return self.clock(watermark) > self.closes_at(last)

    def clock(self, watermark: float) -> float:
        """Event time in the unit in which runs are `closes_at`; monotone."""
        return watermark

    def closes_at(self, last: float) -> float:  # noqa: ARG002  no time counts
        """What `clock` passes when a run is over whose newest line counted at `last`; monotone."""
        return inf

    def lasts_until(self, last: float) -> float:  # noqa: ARG002  no time counts
        """A watermark at which neither such a run nor one with a newer line is over."""
        return inf

    def phase(self, group: Hashable) -> float:  # noqa: ARG002  no time counts
        """When after each multiple of the rule's age, in seconds, a group's runs are cut."""
        return 0.0

    def is_cut(self, last: float, watermark: float, phase: float) -> bool:  # noqa: ARG002  as above
        """Whether the next line of a run of that `phase`, at `watermark`, starts a new run."""
        return False

    def whole_until(self, last: float, phase: float) -> float:  # noqa: ARG002  no time counts
        """A watermark before which no line cuts such a run, nor one with a newer line."""
        return inf


class _SessionPolicy(Rule):
    ended = "idle"
    complete_at_end = True
    keyed = True
    outlives_length = True
    detects_cuts = True

    def __init__(self, gap: float, max_age: float, host_skew: float) -> None:
        """`host_skew` is how much the clocks of hosts may differ: the first one's moves time on."""
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
        """Number the stretch of `max_age` seconds that a time lies in."""
        return (time - phase) // self._max_age


class _Spans(Rule):
    ended = "span"
    outlives_length = True

    def __init__(self, span: float, keyed: bool, host_skew: float) -> None:
        """A span ends when all hosts' clocks have passed it, which may differ by `host_skew`."""
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
    """A time just before `count` times `unit`: the product may be rounded up, past the multiple."""
    return nextafter(count * unit, -inf)


def rule_of(config: WindowConfig) -> Rule:
    """The rule of a kind of window."""
    if config.kind == "session":
        return _SessionPolicy(config.gap, config.max_age, config.host_skew_s)
    if config.kind == "time":
        return _Spans(config.span, config.key is not None, config.host_skew_s)
    return Rule(config.size)
