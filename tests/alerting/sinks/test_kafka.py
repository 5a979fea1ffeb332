"""Alerts as records of a real Kafka's topic."""

import json
import time
from dataclasses import replace

import pytest
from daemon_parts import explain, score
from kafka_parts import free_ports

from logmlm.alerting.alert_builder import build_alert
from logmlm.alerting.notification import build_single
from logmlm.alerting.sinks.kafka import KafkaSink
from logmlm.config.kafka import KafkaSinkConfig
from logmlm.errors import ConfigError
from logmlm.records import Notification


@pytest.fixture
def alert():
    found = score("ODD a", "b")
    return build_alert(
        found, explain(found), digest="d", labels={"service": "s"}, origin="o", description="d"
    )


@pytest.fixture
def sink(broker):
    made = []

    def make(topic, **options):
        told = {"bootstrap_servers": broker.address, "topic": topic, "timeout": 5.0} | options
        made.append(KafkaSink(KafkaSinkConfig(**told)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_each_alert_is_a_record_keyed_by_its_fingerprint(broker, sink, alert):
    topic = broker.topic("alerts", 3)
    to = sink(topic)
    other = replace(alert, id="other", ends_at=2000.0)
    assert to.send(build_single(alert)).outcome == "accepted"
    assert to.send(Notification("g", "firing", (alert, other))).outcome == "accepted"
    records = broker.records(topic, 3)
    assert {record.key for record in records} == {alert.fingerprint.encode()}
    assert len({record.partition for record in records}) == 1
    found = [json.loads(record.value) for record in records]
    assert [each["id"] for each in found] == [alert.id, alert.id, "other"]
    assert [each["status"] for each in found] == ["firing", "firing", "resolved"]
    assert found[0]["labels"] == dict(alert.labels)
    assert found[0]["annotations"]["summary"] == "1 of 2 log lines are unusual: ODD a"
    assert found[0]["startsAt"] == "1970-01-01T00:16:40Z"


def test_too_large_an_alert_is_refused_for_good(broker, sink, alert):
    topic = broker.topic("small-alerts", 1, max_message_bytes=300)
    delivery = sink(topic).send(build_single(alert))
    assert (delivery.outcome, delivery.reason) == ("refused", "MessageSizeTooLargeError")


def test_a_broker_out_of_reach_is_tried_again_later_and_not_waited_for(alert):
    (port,) = free_ports(1)
    told = {"bootstrap_servers": f"127.0.0.1:{port}", "topic": "t", "connect_timeout": 0.5}
    started = time.monotonic()
    delivery = KafkaSink(KafkaSinkConfig(**told)).send(build_single(alert))
    assert time.monotonic() - started < 3
    assert delivery.outcome == "later"
    assert "nothing listens there" in delivery.reason


def test_a_broker_that_went_away_is_tried_again_and_found_again(broker, sink, alert):
    topic = broker.topic("alerts-again")
    to = sink(topic, timeout=2.0)
    assert to.send(build_single(alert)).outcome == "accepted"
    broker.stop()
    assert to.send(build_single(alert)).outcome == "later"
    broker.start()
    deadline = time.monotonic() + 20
    while to.send(build_single(alert)).outcome != "accepted":
        assert time.monotonic() < deadline
    assert len(broker.records(topic, 2)) >= 2


def test_a_secret_that_is_not_there_stops_the_start(tmp_path):
    sasl = {"mechanism": "PLAIN", "username": "u", "password_file": tmp_path / "none"}
    config = KafkaSinkConfig(bootstrap_servers="h:9092", topic="t", sasl=sasl)
    with pytest.raises(ConfigError, match="can't read"):
        KafkaSink(config)
