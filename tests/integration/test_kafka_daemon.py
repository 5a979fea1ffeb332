"""The daemon on a real Kafka: killed, rebalanced, its broker lost; nothing is lost or doubled."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

import daemon_parts
import pytest
from daemon_parts import FakeDetector, SessionDetector
from http_parts import served
from kafka_fleet import PARTITIONS, Plan, Writer, fleet
from kafka_parts import Cluster, running_broker
from trials import kafka

from logmlm.alerting.store.database import StateDatabase


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


STANDING_STILL = """\
model: {{path: none}}
state_dir: {directory}/state
source:
  kafka:
    bootstrap_servers: '{address}'
    topics: t
    auto_offset_reset: earliest
    value: json
    message_field: message
    max_dead_letter_share: 1
sinks:
  - stdout:
  - kafka: {{bootstrap_servers: '{address}', topic: alerts}}
  - webhook: {{url: 'http://127.0.0.1:{deaf}/', timeout: 60s, grouped: false}}
"""


def test_brokers_and_a_receiver_that_stand_still_do_not_keep_it_from_ending_in_time(tmp_path):
    """Each step of a stop has its time alone, but not all of them one after the other."""
    (tmp_path / "kafka").mkdir()
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        running_broker(tmp_path / "kafka") as broker,
        (tmp_path / "log").open("w+") as log,
    ):
        broker.topic("t")
        broker.produce("t", ["no json", *['{"message": "ODD"}'] * 20])
        config = tmp_path / "run.yaml"
        told = {"directory": tmp_path, "address": broker.address, "deaf": deaf.getsockname()[1]}
        config.write_text(STANDING_STILL.format(**told))
        command = [sys.executable, daemon_parts.__file__, str(config)]
        environment = os.environ | {"DAEMON_PARTS_SPEED": "1"}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as child:
            try:
                child.stdout.readline()
                broker.produce("t", ['{"message": "STUCK"}'] * 2)
                time.sleep(3)
                broker.freeze()
                began = time.monotonic()
                child.send_signal(signal.SIGTERM)
                assert child.wait(30) == 0
                took = time.monotonic() - began
            finally:
                child.kill()
        log.seek(0)
        said = log.read()
        assert "Traceback" not in said
        assert took < 10, said


PLACES = """\
model: {{path: none}}
state_dir: {directory}/state
alerting: {{group_by: [host], group_wait: 1h}}
sinks: [stdout: , webhook: {{url: '{url}'}}]
labels: {labels}
source:
  kafka:
    bootstrap_servers: '{address}'
    topics: {topic}
    group: {directory.name}
    auto_offset_reset: earliest
    value: json
    message_field: message
    attributes: {{host: field:at.host, service: field:app}}
"""


def alerts_of(directory, number, **told):
    """Id, fingerprint and labels of the first alerts of a daemon; its directory has its state."""
    config = directory / "run.yaml"
    config.write_text(PLACES.format(directory=directory, **told))
    command = [sys.executable, daemon_parts.__file__, str(config)]
    environment = os.environ | {"DAEMON_PARTS_SPEED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        try:
            found = [json.loads(child.stdout.readline()) for _ in range(number)]
            child.send_signal(signal.SIGTERM)
            assert child.wait(30) == 0
        finally:
            child.kill()
    return [(alert["id"], alert["fingerprint"], alert["labels"]) for alert in found]


def test_hosts_of_records_are_labels_that_group_and_silence_and_are_the_same_again(
    broker, tmp_path
):
    topic = broker.topic("places")
    hosts = ("web1", "web1", "web2", "web2", "web1", "web2")
    records = [{"message": "ODD", "at": {"host": host}, "app": "shop"} for host in hosts]
    broker.produce(topic, list(map(json.dumps, records)))
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    for directory in (one, two, three):
        directory.mkdir()
    with served() as (url, calls):
        told = {"url": url, "topic": topic, "address": broker.address}
        first = alerts_of(one, 3, labels="{}", **told)
        assert {call.json["groupLabels"].get("host", "") for call in calls} == {"web1", "web2", ""}
        assert alerts_of(two, 3, labels="{}", **told) == first
        (three / "state").mkdir()
        StateDatabase(three / "state" / "state.db").close()  # as a first run would
        silence = ["silence", "add", "host=web1", "--for", "1h", "--state-dir", three / "state"]
        subprocess.run([sys.executable, "-m", "logmlm", *map(str, silence)], check=True)
        heard = alerts_of(three, 2, labels="{service: ours}", **told)
    assert [labels.get("host") for _, _, labels in first] == ["web1", "web2", None]
    assert {labels["service"] for _, _, labels in first} == {"shop"}
    assert [id_ for id_, _, _ in heard] == [id_ for id_, _, _ in first[1:]]
    assert {labels["service"] for _, _, labels in heard} == {"ours"}


@pytest.fixture
def cluster(tmp_path):
    (tmp_path / "kafka").mkdir()
    with running_broker(tmp_path / "kafka", Cluster) as running:
        yield running


def test_one_of_three_brokers_may_be_lost(cluster, tmp_path):
    assert "went on" in kafka.lose_one(cluster, tmp_path, records=3_000)


def test_each_alert_is_sent_once_through_orderly_joins_and_leaves(broker, tmp_path):
    """Lines come faster than the receiver takes alerts: some wait whenever partitions move."""
    number = 3000
    with fleet(broker, tmp_path, "orderly", answer_s=0.1, session_timeout=6.0) as ships:
        plan = Plan(ships.topic, number, SessionDetector(4))
        writer = Writer(broker, ships.topic)
        wrote_at = [0.0]

        def keep_writing():
            if time.monotonic() > wrote_at[0] + 0.2 and writer.written + 20 < number:
                writer.write(writer.written + 20)
                wrote_at[0] = time.monotonic()

        def join(name):
            log = tmp_path / f"{name}.log"
            before = log.read_text().count("reading orderly") if log.exists() else 0
            ships.start(name)

            def is_done():
                keep_writing()
                return log.read_text().count("reading orderly") > before

            ships.wait_for(is_done)

        def leave(name):
            ships.wait_for(lambda: ships.ids() >= plan.ids(writer.written))
            writer.write(writer.written + 40)
            assert ships.end(name, signal.SIGTERM) == 0

        join("a")
        join("b")
        leave("b")
        join("b")
        leave("a")
        join("a")
        writer.write(number)
        writer.end()
        ships.wait_for(lambda: ships.ids() >= plan.all_ids)
        ships.end_all()
        sent = Counter(one for post in ships.posts for one in post)
    assert set(sent) == plan.all_ids
    assert {one: times for one, times in sent.items() if times > 1} == {}
