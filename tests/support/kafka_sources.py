"""Sources of this process on a real Kafka, and what tests do with them."""

import time
from contextlib import contextmanager

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.sources.kafka.source import KafkaSource


@contextmanager
def opener(broker, topic):
    """Opens sources of a topic, all in one group, and closes them in the end."""
    opened = []

    def make(*, model="model", clients=None, clock=time.time, **told):
        least = {
            "bootstrap_servers": broker.address,
            "auto_offset_reset": "earliest",
            "session_timeout": 6.0,
            "connect_timeout": 3.0,
        }
        least |= {} if "pattern" in told else {"topics": topic}
        parts = {} if clients is None else {"clients": clients}
        source = KafkaSource(
            KafkaSourceConfig(**least | told),
            group=f"group-of-{topic}",
            model=model,
            clock=clock,
            wait=time.sleep,
            **parts,
        )
        opened.append(source)
        return source

    try:
        yield make
    finally:
        for source in opened:
            source.close()


def read(source, number, seconds=40):
    """Lines and changes until so many lines came."""
    lines, lost, gained = [], set(), {}
    deadline = time.monotonic() + seconds
    while len(lines) < number and time.monotonic() < deadline:
        lines += source.poll(0.2)
        changes = source.changes()
        lost |= changes.lost
        gained |= changes.gained
    return lines, lost, gained


def texts(lines):
    return [line.text for line in lines]


def until(is_done, *sources, seconds=40, timeout=0.1):
    """Poll until it is done; the lines that came, by source."""
    lines = [[] for _ in sources]
    deadline = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < deadline
        for i, source in enumerate(sources):
            lines[i] += source.poll(timeout)
    return lines
