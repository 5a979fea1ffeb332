"""The daemon on a real Kafka: killed, rebalanced, its broker lost; nothing is lost or doubled."""

import pytest
from kafka_parts import Cluster, running_broker
from trials import kafka


def test_killed_ten_times_it_loses_no_window_and_makes_no_other_alert(broker, tmp_path):
    assert "0 unscored" in kafka.kill(broker, tmp_path, records=50_000, kills=10)


def test_rebalanced_from_three_to_one_to_three_it_makes_the_same_alerts(broker, tmp_path):
    assert "lag 0" in kafka.rebalance(broker, tmp_path, records=30_000)


def test_a_broker_that_is_restarted_is_waited_for(broker, tmp_path):
    assert "went on" in kafka.restart(broker, tmp_path, records=3_000)


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "kafka").mkdir()
    with running_broker(tmp_path / "kafka", Cluster) as running:
        yield running


def test_one_of_three_brokers_may_be_lost(cluster, tmp_path):
    assert "went on" in kafka.lose_one(cluster, tmp_path, records=3_000)
