"""When each window comes in its partition, told by its own lines alone.

A `Windower` returns windows in an order that surges hang on. A part of the lines knows neither
which line of the others closes its windows, nor what else closes then. But what is over is over in
the order in which it was due, and what is cut at a line comes after all that was due before that
line's time. So windows found apart, sorted by their turns, are in the order of one `Windower`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from logmlm.config.training import WindowConfig
from logmlm.detection.window_policies import rule_of
from logmlm.records import Event, Window


class WindowOrder(NamedTuple):
    """A window's place among those of its partition: they sort as a `Windower` returns them.

    `clock` is what event time passed or reached (`Rule.clock`) when the window was closed: it was
    over (`is_over`) once it was passed, or cut by a line when it was reached. `position` is that of
    the window's first line, or of the line that cut it.
    """

    clock: float
    is_over: bool
    position: int


class WindowOrderTracker:
    """Tells the turns of one partition's windows, of which a part of the lines is known.

    Its lines are counted with the watermark as it stood with each; those of open windows are held.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._rule = rule_of(config)
        self._counted: dict[int, float] = {}
        """The watermark at which each line counts that is in no closed window, by position."""

    def count(self, event: Event, watermark: float) -> None:
        """Count the next line, before what it cuts."""
        self._counted[event.line.start] = watermark

    def cut(self, windows: Iterable[Window], event: Event) -> Iterator[tuple[WindowOrder, Window]]:
        """Windows that the line which was counted last, of `event`, closed by being added."""
        position = event.line.start
        for window in windows:
            turn = WindowOrder(self._rule.clock(self._counted[position]), False, position)
            self._forget(window)
            yield turn, window

    def flush(self, windows: Iterable[Window]) -> Iterator[tuple[WindowOrder, Window]]:
        """Windows that were closed as event time had passed, or the input had ended."""
        for window in windows:
            yield (
                WindowOrder(
                    self._rule.closes_at(self._forget(window)), True, window.first_position
                ),
                window,
            )

    def _forget(self, window: Window) -> float:
        """The watermark at which the window's newest line counted."""
        return [self._counted.pop(event.line.start) for event in window.events][-1]
