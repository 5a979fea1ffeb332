"""The daemon on a real Kafka: killed, rebalanced, its broker lost; nothing is lost or doubled."""

import json
import signal

import pytest
from daemon_parts import FakeDetector
from kafka_fleet import PARTITIONS, Plan, Writer, fleet
from kafka_parts import Cluster, running_broker
from trials import kafka


def test_killed_ten_times_it_loses_no_window_and_makes_no_other_alert(broker, tmp_path):
    assert "0 unscored" in kafka.kill(broker, tmp_path, records=50_000, kills=10)


def test_rebalanced_from_three_to_one_to_three_it_makes_the_same_alerts(broker, tmp_path):
    assert "lag 0" in kafka.rebalance(broker, tmp_path, records=30_000)


def test_a_broker_that_is_restarted_is_waited_for(broker, tmp_path):
    assert "went on" in kafka.restart(broker, tmp_path, records=3_000)


def test_after_a_change_of_the_model_and_a_kill_every_line_is_in_a_window(broker, tmp_path):
    with fleet(broker, tmp_path, "model") as ships:
        writer = Writer(broker, ships.topic)
        ships.start("a", model="2")
        writer.write(400)
        wanted = Plan(ships.topic, 400, FakeDetector(digest="d2")).ids(400)
        ships.wait_for(lambda: ships.ids() >= wanted)
        ships.configure("a", model="3")
        ships.running["a"].send_signal(signal.SIGHUP)
        ships.wait_for(lambda: "another model scores" in (tmp_path / "a.log").read_text())
        writer.write(401)
        assert ships.end("a", signal.SIGKILL) == -signal.SIGKILL
        writer.write(1000)
        ships.start("a", model="3")
        ships.wait_for(lambda: ships.scored()[0] >= 998 * PARTITIONS)
        ships.wait_for(lambda: ships.lag(1000) <= 2 * PARTITIONS)  # the open windows alone
        ships.end_all()
        found = {json.loads(at.metadata)["model"] for at in broker.committed(ships.group).values()}
        assert found == {"d3"}


def test_records_that_became_no_line_are_passed_and_kept_once(broker, tmp_path):
    told = {"value": "json", "message_field": "message", "max_dead_letter_share": 1.0}
    good = ['{"message": "ODD"}'] * 2
    with fleet(broker, tmp_path, "garbage", **told) as ships:
        for partition in range(PARTITIONS):
            broker.produce(ships.topic, [*good, *["no json"] * 8], partition)
        broker.produce(ships.topic, ["no json"] * 10, PARTITIONS - 1)
        ships.start("a", model="none")
        ships.wait_for(lambda: len(ships.posts) == PARTITIONS)
        ships.wait_for(lambda: ships.lag(10) == -10)  # the last partition has ten more
        ships.end_all()
        ships.start("a", model="none")
        broker.produce(ships.topic, good, 0)
        ships.wait_for(lambda: len(ships.posts) == PARTITIONS + 1)
        ships.end_all()
        letters = broker.records("garbage.logmlm.dlq", 8 * PARTITIONS + 11, seconds=2)
        assert len(letters) == 8 * PARTITIONS + 10


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "kafka").mkdir()
    with running_broker(tmp_path / "kafka", Cluster) as running:
        yield running


def test_one_of_three_brokers_may_be_lost(cluster, tmp_path):
    assert "went on" in kafka.lose_one(cluster, tmp_path, records=3_000)
