"""Short forms of what disturbs the daemon as it is shipped: alerts stay those of `score`."""

import pytest
from trials import disturbances


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return disturbances.trained(tmp_path_factory.mktemp("disturbed"))


EQUAL = ": 0 missing, 0 more"


def test_records_that_wait_while_the_daemon_gets_little_time_change_no_window(
    broker, tmp_path, model
):
    said = disturbances.backlog(broker, tmp_path, model, records=12_000, rests=3)
    assert said.endswith(EQUAL)


def test_one_of_two_processes_that_is_stopped_for_a_while_changes_no_window(
    broker, tmp_path, model
):
    told = {"records": 6_000, "live": 6_000, "stops": 2, "stopped_s": 7.0}
    assert disturbances.stop_one(broker, tmp_path, model, **told).endswith(EQUAL)


def test_a_receiver_that_is_down_so_that_no_more_is_read_changes_no_window(broker, tmp_path, model):
    told = {"records": 30_000, "down_s": 20.0, "odd_every": 3}
    assert disturbances.hold(broker, tmp_path, model, **told).endswith(EQUAL)


@pytest.fixture
def own_broker(tmp_path):
    from kafka_parts import running_broker

    (tmp_path / "kafka").mkdir()
    with running_broker(tmp_path / "kafka") as running:
        yield running


def test_a_broker_that_is_killed_for_a_while_changes_no_window(own_broker, tmp_path, model):
    told = {"records": 6_000, "live": 6_000, "down_s": 8.0}
    assert disturbances.lose_broker(own_broker, tmp_path, model, **told).endswith(EQUAL)
