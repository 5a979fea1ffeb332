"""Daemons of one consumer group, what is written for them, and what they have to make of it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import daemon_parts
from http_parts import served

from logmlm.records import window_id

PARTITIONS = 6
ODD_EVERY = 40


def each_partitions(records):
    """How many records a partition gets, so that they are so many or more, in whole windows."""
    return 2 * -(-records // (2 * PARTITIONS))


def lines(partition, number, *, start=0):
    """Numbered lines of one partition, some of them odd."""
    return [
        f"{'ODD' if i % ODD_EVERY == 0 else 'ok'} {partition}-{i}"
        for i in range(start, start + number)
    ]


def expected_ids(topic, number):
    """The ids of the alerts that an undisturbed run makes of `number` lines a partition."""
    found = set()
    for partition in range(PARTITIONS):
        detector, written = daemon_parts.FakeDetector(), lines(partition, number)
        events = [daemon_parts.event(text, partition=f"{topic}/{partition}") for text in written]
        windower = detector.windower()
        scores = detector.score(windower.add(map(at_offset, events, range(number))))
        found |= {window_id(detector.digest, each.window) for each in scores if each.is_anomaly}
    return found


def at_offset(event, offset):
    return replace(event, line=replace(event.line, start=offset, end=offset + 1))


class Fleet:
    """Daemons, each with its own state; `posts` are the ids in each POST to their receiver."""

    def __init__(self, brokers, directory, topic, receiver, **source):
        self.brokers, self.directory, self.topic = brokers, directory, topic
        self.url, self.posts = receiver
        self.group = f"g-{topic}"
        self.source = {
            "bootstrap_servers": brokers.address.split(","),
            "topics": topic,
            "group": self.group,
            "auto_offset_reset": "earliest",
            "session_timeout": 1.5,
            "max_poll_interval": 540.0,  # by the daemons' clock, which is ten times as fast
            **source,
        }
        self.running = {}

    def configure(self, name, model="none"):
        """Write a daemon's configuration; see `daemon_parts.load` for what a model's name says."""
        config = self.directory / f"{name}.yaml"
        told = {
            "model": {"path": model},
            "state_dir": str(self.directory / f"state-{name}"),
            "source": {"kafka": self.source},
            "sinks": [{"webhook": {"url": self.url, "grouped": False}}],
        }
        config.write_text(json.dumps(told))
        return config

    def start(self, name, model="none"):
        config = self.configure(name, model)
        notes = {"SCORED_WINDOWS": str(self.directory / "scored.jsonl")}
        with (self.directory / f"{name}.log").open("a") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, daemon_parts.__file__, str(config)],
                stdout=log,
                stderr=log,
                env={**os.environ, **notes, "DAEMON_PARTS_SPEED": "10"},
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
            return child.wait(15 if number == signal.SIGTERM else 60)
        finally:
            child.kill()
            child.wait()

    def end_all(self):
        for name in list(self.running):
            assert self.end(name, signal.SIGTERM) == 0, f"{name} did not end well"

    def ids(self):
        return {one for post in self.posts[:] for one in post}

    def scored(self):
        """How many lines stand in a scored window, however often."""
        found = daemon_parts.noted(self.directory / "scored.jsonl")
        return len({line for lines in found.values() for line in lines})

    def stalls(self):
        """How often a consumer stood still, and was replaced."""
        texts = [path.read_text() for path in self.directory.glob("*.log")]
        return sum(text.count("making a new one") for text in texts)

    def wait_for(self, is_done, seconds=90):
        """Wait until it is done; it must not stand still, without a POST, for so long."""
        moved_at, posts = time.monotonic(), len(self.posts)
        while not is_done():
            for name, child in self.running.items():
                assert child.poll() is None, f"{name} ended: {self.logs()}"
            if len(self.posts) > posts:
                moved_at, posts = time.monotonic(), len(self.posts)
            assert time.monotonic() < moved_at + seconds, f"no POST for {seconds} s\n{self.logs()}"
            time.sleep(0.02)

    def logs(self):
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-2500:]}"
            for path in sorted(self.directory.glob("*.log"))
        )

    def lag(self, number):
        committed = self.brokers.committed(self.group)
        behind = sum(number - at.offset for at in committed.values())
        return behind + number * (PARTITIONS - len(committed))


def alert_ids(call):
    return [alert["annotations"]["window"] for alert in call.json["alerts"]]


@contextmanager
def fleet(brokers, directory, topic, **source):
    """A fleet on a new topic, with an HTTP receiver that takes each alert by itself."""
    brokers.topic(topic, PARTITIONS)
    with served(keep=alert_ids) as receiver:
        made = Fleet(brokers, directory, topic, receiver, **source)
        try:
            yield made
        finally:
            for name in list(made.running):
                made.end(name, signal.SIGKILL)


class Writer:
    """Writes each partition's lines, up to a number."""

    def __init__(self, brokers, topic):
        self.brokers, self.topic, self.written = brokers, topic, 0

    @property
    def odd(self):
        """How many odd lines there are, at least, with whole windows around them."""
        return PARTITIONS * (self.written // ODD_EVERY)

    def write(self, upto):
        with self.brokers.producer() as producer:
            for partition in range(PARTITIONS):
                for text in lines(partition, upto - self.written, start=self.written):
                    producer.send(self.topic, text.encode(), partition=partition)
        self.written = upto
