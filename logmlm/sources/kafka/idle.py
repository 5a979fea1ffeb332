"""Which partitions of a topic were read to their end, and for how long nothing more has waited."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from kafka import TopicPartition
from kafka.errors import KafkaError

from logmlm.sources.idle import IdleTimes
from logmlm.sources.kafka.consumer import GroupConsumer

LOOK_EVERY_S = 0.9
RETRY_S = 3.0
"""After a look that failed: what other brokers have must not wait for one that is lost."""
MAX_GRACE_S = 60.0


class KafkaIdle(IdleTimes):
    """Counts for how long nothing more has waited in partitions, as fresh answers of brokers say.

    A partition is idle if it was read up to the end that its leader names, and to the high
    watermark: with `read_committed`, the records of an open transaction lie between the two.

    Producers wait longer and longer before they try a lost broker again, and their records come
    late by as much. So after brokers were lost, a count starts only when they have been back for
    as long as they were away (`MAX_GRACE_S` at most).
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__(monotonic)
        self._next_look = self._counts_from = -math.inf
        self._lost_at: float | None = None

    def lose(self) -> None:
        """Take it that the brokers do not answer."""
        self.forget_all()
        if self._lost_at is None:
            self._lost_at = self.now()

    def refresh(self, group: GroupConsumer, partitions: Mapping[str, TopicPartition]) -> None:
        """Ask for the ends of partitions, unless that was done just now.

        Raises:
            KafkaError: there was no answer in time.

        """
        if not partitions or self.now() < self._next_look:
            return
        asked_at = self.now()
        try:
            group.ask_ends(partitions.values())
            at_end = {name: group.at_end(each) for name, each in partitions.items()}
        except KafkaError:
            self._next_look = self.now() + RETRY_S
            raise
        self._next_look = asked_at + LOOK_EVERY_S
        self._found(asked_at)
        self._count(at_end, asked_at)

    def _found(self, at: float) -> None:
        """Take it that the brokers answer what they were asked at a time."""
        if self._lost_at is not None:
            away = min(MAX_GRACE_S, at - self._lost_at)
            self._counts_from = max(self._counts_from, at + away)
            self._lost_at = None

    def _count(self, at_end: Mapping[str, int | None], asked_at: float) -> None:
        grace = max(0.0, self._counts_from - asked_at)
        for name, position in at_end.items():
            if position is None:
                self.forget([name])
            else:
                self.confirm(name, position, asked_at, grace)
