"""From a Kafka topic to alerts, beside the bare consumer loop that throws the records away.

A real broker, a real model, the daemon's own parts in this process. The figure is of the training
log itself, again and again, an hour later each time, after a pass to warm up: every window that is
measured was seen before. A row tells of the recorded later log, with its faults, in as many parts
as there are turns, each read once: of its windows not all were seen.
"""

from __future__ import annotations

import math
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from speeds.figure import ROUNDS, Figure, Options, SkippedError, by_turns, spread
from speeds.trained import recorded, trained

TOPIC = "t"
WHAT = (
    "Kafka to alerts: CPU of the bare consumer loop over the daemon's for the same records, the"
    " training log replayed, so that every window was seen before; rows `later`: not all were"
)
CONFIG = """\
model: {{path: {model}, device: cpu}}
state_dir: {work}/state
source:
  kafka: {{bootstrap_servers: ['{address}'], topics: {topic}, auto_offset_reset: earliest}}
sinks: [{{file: {{path: {work}/alerts.jsonl}}}}]
"""


class Bare:
    """kafka-python's consumer by itself."""

    def __init__(self, address: str) -> None:
        from kafka import KafkaConsumer

        self.consumer = KafkaConsumer(
            TOPIC, bootstrap_servers=address, auto_offset_reset="earliest", group_id=None
        )

    def read(self, upto: int) -> None:
        paused, position = self.consumer.paused(), 0
        self.consumer.resume(*paused)
        while position < upto:
            for records in self.consumer.poll(500).values():
                position = records[-1].offset + 1
        self.consumer.pause(*self.consumer.assignment())  # the other's turn is its own


class NoWishes:
    def request_reload(self) -> None:
        """Nobody wishes."""

    def consume_reload(self) -> bool:
        return False


class Daemon:
    """What `logmlm run` has at work, one step of its loop at a time."""

    def __init__(self, config_file: Path, stack: ExitStack) -> None:
        from logmlm.alerting.store.database import StateDatabase
        from logmlm.config.loader import read_run_config
        from logmlm.daemon import app as daemon
        from logmlm.daemon.control import ControlPlane
        from logmlm.daemon.metrics import DaemonMetrics
        from logmlm.daemon.runtime import DaemonRuntime

        config = read_run_config(config_file)
        directory = daemon.resolve_state_dir(config, {})
        directory.mkdir()
        state, measured = StateDatabase(directory / "state.db"), DaemonMetrics("bench")
        world, load = daemon.DEFAULT_CONTEXT, daemon._load
        maker = daemon.ComponentFactory(
            state, sys.stdout, world, load, measured, lambda: config, lambda: math.inf
        )
        loaded = maker.load(config)
        self.source = _source(config, directory, loaded.detector)
        alerting = maker.alerting(loaded, self.source)
        outside = ControlPlane(config.http, {}, measured, wishes=NoWishes())
        self.running = DaemonRuntime(maker, loaded, self.source, alerting, outside, time.time)
        stack.callback(state.close)
        stack.callback(self.source.close)
        stack.callback(self.running.close)
        self.measured = measured

    def read(self, upto: int) -> None:
        while self.source.consumed_positions().get(f"{TOPIC}/0", 0) < upto:
            self.running.after_step(self.running.pipeline.step())
        self.source.pause(True)
        self.source.poll(0.0)
        self.source.pause(False)


def _source(config: Any, directory: Path, detector: Any) -> Any:
    from logmlm.sources.registry import ModelInfo, SourceContext, create_source

    model = ModelInfo(detector.manifest.name, detector.digest)
    return create_source(
        config.source, SourceContext(directory, time.time, lambda _: None, 0, model)
    )


def measure(_options: Options) -> Figure:
    import kafka_parts

    if reason := kafka_parts.reason_to_skip():
        raise SkippedError(reason)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        work = Path(name)
        (work / "broker").mkdir()
        broker = stack.enter_context(kafka_parts.running_broker(work / "broker"))
        seen, unseen = recorded("normal"), recorded("later")
        broker.topic(TOPIC)
        for turn in range(ROUNDS + 1):
            broker.produce(TOPIC, shifted(seen, turn))
        broker.produce(TOPIC, shifted(unseen, ROUNDS + 1))
        model = trained(work / "model")
        config = work / "run.yaml"
        places = {"model": model, "work": work, "address": broker.address, "topic": TOPIC}
        config.write_text(CONFIG.format(**places))
        bare, daemon = Bare(broker.address), Daemon(config, stack)
        stack.callback(bare.consumer.close)
        return _compared(bare, daemon, len(seen), len(unseen) // ROUNDS)


def _compared(bare: Bare, daemon: Daemon, seen: int, unseen: int) -> Figure:
    """Turns of `seen` records each, after as many for warming up, and then turns of `unseen`."""
    bare.read(seen)
    daemon.read(seen)
    found = _by_turns((bare, daemon), Reading(seen, seen))
    rows = found.rows | _alerts(daemon)
    later = _by_turns((bare, daemon), Reading(seen * (ROUNDS + 1), unseen))
    told = {"ratio": str(later)} | later.rows | _alerts(daemon)
    rows |= {f"later: {k}": v for k, v in told.items()}
    return replace(found, rows=rows)


@dataclass(frozen=True)
class Reading:
    """Where the turns begin in the topic, and how many records each has."""

    start: int
    records: int


def _by_turns(both: tuple[Bare, Daemon], reading: Reading) -> Figure:
    theirs, ours = (Reader(who, reading) for who in both)
    found = by_turns(WHAT, theirs.turn, ours.turn, time.process_time)
    rows = {
        "records_a_turn": reading.records,
        "bare_us_a_record": round(found.rows["theirs_s"] / reading.records * 1e6, 2),
        "daemon_us_a_record": round(found.rows["ours_s"] / reading.records * 1e6, 2),
        "bare_records_a_second_by_the_clock": spread(theirs.rates, 0),
        "daemon_records_a_second_by_the_clock": spread(ours.rates, 0),
    }
    return replace(found, rows=rows)


class Reader:
    """One side's turns; `rates` are records a second by the clock."""

    def __init__(self, who: Bare | Daemon, reading: Reading) -> None:
        self.rates: list[float] = []
        self._who, self._at, self._records = who, reading.start, reading.records

    def turn(self) -> None:
        """Read the next records."""
        self._at += self._records
        began = time.perf_counter()
        self._who.read(self._at)
        self.rates.append(self._records / (time.perf_counter() - began))


def _alerts(daemon: Daemon) -> dict[str, float]:
    """What the daemon has counted since its start."""
    return {
        "windows_until_here": daemon.measured.value("windows_scored_total"),
        "alerts_until_here": daemon.measured.value("alerts_total", status="firing"),
    }


def shifted(lines: list[str], hours: int) -> Iterator[str]:
    """The same lines, so many hours later: those that begin with a time."""
    shift = timedelta(hours=hours)
    stamp = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
    for line in lines:
        found = stamp.match(line)
        if found is None:
            yield line
            continue
        moved = datetime.fromisoformat(found[0]) + shift
        yield moved.isoformat(" ", "milliseconds") + line[found.end() :]
