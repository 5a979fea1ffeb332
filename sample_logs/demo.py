"""The demonstration: train on a recorded normal log, follow the later one, alert on its faults.

    python sample_logs/demo.py [postgresql|nginx|redis] [--out demo-out]

Runs the same commands as a user would, shows each, then holds the alerts against incidents.csv.
Exits with 1 if a fault raised no alert, or more than two alerts were false.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import shlex
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LOGMLM = Path(sys.executable).parent / "logmlm"
SYSTEMS = ("postgresql", "nginx", "redis")
FALSE_ALERTS_ALLOWED = 2
CHUNK_LINES = 2_000
INTERRUPTED = 130

Alert = dict[str, Any]


def main() -> int:
    """Train, follow, compare; the exit code."""
    began = time.monotonic()
    options = _options()
    data, out = HERE / options.system, options.out
    shutil.rmtree(out / "state", ignore_errors=True)
    (out / "later.log").unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)  # a training that was ended half-way goes on there
    _train(options.system, out / "model")
    alerts = _follow(data / "later.log.gz", out)
    good = _compare(alerts, data / "incidents.csv")
    print(f"\n{time.monotonic() - began:.0f} s in all; the model is in {out / 'model'}.")
    return 0 if good else 1


def _train(system: str, model: Path) -> None:
    command = ["train", "--config", f"configs/{system}.yaml", "--out", str(model)]
    _show(command)
    code = subprocess.run([str(LOGMLM), *command], check=False).returncode
    if code:  # it said why; a signal's number is negative
        sys.exit(code if code > 0 else 128 - code)


def _follow(later: Path, out: Path) -> list[Alert]:
    """Write the later log piece by piece while `logmlm run` follows it."""
    log, printed = out / "later.log", out / "alerts.jsonl"
    log.touch()
    command = [
        "run",
        "--model",
        str(out / "model"),
        "--follow",
        str(log),
        "--from-beginning",
        "--exact",
    ]
    command += ["--state-dir", str(out / "state"), "--output", "json", "--stop-when-idle", "8"]
    _show(command)
    with printed.open("w") as stdout:
        daemon = subprocess.Popen([str(LOGMLM), *command], stdout=stdout, stderr=subprocess.PIPE)
        assert daemon.stderr is not None
        while b"ready" not in daemon.stderr.readline():
            if daemon.poll() is not None:
                sys.exit("the daemon did not start")
        _write_piece_by_piece(later, log)
        daemon.communicate()
    if daemon.returncode:
        sys.exit(f"the daemon ended with {daemon.returncode}")
    return [json.loads(line) for line in printed.read_text().splitlines()]


def _write_piece_by_piece(later: Path, log: Path) -> None:
    with gzip.open(later, "rb") as source, log.open("ab") as target:
        for number, line in enumerate(source):
            target.write(line)
            if number % CHUNK_LINES == 0:
                target.flush()
                time.sleep(0.2)


def _compare(alerts: list[Alert], incidents: Path) -> bool:
    """Print each fault with its alerts, then the false ones."""
    with incidents.open(newline="") as file:
        faults = list(csv.DictReader(file))
    spans = [(_seconds(fault["start"]), _seconds(fault["end"])) for fault in faults]
    found = [[a for a in alerts if _overlaps(a, span)] for span in spans]
    false = [a for a in alerts if not any(_overlaps(a, span) for span in spans)]
    print(f"\n{len(alerts)} alerts. The faults that were made, and what the model said of them:\n")
    for fault, raised in zip(faults, found, strict=True):
        print(f"  {'found ' if raised else 'MISSED'} {fault['kind']}: {fault['what']}")
        if raised:
            print(f"         {len(raised)} alerts; the strongest: {_headline(raised)}")
    print(f"\n{sum(map(bool, found))} of {len(faults)} faults found, {len(false)} false alerts.")
    for alert in false:
        print(f"  false: {_headline([alert])}")
    if alerts:
        strongest = max(alerts, key=_value)
        print(f"\nThe strongest alert in full:\n\n{strongest['annotations']['description']}")
    return all(found) and len(false) <= FALSE_ALERTS_ALLOWED


def _headline(alerts: list[Alert]) -> str:
    strongest = max(alerts, key=_value)
    return f"score {_value(strongest):.2f}, {strongest['annotations']['summary']}"


def _value(alert: Alert) -> float:
    return float(alert["annotations"]["score"])


def _overlaps(alert: Alert, span: tuple[float, float]) -> bool:
    """Whether the alert's window overlaps the fault's time (both to the second)."""
    start = _seconds(alert["starts_at"])
    end = _seconds(alert["annotations"]["last_line_at"])
    return start <= span[1] and end >= span[0]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _show(command: list[str]) -> None:
    print("$ logmlm " + shlex.join(command), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("system", nargs="?", choices=SYSTEMS, default="postgresql")
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
