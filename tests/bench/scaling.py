"""How a consumer group scales: 1, 2 and 4 daemons on as many partitions of a real Kafka.

    python tests/bench/scaling.py [--lines 40000] [--partitions 4] [--processes 1 2 4] [--json]

Each row: daemons of one group read the same topic from its beginning to its end, with a small model
of request sessions. `lines/s` is by the clock from all being ready to the last commit; on a machine
with fewer cores than daemons and broker it says little. `lines/s a core` divides by the seconds of
CPU that the daemons took in that time: if it stays, nothing is lost by sharing. Each daemon takes
some to join the group and warm up, so give many lines.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from kafka.errors import KafkaError
from kafka_parts import Broker, kafka_home, reason_to_skip
from offline_parts import TRAIN, logmlm, service_log, write_log

PROGRAM = "from logmlm.cli.main import main; main()"
TOPIC = "scaling"


@dataclass(frozen=True)
class Row:
    """What so many daemons did."""

    processes: int
    lines: int
    seconds: float
    cpu_s: float
    lines_a_second: float
    lines_a_second_a_core: float


class Fleet:
    """Daemons of one group."""

    def __init__(self, broker: Broker, work: Path, name: str, topic: str) -> None:
        self.group = f"group-{name}"
        self._work = work / name
        self._work.mkdir()
        self._source = {
            "bootstrap_servers": broker.address,
            "topics": topic,
            "group": self.group,
            "auto_offset_reset": "earliest",
        }
        self._model = work / "model"
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, count: int) -> None:
        """Start daemons, and wait until all are ready."""
        for number in range(count):
            config = self._work / f"{number}.yaml"
            told = {
                "model": {"path": str(self._model), "device": "cpu"},
                "state_dir": str(self._work / f"state-{number}"),
                "source": {"kafka": self._source},
                "sinks": [{"file": {"path": str(self._work / f"{number}.jsonl")}}],
            }
            config.write_text(json.dumps(told))
            command = [sys.executable, "-c", PROGRAM, "run", "--config", str(config)]
            with (self._work / f"{number}.log").open("wb") as log:
                environment = os.environ | {"OMP_NUM_THREADS": "1"}
                self._children.append(subprocess.Popen(command, stderr=log, env=environment))
        while not all("ready" in path.read_text() for path in self._work.glob("*.log")):
            assert all(child.poll() is None for child in self._children), "a daemon has ended"
            time.sleep(0.02)

    def cpu_s(self) -> float:
        """Seconds of CPU that the daemons took until now (proc(5), `stat`)."""
        ticks = 0
        for child in self._children:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End all."""
        for child in self._children:
            child.send_signal(signal.SIGTERM)
        for child in self._children:
            assert child.wait(60) == 0, f"a daemon ended with {child.returncode}"


def main() -> None:
    options = _options()
    if reason := reason_to_skip():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "broker").mkdir()
        broker = Broker(kafka_home(), work / "broker").start()
        try:
            rows = _measured(broker, work, options)
        finally:
            broker.stop(kill=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print("| daemons | lines | s | CPU s | lines/s | lines/s a core of CPU |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(f'{value:,.6g}' for value in asdict(row).values())} |")


def _measured(broker: Broker, work: Path, options: argparse.Namespace) -> list[Row]:
    log = write_log(work / "normal.log", service_log())
    trained = logmlm("train", log, "--out", work / "model", *TRAIN)
    assert trained.code == 0, trained.err
    lines = _fill(broker, options.lines // options.partitions, options.partitions)
    return [_run(broker, work, count, lines) for count in options.processes]


def _fill(broker: Broker, each: int, partitions: int) -> Sequence[int]:
    """Write lines; each partition's last one lies a day later, and so closes what is open."""
    broker.topic(TOPIC, partitions)
    written = []
    for partition in range(partitions):
        lines = service_log(sessions=each // 4, seed=partition, first=100_000 * (partition + 1))
        later = datetime(2024, 6, 1, tzinfo=UTC).isoformat(timespec="milliseconds")
        lines.append(f"{later.removesuffix('+00:00')}Z INFO cache miss for req-1")
        broker.produce(TOPIC, lines, partition)
        written.append(len(lines))
    return written


def _run(broker: Broker, work: Path, count: int, lines: Sequence[int]) -> Row:
    fleet = Fleet(broker, work, f"of-{count}", TOPIC)
    try:
        fleet.start(count)
        began, before_s = time.perf_counter(), fleet.cpu_s()
        while not _done(broker, fleet.group, lines):
            time.sleep(0.1)
        seconds, cpu_s = time.perf_counter() - began, fleet.cpu_s() - before_s
    finally:
        fleet.stop()
    total = sum(lines)
    return Row(count, total, seconds, cpu_s, total / seconds, total / cpu_s)


def _done(broker: Broker, group: str, lines: Sequence[int]) -> bool:
    """Whether all but the last line of each partition lie in windows that were scored."""
    found: dict[int, int] = {}
    with suppress(KafkaError):  # the group may not be known yet
        found = {name.partition: at.offset for name, at in broker.committed(group).items()}
    return all(found.get(number, 0) >= count - 1 for number, count in enumerate(lines))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=40_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
