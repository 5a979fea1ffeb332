"""The demonstration on Kafka: a topic in, `logmlm run`, alerts at an HTTP receiver.

    python sample_logs/demo_kafka.py [--out demo-out]

Starts a Kafka of its own (from KAFKA_HOME, or what `make kafka` brought), replays the recorded
normal PostgreSQL log and then the later one, with its faults, into a topic, runs the daemon on
it, and counts the alerts that arrive. Uses the model in demo-out, or trains it.
Exits with 1 where `demo.py` would.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

import demo
import kafka_parts

TOPIC = "postgresql-logs"
QUIET_S = 15.0
"""With nothing new for so long, everything was read and every window closed."""

Alert = dict[str, Any]


def main() -> int:
    """Start all, replay, count; the exit code."""
    began = time.monotonic()
    out = _options().out
    if reason := kafka_parts.reason_to_skip():
        sys.exit(reason)
    data = demo.HERE / "postgresql"
    if not (out / "model" / "manifest.json").exists():
        demo._train("postgresql", out / "model")
    with (
        tempfile.TemporaryDirectory() as place,
        _broker(Path(place)) as broker,
        _receiver() as (address, alerts),
    ):
        broker.topic(TOPIC)
        print(f"a Kafka of one node listens at {broker.address}", flush=True)
        config = _config(out / "model", Path(place), broker.address, address)
        demo._show(["run", "--config", str(config), "--stop-when-idle", str(QUIET_S)])
        _follow(config, broker, data)
    later = _begin(data / "later.log.gz")
    normal = [alert for alert in alerts if _starts_at(alert) < later]
    print(f"\n{len(normal)} alerts of the normal log, which the model was trained on.")
    good = demo._compare([alert for alert in alerts if alert not in normal], data / "incidents.csv")
    print(f"\n{time.monotonic() - began:.0f} s in all; {len(alerts)} alerts came over HTTP.")
    return 0 if good else 1


@contextmanager
def _broker(place: Path) -> Iterator[kafka_parts.Broker]:
    """Start a broker; where it does not come up, exit with the end of its log and what to check."""
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(kafka_parts.running_broker(place))
        except kafka_parts.BrokerError as error:
            sys.exit(
                f"{error}\nthe Kafka of this demonstration did not start, see the end of its log"
                " above; it needs Java 17 or newer (`java -version`) and 300 MB of free memory"
            )
        yield broker


@contextmanager
def _receiver() -> Iterator[tuple[str, list[Alert]]]:
    """A receiver as anyone would write it: takes Alertmanager's webhook JSON, keeps the alerts."""
    alerts: dict[str, Alert] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for alert in body["alerts"]:
                name = alert["annotations"]["window"]
                alerts[name] = {"starts_at": alert["startsAt"], **alert}
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found: list[Alert] = []
    try:
        yield f"http://127.0.0.1:{server.server_port}/alerts", found
        found += sorted(alerts.values(), key=_starts_at)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _config(model: Path, place: Path, brokers: str, address: str) -> Path:
    told = {
        "model": {"path": str(model.absolute()), "exact": True},
        "source": {
            "kafka": {
                "bootstrap_servers": brokers,
                "topics": TOPIC,
                "auto_offset_reset": "earliest",
            }
        },
        "sinks": [{"webhook": {"url": address, "grouped": False}}],  # each alert, to be compared
        "state_dir": str(place / "state"),
    }
    path = place / "run.yaml"
    path.write_text(json.dumps(told, indent=2))
    return path


def _follow(config: Path, broker: kafka_parts.Broker, data: Path) -> None:
    """Run the daemon while the logs are written to the topic."""
    command = ["run", "--config", str(config), "--stop-when-idle", str(QUIET_S)]
    daemon = subprocess.Popen([str(demo.LOGMLM), *command], stderr=subprocess.PIPE)
    assert daemon.stderr is not None
    said = b""
    while b"ready" not in (line := daemon.stderr.readline()):
        said += line
        if not line:
            sys.exit(f"the daemon did not start: {said.decode()}")
    for log in ("normal.log.gz", "later.log.gz"):
        with gzip.open(data / log, "rb") as source, broker.producer() as producer:
            count = 0
            for count, line in enumerate(source, start=1):  # noqa: B007  printed below
                producer.send(TOPIC, line.rstrip(b"\n"))
        print(f"{count} lines of {log} are in topic {TOPIC}", flush=True)
    daemon.communicate()
    if daemon.returncode:
        sys.exit(f"the daemon ended with {daemon.returncode}")


def _starts_at(alert: Alert) -> float:
    return demo._seconds(alert["starts_at"])


def _begin(log: Path) -> float:
    with gzip.open(log, "rt") as lines:
        return demo._seconds(lines.readline()[:23] + "+00:00")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(demo.INTERRUPTED)
