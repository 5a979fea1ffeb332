"""Records that can't be read: kept in a dead-letter topic, and counted against a cap."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    AuthorizationError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.errors import DataError, StorageError, UnreachableError
from logmlm.sources.kafka.records import DeadLetter, KafkaRecord
from logmlm.system.kafka import close_with_timeout, connect

FLUSH_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 1.0
MAX_LETTER_BYTES = 512 * 1024
"""What is kept of a value; a broker takes 1 MiB by default."""
MAX_EXTRA_BYTES = 64 * 1024
"""What is kept of a key, and of all headers."""
_FOR_GOOD = (
    AuthorizationError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

logger = logging.getLogger(__name__)


class DeadLetterProducer:
    """Writes unreadable records to their dead-letter topics; a producer is made at the first.

    `left` tells how many seconds a stop has left.
    """

    def __init__(
        self,
        config: KafkaSourceConfig,
        left: Callable[[], float],
        make: Callable[..., Any] = KafkaProducer,
    ) -> None:
        self._config = config
        self._left = left
        self._make = make
        self._producer: Any = None
        self._written = 0

    def put(self, letters: Sequence[DeadLetter]) -> bool:
        """Write letters; say whether all of them are safe. Gives up after a few seconds.

        Raises:
            StorageError: the topic refuses them for good.

        """
        try:
            producer = self._open()
            sent = [
                producer.send(
                    self._config.dead_letter_topic_of(record.topic), **dead_letter_record(*each)
                )
                for each in letters
                for record in each[:1]
            ]
            producer.flush(FLUSH_TIMEOUT_S)
            for future in sent:
                future.get(FLUSH_TIMEOUT_S)
        except _FOR_GOOD as error:
            topic = self._config.dead_letter_topic_of(letters[0][0].topic)
            raise StorageError(
                f"can't write unreadable records to topic {topic}: {type(error).__name__}; "
                "make the topic, or let us write to it"
            ) from error
        except (KafkaError, UnreachableError) as error:
            logger.warning("dead letters can't be written now (%s)", type(error).__name__)
            self.close()
            return False
        self._tell(letters)
        return True

    def close(self) -> None:
        """Let go of the connection; what is not safe yet is not waited for."""
        if self._producer is not None:
            close = partial(self._producer.close, timeout=2 * FLUSH_TIMEOUT_S)
            close_with_timeout(close, min(CLOSE_TIMEOUT_S, self._left()))
            self._producer = None

    def _tell(self, letters: Sequence[DeadLetter]) -> None:
        """Log the first letter, and whenever there are twice as many."""
        before, self._written = self._written, self._written + len(letters)
        if before.bit_length() < self._written.bit_length():
            record, reason = letters[-1]
            logger.warning(
                "%d records can't be read, the last of them in %s/%d at offset %d (%s); topic %s"
                " has them",
                *(self._written, record.topic, record.partition, record.offset, reason),
                self._config.dead_letter_topic_of(record.topic),
            )

    def _open(self) -> Any:
        if self._producer is None:
            self._producer = connect(
                self._make,
                self._config,
                acks="all",
                max_block_ms=round(FLUSH_TIMEOUT_S * 1000),
                request_timeout_ms=round(FLUSH_TIMEOUT_S * 1000),
                delivery_timeout_ms=round(FLUSH_TIMEOUT_S * 1000),
                metrics_enabled=False,
            )
        return self._producer


def dead_letter_record(record: KafkaRecord, reason: str) -> dict[str, Any]:
    """A record as its dead letter: its own key, value and headers, and where it stood and why."""
    value = record.value
    ours = {
        "logmlm.error": reason,
        "logmlm.topic": record.topic,
        "logmlm.partition": str(record.partition),
        "logmlm.offset": str(record.offset),
    }
    if value is not None and len(value) > MAX_LETTER_BYTES:
        ours["logmlm.cut"] = f"{MAX_LETTER_BYTES} of {len(value)} bytes"
        value = value[:MAX_LETTER_BYTES]
    headers: list[tuple[str, bytes | None]] = [(name, text.encode()) for name, text in ours.items()]
    if sum(len(name) + len(text or b"") for name, text in record.headers) <= MAX_EXTRA_BYTES:
        headers += record.headers
    key = None if record.key is None else record.key[:MAX_EXTRA_BYTES]
    # kafka-python sends no record without key and value.
    value = b"" if key is None and value is None else value
    return {"key": key, "value": value, "headers": headers}


class DeadLetterLimit:
    """Counts unreadable records; too large a share of the latest ones is an error.

    Counted are the latest `minimum` records at least, and twice as many at most.
    """

    def __init__(self, share: float, minimum: int) -> None:
        self._share = share
        self._minimum = minimum
        self._read = 0
        self._unread: Counter[str] = Counter()

    def add(self, read: int, letters: Sequence[DeadLetter]) -> None:
        """Count a batch.

        Raises:
            DataError: too many can't be read.

        """
        self._read += read + len(letters)
        self._unread.update(reason for _, reason in letters)
        unread = self._unread.total()
        if self._read >= self._minimum and unread > self._share * self._read:
            reasons = ", ".join(
                f"{reason}: {count}" for reason, count in self._unread.most_common()
            )
            raise DataError(
                f"{unread} of the last {self._read} Kafka records can't be read ({reasons}), "
                f"which is over max_dead_letter_share {self._share:g}; "
                "is 'value' right, and are these the right topics?"
            )
        if self._read >= 2 * self._minimum:
            self._read //= 2
            self._unread = Counter({reason: n // 2 for reason, n in self._unread.items()})
