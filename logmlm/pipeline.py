"""The loop: lines to events to windows to scores to alerts, and only then the positions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from logmlm.alerting import Alerting
from logmlm.handover import hand_over
from logmlm.reader import EventReader
from logmlm.records import Checkpoint, Score, Window
from logmlm.sources.base import Source
from logmlm.windows import Windower

POLL_TIMEOUT_S = 0.5
COMMIT_EVERY_S = 5.0
ENOUGH_LINES = 100
"""With fewer lines, a few of another format say nothing about the rest."""


Judge = Callable[[Sequence[Window]], list[Score]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What one round of the loop did."""

    lines: int
    committed: bool


AfterTurn = Callable[[Turn], None]


class Pipeline:
    """The daemon's loop, over parts handed to it.

    Alerts are stored before the positions of their lines are committed, so a process that is
    killed anywhere loses nothing: what was not committed is read again. Positions are committed
    every `COMMIT_EVERY_S` seconds at most, and at a stop. Open windows are never saved.
    """

    def __init__(
        self,
        source: Source,
        reader: EventReader,
        windower: Windower,
        score: Judge,
        alerting: Alerting,
        clock: Callable[[], float],
    ) -> None:
        self._source = source
        self._reader = reader
        self._windower = windower
        self._score = score
        self._alerting = alerting
        self._clock = clock
        self._committed_at = self._active_at = clock()
        for partition, checkpoint in source.checkpoints().items():
            windower.resume(partition, checkpoint)

    def run(
        self,
        stopping: Callable[[], bool],
        stop_when_idle: float | None = None,
        after_turn: AfterTurn = lambda _: None,
    ) -> None:
        """Go on until `stopping`, the source is exhausted, or nothing came for `stop_when_idle` s.

        At a stop, open windows stay open, as they are made again from their lines; where lines
        can't be read again, and at the end of the input, or when it is idle, they are closed and
        scored. `after_turn` may exchange parts: no window is half dealt with when it is called.
        """
        while not stopping():
            after_turn(self.step())
            idle_for = self._clock() - self._active_at
            if self._source.exhausted or (
                stop_when_idle is not None and idle_for >= stop_when_idle
            ):
                self._finish()
                break
        else:
            if not self._source.replayable:
                self._finish()
        self._commit()

    def step(self) -> Turn:
        """Go round once, and say what was done."""
        lines = self._source.poll(POLL_TIMEOUT_S)
        now = self._clock()
        events = self._reader.add(lines) + self._reader.flush_due(now)
        self._handle(self._windower.add(events) + self._windower.close_due(now), now)
        if lines:
            self._active_at = self._clock()  # scoring took its time; more may have come meanwhile
        is_due = not 0 <= now - self._committed_at < COMMIT_EVERY_S
        if is_due:
            self._commit()
        return Turn(len(lines), is_due)

    def change_alerting(self, alerting: Alerting) -> None:
        """Go on with other receivers or rules; what waits for delivery is in the outbox."""
        self._alerting = alerting

    def change_model(self, reader: EventReader, windower: Windower, score: Judge) -> None:
        """Go on with another model, and no line lost: those in open windows are dealt with anew.

        The positions are committed so that a restart scores twice rather than not at all.
        """
        windows = hand_over(self._reader, self._windower, reader, windower)
        self._reader, self._windower, self._score = reader, windower, score
        self._handle(windows, self._clock())
        self._commit()

    def _finish(self) -> None:
        windows = self._windower.add(self._reader.flush()) + self._windower.close_all()
        self._handle(windows, self._clock())

    def _handle(self, windows: Sequence[Window], now: float) -> None:
        self._alerting.update(self._score(windows) if windows else [], now)
        self._alerting.deliver(self._clock())

    def _commit(self) -> None:
        at_hand = self._source.checkpoints()
        for partition in self._windower.partitions:
            if partition not in at_hand:
                self._windower.drop(partition)
        self._source.commit(safe_positions(self._windower, at_hand))
        self._committed_at = self._clock()
        self._reader.warn_of_misfits(ENOUGH_LINES)


def safe_positions(windower: Windower, at_hand: Iterable[str]) -> Mapping[str, Checkpoint]:
    """Where each partition at hand can be read again with no window missing a line."""
    found = ((partition, windower.checkpoint(partition)) for partition in at_hand)
    return {partition: checkpoint for partition, checkpoint in found if checkpoint is not None}
