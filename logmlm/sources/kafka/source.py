"""Records of Kafka topics, shared among the processes of a consumer group."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from kafka import TopicPartition
from kafka.errors import (
    CorruptRecordError,
    KafkaError,
    UnsupportedCodecError,
)

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.errors import DataError, UnreachableError
from logmlm.records import Checkpoint, LogLine
from logmlm.sources.base import HandOver, PartitionChanges
from logmlm.sources.kafka.consumer import REFUSED, GroupConsumer, describe_join_error
from logmlm.sources.kafka.dead_letters import DeadLetterLimit, DeadLetterProducer
from logmlm.sources.kafka.idle import KafkaIdle
from logmlm.sources.kafka.offsets import CommittedOffset
from logmlm.sources.kafka.partitions import AssignedPartitions, topic_partition_name
from logmlm.sources.kafka.records import KafkaRecord, RecordDecoder
from logmlm.sources.kafka.stall_detection import PeriodicTimer, StallDetector, UnassignedTimer
from logmlm.system.kafka import KAFKA, KafkaClientFactory, KafkaLogCapture

_UNREADABLE = (CorruptRecordError, UnsupportedCodecError)
SAY_EVERY_S = 30.0
JOIN_WITHIN_S = 30.0
"""How long the start waits for the group, where reading begins at the end of the partitions."""
JOIN_POLL_S = 0.2
HAND_OVER_S = 3.0
"""How long alerts on their way are waited for when partitions are taken away."""
CHECK_TOPICS_EVERY_S = 10.0
"""While nothing comes, the brokers are asked so often how much is there, and so if they answer."""
MISSING_EVERY_S = 60.0
"""How often a topic that is not there is told."""

logger = logging.getLogger(__name__)


class KafkaSource:
    """Hands over the records of the partitions that the group gives to this process.

    A partition is named `topic/number`; a line's position is its record's offset. The group
    keeps the safe position, with the rest of the checkpoint in its metadata. A broker that is
    lost is waited for.

    `model` is the digest of the model whose windows the checkpoints are of; `wait` waits so many
    seconds, or less; `left` tells how many true seconds a stop has left: no call of the brokers,
    and no farewell, takes longer.
    """

    name = "kafka"
    exhausted = False
    replayable = True

    def __init__(  # noqa: PLR0913  clock, waits and clients are handed in, each by its name
        self,
        config: KafkaSourceConfig,
        *,
        group: str,
        model: str,
        clock: Callable[[], float],
        wait: Callable[[float], object],
        left: Callable[[], float] = lambda: math.inf,
        monotonic: Callable[[], float] = time.monotonic,
        clients: KafkaClientFactory = KAFKA,
    ) -> None:
        """Reach a broker.

        Raises:
            ConfigError: a secret can't be read.
            UnreachableError: no broker answered in time, or it did not let us in.

        """
        self._config = config
        self._clock = clock
        self._wait = wait
        self._left = left
        self._on_handover: HandOver = lambda *_: {}
        self._join = partial(
            GroupConsumer, config, config.group or group, left, clients.consumer, self._revoked
        )
        self._partitions = AssignedPartitions(config, model)
        self._group: GroupConsumer | None = self._join()
        self.discarded: Counter[str] = Counter()
        self._records = RecordDecoder(config, self.discarded)
        self._dead_letters = DeadLetterProducer(config, left, clients.producer)
        self._cap = DeadLetterLimit(config.max_dead_letter_share, config.dead_letter_minimum)
        self._watchdog = StallDetector(config.stall_timeout, clock)
        self._absence = UnassignedTimer(config.max_poll_interval + config.stall_timeout, clock)
        self._held = False
        self._has_answers = True
        self._saying, self._looking = (
            PeriodicTimer(SAY_EVERY_S, clock),
            PeriodicTimer(CHECK_TOPICS_EVERY_S, clock),
        )
        self._missing = PeriodicTimer(MISSING_EVERY_S, clock)
        self._idle = KafkaIdle(monotonic)

    def begin(self) -> None:
        """Join the group, and find where each partition begins, where that is its end now.

        A group that takes longer than `JOIN_WITHIN_S` is joined later, which is said.

        Raises:
            UnreachableError: the brokers refuse us for good.

        """
        if self._config.auto_offset_reset != "latest":
            return
        began, self._held = self._clock(), True  # held: what came before is handed over by `poll`
        while not self._is_placed() and self._left() == math.inf:
            if not 0 <= self._clock() - began < JOIN_WITHIN_S:
                logger.warning(
                    "the consumer group is not joined after %.0f s; of a partition without a"
                    " committed offset, only records written after the joining are read",
                    JOIN_WITHIN_S,
                )
                break
            self.poll(JOIN_POLL_S)
        self._held = False

    def poll(self, timeout: float) -> list[LogLine]:
        """Lines that came within `timeout` seconds; trouble with the brokers is waited out.

        Raises:
            DataError: too many records can't be read.
            StorageError: the dead-letter topic refuses what can't be read.
            UnreachableError: the brokers refuse us for good.

        """
        group = self._joined(timeout)
        if group is None:
            return []
        batches = self._poll(group, timeout)
        self._partitions.follow(group)
        for partition in self._partitions.pending:
            batches.pop(partition, None)  # they come again from where the reading starts
        with self._going_on():
            self._partitions.resolve_start(group)
        lines = self._lines(group, batches)
        with self._going_on():
            self._pass_gaps(group, batches)
            self._watch(group, bool(batches))
        return lines

    def changes(self) -> PartitionChanges:
        """Partitions that were lost and gained since the last call."""
        changes = self._partitions.changes()
        self._idle.forget(changes.lost)
        return changes

    def idle(self, partitions: Collection[str]) -> Mapping[str, float]:
        """Ask the brokers, once a second at most, which of these were read to their end."""
        group = self._group
        if group is None or self._held or not group.is_joined:
            self._idle.forget_all()
            return {}
        with self._going_on():
            placed = self._partitions.ready
            self._idle.refresh(
                group,
                {
                    topic_partition_name(p): p
                    for p in placed
                    if topic_partition_name(p) in partitions
                },
            )
        return self._idle.of(partitions)

    def is_idle(self) -> bool:
        """Whether the brokers said that all partitions of this member were read to their end."""
        names = [topic_partition_name(partition) for partition in self._partitions.ready]
        idle = self.idle(names)
        is_joined = self._group is not None and self._group.is_joined
        return is_joined and not [*self._partitions.pending] and len(idle) == len(names)

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Every partition placed here, with the position that was committed last."""
        return dict(self._partitions.at)

    def consumed_positions(self) -> Mapping[str, int]:
        """Offsets up to which each partition was handed over, or put into its dead letters."""
        return {
            topic_partition_name(p): self._partitions.expected(p) for p in self._partitions.ready
        }

    def share(self, on_handover: HandOver) -> None:
        """Ask `on_handover` what to commit of partitions when they are taken away."""
        self._on_handover = on_handover

    def set_pending(self, positions: Callable[[], Mapping[str, Checkpoint]]) -> None:
        """Keep in mind what to commit when a partition is taken away."""
        if self._group is not None:
            self._group.noted = self._partitions.positions(positions())

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> bool:
        """Commit positions of partitions that are placed here; what fails waits for the next.

        Returns whether it went well. Nothing is well while the group is not joined, or when the
        brokers gave no answer the last time they were asked for anything.
        """
        positions = self._partitions.positions(checkpoints)
        if self._group is None or not self._group.commit(positions):
            return False
        self._partitions.committed(checkpoints)
        return self._group.is_joined and self._has_answers

    def model_changed(self, digest: str) -> None:
        """Write the digest into the metadata of what is committed."""
        self._partitions.model = digest

    def lag(self) -> Mapping[str, int]:
        """Records of each partition that are not read yet, as the brokers said last."""
        group, expected = self._group, self._partitions.expected
        if group is None:
            return {}
        return {
            topic_partition_name(p): max(0, group.end(p) - expected(p))
            for p in self._partitions.ready
        }

    def pause(self, held: bool) -> None:
        """Hand over nothing for now, but stay in the group."""
        self._held = held

    def describe(self, partition: str) -> str:
        """Where a partition's records come from, for people."""
        topic, _, number = partition.rpartition("/")
        return f"Kafka topic {topic}, partition {number}"

    def close(self) -> None:
        """Leave the group, within seconds and what is left; what was noted last is handed over."""
        if self._group is not None:
            self._group.close()
        self._dead_letters.close()

    def _revoked(self, partitions: set[TopicPartition]) -> Mapping[TopicPartition, CommittedOffset]:
        """Say what to commit of partitions that are taken away; runs on the library's thread.

        No heartbeat is sent meanwhile.
        """
        seconds = min(HAND_OVER_S, self._config.session_timeout / 4, self._left() / 4)
        return self._partitions.handed_over(
            self._on_handover(list(map(topic_partition_name, partitions)), seconds)
        )

    def _is_placed(self) -> bool:
        """Whether this member has its partitions, be it none, and knows where each begins."""
        group = self._group
        return group is not None and group.is_joined and not self._partitions.pending

    def _poll(
        self, group: GroupConsumer, timeout: float
    ) -> dict[TopicPartition, list[KafkaRecord]]:
        try:
            return group.poll(timeout, held=self._held)
        except REFUSED as error:
            raise UnreachableError(f"Kafka refuses: {describe_join_error(error)}") from error
        except _UNREADABLE as error:
            # kafka-python gives nothing of such a batch, nor says where it ends.
            raise DataError(
                f"a Kafka record is damaged: {error}; to go on without it, stop all of the group"
                " and move the group's offset past it"
            ) from error
        except KafkaError as error:
            self._in_trouble(error)
            self._wait(timeout)
            return {}

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """Trouble with the brokers is said; what could not be done is tried again later."""
        try:
            yield
        except KafkaError as error:
            self._in_trouble(error)

    def _joined(self, timeout: float) -> GroupConsumer | None:
        if self._group is None:
            try:
                self._group = self._join()
            except UnreachableError as error:
                self._in_trouble(error)
                self._wait(timeout)
        return self._group

    def _lines(
        self, group: GroupConsumer, batches: Mapping[TopicPartition, Sequence[KafkaRecord]]
    ) -> list[LogLine]:
        lines: list[LogLine] = []
        for partition, records in batches.items():
            if not records:
                continue
            self._see_gaps(group, partition, records[0].offset)
            name, now = topic_partition_name(partition), self._clock()
            self._idle.forget([name])
            read, letters = self._records.read(records, name, now)
            if letters and not self._dead_letters.put(letters):
                group.seek(partition, self._partitions.expected(partition))
                continue
            self._partitions.note_consumed(partition, records[-1].offset)
            self.discarded["dead_letter"] += len(letters)
            self._cap.add(len(read), letters)
            lines += read
        return lines

    def _see_gaps(self, group: GroupConsumer, partition: TopicPartition, first: int) -> None:
        """Notice records that are gone, and a partition that was made anew.

        Offsets that no record has, as compaction, aborted transactions and the marks of
        transactions leave them, are no loss: there, the partition's first offset is below.
        """
        expected = self._partitions.expected(partition)
        if first < expected:
            self._partitions.restart_at(partition, first)
        elif first > expected:
            with self._going_on():
                gone = group.ends([partition])[partition][0] - expected
                if gone > 0:
                    self.discarded["deleted"] += gone
                    logger.warning(
                        "%s: %d records were deleted unread", topic_partition_name(partition), gone
                    )

    def _pass_gaps(
        self, group: GroupConsumer, batches: Mapping[TopicPartition, Sequence[KafkaRecord]]
    ) -> None:
        """Pass offsets behind the last record that no record has.

        A transaction ends with a mark. If reading stopped before it, the partition would never be
        at its end: the lag would stay, and time would close no window.
        """
        for partition in list(self._partitions.ready):
            expected = self._partitions.expected(partition)
            if not batches.get(partition) and not self._held and group.end(partition) > expected:
                reached = group.position(partition)
                if reached > expected:
                    self._see_gaps(group, partition, reached)
                    self._partitions.note_consumed(partition, reached - 1)

    def _watch(self, group: GroupConsumer, came: bool) -> None:
        placed = list(self._partitions.ready)
        if self._absence.is_too_long(group.is_joined and not self._partitions.pending):
            self._join_anew(group, f"has not joined its group for {self._absence.limit:.0f} s")
            return
        self._tell_missing(group)
        if came and not self._held:
            self._has_answers = True
        else:
            self._look(group, placed)
        if came or self._held or not placed:
            self._watchdog.rest()
        elif self._watchdog.is_due():
            ends = group.ends(placed)
            offsets = {name: (group.position(name), end) for name, (_, end) in ends.items()}
            if stalled := self._watchdog.stalled(offsets):
                names = ", ".join(topic_partition_name(partition) for partition in sorted(stalled))
                self._join_anew(group, f"has stalled at {names}")

    def _look(self, group: GroupConsumer, placed: Sequence[TopicPartition]) -> None:
        """Have the lag grow while nothing is fetched, and a lost broker be noticed."""
        if self._looking.is_due():
            group.ends(placed)
            self._has_answers = True

    def _tell_missing(self, group: GroupConsumer) -> None:
        if self._missing.is_due() and (topics := group.missing()):
            names = ", ".join(topics)
            logger.warning("Kafka shows us no topic %s; it is waited for", names)

    def _join_anew(self, group: GroupConsumer, why: str) -> None:
        logger.error("Kafka's consumer %s; making a new one", why)
        self.discarded["stall"] += 1
        self._group = None
        group.close()
        self._partitions.drop_all()
        self._watchdog.rest()

    def _in_trouble(self, error: Exception) -> None:
        """Take it that the brokers do not answer; log it, now and then while it lasts."""
        self._has_answers = False
        self._idle.lose()
        if self._saying.is_due():
            library = KafkaLogCapture.install()
            name, cause = type(error).__name__, library.cause()
            logger.warning("trouble with Kafka (%s; %s); going on", name, cause)
            library.reset()
