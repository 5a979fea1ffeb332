"""A real Kafka read by sources in this process."""

import json
import logging
import threading
import time

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from kafka_parts import PASSWORD, free_ports, running_broker
from kafka_sources import opener, read, texts, until

from logmlm.errors import ConfigError, DataError, StorageError, UnreachableError
from logmlm.records import Checkpoint
from logmlm.sources.base import PartitionChanges
from logmlm.system.kafka import KafkaClientFactory


def test_records_come_in_order_and_reading_goes_on_at_the_safe_position(broker, topic, open_source):
    broker.produce(topic, ["a", "b", "c"], partition=0)
    broker.produce(topic, ["x"], partition=1)
    first = open_source()
    assert (first.name, first.exhausted, first.changes()) == ("kafka", False, PartitionChanges())
    lines, lost, gained = read(first, 4)
    assert [text for text in texts(lines) if text in "abc"] == ["a", "b", "c"]
    assert lost == set()
    start = Checkpoint(0, 0, None)
    assert gained == first.checkpoints() == {f"{topic}/0": start, f"{topic}/1": start}
    at = Checkpoint(1, 3, 12.5)
    first.commit({f"{topic}/0": at, "not/ours": at})
    assert first.checkpoints() == {f"{topic}/0": at, f"{topic}/1": start}
    first.close()
    second = open_source()
    lines, _, gained = read(second, 3)
    assert gained == {f"{topic}/0": at, f"{topic}/1": start}
    assert sorted(texts(lines)) == ["b", "c", "x"]
    assert {(line.text, line.start, line.end) for line in lines} >= {("b", 1, 2), ("c", 2, 3)}
    assert second.describe(f"{topic}/0") == f"Kafka topic {topic}, partition 0"


def test_what_is_committed_stands_in_the_groups_metadata(broker, topic, open_source):
    source = open_source(model="0123456789abcdef-more")
    broker.produce(topic, ["a", "b"])
    read(source, 2)
    source.commit({f"{topic}/0": Checkpoint(1, 2, 7.0)})
    at = broker.committed(f"group-of-{topic}")[TopicPartition(topic, 0)]
    assert at.offset == 1
    assert json.loads(at.metadata) == {
        "v": 1,
        "reached": 2,
        "watermark": 7.0,
        "rise": None,
        "model": "0123456789abcdef",
        "rules": 2,
    }
    source.close()
    _, _, gained = read(open_source(model="another"), 1)
    assert gained[f"{topic}/0"] == Checkpoint(1, 1, 7.0)


def test_another_models_positions_bear_its_digest(broker, topic, open_source):
    source = open_source()
    broker.produce(topic, ["a", "b"])
    read(source, 2)
    at = {f"{topic}/0": Checkpoint(1, 2, 7.0)}
    source.commit(at)
    source.model_changed("another")
    source.commit(at)
    found = broker.committed(f"group-of-{topic}")[TopicPartition(topic, 0)]
    assert json.loads(found.metadata)["model"] == "another"
    source.close()
    _, _, gained = read(open_source(model="another"), 1)
    assert gained[f"{topic}/0"] == Checkpoint(1, 2, 7.0)


def test_the_lag_is_what_was_not_handed_over_yet(broker, topic, open_source):
    broker.produce(topic, ["x"] * 1500)
    source = open_source()
    assert source.lag() == {}
    lines, _, _ = read(source, 1)
    assert 0 < len(lines) < 1500
    assert source.lag() == {f"{topic}/0": 1500 - len(lines), f"{topic}/1": 0}
    read(source, 1500 - len(lines))
    assert source.lag() == {f"{topic}/0": 0, f"{topic}/1": 0}


def test_latest_begins_at_the_end_and_keeps_that_place_though_nothing_was_committed(
    broker, topic, open_source
):
    broker.produce(topic, ["old"])
    first = open_source(auto_offset_reset="latest")
    until(lambda: len(first.checkpoints()) == 2, first)
    broker.produce(topic, ["new"])
    first.close()
    lines, _, gained = read(open_source(auto_offset_reset="latest"), 1)
    assert texts(lines) == ["new"]
    assert gained[f"{topic}/0"] == Checkpoint(1, 1, None)


def test_latest_reads_what_is_written_after_the_beginning(broker, topic, open_source):
    broker.produce(topic, ["old"])
    source = open_source(auto_offset_reset="latest")
    source.begin()
    broker.produce(topic, ["new"], partition=0)
    broker.produce(topic, ["other"], partition=1)
    assert sorted(texts(read(source, 2)[0])) == ["new", "other"]


def test_a_group_that_is_not_joined_in_time_is_said_and_joined_later(
    broker, topic, open_source, caplog
):
    clock = iter(range(0, 10**8, 31))
    source = open_source(auto_offset_reset="latest", clock=lambda: float(next(clock)))
    source.begin()
    assert "the consumer group is not joined after 30 s" in caplog.text
    until(lambda: len(source.checkpoints()) == 2, source)
    broker.produce(topic, ["new"])
    assert texts(read(source, 1)[0]) == ["new"]


def test_a_partition_that_is_taken_away_is_handed_over_where_it_was_noted(
    broker, topic, open_source
):
    broker.produce(topic, ["a", "b", "c"], partition=0)
    broker.produce(topic, ["d", "e", "f"], partition=1)
    first = open_source()
    read(first, 6)
    noted = {f"{topic}/{number}": Checkpoint(2, 3, 5.0) for number in (0, 1)}
    first.set_pending(lambda: noted)
    second = open_source()
    gained = {}

    def moved():
        gained.update(second.changes().gained)
        return bool(gained) and len(first.checkpoints()) == 1

    lines = until(moved, first, second)
    (name,) = gained
    assert gained == {name: noted[name]}
    assert first.changes() == PartitionChanges(lost=frozenset([name]))
    again = texts(lines[1]) or texts(read(second, 1)[0])
    assert again == [{f"{topic}/0": "c", f"{topic}/1": "f"}[name]]
    second.close()
    back = {}

    def came_back():
        back.update(first.changes().gained)
        return name in back

    until(came_back, first)
    assert back == {name: noted[name]}


def test_lines_of_two_assignments_are_never_mixed(broker, topic, open_source):
    """Two sources share a topic, come and go; each line follows its partition's last gain."""
    broker.produce(topic, [str(i) for i in range(3000)], partition=0)
    broker.produce(topic, [str(i) for i in range(3000)], partition=1)
    stop, failures = threading.Event(), []

    def follow(source, turns):
        at = {}
        while turns > 0 and not stop.is_set():
            lines = source.poll(0.05)
            changes = source.changes()
            for name in changes.lost:
                del at[name]
            at |= {name: start.safe for name, start in changes.gained.items()}
            for line in lines:
                if at[line.partition] != line.start:
                    failures.append((line, at[line.partition]))
                at[line.partition] = line.end
            positions = {name: Checkpoint(max(0, end - 7), end, 0.0) for name, end in at.items()}
            source.set_pending(lambda positions=positions: positions)
            if turns % 3 == 0:
                source.commit(positions)
            turns -= 1
        source.close()

    always = threading.Thread(target=follow, args=(open_source(), 10**9))
    always.start()
    for turns in (12, 25):
        visitor = threading.Thread(target=follow, args=(open_source(), turns))
        visitor.start()
        visitor.join(40)
    stop.set()
    always.join(40)
    assert failures == []


def test_metadata_of_somebody_else_is_said_and_windows_are_made_anew(
    broker, topic, open_source, caplog
):
    broker.produce(topic, ["a", "b"])
    other = KafkaConsumer(
        bootstrap_servers=broker.address, group_id=f"group-of-{topic}", enable_auto_commit=False
    )
    at = TopicPartition(topic, 0)
    other.assign([at])
    other.commit({at: OffsetAndMetadata(1, "by hand", -1)})
    other.close()
    lines, _, gained = read(open_source(), 1)
    assert (texts(lines), gained[f"{topic}/0"]) == (["b"], Checkpoint(1, 1, None))
    assert "can't read what is committed beside offset 1" in caplog.text


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_codec_is_read(broker, topic, open_source, codec):
    broker.produce(topic, [f"{codec} {'x' * 200}"] * 50, compression_type=codec)
    lines, _, _ = read(open_source(), 50)
    assert set(texts(lines)) == {f"{codec} {'x' * 200}"}
    assert len(lines) == 50


def test_a_pattern_finds_topics_that_come_later_and_not_our_dead_letters(
    broker, topic, open_source
):
    name = f"pat-{topic}"
    broker.topic(f"{name}-a")
    broker.topic(f"{name}-a.logmlm.dlq")
    source = open_source(pattern=f"{name}-.*", metadata_max_age=1.0)
    broker.produce(f"{name}-a", ["a"])
    broker.produce(f"{name}-a.logmlm.dlq", ["never"])
    assert texts(read(source, 1)[0]) == ["a"]
    broker.topic(f"{name}-b")
    broker.produce(f"{name}-b", ["b"])
    assert texts(read(source, 1)[0]) == ["b"]
    assert set(source.checkpoints()) == {f"{name}-a/0", f"{name}-b/0"}


def test_a_source_that_is_held_hands_over_nothing_tells_its_lag_and_stays_in_the_group(
    broker, topic, open_source
):
    source = open_source(session_timeout=1.5, clock=lambda: time.time() * 10)
    until(lambda: len(source.checkpoints()) == 2, source)
    assert set(source.lag().values()) == {0}
    source.pause(True)
    broker.produce(topic, ["a"])
    lines, lost, _ = read(source, 1, seconds=2.0)
    assert (lines, lost) == ([], set())
    assert source.lag() == {f"{topic}/0": 1, f"{topic}/1": 0}
    source.pause(False)
    assert texts(read(source, 1)[0]) == ["a"]


def test_unreadable_records_go_to_the_dead_letter_topic_before_they_are_passed(
    broker, topic, open_source, caplog
):
    with broker.producer() as producer:
        for value in (b'{"log": "a"}', b"no json", b"[]", b'{"log": "b"}'):
            producer.send(topic, value, key=b"key", partition=0)
    source = open_source(value="json", message_field="log")
    assert texts(read(source, 2)[0]) == ["a", "b"]
    assert source.discarded["dead_letter"] == 2
    letters = broker.records(f"{topic}.logmlm.dlq", 2)
    assert [letter.value for letter in letters] == [b"no json", b"[]"]
    assert letters[1].key == b"key"
    assert dict(letters[0].headers) == {
        "logmlm.error": b"no JSON",
        "logmlm.topic": topic.encode(),
        "logmlm.partition": b"0",
        "logmlm.offset": b"1",
    }
    assert dict(letters[1].headers)["logmlm.error"] == b"no JSON object"
    assert (
        f"2 records can't be read, the last of them in {topic}/0 at offset 2 (no JSON"
        in caplog.text
    )
    assert f"topic {topic}.logmlm.dlq has them" in caplog.text


def test_while_dead_letters_can_not_be_written_nothing_passes_them(
    broker, topic, open_source, caplog
):
    """The producer reaches nobody at first."""
    from kafka import KafkaProducer

    (nobody,) = free_ports(1)
    addresses = iter([f"127.0.0.1:{nobody}"])

    def producer(**options):
        options |= {"bootstrap_servers": next(addresses, broker.address)}
        return KafkaProducer(**options | {"bootstrap_timeout_ms": 300})

    broker.produce(topic, ['{"log": "a"}', "no json", '{"log": "b"}'])
    told = {"value": "json", "message_field": "log"}
    source = open_source(clients=KafkaClientFactory(KafkaConsumer, producer), **told)
    assert texts(read(source, 2)[0]) == ["a", "b"]
    assert "dead letters can't be written now" in caplog.text
    assert len(broker.records(f"{topic}.logmlm.dlq", 1)) == 1


def test_a_dead_letter_topic_that_refuses_stops_the_source(broker, topic, open_source):
    small = broker.topic(f"{topic}-small", max_message_bytes=100)
    broker.produce(topic, ["x" * 2000])
    source = open_source(dead_letter_topic=small, max_record_bytes=1000)
    with pytest.raises(StorageError, match=f"can't write unreadable records to topic {small}"):
        read(source, 1)


def test_too_many_unreadable_records_stop_the_source_and_are_kept(broker, topic, open_source):
    broker.produce(topic, ["no json"] * 30)
    source = open_source(value="json", dead_letter_minimum=20, max_dead_letter_share=0.5)
    with pytest.raises(DataError, match="30 of the last 30 Kafka records can't be read"):
        read(source, 1)
    assert len(broker.records(f"{topic}.logmlm.dlq", 30)) == 30


def test_tombstones_are_no_lines_and_are_passed_and_counted(broker, topic, open_source):
    broker.produce(topic, ["a", *[None] * 2000, "b", None])
    source = open_source(dead_letter_minimum=10, max_dead_letter_share=0.01)
    assert texts(read(source, 2)[0]) == ["a", "b"]
    until(lambda: source.discarded["tombstone"] == 2001, source)
    assert source.discarded["dead_letter"] == 0
    until(lambda: source.lag() == {f"{topic}/0": 0, f"{topic}/1": 0}, source)
    assert source.consumed_positions()[f"{topic}/0"] == 2003


class Transactions:
    """A producer whose records are of transactions; None aborts, a number commits."""

    def __init__(self, broker, topic):
        self._producer = KafkaProducer(
            bootstrap_servers=broker.address, transactional_id=f"of-{topic}"
        )
        self._producer.init_transactions()
        self._topic = topic

    def begin(self, *values):
        self._producer.begin_transaction()
        for value in values:
            self._producer.send(self._topic, value.encode(), partition=0)
        self._producer.flush()

    def commit(self, *values):
        self.begin(*values)
        self._producer.commit_transaction()

    def abort(self, *values):
        self.begin(*values)
        self._producer.abort_transaction()

    def finish(self):
        self._producer.commit_transaction()

    def close(self):
        self._producer.close()


@pytest.fixture
def transactions(broker, topic):
    made = Transactions(broker, topic)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        (None, ["a", "b", "e"]),
        ("read_committed", ["a", "b", "e"]),
        ("read_uncommitted", ["a", "b", "no", "nor", "e"]),
    ],
)
def test_records_of_aborted_transactions_are_not_read_unless_asked_for(
    broker, topic, open_source, transactions, level, wanted
):
    transactions.commit("a", "b")
    transactions.abort("no", "nor")
    transactions.commit("e")
    transactions.abort(*["never"] * (level != "read_uncommitted"))
    source = open_source(**({} if level is None else {"isolation_level": level}))
    assert texts(read(source, len(wanted))[0]) == wanted
    until(lambda: sum(source.lag().values()) == 0, source)
    (end,) = {at for name, at in source.consumed_positions().items() if name == f"{topic}/0"}
    assert end == broker_end(broker, topic)
    assert source.discarded["deleted"] == 0


def broker_end(broker, topic):
    consumer = KafkaConsumer(bootstrap_servers=broker.address)
    at = TopicPartition(topic, 0)
    try:
        return consumer.end_offsets([at])[at]
    finally:
        consumer.close()


def test_what_stands_behind_an_open_transaction_waits_and_is_in_the_lag(
    broker, topic, open_source, transactions
):
    source = open_source()
    transactions.begin("a")
    broker.produce(topic, ["b"], partition=0)
    lines, _, _ = read(source, 1, seconds=2)
    assert (lines, source.lag()[f"{topic}/0"]) == ([], 2)
    transactions.finish()
    assert texts(read(source, 2)[0]) == ["a", "b"]
    until(lambda: source.lag()[f"{topic}/0"] == 0, source)


def test_a_group_that_read_past_an_open_transaction_goes_on_there(
    broker, topic, open_source, transactions, caplog
):
    transactions.begin("a")
    broker.produce(topic, ["b", "c"], partition=0)
    first = open_source(isolation_level="read_uncommitted")
    read(first, 3)
    first.commit({f"{topic}/0": Checkpoint(2, 2, None)})
    first.close()
    second = open_source()
    assert read(second, 1, seconds=2)[0] == []
    transactions.finish()
    assert texts(read(second, 1)[0]) == ["c"]
    assert "made anew" not in caplog.text


def test_records_that_were_deleted_unread_are_said(broker, topic, open_source, caplog):
    broker.produce(topic, [str(i) for i in range(10)])
    first = open_source()
    read(first, 10)
    first.commit({f"{topic}/0": Checkpoint(2, 4, None)})
    first.close()
    with broker.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): 6})
    lines, _, gained = read(open_source(), 4)
    assert texts(lines) == ["6", "7", "8", "9"]
    assert gained[f"{topic}/0"] == Checkpoint(6, 6, None)
    assert "up to 4 records were deleted before they were read" in caplog.text


class Deaf:
    """A consumer that stays in the group and hands over nothing more, like one that stalled."""

    def __init__(self, consumer):
        self._consumer = consumer
        self.is_deaf = False

    def __getattr__(self, name):
        return getattr(self._consumer, name)

    def poll(self, timeout_ms):
        if self.is_deaf:
            time.sleep(timeout_ms / 1000)
            return {}
        return self._consumer.poll(timeout_ms)


def test_a_consumer_that_stalled_is_replaced_and_nothing_is_lost(
    broker, topic, open_source, caplog
):
    made = []

    def consumer(**options):
        made.append(Deaf(KafkaConsumer(**options)))
        return made[-1]

    from kafka import KafkaProducer

    source = open_source(clients=KafkaClientFactory(consumer, KafkaProducer), stall_timeout=0.6)
    broker.produce(topic, ["a"])
    assert texts(read(source, 1)[0]) == ["a"]
    source.set_pending(lambda: {f"{topic}/0": Checkpoint(1, 1, None)})
    made[0].is_deaf = True
    broker.produce(topic, ["b"])
    lines, lost, gained = read(source, 1)
    assert texts(lines) == ["b"]
    assert len(made) == 2
    assert lost == set(gained) == {f"{topic}/0", f"{topic}/1"}
    assert "has stalled at" in caplog.text


def test_a_quiet_topic_is_no_stall(broker, topic, open_source, caplog):
    source = open_source(stall_timeout=0.3)
    broker.produce(topic, ["a"])
    read(source, 1)
    read(source, 1, seconds=2.0)
    assert "stalled" not in caplog.text


def test_brokers_that_do_not_answer_are_noticed_though_nothing_is_to_be_committed(tmp_path):
    with running_broker(tmp_path) as broker, opener(broker, broker.topic("quiet")) as make:
        source = make(clock=lambda: 10 * time.monotonic())
        broker.produce("quiet", ["a"])
        read(source, 1)
        assert source.commit({"quiet/0": Checkpoint(1, 1, None)})
        until(lambda: source.lag() == {"quiet/0": 0}, source)
        assert source.commit({})
        broker.stop(kill=True)
        until(lambda: not source.commit({}), source, seconds=20)
        broker.start()
        until(lambda: source.commit({}), source)
        broker.produce("quiet", ["b"])
        assert texts(read(source, 1)[0]) == ["b"]


def topics_of(broker):
    with broker.admin() as admin:
        return admin.list_topics()


def test_a_topic_that_is_not_there_is_not_made_but_told_and_waited_for(broker, open_source, caplog):
    source = open_source(topics="never-made", metadata_max_age=1.0)
    assert read(source, 1, seconds=3)[0] == []
    assert "never-made" not in topics_of(broker)
    assert "Kafka shows us no topic never-made; it is waited for" in caplog.text
    broker.topic("never-made")
    broker.produce("never-made", ["a"])
    assert texts(read(source, 1)[0]) == ["a"]


def test_a_topic_may_be_deleted_while_it_is_read(broker, topic, open_source):
    source = open_source(metadata_max_age=1.0)
    until(source.checkpoints, source)
    with broker.admin() as admin:
        admin.delete_topics([topic])
    until(lambda: not source.checkpoints(), source)
    read(source, 1, seconds=3)
    assert topic not in topics_of(broker)


def secret(tmp_path, text):
    path = tmp_path / "secret"
    path.write_text(text + "\n")
    return path


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_with_a_password_is_let_in(broker, topic, open_source, tmp_path, mechanism):
    broker.produce(topic, ["a"])
    sasl = {
        "mechanism": mechanism,
        "username": "alice",
        "password_file": secret(tmp_path, PASSWORD),
    }
    source = open_source(bootstrap_servers=broker.sasl_address, sasl=sasl)
    assert texts(read(source, 1)[0]) == ["a"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password_is_named_as_the_cause_and_never_shown(
    broker, open_source, tmp_path, mechanism, caplog
):
    caplog.set_level(logging.DEBUG)
    wrong = secret(tmp_path, "not-the-password")
    sasl = {"mechanism": mechanism, "username": "alice", "password_file": wrong}
    with pytest.raises(UnreachableError, match="check 'sasl'") as caught:
        open_source(bootstrap_servers=broker.sasl_address, sasl=sasl)
    assert caught.value.exit_code == 69
    assert "not-the-password" not in str(caught.value) + caplog.text


def test_a_broker_that_wants_credentials_or_is_not_there_is_said(broker, open_source, tmp_path):
    with pytest.raises(UnreachableError, match="does it want 'tls' or 'sasl'"):
        open_source(bootstrap_servers=broker.sasl_address, connect_timeout=1.0)
    (nobody,) = free_ports(1)
    with pytest.raises(UnreachableError, match=f"127.0.0.1:{nobody}: nothing listens there"):
        open_source(bootstrap_servers=f"127.0.0.1:{nobody}", connect_timeout=0.5)
    with pytest.raises(UnreachableError, match="does not speak TLS"):
        open_source(tls={}, connect_timeout=1.0)
    with pytest.raises(ConfigError, match="can't read"):
        open_source(
            sasl={"mechanism": "PLAIN", "username": "a", "password_file": tmp_path / "none"}
        )
    assert not [each for each in threading.enumerate() if each.name.startswith("kafka-io")]
