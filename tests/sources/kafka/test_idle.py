"""A partition is idle only where a broker just said that nothing more is in it."""

import time

import pytest
from kafka_parts import running_broker
from kafka_sources import opener, read, until

from logmlm.sources.kafka.idle import LOOK_EVERY_S, MAX_GRACE_S, KafkaIdle


def looked(source, names, seconds=60, least=0.5):
    """Poll until all are idle for so long; the seconds of each."""
    deadline = time.monotonic() + seconds
    while True:
        source.poll(0.1)
        found = source.idle(names)
        if len(found) == len(names) and min(found.values()) >= least:
            return found
        assert time.monotonic() < deadline, found


def test_partitions_that_were_read_to_their_end_are_idle_until_more_comes(
    broker, topic, open_source
):
    names = [f"{topic}/0", f"{topic}/1"]
    broker.produce(topic, ["a", "b"], partition=0)
    source = open_source()
    assert (source.idle(names), source.is_idle()) == ({}, False), "it is not joined yet"
    read(source, 2)
    looked(source, [*names])
    assert source.is_idle()
    assert "unknown/0" not in source.idle([*names, "unknown/0"])
    broker.produce(topic, ["c"], partition=0)
    read(source, 1)
    assert source.idle(names).get(names[0], 0.0) == 0.0
    assert looked(source, names)


def test_records_that_wait_keep_a_partition_from_being_idle_though_none_is_handed_over(
    broker, topic, open_source
):
    names = [f"{topic}/0", f"{topic}/1"]
    source = open_source()
    until(lambda: len(source.checkpoints()) == 2, source)
    looked(source, names)
    source.pause(True)
    broker.produce(topic, ["a"], partition=0)
    for _ in range(8):
        assert source.poll(0.2) == []
        assert (source.idle(names), source.is_idle()) == ({}, False)
    source.pause(False)
    lines, _, _ = read(source, 1)
    assert [line.text for line in lines] == ["a"]
    looked(source, names)


def test_with_an_open_transaction_a_partition_is_not_idle(broker, topic, open_source):
    names = [f"{topic}/0"]
    source = open_source()
    until(lambda: len(source.checkpoints()) == 2, source)
    with broker.producer(transactional_id=f"t-{topic}") as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, b"a", partition=0).get(30)
        until(lambda: source.idle(names) == {}, source)
        for _ in range(15):
            assert source.poll(0.2) == []
            assert source.idle(names) == {}
        producer.commit_transaction()
    lines, _, _ = read(source, 1)
    assert [line.text for line in lines] == ["a"]
    looked(source, names)


@pytest.fixture
def own_broker(tmp_path):
    with running_broker(tmp_path) as running:
        yield running


def test_after_a_broker_was_lost_idle_time_starts_as_late_again_as_it_was_away(own_broker):
    own_broker.topic("t", 1)
    own_broker.produce("t", ["a"])
    with opener(own_broker, "t") as make:
        source = make(session_timeout=30.0)
        read(source, 1)
        looked(source, ["t/0"], least=2.0)
        own_broker.stop(kill=True)
        until(lambda: source.idle(["t/0"]) == {}, source)
        lost_at = time.monotonic()
        until(lambda: time.monotonic() > lost_at + 6.0, source)
        assert source.idle(["t/0"]) == {}
        own_broker.start()
        until(lambda: source.idle(["t/0"]), source, seconds=90)
        away = time.monotonic() - lost_at
        assert source.idle(["t/0"])["t/0"] < -0.5 * away
        assert looked(source, ["t/0"], seconds=120)


class Group:
    """Ends and positions as they are told; counts how often it was asked."""

    def __init__(self):
        self.asked = 0
        self.left = 0

    def ask_ends(self, _partitions):
        self.asked += 1

    def at_end(self, partition):
        return None if self.left else partition


def test_brokers_are_asked_once_a_second_and_a_partition_that_lags_counts_anew():
    now, group = [100.0], Group()
    idle = KafkaIdle(lambda: now[0])
    for _ in range(20):
        idle.refresh(group, {"t/0": 7})
        now[0] += LOOK_EVERY_S / 2
    assert group.asked == 10
    assert idle.of(["t/0"])["t/0"] == pytest.approx(9 * LOOK_EVERY_S)
    group.left = 1
    now[0] += LOOK_EVERY_S
    idle.refresh(group, {"t/0": 7})
    assert idle.of(["t/0"]) == {}


def test_the_grace_after_an_outage_is_bounded():
    now, group = [100.0], Group()
    idle = KafkaIdle(lambda: now[0])
    idle.lose()
    now[0] += 100_000.0
    idle.lose()
    idle.refresh(group, {"t/0": 7})
    assert idle.of(["t/0"]) == {"t/0": -MAX_GRACE_S}
