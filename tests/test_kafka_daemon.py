"""The daemon on a real Kafka: killed, rebalanced, the broker restarted; nothing lost or doubled."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import count

import daemon_parts
import pytest

from logmlm.records import window_id
from logmlm.windows import Windower

PARTITIONS = 6
NUMBERS = count()


def lines(partition, number, *, start=0):
    """Numbered lines of one partition, every fortieth of them odd."""
    return [
        f"{'ODD' if i % 40 == 0 else 'ok'} {partition}-{i}" for i in range(start, start + number)
    ]


def expected_ids(topic, number):
    """The ids of the alerts that an undisturbed run makes of `number` lines a partition."""
    found = set()
    for partition in range(PARTITIONS):
        detector, written = daemon_parts.FakeDetector(), lines(partition, number)
        events = [daemon_parts.event(text, partition=f"{topic}/{partition}") for text in written]
        events = [at_offset(each, i) for i, each in enumerate(events)]
        windower: Windower = detector.windower()
        scores = detector.score(windower.add(events))
        found |= {window_id(detector.digest, each.window) for each in scores if each.is_anomaly}
    return found


def at_offset(event, offset):
    return replace(event, line=replace(event.line, start=offset, end=offset + 1))


class Fleet:
    """Daemons of one group, each with its own state, whose alerts are gathered."""

    def __init__(self, broker, directory, topic, **source):
        self.broker, self.directory, self.topic = broker, directory, topic
        self.group = f"g-{topic}"
        self.source = {
            "bootstrap_servers": broker.address,
            "topics": topic,
            "group": self.group,
            "auto_offset_reset": "earliest",
            "session_timeout": 1.5,
            **source,
        }
        self.running = {}

    def start(self, name):
        config = self.directory / f"{name}.yaml"
        state = self.directory / f"state-{name}"
        told = {
            "model": {"path": "none"},
            "state_dir": str(state),
            "source": {"kafka": self.source},
        }
        config.write_text(json.dumps(told))
        with (
            (self.directory / f"{name}.jsonl").open("a") as out,
            (self.directory / f"{name}.log").open("a") as log,
        ):
            self.running[name] = subprocess.Popen(
                [sys.executable, daemon_parts.__file__, str(config)],
                stdout=out,
                stderr=log,
                env={**os.environ, "DAEMON_PARTS_SPEED": "10"},
            )

    def start_ready(self, name):
        log = self.directory / f"{name}.log"
        before = log.read_text().count("ready") if log.exists() else 0
        self.start(name)
        self.wait_for(lambda: log.read_text().count("ready") > before)

    def end(self, name, number):
        child = self.running.pop(name)
        child.send_signal(number)
        try:
            return child.wait(15)
        finally:
            child.kill()
            child.wait()

    def alerts(self):
        """Every alert that came out, in order; a line that a kill cut short is none."""
        found = []
        for path in sorted(self.directory.glob("*.jsonl")):
            for line in path.read_text().splitlines():
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return found

    def ids(self):
        return {alert["id"] for alert in self.alerts()}

    def wait_for(self, is_done, seconds=90):
        deadline = time.monotonic() + seconds
        while not is_done():
            for name, child in self.running.items():
                log = self.directory / f"{name}.log"
                assert child.poll() is None, f"{name} ended: {log.read_text()[-3000:]}"
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def logs(self):
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-2500:]}"
            for path in sorted(self.directory.glob("*.log"))
        )

    def lag(self, number):
        committed = self.broker.committed(self.group)
        return sum(number - at.offset for at in committed.values()) + number * (
            PARTITIONS - len(committed)
        )


@pytest.fixture
def fleet(broker, tmp_path):
    topic = broker.topic(f"logs-{next(NUMBERS)}", PARTITIONS)
    made = Fleet(broker, tmp_path, topic)
    try:
        yield made
    finally:
        for name in list(made.running):
            made.end(name, signal.SIGKILL)


class Writer:
    """Writes each partition's lines, up to a number."""

    def __init__(self, broker, topic):
        self.broker, self.topic, self.written = broker, topic, 0

    def write(self, upto):
        with self.broker.producer() as producer:
            for partition in range(PARTITIONS):
                for text in lines(partition, upto - self.written, start=self.written):
                    producer.send(self.topic, text.encode(), partition=partition)
        self.written = upto


def test_killed_ten_times_it_loses_no_window_and_makes_no_other_alert(fleet):
    number, kills = 2000, 10
    luck = random.Random(5)  # noqa: S311  any times will do
    wanted = expected_ids(fleet.topic, number)
    fleet.source["group_instance_id"] = "one"
    writer = Writer(fleet.broker, fleet.topic)
    for turn in range(kills):
        fleet.start("a")
        writer.write(number * (turn + 1) // (kills + 1))
        before = len(fleet.ids())
        fleet.wait_for(lambda before=before: len(fleet.ids()) > before)
        time.sleep(luck.random() * 0.3)
        assert fleet.end("a", signal.SIGKILL) == -signal.SIGKILL
    writer.write(number)
    fleet.start_ready("a")
    fleet.wait_for(lambda: len(fleet.ids()) >= len(wanted))
    assert fleet.end("a", signal.SIGTERM) == 0
    assert fleet.ids() == wanted
    assert len(fleet.alerts()) - len(fleet.ids()) <= kills
    assert fleet.lag(number) == 0


def test_rebalanced_from_three_to_one_to_three_it_makes_the_same_alerts(fleet):
    number = 3000
    wanted = expected_ids(fleet.topic, number)
    writer = Writer(fleet.broker, fleet.topic)
    for name in "abc":
        fleet.start_ready(name)
    writer.write(number // 4)
    fleet.wait_for(lambda: len(fleet.ids()) >= len(wanted) // 4 - 10)
    assert fleet.end("a", signal.SIGTERM) == 0
    writer.write(number // 2)
    assert fleet.end("b", signal.SIGKILL) == -signal.SIGKILL
    fleet.wait_for(lambda: len(fleet.ids()) >= len(wanted) // 2 - 10)
    writer.write(number * 3 // 4)
    fleet.start_ready("a")
    fleet.start_ready("b")
    writer.write(number)
    fleet.wait_for(lambda: len(fleet.ids()) >= len(wanted))
    for name in "abc":
        assert fleet.end(name, signal.SIGTERM) == 0
    assert fleet.ids() == wanted
    assert fleet.lag(number) == 0


def test_a_broker_that_is_restarted_is_waited_for(fleet):
    number = 500
    wanted = expected_ids(fleet.topic, number)
    writer = Writer(fleet.broker, fleet.topic)
    fleet.start("a")
    writer.write(number // 2)
    fleet.wait_for(lambda: len(fleet.ids()) >= len(wanted) // 2 - 10)
    fleet.broker.stop()
    time.sleep(1.0)
    fleet.broker.start()
    began = time.monotonic()
    writer.write(number)
    fleet.wait_for(lambda: len(fleet.ids()) >= len(wanted))
    assert time.monotonic() - began < 10
    assert fleet.end("a", signal.SIGTERM) == 0
    assert fleet.ids() == wanted
    assert fleet.lag(number) == 0
