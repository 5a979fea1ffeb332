"""Print how much of a core the daemon takes while nothing is written to the files it follows.

python tests/bench/idle_files.py [FILES] [SECONDS]

The daemon is the shipped command line with a real, small model. Each file holds two normal
sessions; the measurement starts when all of them were dealt with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from offline_parts import TRAIN, service_log, write_log

LOGMLM = (sys.executable, "-m", "logmlm")
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 300.0


def main(files: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        log = write_log(place / "normal.log", service_log(sessions=600))
        _run(*LOGMLM, "train", log, "--out", place / "model", *TRAIN, "--quiet")
        (place / "logs").mkdir()
        sizes = [
            _write(place / "logs" / f"a{i}.log", service_log(sessions=2, first=9 * i, seed=i))
            for i in range(files)
        ]
        command = (*LOGMLM, "run", "--model", place / "model", "--state-dir", place / "state")
        told = ("--follow", place / "logs" / "*.log", "--from-beginning")
        with (place / "daemon.log").open("w") as errors:
            daemon = subprocess.Popen([*map(str, command + told)], stdout=errors, stderr=errors)
        try:
            _wait_until_read(place / "state" / "checkpoints.json", sum(sizes))
            cpu, began = _cpu_s(daemon.pid), time.monotonic()
            time.sleep(seconds)
            share = (_cpu_s(daemon.pid) - cpu) / (time.monotonic() - began)
        finally:
            daemon.terminate()
            daemon.wait()
    print(f"{files:,} idle files: the daemon takes {share:.2%} of a core over {seconds:g} s")


def _run(*command: object) -> None:
    subprocess.run([*map(str, command)], check=True, capture_output=True)


def _write(path: Path, lines: list[str]) -> int:
    write_log(path, lines)
    return path.stat().st_size


def _wait_until_read(checkpoints: Path, total: int) -> None:
    """Wait until every byte was dealt with and every alert delivered, and a little longer."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        time.sleep(2.0)
        if checkpoints.exists():
            known = json.loads(checkpoints.read_text())["files"]
            if sum(each["checkpoint"]["safe"] for each in known) == total:
                time.sleep(15.0)
                return
    raise SystemExit(f"the files were not read within {PATIENCE_S:g} s")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    main(int(given[0]) if given else 5_000, given[1] if len(given) > 1 else 60.0)
