"""A topic read from a time to a time, from a real broker: what comes, and where it ends."""

import json
import time

import offline_parts
import pytest
from kafka.errors import CorruptRecordError, KafkaTimeoutError, TopicAuthorizationFailedError
from kafka_parts import PASSWORD, free_ports
from offline_parts import TRAIN, logmlm, service_log

from logmlm.config.loader import read_kafka_config
from logmlm.errors import ConfigError, DataError, StorageError, UnreachableError
from logmlm.sources.kafka.topic_reader import TopicReader
from logmlm.sources.kafka.url import KafkaUrl
from logmlm.system.kafka import KafkaClientFactory

BEGIN = 1_700_000_000


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.trained(tmp_path_factory)


def write(broker, topic, partitions, start=BEGIN, **options):
    """One record a second in each partition, the first at `start`."""
    with broker.producer(**options) as producer:
        for number, texts in enumerate(partitions):
            for second, text in enumerate(texts):
                producer.send(
                    topic, text.encode(), partition=number, timestamp_ms=(start + second) * 1000
                )


def read(broker, topic, times="", clock=time.monotonic, **told):
    warnings = []
    address = KafkaUrl.parse(f"kafka://{broker.address}/{topic}{times}", BEGIN + 60)
    config = read_kafka_config(None, address.section() | told)
    reader = TopicReader(config, address, clock, warnings.append)
    try:
        return list(reader.lines()), warnings
    finally:
        reader.close()


def test_partitions_are_read_one_after_another_with_offsets_as_positions(broker):
    topic = broker.topic("archive-order", 2)
    write(broker, topic, [["a", "b"], ["c"]])
    lines, warnings = read(broker, topic)
    found = [(line.text, line.partition, line.start, line.end) for line in lines]
    assert found == [
        ("a", f"{topic}/0", 0, 1),
        ("b", f"{topic}/0", 1, 2),
        ("c", f"{topic}/1", 0, 1),
    ]
    assert [line.received_at for line in lines] == [BEGIN, BEGIN + 1, BEGIN]
    assert (lines[1].written_at, warnings) == (BEGIN + 1, [])


def test_times_cut_at_both_ends_in_each_partition(broker):
    topic = broker.topic("archive-times", 3)
    numbers = [str(i) for i in range(60)]
    write(broker, topic, [numbers, numbers[:20]])
    lines, _ = read(broker, topic, "?since=-50s&until=2023-11-14T22:13:45Z")
    texts = {n: [line.text for line in lines if line.partition.endswith(n)] for n in "012"}
    assert texts == {"0": numbers[10:25], "1": numbers[10:20], "2": []}


def test_it_ends_where_the_topic_ended_when_it_was_opened(broker):
    topic = broker.topic("archive-end")
    write(broker, topic, [["a"]])
    address = KafkaUrl.parse(f"kafka://{broker.address}/{topic}", BEGIN)
    reader = TopicReader(read_kafka_config(None, address.section()), address, time.monotonic, print)
    write(broker, topic, [["b"]])
    assert [line.text for line in reader.lines()] == ["a"]
    reader.close()


def test_marks_of_transactions_at_the_end_hold_nothing_up(broker):
    from kafka import KafkaProducer

    topic = broker.topic("archive-transactions")
    producer = KafkaProducer(bootstrap_servers=broker.address, transactional_id="archive")
    producer.init_transactions()
    for text in ("a", "b"):
        producer.begin_transaction()
        producer.send(topic, text.encode(), partition=0)
        producer.commit_transaction()
    producer.close()
    lines, _ = read(broker, topic)
    assert [(line.text, line.start) for line in lines] == [("a", 0), ("b", 2)]


def test_an_aborted_transaction_is_left_out_unless_asked_for(broker):
    from kafka import KafkaProducer

    topic = broker.topic("archive-aborted")
    producer = KafkaProducer(bootstrap_servers=broker.address, transactional_id="aborted")
    producer.init_transactions()
    for text, end in (("a", producer.commit_transaction), ("no", producer.abort_transaction)):
        producer.begin_transaction()
        producer.send(topic, text.encode(), partition=0)
        producer.flush()
        end()
    producer.close()
    assert [line.text for line in read(broker, topic)[0]] == ["a"]
    lines, _ = read(broker, topic, isolation_level="read_uncommitted")
    assert [line.text for line in lines] == ["a", "no"]


def test_tombstones_are_left_out_and_told_of(broker):
    topic = broker.topic("archive-tombstones")
    broker.produce(topic, ["a", None, None, "b"])
    lines, warnings = read(broker, topic, dead_letter_minimum=1)
    assert [(line.text, line.start) for line in lines] == [("a", 0), ("b", 3)]
    assert warnings == [f"2 records of {topic} have no value (tombstones): no lines"]


def test_what_was_compacted_away_is_passed(broker):
    topic = broker.topic(
        "archive-compacted",
        cleanup_policy="compact",
        segment_ms=100,
        min_cleanable_dirty_ratio=0.001,
        max_compaction_lag_ms=100,
        delete_retention_ms=0,
    )
    with broker.producer() as producer:
        for number in range(200):
            producer.send(topic, b"%d" % number, key=b"%d" % (number % 2), partition=0)
            if number % 50 == 49:
                producer.flush()
                time.sleep(0.15)
    deadline = time.monotonic() + 30
    while len(lines := read(broker, topic)[0]) == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(lines) < 200
    assert lines[-1].text == "199"


def test_records_that_cannot_be_read_are_left_out_and_said(broker):
    topic = broker.topic("archive-json")
    write(broker, topic, [['{"message": "a"}', "no", "[]", '{"message": "b"}']])
    lines, warnings = read(broker, topic, value="json", message_field="message")
    assert [line.text for line in lines] == ["a", "b"]
    assert warnings == [
        f"records of {topic} that can't be read were left out (no JSON: 1, no JSON object: 1)"
    ]
    with pytest.raises(DataError, match="is 'value' right"):
        read(broker, topic, value="json", message_field="message", dead_letter_minimum=4)


def test_records_deleted_before_they_are_read_are_an_error(broker):
    from kafka import TopicPartition

    topic = broker.topic("archive-deleted")
    write(broker, topic, [["a", "b", "c"]])
    address = KafkaUrl.parse(f"kafka://{broker.address}/{topic}", BEGIN)
    reader = TopicReader(read_kafka_config(None, address.section()), address, time.monotonic, print)
    with broker.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): 2})
    with pytest.raises(StorageError, match="deleted before they could be read; take a later"):
        list(reader.lines())
    reader.close()
    assert [line.text for line in read(broker, topic)[0]] == ["c"]


def test_a_broker_that_goes_away_is_given_up_after_a_while(tmp_path):
    from kafka_parts import running_broker

    with running_broker(tmp_path) as other:
        topic = other.topic("gone")
        write(other, topic, [["a"] * 3])
        address = KafkaUrl.parse(f"kafka://{other.address}/{topic}", BEGIN)
        config = read_kafka_config(None, address.section() | {"stall_timeout": 1.0})
        reader = TopicReader(config, address, time.monotonic, print)
        other.stop(kill=True)
        with pytest.raises(UnreachableError, match=r"gone"):
            list(reader.lines())
        reader.close()


class Refusing:
    """A consumer whose every question fails with one error."""

    def __init__(self, error):
        self.error = error

    def __call__(self, **options):
        assert options["group_id"] is None
        return self

    def partitions_for_topic(self, topic):
        raise self.error(topic)

    def close(self, **options):
        pass


@pytest.mark.parametrize(
    ("error", "becomes", "said"),
    [
        (TopicAuthorizationFailedError, UnreachableError, "does not let us read t: TopicAuth"),
        (CorruptRecordError, DataError, "a Kafka record of t is damaged"),
        (KafkaTimeoutError, UnreachableError, r"can't read Kafka's t \(KafkaTimeoutError\)"),
    ],
)
def test_what_the_library_says_is_a_sentence(error, becomes, said):
    address = KafkaUrl.parse("kafka://a:1/t", BEGIN)
    config = read_kafka_config(None, address.section())
    with pytest.raises(becomes, match=said):
        TopicReader(
            config, address, time.monotonic, print, KafkaClientFactory(consumer=Refusing(error))
        )


def test_a_topic_that_is_not_there_is_said_and_not_made(broker):
    with pytest.raises(StorageError, match="shows us no topic 'archive-none'"):
        read(broker, "archive-none")
    with broker.admin() as admin:
        assert "archive-none" not in admin.list_topics()


def test_score_explain_evaluate_and_train_take_a_topic(broker, trained, tmp_path):
    topic = broker.topic("archive-commands", 1)
    write(broker, topic, [trained.odd_log.read_text().splitlines()])
    address = f"kafka://{broker.address}/{topic}"
    from_file = [
        json.loads(row) for row in logmlm("score", trained.model, trained.odd_log).out.splitlines()
    ]
    from_topic = [
        json.loads(row) for row in logmlm("score", trained.model, address).out.splitlines()
    ]
    assert [row["value"] for row in from_topic] == [row["value"] for row in from_file]
    assert {row["partition"] for row in from_topic} == {f"{topic}/0"}
    places = [[event["line"] for event in row["events"] if event["line"]] for row in from_file]
    offsets = [[e["line"] for e in row["events"] if e["line"] is not None] for row in from_topic]
    assert [[offset + 1 for offset in row] for row in offsets] == places
    odd = [row["window"] for row in from_topic if row["anomaly"]]
    shown = logmlm("explain", trained.model, address, "--window", odd[0])
    assert (shown.code, odd[0] in shown.out) == (0, True)
    measured = logmlm("evaluate", trained.model, address, "--labels", trained.labels)
    assert (measured.code, measured.err) == (0, "")
    normal = broker.topic("archive-normal", 1)
    write(broker, normal, [service_log(sessions=20)])
    learned = logmlm(
        *("train", f"kafka://{broker.address}/{normal}", "--out", tmp_path / "m", *TRAIN),
        *("--epochs", "1"),
    )
    assert learned.code == 0, learned.err
    manifest = json.loads((tmp_path / "m" / "manifest.json").read_text())
    assert manifest["data"]["files"] == [f"kafka://{broker.address}/{normal}"]


def test_files_and_topics_can_be_mixed_and_an_empty_topic_is_a_warning(broker, trained):
    topic = broker.topic("archive-empty")
    address = f"kafka://{broker.address}/{topic}"
    said = f"{topic}: no records from 'since' to 'until'"
    both = logmlm("score", trained.model, trained.odd_log, address)
    assert (both.code, both.err) == (0, f"warning: {said}\n")
    assert both.out == logmlm("score", trained.model, trained.odd_log).out
    alone = logmlm("score", trained.model, address)
    assert (alone.code, alone.err) == (65, f"logmlm: {said}\n")


def test_a_run_config_or_its_section_says_who_we_are(broker, trained, tmp_path):
    topic = broker.topic("archive-sasl")
    write(broker, topic, [trained.odd_log.read_text().splitlines()])
    (tmp_path / "password").write_text(PASSWORD)
    sasl = {
        "mechanism": "SCRAM-SHA-256",
        "username": "alice",
        "password_file": str(tmp_path / "password"),
    }
    section = {"bootstrap_servers": broker.sasl_address, "topics": "other", "sasl": sasl}
    alone, whole = tmp_path / "kafka.yaml", tmp_path / "run.yaml"
    alone.write_text(json.dumps({"sasl": sasl, "connect_timeout": "5s"}))
    whole.write_text(json.dumps({"model": {"path": "m"}, "source": {"kafka": section}}))
    named = logmlm(
        *("score", trained.model, f"kafka://{broker.sasl_address}/{topic}"),
        *("--kafka-config", alone),
    )
    assert (named.code, named.err) == (0, "")
    from_config = logmlm("score", trained.model, f"kafka:///{topic}", "--kafka-config", whole)
    assert from_config.out == named.out


@pytest.mark.parametrize(
    ("log", "code", "said"),
    [
        ("kafka://127.0.0.1/t", 64, "'127.0.0.1' should be host:port"),
        ("kafka:///t", 64, "'bootstrap_servers' is missing"),
        ("kafka://127.0.0.1:{free}/no+topic", 64, "'topics'"),
        ("kafka://127.0.0.1:{free}/t?since=soon", 64, "'soon' is no time"),
        ("kafka://127.0.0.1:{free}/t", 69, "nothing listens there"),
    ],
)
def test_a_wrong_address_is_a_sentence_with_the_right_exit_code(trained, log, code, said, tmp_path):
    quick = tmp_path / "quick.yaml"
    quick.write_text("connect_timeout: 500ms")
    told = ("--kafka-config", quick) if code == 69 else ()
    outcome = logmlm("score", trained.model, log.format(free=free_ports(1)[0]), *told)
    assert outcome.code == code, outcome.err
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_mistake_in_the_kafka_config_is_named_with_its_line(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model: {path: m}\nsource:\n  kafka:\n    sals: {}\n")
    over = KafkaUrl.parse("kafka://a:1/t", BEGIN).section()
    with pytest.raises(ConfigError, match=r"run\.yaml:4: unknown key 'sals'; did you mean 'sasl'"):
        read_kafka_config(path, over)
    path.write_text("source: {file: {include: x}}\n")
    with pytest.raises(ConfigError, match="has no section 'kafka'"):
        read_kafka_config(path, over)
