"""What the library may say at any time, played by a list fake in the place of its consumer."""

import asyncio
import logging
from types import SimpleNamespace

import pytest
from kafka import TopicPartition
from kafka.errors import (
    CommitFailedError,
    CorruptRecordError,
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    KafkaTimeoutError,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
)
from kafka.structs import MemberState

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.errors import DataError, UnreachableError
from logmlm.records import Checkpoint
from logmlm.sources.kafka.source import CHECK_TOPICS_EVERY_S, KafkaSource
from logmlm.system.kafka import KafkaClientFactory

P, NAME = TopicPartition("t", 0), "t/0"


class FakeConsumer:
    """Each poll takes the next of a script: records, an error, or something to do."""

    def __init__(self, script, ends=(0, 100)):
        self.script, self.ends = list(script), ends
        self.commits, self.seeks, self.failing = [], [], []
        self.listener, self.state = None, MemberState.STABLE
        self.topics = {"t": {0}}
        self._cluster = SimpleNamespace(
            partitions_for_topic=self.topics.get, topics=lambda: set(self.topics)
        )

    def bootstrap(self, **_):
        """The broker is reached."""

    def group_metadata(self):
        return SimpleNamespace(state=self.state)

    def subscribe(self, *, listener, **_):
        self.listener = listener
        asyncio.run(listener.on_partitions_assigned({P}))

    def paused(self):
        return set()

    def poll(self, _timeout_ms):
        step = self.script.pop(0) if self.script else {}
        if callable(step):
            step = step(self)
        if isinstance(step, Exception):
            raise step
        return {P: [record(offset) for offset in step]} if step else {}

    def committed(self, *_, **__):
        return None

    def beginning_offsets(self, names, **_):
        return {name: self._next_end()[0] for name in names}

    def end_offsets(self, names, **_):
        return dict.fromkeys(names, self.ends[1])

    def _next_end(self):
        if self.failing:
            raise self.failing.pop(0)
        return self.ends

    def highwater(self, _partition):
        return self.ends[1]

    def seek(self, _partition, offset):
        self.seeks.append(offset)

    def position(self, _partition, **_):
        return self.seeks[-1]

    def commit(self, offsets, **_):
        if self.failing:
            raise self.failing.pop(0)
        self.commits.append({name: at.offset for name, at in offsets.items()})

    async def commit_async(self, offsets):
        self.commit(offsets)

    def close(self, **_):
        self.commits.append("closed")


def record(offset):
    return SimpleNamespace(
        topic="t", partition=0, offset=offset, timestamp=-1, key=None, value=b"x", headers=[]
    )


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def source(clock, *scripts, failing=(), **told):
    """A source whose consumers follow the scripts, one after the other; and the consumers."""
    made, left = [], list(scripts)

    def make(**_):
        step = left.pop(0)
        if isinstance(step, Exception):
            raise step
        made.append(FakeConsumer(step))
        made[-1].failing = list(failing)
        return made[-1]

    waits = []
    least = {"bootstrap_servers": "a:1", "topics": "t", "auto_offset_reset": "earliest"}
    config = KafkaSourceConfig(**least | told)
    opened = KafkaSource(
        config,
        group="g",
        model="m",
        clock=clock,
        wait=waits.append,
        clients=KafkaClientFactory(make, None),
    )
    return opened, made, waits


def offsets(lines):
    return [line.start for line in lines]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TopicAuthorizationFailedError({"t"}), "Kafka refuses: TopicAuthorizationFailedError"),
        (FencedInstanceIdError(), "another process uses our group_instance_id"),
        (InconsistentGroupProtocolError(), "give 'group' another name"),
    ],
)
def test_what_is_refused_for_good_ends_the_daemon_and_says_why(clock, error, words):
    opened, _, _ = source(clock, [error])
    with pytest.raises(UnreachableError, match=words):
        opened.poll(0.1)


def test_a_damaged_record_ends_the_daemon_and_is_named(clock):
    opened, _, _ = source(clock, [CorruptRecordError("t-0 at 7")])
    with pytest.raises(DataError, match=r"damaged: .*t-0 at 7; .* move the group's offset past"):
        opened.poll(0.1)


def test_trouble_is_said_now_and_then_waited_out_and_loses_no_line(clock, caplog):
    trouble = [KafkaTimeoutError("x")] * 3
    opened, _, waits = source(clock, [{}, [0, 1], *trouble, [2]])
    lines = []
    for _ in range(6):
        lines += opened.poll(0.1)
        clock.now += 1
    assert offsets(lines) == [0, 1, 2]
    assert waits == [0.1] * 3
    assert caplog.text.count("trouble with Kafka (KafkaTimeoutError") == 1


def test_a_partition_is_placed_once_that_can_be_done_and_its_records_come_again(clock):
    opened, (consumer,), _ = source(clock, [[0, 1], [0, 1], [2]], failing=[KafkaTimeoutError("x")])
    assert (opened.poll(0.1), opened.changes().gained) == ([], {})
    assert opened.poll(0.1) == []
    assert opened.changes().gained == {NAME: Checkpoint(0, 0, None)}
    assert (consumer.seeks, consumer.commits) == ([0], [{P: 0}])


def test_a_start_that_can_not_be_committed_is_not_used_yet(clock, caplog):
    caplog.set_level(logging.INFO)
    opened, (consumer,), _ = source(clock, [])
    consumer.beginning_offsets = lambda names, **_: dict.fromkeys(names, 0)
    consumer.failing = [CommitFailedError("x")]
    opened.poll(0.1)
    assert opened.checkpoints() == {}
    opened.poll(0.1)
    assert list(opened.checkpoints()) == [NAME]
    assert "positions are not committed (CommitFailedError); trying again" in caplog.text


def test_a_commit_during_a_rebalance_is_tried_again_at_the_next(clock):
    opened, (consumer,), _ = source(clock, [])
    opened.poll(0.1)
    consumer.failing = [RebalanceInProgressError("x")]
    at = {NAME: Checkpoint(3, 4, 1.0)}
    assert not opened.commit(at)
    assert opened.checkpoints() == {NAME: Checkpoint(0, 0, None)}
    assert opened.commit(at)
    assert opened.commit(at)
    consumer.state = MemberState.UNJOINED
    assert not opened.commit({})
    assert opened.checkpoints() == at
    assert consumer.commits == [{P: 0}, {P: 3}]


def test_a_quiet_topic_whose_brokers_do_not_answer_is_not_well_until_they_do(clock):
    opened, (consumer,), _ = source(clock, [{}, {}])
    opened.poll(0.1)
    assert opened.commit({})
    for step in (KafkaTimeoutError("x"), {}):
        consumer.script = [step]
        consumer.failing = [KafkaTimeoutError("x")]
        clock.now += CHECK_TOPICS_EVERY_S
        opened.poll(0.1)
        assert not opened.commit({})
    opened.poll(0.1)
    assert not opened.commit({})  # nobody was asked again
    clock.now += CHECK_TOPICS_EVERY_S
    opened.poll(0.1)
    assert opened.commit({})


def test_a_broker_that_sends_records_has_answered(clock):
    opened, _, _ = source(clock, [{}, KafkaTimeoutError("x"), [0]])
    opened.poll(0.1)
    opened.poll(0.1)
    assert not opened.commit({})
    opened.poll(0.1)
    assert opened.commit({})


def test_a_topic_that_is_missing_is_told_once_a_minute(clock, caplog):
    opened, (consumer,), _ = source(clock, [], topics=["t", "u"])
    for _ in range(20):
        opened.poll(0.1)
        clock.now += 6
    assert caplog.text.count("Kafka shows us no topic u; it is waited for") == 2
    consumer.topics["u"] = {0}
    clock.now += 60
    opened.poll(0.1)
    assert caplog.text.count("no topic u") == 2


def test_a_pattern_that_no_topic_matches_is_told(clock, caplog):
    opened, (consumer,), _ = source(clock, [], topics=[], pattern="logs-.*")
    opened.poll(0.1)
    assert caplog.text.count("Kafka shows us no topic that matches 'logs-.*'") == 1
    consumer.topics["logs-a"] = {0}
    clock.now += 60
    opened.poll(0.1)
    assert caplog.text.count("no topic that matches") == 1


def revoked(consumer):
    asyncio.run(consumer.listener.on_partitions_revoked({P}))


def lost_and_back(consumer):
    asyncio.run(consumer.listener.on_partitions_lost({P}))
    asyncio.run(consumer.listener.on_partitions_assigned({P}))


def test_a_revoked_partition_is_committed_where_it_was_noted(clock, caplog):
    caplog.set_level(logging.INFO)
    opened, (consumer,), _ = source(clock, [{}, revoked])
    opened.poll(0.1)
    opened.set_pending(lambda: {NAME: Checkpoint(5, 7, 1.0)})
    opened.poll(0.1)
    assert consumer.commits == [{P: 0}, {P: 5}]
    assert opened.checkpoints() == {}
    opened, (consumer,), _ = source(clock, [{}, revoked])
    opened.poll(0.1)
    opened.set_pending(lambda: {NAME: Checkpoint(5, 7, 1.0)})
    consumer.failing = [CommitFailedError("x")]
    opened.poll(0.1)
    assert "positions were not handed over (CommitFailedError)" in caplog.text


def test_a_partition_lost_and_back_in_one_poll_is_both(clock):
    opened, (consumer,), _ = source(clock, [{}, lost_and_back])
    opened.poll(0.1)
    opened.changes()
    opened.set_pending(lambda: {NAME: Checkpoint(5, 7, 1.0)})
    opened.poll(0.1)
    changes = opened.changes()
    assert (changes.lost, set(changes.gained)) == ({NAME}, {NAME})
    assert {P: 5} not in consumer.commits


def test_a_partition_gained_and_lost_before_anyone_asked_is_neither(clock):
    opened, _, _ = source(clock, [{}, revoked])
    opened.poll(0.1)
    opened.poll(0.1)
    changes = opened.changes()
    assert (changes.lost, changes.gained) == (set(), {})


def test_offsets_that_go_back_mean_another_partition_of_the_same_name(clock, caplog):
    opened, _, _ = source(clock, [{}, [5, 6], [0, 1]])
    opened.poll(0.1)
    opened.poll(0.1)
    opened.changes()
    assert offsets(opened.poll(0.1)) == [0, 1]
    changes = opened.changes()
    assert (changes.lost, changes.gained) == ({NAME}, {NAME: Checkpoint(0, 0, None)})
    assert "t/0 goes back from offset 7 to 0: made anew" in caplog.text


def test_a_gap_is_said_where_records_were_deleted_and_not_where_they_were_compacted(clock, caplog):
    opened, (consumer,), _ = source(clock, [{}, [3], [9], [20]])
    for _ in range(3):
        opened.poll(0.1)
    assert "deleted" not in caplog.text
    consumer.ends = (15, 100)
    assert offsets(opened.poll(0.1)) == [20]
    assert "t/0: 5 records were deleted unread" in caplog.text


def not_joined(consumer):
    consumer.state, consumer.ends = MemberState.REBALANCING, (0, 0)


def test_a_consumer_that_does_not_join_its_group_is_replaced_in_time(clock, caplog):
    told = {"max_poll_interval": 120, "stall_timeout": 60}
    opened, made, _ = source(clock, [not_joined], [{}, [0]], **told)
    opened.poll(0.1)
    for _ in range(17):
        clock.now += 10
        assert opened.poll(0.1) == []
    assert (len(made), opened.discarded.total()) == (1, 0)
    clock.now += 10
    opened.poll(0.1)
    assert "Kafka's consumer has not joined its group for 180 s; making a new one" in caplog.text
    assert opened.discarded["stall"] == 1
    opened.poll(0.1)
    assert offsets(opened.poll(0.1)) == [0]
    assert (len(made), made[0].commits[-1]) == (2, "closed")


def test_a_partition_whose_start_can_not_be_found_for_long_is_a_stall_too(clock):
    told = {"max_poll_interval": 120, "stall_timeout": 60}
    opened, made, _ = source(clock, [], [], failing=[KafkaTimeoutError("x")] * 19, **told)
    for _ in range(19):
        assert opened.poll(0.1) == []
        clock.now += 10
    assert (len(made), opened.discarded["stall"]) == (1, 1)


def test_an_absence_from_the_group_that_ends_in_time_is_none(clock):
    opened, made, _ = source(clock, [not_joined], max_poll_interval=120, stall_timeout=60)
    for _ in range(20):
        opened.poll(0.1)
        made[0].state = MemberState.STABLE if made[0].state is not MemberState.STABLE else None
        clock.now += 100
    made[0].state = MemberState.UNJOINED
    opened.poll(0.1)
    clock.now -= 1000
    opened.poll(0.1)
    clock.now += 179
    opened.poll(0.1)
    assert opened.discarded.total() == 0


def test_a_new_consumer_that_finds_no_broker_is_tried_for_again(clock, caplog):
    opened, made, waits = source(clock, [{}], KafkaTimeoutError("x"), [{}, [0]], stall_timeout=60)
    opened.poll(0.1)
    assert opened.lag() == {NAME: 100}
    kept = []
    for _ in range(7):
        clock.now += 30
        opened.poll(0.1)
        kept.append(opened.commit({}))
        assert opened.lag() in ({NAME: 100}, {NAME: 99}, {})
    opened.set_pending(lambda: {})
    assert (all(kept), kept[-1]) == (False, True)
    assert "has stalled at t/0" in caplog.text
    assert made[0].commits[-1] == "closed"
    assert (len(made), len(waits)) == (2, 1)
    assert opened.discarded["stall"] == 1
    opened.close()
    assert made[1].commits[-1] == "closed"
