"""The loop: lines to events to windows to scores to alerts, and only then the positions."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from logmlm.alerting.dispatcher import AlertDispatcher
from logmlm.daemon.commit_tracker import CommitTracker
from logmlm.daemon.model_swap import swap_model
from logmlm.detection.surges import SurgeMonitor
from logmlm.detection.watermark import ClockOutliers
from logmlm.detection.windows import Windower
from logmlm.parsing.event_parser import EventParser
from logmlm.records import Alert, Checkpoint, Window, line_count
from logmlm.sources.base import Handover, PartitionChanges, Source

POLL_TIMEOUT_S = 0.5
CHECK_PARTITIONS_EVERY_S = 0.5
"""How often the source is asked what is idle."""
COMMIT_EVERY_S = 5.0
ENOUGH_LINES = 100
"""With fewer lines, a few of another format say nothing about the rest."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one round of the loop did; `committed` says that positions were, and durably so."""

    lines: int
    committed: bool


AfterTurn = Callable[[StepResult], None]


class Pipeline:
    """The daemon's loop, over parts handed to it.

    Alerts are stored before the positions of their lines are committed, so a process that is
    killed anywhere loses nothing: what was not committed is read again. Positions are committed
    every `COMMIT_EVERY_S` seconds at most, and at a stop; they wait for alerts that no receiver
    has accepted. Open windows are never saved. Of a partition that is taken away all is dropped
    at once; one that comes is read from its own checkpoint.
    """

    def __init__(  # noqa: PLR0913  two clocks: one that people read, one that nobody sets
        self,
        source: Source,
        reader: EventParser,
        windower: Windower,
        judge: SurgeMonitor,
        alerting: AlertDispatcher,
        clock: Callable[[], float],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells UTC epoch seconds, `monotonic` durations, which no set clock changes."""
        self._source = source
        self._reader = reader
        self._windower = windower
        self._surge_monitor = judge
        self._alerting = alerting
        self._clock = clock
        self._monotonic = monotonic
        self._tried_at = clock()
        self._active_at = monotonic()
        self._look_at = monotonic()
        self._is_held = False
        self._commits = CommitTracker(self._is_settled)
        self._readable: dict[str, Checkpoint] = {}
        """The newest checkpoint of each partition at which reading can begin."""
        self._ending: set[str] = set()
        self._waiting = 0
        self._is_over = False
        self._inherited: set[str] = set()
        self._apply_changes(PartitionChanges(gained=source.checkpoints()))
        self._has_begun = False
        self._has_open = True
        source.share(self.handover_of)

    def run(
        self,
        stopping: Callable[[], bool],
        stop_when_idle: float | None = None,
        after_turn: AfterTurn = lambda _: None,
    ) -> None:
        """Go on until `stopping`, the source is exhausted, or nothing came for `stop_when_idle` s.

        Nothing came where the source knows that nothing waits, or is held by receivers that take
        nothing. At a stop, open windows stay open, as they are made again from their lines; where
        lines can't be read again, and at the end of the input, or when the source is idle, they
        are closed and scored. `after_turn` may exchange parts: no window is half dealt with when
        it is called.
        """
        while not stopping():
            after_turn(self.step())
            if self._source.exhausted:
                self._finish()
                break
            if stop_when_idle is not None and self._has_been_idle(stop_when_idle):
                if not self._is_held or self._source.is_idle():
                    self._finish()
                break
        else:
            if not self._source.replayable:
                self._finish()
        self._is_over = True
        self.commit()

    def step(self) -> StepResult:
        """Go round once, and say what was done."""
        lines = self._source.poll(POLL_TIMEOUT_S)
        changes = self._source.changes()
        self._apply_changes(changes)
        now = self._clock()
        has_changed = bool(lines) or changes != PartitionChanges()
        events = self._reader.feed(lines)
        idle = self._idle() if self._has_open or has_changed else {}
        events += self._reader.flush_due(idle)
        windows = self._windower.add(events) + self._windower.close_due(idle) + self._close_ended()
        is_passed = self._skip_unmatched()
        came = has_changed or events or windows or idle or is_passed
        # What came in this step may have opened a window after the source was asked.
        self._has_open |= bool(came)
        self._score_and_alert(windows, now, is_still=self._has_begun and not came)
        self._has_begun = True
        self._is_held = self._alerting.is_behind(now)
        if lines or (self._is_held and self._is_catching_up()):
            # Scoring took its time; more may have come meanwhile.
            self._active_at = self._monotonic()
        self._source.set_pending(self._positions)
        self._source.pause(self._is_held)
        is_due = not 0 <= now - self._tried_at < COMMIT_EVERY_S
        return StepResult(line_count(lines), is_due and self.commit())

    @property
    def outliers(self) -> ClockOutliers:
        """Which lines had wrong clocks; those of another model are counted anew."""
        return self._windower.outliers

    def change_alerting(self, alerting: AlertDispatcher) -> None:
        """Go on with other receivers or rules; what waits for delivery is in the outbox."""
        self._alerting = alerting

    def change_model(self, reader: EventParser, windower: Windower, judge: SurgeMonitor) -> None:
        """Go on with another model, and no line lost: those in open windows are dealt with anew.

        The positions are committed so that a restart scores twice rather than not at all.
        """
        self._has_open = True
        windows = swap_model(self._reader, self._windower, reader, windower)
        self._reader, self._windower, self._surge_monitor = reader, windower, judge
        self._commits.rewind()
        self._readable = {name: at.rewound() for name, at in self._readable.items()}
        self._score_and_alert(windows, self._clock())
        self.commit()

    def _idle(self) -> Mapping[str, float]:
        """Ask the source which partitions are idle, of those that wait for it."""
        now = self._monotonic()
        if now < self._look_at:
            return {}
        self._look_at = now + CHECK_PARTITIONS_EVERY_S
        waiting = {*self._windower.open_partitions, *self._reader.held()}
        self._has_open = bool(waiting)
        return self._source.idle(waiting) if waiting else {}

    def _has_been_idle(self, seconds: float) -> bool:
        if not self._is_held and not self._source.is_idle():
            self._active_at = self._monotonic()
        return self._monotonic() - self._active_at >= seconds

    def handover_of(self, partitions: Collection[str], seconds: float) -> Mapping[str, Handover]:
        """Say where the next owner of partitions reads on, and which alerts are delivered.

        Notifications that are on their way are waited for. Alerts that no receiver has yet are
        withdrawn here, as the next owner makes them again from their lines; at the end they stay
        here too, for the next start. The source calls this while the loop waits in it.
        """
        with self._alerting.settled(seconds):
            found = {
                name: Handover(at, self._delivered(name))
                for name, at in self._positions().items()
                if name in partitions
            }
            if not self._is_over:
                made = [alert for name in found for alert in self._commits.held_back(name)]
                self._alerting.withdraw([each for each in made if not self._is_settled(each)])
        return found

    def _delivered(self, partition: str) -> tuple[str, ...]:
        made = [each for each in self._commits.held_back(partition) if self._is_settled(each)]
        return (*made, *sorted(self._inherited))

    def _is_catching_up(self) -> bool:
        """Whether less waits for the receivers than when this was asked last."""
        before, self._waiting = self._waiting, sum(self._alerting.waiting().values())
        return self._waiting < before

    def _apply_changes(self, changes: PartitionChanges) -> None:
        self._drop(changes.lost)
        for partition, checkpoint in changes.gained.items():
            self._windower.resume(partition, checkpoint)
            self._surge_monitor.resume(partition, checkpoint.rise)
            self._readable[partition] = checkpoint
        for partition, before in changes.follows.items():
            self._windower.follow(partition, before)
        self._ending |= changes.ended
        if changes.delivered:
            self._inherited |= changes.delivered
            self._alerting.mark_known(changes.delivered, self._clock())

    def _close_ended(self) -> list[Window]:
        """Close the windows of partitions that ended, once nothing of them is held back."""
        ended = [name for name in self._ending if not self._reader.has_pending(name)]
        self._ending.difference_update(ended)
        return [window for name in ended for window in self._windower.close_ended(name)]

    def _drop(self, partitions: Collection[str]) -> None:
        for partition in partitions:
            self._reader.drop(partition)
            self._windower.drop(partition)
            self._surge_monitor.drop(partition)
            self._readable.pop(partition, None)
        self._ending.difference_update(partitions)
        self._commits.drop(partitions)

    def _skip_unmatched(self) -> bool:
        """Have the positions go past what became no event, or it would be read again and again.

        Returns whether any may have gone on.
        """
        passed = self._source.consumed_positions()
        for partition, position in passed.items():
            if not self._reader.has_pending(partition):
                self._windower.advance(partition, position)
        return bool(passed)

    def _finish(self) -> None:
        windows = self._windower.add(self._reader.flush()) + self._windower.close_all()
        self._score_and_alert(windows, self._clock())

    def _score_and_alert(
        self, windows: Sequence[Window], now: float, *, is_still: bool = False
    ) -> None:
        """Score windows, and have their alerts stored and sent.

        `is_still` says that nothing came: then no partition has gone on, of thousands perhaps.
        """
        scores = self._surge_monitor.score(windows) if windows else []
        made = self._alerting.update(scores, now)
        self._alerting.deliver(self._clock())
        if not is_still:
            self._track_commits(made)

    def _track_commits(self, made: Sequence[Alert]) -> None:
        """Note how far each partition is, and which of its alerts hold that back."""
        alerts: dict[str, list[str]] = defaultdict(list)
        self._inherited.difference_update(alert.id for alert in made)
        for alert in made:
            if alert.score is not None:
                alerts[alert.score.window.partition].append(alert.id)
        for partition in self._windower.partitions:
            checkpoint = self._windower.checkpoint(partition)
            if checkpoint is None:
                continue
            if not self._reader.is_inside(partition, checkpoint.safe):
                rise = self._surge_monitor.state(partition)
                self._readable[partition] = replace(checkpoint, rise=rise)
            readable = self._readable.get(partition, Checkpoint(0, 0, None))
            self._commits.add(partition, readable, alerts[partition])

    def _is_settled(self, alert_id: str) -> bool:
        return self._alerting.is_settled(alert_id)  # of the alerting that is at work now

    def _positions(self) -> Mapping[str, Checkpoint]:
        """Where each partition can be read again with no window missing a line."""
        found = {name: self._commits.committable(name) for name in self._windower.partitions}
        return {name: checkpoint for name, checkpoint in found.items() if checkpoint is not None}

    def commit(self) -> bool:
        """Commit how far each partition is dealt with, as far as its alerts are settled.

        Returns whether that went well; if not, it is tried again in `COMMIT_EVERY_S` seconds.
        """
        at_hand = self._source.checkpoints()
        self._drop([name for name in self._windower.partitions if name not in at_hand])
        is_kept = self._source.commit(self._positions())
        self._tried_at = self._clock()
        self._reader.warn_of_misfits(ENOUGH_LINES)
        return is_kept
