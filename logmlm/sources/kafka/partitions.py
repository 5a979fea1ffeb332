"""The partitions that the group gives to this process: where each is read, and what moved."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from kafka import TopicPartition

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.records import Checkpoint
from logmlm.sources.base import Handover, PartitionChanges
from logmlm.sources.kafka import offsets
from logmlm.sources.kafka.consumer import GroupConsumer

logger = logging.getLogger(__name__)


class AssignedPartitions:
    """Keeps where each partition is read next, and where it was committed last.

    A partition is *placed*, and its records are handed over, once it is known where its reading
    starts, and for one that the group had no position of, once that start is committed.
    """

    def __init__(self, config: KafkaSourceConfig, model: str) -> None:
        self._config = config
        self.model = model
        self._at: dict[str, Checkpoint] = {}
        self._next: dict[TopicPartition, int] = {}
        self._pending: set[TopicPartition] = set()
        self._lost: set[str] = set()
        self._gained: dict[str, Checkpoint] = {}
        self._delivered: frozenset[str] = frozenset()

    @property
    def at(self) -> Mapping[str, Checkpoint]:
        """Every placed partition, with the position that was committed last."""
        return self._at

    @property
    def ready(self) -> Iterable[TopicPartition]:
        """Every placed partition."""
        return self._next

    @property
    def pending(self) -> Iterable[TopicPartition]:
        """Partitions that are ours, but whose records can't be handed over yet."""
        return self._pending

    def changes(self) -> PartitionChanges:
        """Partitions that were lost and placed since the last call."""
        changes = PartitionChanges(frozenset(self._lost), self._gained, delivered=self._delivered)
        self._lost, self._gained, self._delivered = set(), {}, frozenset()
        return changes

    def positions(
        self, checkpoints: Mapping[str, Checkpoint]
    ) -> dict[TopicPartition, offsets.CommittedOffset]:
        """What to commit of those of the checkpoints whose partitions are placed here."""
        return {
            partition: offsets.encode(checkpoints[topic_partition_name(partition)], self.model)
            for partition in self._next
            if topic_partition_name(partition) in checkpoints
        }

    def handed_over(
        self, handovers: Mapping[str, Handover]
    ) -> dict[TopicPartition, offsets.CommittedOffset]:
        """What to commit of partitions that are being taken away."""
        return {
            partition: offsets.encode(each.checkpoint, self.model, each.delivered)
            for partition in self._next
            if (each := handovers.get(topic_partition_name(partition)))
        }

    def committed(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Take it that these were committed."""
        self._at |= {name: at for name, at in checkpoints.items() if name in self._at}

    def follow(self, group: GroupConsumer) -> None:
        """Let go of partitions that were taken away, and note those that came."""
        lost, gained = group.take_rebalance()
        for partition in lost:
            self._drop(partition)
        self._pending |= gained

    def drop_all(self) -> None:
        """Take it that every partition was lost."""
        for partition in [*self._next, *self._pending]:
            self._drop(partition)

    def resolve_start(self, group: GroupConsumer) -> None:
        """Find where the reading of each new partition starts, and start it there.

        Raises:
            KafkaError: it can't be found now; what is not placed yet stays so.

        """
        ends = group.ends(self._pending) if self._pending else {}
        for partition in sorted(self._pending):
            found = group.committed_offset(partition)
            start = self._start(topic_partition_name(partition), found, *ends[partition])
            group.seek(partition, start.safe)
            at = offsets.encode(start, self.model)
            if found is not None or group.commit({partition: at}):
                self._set(partition, start)
                if found is not None:
                    self._delivered |= offsets.delivered(found, self.model)

    def expected(self, partition: TopicPartition) -> int:
        """Offset that a placed partition is read from next."""
        return self._next[partition]

    def note_consumed(self, partition: TopicPartition, offset: int) -> None:
        """Take it that the record at `offset` was handed over, or is safe elsewhere."""
        self._next[partition] = offset + 1

    def restart_at(self, partition: TopicPartition, offset: int) -> None:
        """Take a partition as another one from `offset` on: it was made anew."""
        name, before = topic_partition_name(partition), self._next[partition]
        logger.warning("%s goes back from offset %d to %d: made anew", name, before, offset)
        self._drop(partition)
        self._set(partition, Checkpoint(offset, offset, None))

    def _drop(self, partition: TopicPartition) -> None:
        self._pending.discard(partition)
        if self._next.pop(partition, None) is not None:
            name = topic_partition_name(partition)
            logger.info("%s is read by us no longer", name)
            del self._at[name]
            if self._gained.pop(name, None) is None:
                self._lost.add(name)

    def _set(self, partition: TopicPartition, start: Checkpoint) -> None:
        logger.info("reading %s from offset %d on", topic_partition_name(partition), start.safe)
        self._pending.discard(partition)
        self._next[partition] = start.safe
        self._at[topic_partition_name(partition)] = self._gained[
            topic_partition_name(partition)
        ] = start

    def _start(
        self, name: str, found: offsets.CommittedOffset | None, begin: int, end: int
    ) -> Checkpoint:
        if found is None:
            start = begin if self._config.auto_offset_reset == "earliest" else end
            return Checkpoint(start, start, None)
        at = offsets.decode(name, found, self.model)
        is_stable = self._config.isolation_level == "read_uncommitted"
        # With `read_committed`, `end` is where the first open transaction begins: somebody who
        # reads uncommitted records may be past it. Of a partition made anew, the records tell.
        if at.safe > end and is_stable:
            logger.warning("%s was made anew; it is read from its beginning", name)
            return Checkpoint(begin, begin, None)
        if at.safe < begin:
            gone = begin - at.safe
            logger.warning("%s: up to %d records were deleted before they were read", name, gone)
            return replace(at, safe=begin, reached=max(begin, at.reached))
        return at


def topic_partition_name(partition: TopicPartition) -> str:
    """The name of a partition in checkpoints and alerts."""
    return f"{partition.topic}/{partition.partition}"
