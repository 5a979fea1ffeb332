"""How soon an alert is sent after the line that closes its window, and what idling costs.

.venv/bin/python tests/bench/daemon.py
.venv/bin/python tests/bench/daemon.py --model models/myapp --log recorded.log

Writes lines at a fixed rate into a log that `logmlm run` follows, and takes the alerts at an
HTTP receiver on this machine. Without --model the scoring costs nothing: what is measured then
is the way of the lines. With it, the recorded log has to hold windows that alarm.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

ODD_EVERY = 500
"""Lines to an odd pair, where there is no model."""
CONFIG = """\
model: {{path: {model}, device: {device}}}
state_dir: {work}/state
source: {{file: {{include: {work}/app.log, start_at: beginning}}}}
sinks: [{{webhook: {{url: 'http://127.0.0.1:{port}/', grouped: false}}}}]
http: {{listen: '127.0.0.1:0'}}
"""
METRICS = re.compile(rb"http://\S+?/metrics")
LINES = re.compile(rb"^logmlm_lines_total (\S+)$", re.MULTILINE)


class Receiver:
    """Notes when each window's alert came."""

    def __init__(self) -> None:
        self.came: dict[str, tuple[float, str]] = {}
        came = self.came

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = time.time()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    notes = alert["annotations"]
                    came.setdefault(notes["window"], (at, notes["lines"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def daemon(
    options: argparse.Namespace, work: Path, port: int
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The daemon and where its metrics are, once it is ready, until the end of the block."""
    config = work / "run.yaml"
    model = options.model.absolute() if options.model else "none"
    config.write_text(CONFIG.format(model=model, device=options.device, work=work, port=port))
    command = [sys.executable, __file__, "--serve", str(config)]
    if options.model:
        program = "from logmlm.cli.main import main; main()"
        command = [sys.executable, "-c", program, "run", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as child:
        assert child.stderr is not None
        try:
            metrics = ""
            while b"ready;" not in (said := child.stderr.readline()):
                if not said:
                    sys.exit("the daemon did not start")
                if found := METRICS.search(said):
                    metrics = found[0].decode()
            threading.Thread(target=child.stderr.read, daemon=True).start()
            yield child, metrics
        finally:
            child.terminate()
            child.wait(20)


def made_up(count: int) -> list[str]:
    """Lines in pairs, each a window; the odd ones are told apart by their number."""
    odd = {n for first in range(0, count, ODD_EVERY) for n in (first, first + 1)}
    return [f"{'ODD' if n in odd else 'usual'} line {n}" for n in range(count)]


def closing_lines(options: argparse.Namespace, lines: list[str]) -> dict[str, int]:
    """For the id of each window, the number of the line that closes it."""
    from logmlm.detection.detector import Detector
    from logmlm.records import LogLine
    from logmlm.sources.fingerprint import partition_name

    detector = Detector.load(options.model, "cpu")
    partition = partition_name(lines[0].encode())
    reader, windower, found, at = detector.event_parser(), detector.windower(), {}, 0
    for number, line in enumerate(lines):
        end = at + len(line.encode()) + 1
        events = reader.feed([LogLine(line, partition, at, end, 0.0)])
        for window in windower.add(events):
            found[detector.window_id(window)] = number
        at = end
    return found


def write(path: Path, lines: list[str], rate: float) -> list[float]:
    """Append lines at a rate, in small batches; when each was written."""
    written, began = [], time.time()
    with path.open("a") as stream:
        while len(written) < len(lines):
            due = min(len(lines), int((time.time() - began) * rate) + 1)
            stream.write("".join(f"{line}\n" for line in lines[len(written) : due]))
            stream.flush()
            written += [time.time()] * (due - len(written))
            time.sleep(0.002)
    return written


def latencies(
    came: dict[str, tuple[float, str]], written: list[float], closing: dict[str, int] | None
) -> list[float]:
    """Seconds from the line that closed a window to its alert's arrival, in order of size."""
    found = []
    for window, (at, shown) in came.items():
        if closing is None:
            number = int(shown.splitlines()[-1].split()[-1])
        elif window in closing:
            number = closing[window]
        else:
            continue  # closed by the clock, because no line came any more
        found.append(at - written[number])
    return sorted(found)


def idle_share(child: subprocess.Popen[bytes], seconds: float) -> float:
    """The share of one core that a process takes over so many seconds."""

    def spent() -> float:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = spent()
    time.sleep(seconds)
    return (spent() - before) / seconds


def until_read(metrics: str, lines: int) -> None:
    """Wait until the daemon has dealt with so many lines, however far it fell behind."""
    read = 0.0
    while read < lines:
        time.sleep(0.2)
        with urllib.request.urlopen(metrics, timeout=60) as answer:  # noqa: S310  our own daemon
            found = LINES.search(answer.read())
            read = float(found[1]) if found else 0.0


def until_quiet(receiver: Receiver, seconds: float) -> None:
    """Wait until no alert came for so long."""
    count = -1
    while count < len(receiver.came):
        count = len(receiver.came)
        time.sleep(seconds)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Idle for a while, then lines at a rate."""
    lines = made_up(int(options.rate * options.seconds))
    if options.model:
        lines = options.log.read_text(errors="replace").splitlines()
        lines = lines[: int(options.rate * options.seconds)]
    closing = closing_lines(options, lines) if options.model else None
    with tempfile.TemporaryDirectory() as name:
        work, receiver = Path(name), Receiver()
        (work / "app.log").touch()
        with daemon(options, work, receiver.server.server_port) as (child, metrics):
            time.sleep(2)
            idle = idle_share(child, options.idle_seconds)
            began = time.time()
            written = write(work / "app.log", lines, options.rate)
            took = time.time() - began
            until_read(metrics, len(lines))
            until_quiet(receiver, options.quiet_seconds)
        receiver.server.shutdown()
        receiver.server.server_close()
    found = latencies(receiver.came, written, closing)
    if not found:
        sys.exit("no window alarmed: give a log with anomalies")
    return {
        "lines": len(lines),
        "lines_per_s": len(lines) / took,
        "alerts": len(found),
        "latency_p50_s": found[len(found) // 2],
        "latency_p99_s": found[min(len(found) - 1, int(len(found) * 0.99))],
        "latency_max_s": found[-1],
        "idle_share_of_a_core": idle,
        "model": str(options.model) if options.model else "none",
    }


def serve(config: Path) -> None:
    """The daemon over a detector that costs nothing."""
    from daemon_parts import load

    from logmlm.config.loader import read_run_config
    from logmlm.daemon import app as daemon
    from logmlm.daemon.log_setup import logging_configured

    read = read_run_config(config)
    with logging_configured(sys.stderr, read.log):
        daemon.run_daemon(read, out=sys.stdout, load=load)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", type=Path, help="a model directory; none costs nothing")
    parser.add_argument("--log", type=Path, help="with --model: a log with anomalies")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rate", type=float, default=5000.0, help="lines a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of writing")
    parser.add_argument("--idle-seconds", type=float, default=10.0)
    parser.add_argument(
        "--quiet-seconds", type=float, default=5.0, help="without alerts, at the end"
    )
    parser.add_argument("--output", choices=["text", "json"], default="text")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    options = parser().parse_args()
    if options.serve:
        serve(options.serve)
        return
    if options.model and not options.log:
        parser().error("--model needs --log")
    found = measure(options)
    if options.output == "json":
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:22} {value:,.4f}" if isinstance(value, float) else f"{name:22} {value}")


if __name__ == "__main__":
    main()
