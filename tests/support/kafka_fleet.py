"""Daemons of one consumer group, what is written for them, and what they have to make of it."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import daemon_parts
import session_parts
from http_parts import served

from logmlm.detection.windows import window_id
from logmlm.records import LogLine

PARTITIONS = 6
ODD_EVERY = 40
SESSIONS = "s4"
GROUPS = {"group_wait": "1s", "group_interval": "5s", "repeat_interval": "20s"}
"""By the daemons' clock. What a receiver knows already it is only told of by a repeat."""
GROUPS |= {"resolve_after": "1000h", "flap_window": "1000h"}


def each_partitions(records):
    """How many records a partition gets, so that they are so many or more, in whole windows."""
    return 2 * -(-records // (2 * PARTITIONS))


def lines(partition, number, *, start=0):
    """Lines of one partition from number `start` on, some of them odd."""
    numbers = range(start, start + number)
    return [session_parts.line(i, f"{partition}-", ODD_EVERY) for i in numbers]


class Plan:
    """The ids of the alerts that an undisturbed run makes, each with the line that closes it."""

    def __init__(self, topic, number, detector):
        self._closed = []
        for partition in range(PARTITIONS):
            reader, windower = detector.event_parser(), detector.windower()
            written = [*lines(partition, number), *session_parts.last_lines(number)]
            for i, text in enumerate(written):
                events = reader.feed([LogLine(text, f"{topic}/{partition}", i, i + 1, 1.0)])
                if i == len(written) - 1:
                    events += reader.flush()
                self._note(detector, windower.add(events), i)

    def ids(self, upto):
        """Those of the windows that the first so many lines of each partition close."""
        return {name for name, closed_at in self._closed if closed_at < upto}

    @property
    def all_ids(self):
        return {name for name, _ in self._closed}

    def _note(self, detector, windows, i):
        odd = [score.window for score in detector.score(windows) if score.is_anomaly]
        self._closed += [(window_id(detector.digest, window), i) for window in odd]


class Fleet:
    """Daemons, each with its own state, a receiver of each alert, and one of groups.

    `posts` are the ids in each POST to the one; `told` are the name of the daemon and the count
    of alerts in each POST to the other.
    """

    def __init__(self, brokers, directory, topic, receivers, **source):
        self.brokers, self.directory, self.topic = brokers, directory, topic
        (self.url, self.posts), (self.groups_url, self.told) = receivers
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

    def configure(self, name, model=SESSIONS):
        """Write a daemon's configuration; see `daemon_parts.load` for what a model's name says."""
        config = self.directory / f"{name}.yaml"
        sinks = [{"webhook": {"url": self.url, "grouped": False}}]
        if self.groups_url is not None:
            sinks.append({"webhook": {"url": self.groups_url, "name": "groups"}})
        told = {
            "model": {"path": model},
            "state_dir": str(self.directory / f"state-{name}"),
            "source": {"kafka": self.source},
            "labels": {"service": name},
            "sinks": sinks,
            "alerting": GROUPS,
        }
        config.write_text(json.dumps(told))
        return config

    def start(self, name, model=SESSIONS):
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

    def counted(self):
        """How many alerts the receiver of groups knows of: what each daemon told it last."""
        return sum(dict(self.told[:]).values())

    def scored(self):
        """How many lines stand in scored windows, and in how many of different places."""
        found = daemon_parts.noted(self.directory / "scored.jsonl").values()
        return len({line for lines in found for line in lines}), sum(map(len, found))

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


def group_count(call):
    """Which daemon tells of its group, and how many alerts are in it."""
    alerts = call.json["alerts"]
    return call.json["groupLabels"]["service"], sum(
        int(alert["annotations"]["count"]) for alert in alerts
    )


@contextmanager
def fleet(brokers, directory, topic, answer_s=None, **source):
    """A fleet on a new topic, with an HTTP receiver for each alert, and one for groups.

    With `answer_s` the first one takes so long for each answer, and is the only one.
    """
    brokers.topic(topic, PARTITIONS)

    def ids(call):
        time.sleep(answer_s or 0)
        return alert_ids(call)

    with served(keep=ids) as receiver, served(keep=group_count) as groups:
        second = groups if answer_s is None else (None, [])
        made = Fleet(brokers, directory, topic, (receiver, second), **source)
        try:
            yield made
        finally:
            for name in list(made.running):
                made.end(name, signal.SIGKILL)


class Writer:
    """Writes each partition's lines, up to a number."""

    def __init__(self, brokers, topic):
        self.brokers, self.topic, self.written = brokers, topic, 0

    def write(self, upto):
        with self.brokers.producer() as producer:
            for partition in range(PARTITIONS):
                for text in lines(partition, upto - self.written, start=self.written):
                    producer.send(self.topic, text.encode(), partition=partition)
        self.written = upto

    def end(self):
        """Write lines that end all sessions; they are in open ones themselves."""
        with self.brokers.producer() as producer:
            for partition in range(PARTITIONS):
                for text in session_parts.last_lines(self.written):
                    producer.send(self.topic, text.encode(), partition=partition)
