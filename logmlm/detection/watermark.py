"""Watermark of a partition: the largest event time of its lines, without clock outliers.

A line far ahead of the lines before it is either the first one after a pause, or its clock is
wrong. The lines after it decide: after a pause they are as far ahead; beside a wrong clock they
continue from the watermark. The decision depends on the lines alone, not on when they were read, so
a replay and `score` of the same lines decide alike. See Akidau et al., "The Dataflow Model", VLDB
2015.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import inf
from operator import itemgetter

from logmlm.config.training import WindowConfig
from logmlm.records import Event

LOOKAHEAD_EVENTS = 16
"""Number of events after one far ahead that decide whether its clock is right."""
_TIME = itemgetter(Event._fields.index("timestamp"))


def tolerance_of(config: WindowConfig) -> float:
    """Return how far ahead of the watermark a line may be unchecked, in seconds.

    It is at least `gap`, so that no line is checked unless a session ends. For `count` windows,
    which ignore time, it is infinite.
    """
    if config.kind == "count":
        return inf
    gap = config.gap if config.kind == "session" else 0.0
    return max(config.clock_tolerance, gap + config.host_skew_s)


def host_of(event: Event) -> str:
    """Return the host name of an event; empty if it has none."""
    attributes = event.fields.attributes
    return attributes.get("host.name") or attributes.get("host", "")


def is_far_ahead(event: Event, watermark: float | None, tolerance: float) -> bool:
    """Return true if the event is more than `tolerance` seconds ahead of the watermark.

    The first event of a partition is compared with the time at which it was received.
    """
    known = event.line.received_at if watermark is None else watermark
    return event.timestamp > known + tolerance


def watermark_after(
    ahead: Sequence[Event], watermark: float | None, tolerance: float, *, is_last: bool
) -> float | None:
    """Return the watermark after `ahead[0]`, an event far ahead; None if more events are needed.

    `ahead` holds that event and up to `LOOKAHEAD_EVENTS` that follow. Its clock is wrong if one of
    them is neither late by more than `tolerance` seconds nor as far ahead. If no more events follow
    (`is_last`), it is also wrong if the line was received more than `tolerance` before its time,
    unless that holds for the lines before it too.
    """
    event = ahead[0]
    least = event.timestamp - tolerance
    if len(ahead) > LOOKAHEAD_EVENTS and min(map(_TIME, ahead)) >= least:
        return event.timestamp
    following = ahead[1:]
    lower = [other for other in map(_TIME, following) if other < least]
    if watermark is not None and any(other >= watermark - tolerance for other in lower):
        return watermark
    if len(following) < LOOKAHEAD_EVENTS and not is_last:
        return None
    if watermark is None:  # no watermark yet: the majority decides
        return lower[0] if 2 * len(lower) > len(following) else event.timestamp
    if len(following) < LOOKAHEAD_EVENTS:
        latest = event.line.received_at + tolerance
        if watermark <= latest < event.timestamp:
            return watermark
    return event.timestamp


class ClockOutliers:
    """Detector and counter of events with wrong clocks.

    Events with a time after their receipt are counted too, but may advance the watermark: the
    closing of windows must not depend on when lines were read.

    With `is_part`, only some of a partition's events are seen, and `Windower.advance_watermark`
    sets the watermark before each; an event still ahead of it does not advance it.
    """

    def __init__(self, config: WindowConfig, *, is_part: bool = False) -> None:
        self.tolerance = 0.0 if is_part else tolerance_of(config)
        self.count = 0
        self.last: Event | None = None
        """The latest event counted."""
        self._is_part = is_part

    def count_ahead_of_receipt(self, events: Sequence[Event]) -> None:
        """Count the events, given in reading order, whose time is after their receipt."""
        if not events or self._is_part:
            return
        latest = events[0].line.received_at + self.tolerance
        if max(map(_TIME, events)) > latest:
            for event in events:
                if self._is_ahead_of_receipt(event):
                    self.count, self.last = self.count + 1, event

    def _is_ahead_of_receipt(self, event: Event) -> bool:
        return event.timestamp > event.line.received_at + self.tolerance

    def watermark_after(
        self, ahead: Sequence[Event], watermark: float | None, *, is_last: bool
    ) -> float | None:
        """Return the watermark after `ahead[0]`, whether or not it is far ahead; count outliers."""
        event = ahead[0]
        if self._is_part and watermark is not None:
            return watermark
        if not is_far_ahead(event, watermark, self.tolerance):
            return event.timestamp
        found = watermark_after(ahead, watermark, self.tolerance, is_last=is_last)
        if found is not None and found < event.timestamp and not self._is_ahead_of_receipt(event):
            self.count, self.last = self.count + 1, event
        return found


def with_watermarks(
    events: Iterable[Event], watermark: float | None, tolerance: float, after: Iterable[Event] = ()
) -> Iterator[tuple[Event, float]]:
    """Yield each event with the watermark that a `Windower` assigns to it.

    `after` are the events that follow; they are read only where they are needed to decide.
    """
    source, following = iter(events), iter(after)
    own: deque[Event] = deque(islice(source, 1))
    later: list[Event] = []
    while own:
        event = own[0]
        if is_far_ahead(event, watermark, tolerance):
            own += islice(source, LOOKAHEAD_EVENTS + 1 - len(own))
            missing = LOOKAHEAD_EVENTS + 1 - len(own)
            later += islice(following, max(0, missing - len(later)))
            ahead = [*own, *later[: max(0, missing)]]
            watermark = watermark_after(ahead, watermark, tolerance, is_last=True)
        elif watermark is None or event.timestamp > watermark:
            watermark = event.timestamp
        assert watermark is not None  # noqa: S101  for the type checker: the last event tells
        yield event, watermark
        own.popleft()
        if not own:
            own += islice(source, 1)
