"""Which positions may be committed: those whose alerts some receiver has accepted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from logmlm.records import Checkpoint


@dataclass(slots=True)
class _Step:
    """A checkpoint, and the alerts made since the one before that were not settled then."""

    checkpoint: Checkpoint
    alerts: list[str]
    made: list[str]
    """All alerts made since the step before, the settled ones among them."""


class CommitTracker:
    """Hold back each partition's checkpoints until all alerts made before them are delivered.

    A replay from what `committable` gives makes every alert again that is not settled yet, so that
    another machine can go on where this one ends. Checkpoints are held back whole. A partition
    costs one checkpoint, and one more for each step with an alert that is not settled; from the
    first of these on, the ids of all alerts are kept.
    """

    def __init__(self, is_settled: Callable[[str], bool]) -> None:
        self._is_settled = is_settled
        self._waiting: dict[str, deque[_Step]] = {}
        self._settled: dict[str, Checkpoint] = {}

    def add(self, partition: str, checkpoint: Checkpoint, alerts: Iterable[str]) -> None:
        """Take the partition's newest checkpoint, and the alerts made since the one before."""
        steps = self._waiting.get(partition)
        made = list(alerts)
        unsettled = [alert for alert in made if not self._is_settled(alert)]
        if unsettled:
            step = _Step(checkpoint, unsettled, made)
            self._waiting.setdefault(partition, deque()).append(step)
        elif steps:
            steps[-1].checkpoint = checkpoint
            steps[-1].made += made
        else:
            self._settled[partition] = checkpoint

    def committable(self, partition: str) -> Checkpoint | None:
        """Return the latest checkpoint of each partition whose alerts are all delivered."""
        steps = self._waiting.get(partition)
        while steps and self._is_over(steps[0]):
            self._settled[partition] = steps.popleft().checkpoint
        if not steps:
            self._waiting.pop(partition, None)
        return self._settled.get(partition)

    def held_back(self, partition: str) -> list[str]:
        """Alerts made after the checkpoint that `committable` gives: a replay makes them again."""
        return [alert for step in self._waiting.get(partition, ()) for alert in step.made]

    def rewind(self) -> None:
        """Forget which windows were made before: another rule makes others from now on."""
        for steps in self._waiting.values():
            for step in steps:
                step.checkpoint = step.checkpoint.rewound()
        self._settled = {name: at.rewound() for name, at in self._settled.items()}

    def drop(self, partitions: Collection[str]) -> None:
        """Forget partitions; whoever has them now makes their alerts again."""
        for partition in partitions:
            self._waiting.pop(partition, None)
            self._settled.pop(partition, None)

    def _is_over(self, step: _Step) -> bool:
        """Whether all its alerts are settled; asks for no more than the first that is not."""
        while step.alerts and self._is_settled(step.alerts[-1]):
            step.alerts.pop()
        return not step.alerts
