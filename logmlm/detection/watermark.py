"""The watermark of a partition: how far its event time has come, judged by its own lines.

A line that is far ahead of the lines before it is either the first one after a pause, or its clock
is wrong. The lines after it tell: after a pause they are as late as it is, beside a wrong clock
they go on from where time was. So the decision depends on lines alone, not on when they were
read, and a replay and `score` of the same lines come to the same one.
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
"""So many events after one that is far ahead have to bear it out."""
_TIME = itemgetter(Event._fields.index("timestamp"))


def tolerance_of(config: WindowConfig) -> float:
    """How far ahead of the others a line may be without question, in seconds.

    It is no less than `gap`, so that lines need no second look as long as no session ends. In
    `count` no time counts, and any distance is good.
    """
    if config.kind == "count":
        return inf
    gap = config.gap if config.kind == "session" else 0.0
    return max(config.clock_tolerance, gap + config.host_skew_s)


def host_of(event: Event) -> str:
    """The host that an event names; empty if it names none."""
    attributes = event.fields.attributes
    return attributes.get("host.name") or attributes.get("host", "")


def is_far_ahead(event: Event, watermark: float | None, tolerance: float) -> bool:
    """Whether an event is so far ahead that the events after it must tell if its clock is right.

    A partition's first event can only be compared with the time at which it was received.
    """
    known = event.line.received_at if watermark is None else watermark
    return event.timestamp > known + tolerance


def watermark_after(
    ahead: Sequence[Event], watermark: float | None, tolerance: float, *, is_last: bool
) -> float | None:
    """The watermark with the first of `ahead`, a doubtful event; None if more events must tell.

    `ahead` holds it and the `LOOKAHEAD_EVENTS` events that follow, or as many as there are by now.
    Its clock is wrong if one of them is neither late, by more than `tolerance`, nor as far ahead.
    Where no more follow (`is_last`), it is also wrong if the line was received more than
    `tolerance` earlier, unless that was so of the lines before it too.
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
    if watermark is None:  # of the first events, most are right
        return lower[0] if 2 * len(lower) > len(following) else event.timestamp
    if len(following) < LOOKAHEAD_EVENTS:
        latest = event.line.received_at + tolerance
        if watermark <= latest < event.timestamp:
            return watermark
    return event.timestamp


class ClockOutliers:
    """Tells events whose clocks are wrong, and counts them.

    Events from after they were received are counted too, though they may move the watermark: what
    closes windows does not depend on when lines were read.

    With `is_part`, a part of a partition's events is known, and others said already how far each of
    them moves the watermark; what is still ahead of it is wrong.
    """

    def __init__(self, config: WindowConfig, *, is_part: bool = False) -> None:
        self.tolerance = 0.0 if is_part else tolerance_of(config)
        self.count = 0
        self.last: Event | None = None
        """The last one that was found."""
        self._is_part = is_part

    def count_ahead_of_receipt(self, events: Sequence[Event]) -> None:
        """Count those of events, in the order of reading, that are later than their receipt."""
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
        """The same for an event that need not be doubtful."""
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
    """Each event with the watermark at which it counts, as a `Windower` would count it.

    `after` are the events that follow them; they are asked for only where they have to tell.
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
