"""Joining a real group: what is given to a member that comes, comes back, or is interrupted."""

import threading
import time
from contextlib import contextmanager

from kafka import KafkaConsumer, KafkaProducer
from kafka_sources import texts, until

from logmlm.system.kafka import KafkaClientFactory


def given(*sources):
    return sorted(name for source in sources for name in source.checkpoints())


@contextmanager
def polled(source):
    """A source that is polled beside the test, as another process would."""
    done = threading.Event()

    def poll():
        while not done.is_set():
            source.poll(0.2)

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield source
    finally:
        done.set()
        thread.join()


def grow(broker, topic, partitions):
    with broker.admin() as admin:
        admin.create_partitions({topic: partitions})


def test_polls_that_end_in_the_midst_of_joining_hold_up_nothing(broker, topic, open_source):
    source = open_source(metadata_max_age=1.0)
    until(lambda: len(given(source)) == 2, source, seconds=20, timeout=0.002)
    grow(broker, topic, 4)
    until(lambda: len(given(source)) == 4, source, seconds=20, timeout=0.002)
    broker.produce(topic, ["a"], partition=3)
    (lines,) = until(lambda: source.consumed_positions()[f"{topic}/3"] == 1, source, seconds=20)
    assert texts(lines) == ["a"]


def test_a_first_member_is_given_all_at_once(topic, open_source):
    made = []

    def consumer(**options):
        made.append(KafkaConsumer(**options))
        return made[-1]

    source = open_source(clients=KafkaClientFactory(consumer, KafkaProducer))
    until(lambda: given(source), source)
    assert given(source) == [f"{topic}/0", f"{topic}/1"]
    assert made[0].group_metadata().generation_id == 1


def test_what_it_reads_from_where_and_what_it_reads_no_longer_is_said(topic, open_source, caplog):
    caplog.set_level("INFO", "logmlm")
    first = open_source()
    until(lambda: len(given(first)) == 2, first)
    for number in (0, 1):
        assert f"reading {topic}/{number} from offset 0 on" in caplog.text
    assert "no longer" not in caplog.text
    with polled(open_source()) as second:
        until(lambda: len(given(first)) == len(given(second)) == 1, first)
    (moved,) = given(second)
    assert f"{moved} is read by us no longer" in caplog.text


def test_two_members_share_a_new_topic_of_their_pattern(broker, topic, open_source):
    told = {"pattern": f"{topic}.*", "metadata_max_age": 1.0}
    first, second = open_source(**told), open_source(**told)
    with polled(second):
        until(lambda: len(given(first)) == len(given(second)) == 1, first)
        broker.topic(f"{topic}-more", 2)
        until(lambda: len(given(first)) == len(given(second)) == 2, first)


def test_a_member_that_came_back_by_its_name_finds_new_partitions(broker, topic, open_source):
    told = {"group_instance_id": "one", "metadata_max_age": 1.0}
    for _ in range(2):
        source = open_source(**told)
        until(lambda source=source: len(given(source)) == 2, source, seconds=20)
        source.close()
    source = open_source(**told)
    until(lambda: len(given(source)) == 2, source, seconds=20)
    grow(broker, topic, 4)
    until(lambda: len(given(source)) == 4, source, seconds=20)


def test_a_named_member_that_ended_while_partitions_moved_leaves_none_to_nobody(topic, open_source):
    first = open_source(group_instance_id="one")
    until(lambda: len(given(first)) == 2, first)
    with polled(open_source(group_instance_id="two")) as second:
        until(lambda: len(given(first)) == 1, first, timeout=0.02)
        assert given(second) == []  # what was taken away is to be given in the next round
        first.close()
        first = open_source(group_instance_id="one")
        until(lambda: len(given(first, second)) == 2, first, seconds=20)
    assert given(first, second) == [f"{topic}/0", f"{topic}/1"]


def test_a_named_member_that_comes_back_takes_nothing_from_the_others(open_source):
    first, told = open_source(group_instance_id="one"), {"group_instance_id": "two"}
    with polled(first):
        second = open_source(**told)
        until(lambda: len(given(first)) == len(given(second)) == 1, second)
        before = given(first), given(second)
        first.changes()
        second.close()
        second = open_source(**told)
        until(lambda: given(second), second)
        deadline = time.monotonic() + 3
        until(lambda: time.monotonic() > deadline, second)
        assert (given(first), given(second)) == before
        assert not first.changes().lost


def test_partitions_that_come_while_it_is_held_stop_no_other(broker, topic, open_source):
    source = open_source(metadata_max_age=1.0)
    until(lambda: len(given(source)) == 2, source)
    broker.produce(topic, ["a"] * 2500, partition=0)
    (lines,) = until(lambda: source.consumed_positions()[f"{topic}/0"], source)
    source.pause(True)
    grow(broker, topic, 3)
    broker.produce(topic, ["b"], partition=2)
    (held,) = until(lambda: len(given(source)) == 3, source)
    deadline = time.monotonic() + 1
    (more,) = until(lambda: time.monotonic() > deadline, source)
    assert held + more == []
    source.pause(False)
    (rest,) = until(lambda: sum(source.consumed_positions().values()) == 2501, source, seconds=20)
    assert len(lines + rest) == 2501
