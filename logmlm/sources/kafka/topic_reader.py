"""A Kafka topic read once, from a time to a time, as finished logs are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from kafka import TopicPartition
from kafka.errors import (
    AuthorizationError,
    CorruptRecordError,
    KafkaError,
    OffsetOutOfRangeError,
    UnsupportedCodecError,
)

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.errors import DataError, StorageError, UnreachableError
from logmlm.records import LogLine
from logmlm.sources.kafka.dead_letters import DeadLetterLimit
from logmlm.sources.kafka.records import TOMBSTONE, DeadLetter, KafkaRecord, RecordDecoder
from logmlm.sources.kafka.url import KafkaUrl
from logmlm.system.kafka import (
    KAFKA,
    KafkaClientFactory,
    KafkaLogCapture,
    close_with_timeout,
    connect,
)

POLL_MS = 500
CALL_TIMEOUT_MS = 10_000
CLOSE_TIMEOUT_S = 4.0
_OPTIONS = {
    "group_id": None,
    "enable_auto_commit": False,
    "auto_offset_reset": "none",
    "allow_auto_create_topics": False,
    "max_poll_records": 5_000,
    "fetch_max_bytes": 8 * 1024**2,
    "metrics_enabled": False,
}

WarnFunction = Callable[[str], None]


class TopicReader:
    """Lines of a topic, partition after partition; a partition is named `topic/number`.

    It begins at the first record of a partition that is not older than `since` (its time as
    Kafka has it), and ends before the first one that is not older than `until`, or where the
    partition ended when this was made. No consumer group is joined, and nothing is committed.
    A line's `received_at` is its record's time. What can't be read is counted and left out.

    `clock` tells seconds; it is asked how long nothing came.
    """

    def __init__(
        self,
        config: KafkaSourceConfig,
        address: KafkaUrl,
        clock: Callable[[], float],
        warn: WarnFunction,
        clients: KafkaClientFactory = KAFKA,
    ) -> None:
        """Reach a broker, and ask where reading begins and ends.

        Raises:
            ConfigError: a secret can't be read.
            StorageError: there is no such topic.
            UnreachableError: no broker answered in time, or it does not let us in.

        """
        self._config = config
        self._topic = address.topic
        self._clock = clock
        self._warn = warn
        self._cap = DeadLetterLimit(config.max_dead_letter_share, config.dead_letter_minimum)
        self._unread: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()
        self._records = RecordDecoder(config, self._counted)
        options = {**_OPTIONS, "isolation_level": config.isolation_level}
        self._consumer: Any = connect(clients.consumer, config, **options)
        try:
            with self._translated():
                self._spans = self._asked(address)
        except Exception:
            self.close()
            raise

    @property
    def is_empty(self) -> bool:
        """Whether there is no record from the one time to the other."""
        return not self._spans

    def lines(self) -> Iterator[LogLine]:
        """All lines.

        Raises:
            DataError: a record is damaged, or too many can't be read.
            StorageError: records were deleted before they could be read.
            UnreachableError: the brokers refuse us, or nothing came for `stall_timeout`.

        """
        for partition, (start, end) in self._spans.items():
            for records in self._batches(partition, start, end):
                yield from self._read(records)
        if self._unread:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in self._unread.most_common())
            self._warn(f"records of {self._topic} that can't be read were left out ({reasons})")
        if tombstones := self._counted[TOMBSTONE]:
            topic = self._topic
            self._warn(f"{tombstones} records of {topic} have no value (tombstones): no lines")

    def close(self) -> None:
        """Let go of the brokers, within seconds."""
        close = partial(self._consumer.close, autocommit=False, timeout_ms=CALL_TIMEOUT_MS)
        close_with_timeout(close, CLOSE_TIMEOUT_S)

    def _asked(self, address: KafkaUrl) -> dict[TopicPartition, tuple[int, int]]:
        """Where reading begins and ends, of each partition that holds something between."""
        numbers = self._consumer.partitions_for_topic(self._topic)
        if not numbers:
            servers = ", ".join(self._config.bootstrap_servers)
            raise StorageError(f"Kafka at {servers} shows us no topic '{self._topic}'")
        names = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        ends = self._consumer.end_offsets(names, timeout_ms=CALL_TIMEOUT_MS)
        starts = self._consumer.beginning_offsets(names, timeout_ms=CALL_TIMEOUT_MS)
        starts |= self._at(address.since, ends)
        ends |= self._at(address.until, ends)
        return {name: (starts[name], ends[name]) for name in names if starts[name] < ends[name]}

    def _at(self, time: float | None, ends: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Offset of the first record at `time` or later; the end where there is none."""
        if time is None:
            return {}
        asked = dict.fromkeys(ends, math.ceil(time * 1000))
        found = self._consumer.offsets_for_times(asked, timeout_ms=CALL_TIMEOUT_MS)
        return {
            name: end if found[name] is None else min(end, found[name].offset)
            for name, end in ends.items()
        }

    def _batches(
        self, partition: TopicPartition, position: int, end: int
    ) -> Iterator[list[KafkaRecord]]:
        self._consumer.assign([partition])
        self._consumer.seek(partition, position)
        moved_at = self._clock()
        while position < end:
            with self._translated():
                records = self._consumer.poll(POLL_MS).get(partition, [])
                # It also passes what is no record: compacted ones, marks of transactions.
                reached = self._consumer.position(partition, timeout_ms=CALL_TIMEOUT_MS)
            yield [record for record in records if record.offset < end]
            if reached > position:
                position, moved_at = reached, self._clock()
            elif self._clock() - moved_at >= self._config.stall_timeout:
                raise UnreachableError(
                    f"Kafka gave nothing of {partition.topic}/{partition.partition} past offset"
                    f" {position} for {self._config.stall_timeout:g}s: {_cause()}"
                )

    def _read(self, records: Sequence[KafkaRecord]) -> Iterator[LogLine]:
        letters: list[DeadLetter] = []
        for record in records:
            if record.value is None:
                self._counted[TOMBSTONE] += 1
                continue
            name = f"{record.topic}/{record.partition}"
            try:
                yield self._records.line(record, name, max(0, record.timestamp) / 1000)
            except DataError as error:
                letters.append((record, str(error)))
        self._unread.update(reason for _, reason in letters)
        values = sum(record.value is not None for record in records)
        self._cap.add(values - len(letters), letters)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OffsetOutOfRangeError as error:
            raise StorageError(
                f"records of {self._topic} were deleted before they could be read; take a later"
                " 'since'"
            ) from error
        except (CorruptRecordError, UnsupportedCodecError) as error:
            raise DataError(f"a Kafka record of {self._topic} is damaged: {error}") from error
        except AuthorizationError as error:
            raise UnreachableError(
                f"Kafka does not let us read {self._topic}: {type(error).__name__}"
            ) from error
        except KafkaError as error:
            raise UnreachableError(
                f"can't read Kafka's {self._topic} ({type(error).__name__}): {_cause()}"
            ) from error


def _cause() -> str:
    return KafkaLogCapture.install().cause()
