"""A warning about lines with wrong clocks, now and then."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf

from logmlm.detection.watermark import LOOKAHEAD_EVENTS, ClockOutliers, host_of
from logmlm.system.text import format_rfc3339

REPORT_EVERY_S = 3600.0
MAX_HOST_CHARS = 100

logger = logging.getLogger(__name__)


class ClockSkewReporter:
    """Warns of lines far ahead of the lines around them, or of now, once an hour at most.

    `monotonic` tells seconds that go on evenly; `origin` what a partition is called.
    """

    def __init__(self, monotonic: Callable[[], float], origin: Callable[[str], str]) -> None:
        self._monotonic = monotonic
        self._origin = origin
        self._reported = 0
        self._reported_at = -inf
        self._of: ClockOutliers | None = None

    def report(self, outliers: ClockOutliers) -> None:
        """Warn of what was found since the last warning, if it is time for one."""
        if outliers is not self._of:
            self._of, self._reported = outliers, 0
        more, now = outliers.count - self._reported, self._monotonic()
        if more and now >= self._reported_at + REPORT_EVERY_S:
            self._reported, self._reported_at = outliers.count, now
            warn_of_skew(outliers, more, self._origin)


def warn_of_skew(
    outliers: ClockOutliers, count: int, origin: Callable[[str], str] = lambda partition: partition
) -> None:
    """Log a warning that so many lines had wrong clocks, if any had."""
    event = outliers.last
    if not count or event is None:
        return
    host = host_of(event)
    logger.warning(
        "%d lines have a time far ahead of the lines around them, or of when they came, the last"
        " one %s, in %s%s; they are scored, but no window ends by their time, unless more than"
        " %d come in a row: set that clock right, or name the log's time zone",
        *(count, format_rfc3339(event.timestamp), origin(event.line.partition)),
        f" of host {host[:MAX_HOST_CHARS]!r}" if host else "",
        LOOKAHEAD_EVENTS,
    )
