"""A member of a consumer group: a small typed face of kafka-python's consumer."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.errors import (
    AuthorizationError,
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    KafkaError,
)
from kafka.structs import MemberState, OffsetAndMetadata

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.sources.kafka.assignor import RejoiningAssignor
from logmlm.sources.kafka.offsets import CommittedOffset
from logmlm.sources.kafka.records import KafkaRecord
from logmlm.system.kafka import close_with_timeout, connect

CALL_TIMEOUT_MS = 3_000
"""A call in the loop that takes longer is given up, and tried again later."""
CLOSE_TIMEOUT_S = 4.0
ASK_TIMEOUT_MS = 1_000
"""An end that takes longer to be told says nothing of what has waited meanwhile."""
MAX_POLL_RECORDS = 1_000
FETCH_BYTES = 8 * 1024**2
REFUSED = (AuthorizationError, FencedInstanceIdError, InconsistentGroupProtocolError)
"""What no second try will change."""

Revoked = Callable[[set[TopicPartition]], Mapping[TopicPartition, CommittedOffset]]

logger = logging.getLogger(__name__)


class GroupConsumer:
    """Polls, commits, and tells which partitions moved.

    A rebalance happens inside `poll` and `close` alone. Of a partition that is taken away the
    `noted` position is committed before anyone else gets it. Every call gives up in time, at the
    latest when nothing is `left` of the time for a stop.
    """

    def __init__(
        self,
        config: KafkaSourceConfig,
        group: str,
        left: Callable[[], float],
        make: Callable[..., Any] = KafkaConsumer,
        revoked: Revoked = lambda _: {},
    ) -> None:
        """Reach a broker and join; `revoked` says what to commit of partitions taken away.

        Where it says nothing of a partition, that is what was noted.

        Raises:
            ConfigError: a secret can't be read.
            UnreachableError: no broker answered, or it did not let us in.

        """
        self.noted: Mapping[TopicPartition, CommittedOffset] = {}
        """What to commit of a partition when it is taken away."""
        self.committed: dict[TopicPartition, CommittedOffset] = {}
        """What this member committed, or found committed, of its partitions."""
        self._revoked = revoked
        self._lost: set[TopicPartition] = set()
        self._gained: set[TopicPartition] = set()
        self._ends: dict[TopicPartition, int] = {}
        self._held = False
        self._left = left
        self._config = config
        assignor = RejoiningAssignor(self._join, comes_back=config.group_instance_id is not None)
        options = _options(config, group) | {"partition_assignment_strategy": [assignor]}
        self._consumer = connect(partial(self._subscribed, make), config, **options)

    def _subscribed(self, make: Callable[..., Any], **options: Any) -> Any:
        consumer, config = make(**options), self._config
        consumer.subscribe(
            topics=list(config.topics), pattern=config.subscription, listener=_Listener(self)
        )
        # A leader that does not know the partitions yet would take all from everyone at first.
        consumer.bootstrap(timeout_ms=options["bootstrap_timeout_ms"], refresh=True)
        return consumer

    def _join(self) -> None:
        # There is no public call for this; Java's consumer has enforceRebalance (KIP-568).
        self._consumer._coordinator.request_rejoin()

    def poll(self, timeout: float, *, held: bool) -> dict[TopicPartition, list[KafkaRecord]]:
        """Records that came within `timeout` seconds; none while `held`, the group stays joined.

        Raises:
            KafkaError: the library says that something is wrong.

        """
        self._held, paused = held, self._consumer.paused()
        if held:
            self._consumer.pause(*(self._consumer.assignment() - paused))
        elif paused:
            self._consumer.resume(*paused)
        found: dict[TopicPartition, list[KafkaRecord]] = self._consumer.poll(round(timeout * 1000))
        return found

    @property
    def is_joined(self) -> bool:
        """Whether this member knows its share of the partitions, be it none."""
        return bool(self._consumer.group_metadata().state is MemberState.STABLE)

    def missing(self) -> list[str]:
        """Which of the topics we read the brokers did not show us when they were asked last."""
        # Not the public calls: they ask again, and wait for an answer without end.
        cluster, pattern = self._consumer._cluster, self._config.subscription
        if pattern is None:
            names = self._config.topics
            return [name for name in names if cluster.partitions_for_topic(name) is None]
        is_there = any(map(re.compile(pattern).match, cluster.topics()))
        return [] if is_there else [f"that matches '{self._config.pattern}'"]

    def end(self, partition: TopicPartition) -> int:
        """Offset of the next record to come, as the brokers said last; 0 if they did not yet.

        With `read_committed` this is the high watermark too, not the last stable offset: records
        behind an open transaction wait to be read.
        """
        return max(self._consumer.highwater(partition) or 0, self._ends.get(partition, 0))

    def take_rebalance(self) -> tuple[set[TopicPartition], set[TopicPartition]]:
        """Partitions lost and gained since the last call; one in both was lost first."""
        lost, gained = self._lost, self._gained
        self._lost, self._gained = set(), set()
        return lost, gained

    def committed_offset(self, partition: TopicPartition) -> CommittedOffset | None:
        """What the group has committed of a partition.

        Raises:
            KafkaError: it can't be asked now.

        """
        at = self._consumer.committed(partition, metadata=True, timeout_ms=CALL_TIMEOUT_MS)
        if at is None or at.offset < 0:
            return None
        self.committed[partition] = CommittedOffset(at.offset, at.metadata or "")
        return self.committed[partition]

    def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, tuple[int, int]]:
        """Offset of the first record that is there, and of the next one to come.

        Raises:
            KafkaError: they can't be asked now.

        """
        names = list(partitions)
        begin = self._consumer.beginning_offsets(names, timeout_ms=CALL_TIMEOUT_MS)
        end = self._consumer.end_offsets(names, timeout_ms=CALL_TIMEOUT_MS)
        self._ends |= end
        return {name: (begin[name], end[name]) for name in names}

    def ask_ends(self, partitions: Iterable[TopicPartition]) -> None:
        """Ask the brokers for the offset of the next record to come, for `at_end`.

        Raises:
            KafkaError: they do not answer at once.

        """
        self._ends |= self._consumer.end_offsets(list(partitions), timeout_ms=ASK_TIMEOUT_MS)

    def at_end(self, partition: TopicPartition) -> int | None:
        """Return the position in a partition that was read to its end; None where more waits.

        Raises:
            KafkaError: the position is not known now.

        """
        if self._consumer.highwater(partition) is None:  # nothing was fetched yet
            return None
        position = self.position(partition)
        return position if position >= self.end(partition) else None

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on reading at `offset`."""
        self._consumer.seek(partition, offset)

    def position(self, partition: TopicPartition) -> int:
        """Offset of the next record to be read."""
        return int(self._consumer.position(partition, timeout_ms=CALL_TIMEOUT_MS))

    def commit(self, positions: Mapping[TopicPartition, CommittedOffset]) -> bool:
        """Commit what is not committed yet; say whether that went well.

        It is noted too: an older position must not be committed after it.
        """
        self.noted = {**self.noted, **positions}
        news = {name: at for name, at in positions.items() if self.committed.get(name) != at}
        if not news:
            return True
        try:
            self._consumer.commit(_offsets(news), timeout_ms=self._timeout_ms())
        except KafkaError as error:
            logger.info("positions are not committed (%s); trying again", type(error).__name__)
            return False
        self.committed.update(news)
        return True

    def close(self) -> None:
        """Leave the group; a broker that does not answer is not waited for any longer."""
        close = partial(self._consumer.close, autocommit=False, timeout_ms=self._timeout_ms())
        close_with_timeout(close, min(CLOSE_TIMEOUT_S, self._left()))

    def _timeout_ms(self) -> int:
        """Milliseconds for a call; half of what a stop has left, as something comes after it."""
        return int(min(CALL_TIMEOUT_MS, self._left() * 500))

    async def on_revoked(self, partitions: set[TopicPartition]) -> None:
        """Commit the noted positions of partitions that are being taken away."""
        last = {**self.noted, **self._last_positions(partitions)}
        news = {
            name: at
            for name, at in last.items()
            if name in partitions and self.committed.get(name) != at
        }
        self.on_lost(partitions)
        if news:
            try:
                await self._consumer.commit_async(_offsets(news))
            except KafkaError as error:  # whoever has it now reads a little more again
                logger.info("positions were not handed over (%s)", type(error).__name__)

    def _last_positions(
        self, partitions: set[TopicPartition]
    ) -> Mapping[TopicPartition, CommittedOffset]:
        try:
            return self._revoked(partitions)
        except Exception as error:  # an error here would leave the rebalance half done
            logger.warning("can't tell the latest positions: %s", error)
            return {}

    def on_lost(self, partitions: set[TopicPartition]) -> None:
        """Forget partitions that are not ours any more."""
        self._lost |= partitions
        self._gained -= partitions
        self.noted = {name: at for name, at in self.noted.items() if name not in partitions}
        for name in partitions:
            self.committed.pop(name, None)

    def on_assigned(self, partitions: set[TopicPartition]) -> None:
        """Take partitions that are ours now."""
        self._gained |= partitions
        if self._held:
            # Before they hand over anything, in which case kafka-python 3.0 would forget what it
            # has laid aside of another paused partition, and never fetch that one again.
            self._consumer.pause(*partitions)


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Runs on the library's I/O thread, while ours waits in `poll` or `close`.

    Blocking calls of the consumer would fail there; only awaited ones work.
    """

    def __init__(self, group: GroupConsumer) -> None:
        self._group = group

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._group.on_revoked(set(revoked))

    async def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        self._group.on_lost(set(lost))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._group.on_assigned(set(assigned))


def _options(config: KafkaSourceConfig, group: str) -> dict[str, Any]:
    session_ms = round(config.session_timeout * 1000)
    return {
        "group_id": group,
        "group_instance_id": config.group_instance_id,
        "enable_auto_commit": False,
        # Where to begin is our own question; records that are gone are passed over, not skipped.
        "auto_offset_reset": "earliest",
        "isolation_level": config.isolation_level,
        "allow_auto_create_topics": False,
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": min(3_000, session_ms // 3),
        "max_poll_interval_ms": round(config.max_poll_interval * 1000),
        "metadata_max_age_ms": round(config.metadata_max_age * 1000),
        "max_poll_records": MAX_POLL_RECORDS,
        "fetch_max_bytes": FETCH_BYTES,
        "metrics_enabled": False,
    }


def _offsets(positions: Mapping[TopicPartition, CommittedOffset]) -> dict[TopicPartition, Any]:
    return {name: OffsetAndMetadata(at.offset, at.metadata, -1) for name, at in positions.items()}


def describe_join_error(error: KafkaError) -> str:
    """Say why the group does not take us, and what to do."""
    if isinstance(error, FencedInstanceIdError):
        return "another process uses our group_instance_id; give each its own"
    if isinstance(error, InconsistentGroupProtocolError):
        return "the group is in use by a program of another kind; give 'group' another name"
    return f"{type(error).__name__}: {error}"
