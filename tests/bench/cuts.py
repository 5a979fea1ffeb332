"""False alarms among sessions that a cut by age, length or rotation goes through.

    python tests/bench/cuts.py [--hours 24] [--sessions 20000] [--train 8000] [--rate 0.002]
                               [--size 128] [--rotations 0] [--odd 0.01] [--seed 1] [--work DIR]

A real model is trained on normal sessions of one to ten minutes, and scores others by the command
line: normal ones, then a log with odd ones, in one file or, with `--rotations`, in so many more.
The table counts the windows, the false alarms and the odd sessions that were found, by what was
cut off, and the false alarms beside full hours. Runs with the package that is imported, so that
another checkout can be measured with PYTHONPATH.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from cut_parts import BEGIN, KEY, Log, service_log

GAP_S = 180
HOUR_S = 3600
NEAR_S = 60
"""So near to a full hour a window's beginning or end counts as beside it."""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(options.work or scratch)
        work.mkdir(parents=True, exist_ok=True)
        model = _trained(options, work)
        normal = service_log(options.hours, options.sessions, options.seed + 100)
        odd = service_log(options.hours, options.sessions, options.seed + 200, options.odd)
        asked = f"{options.rate:.2%} asked"
        print(f"{options.sessions} normal sessions in {options.hours:g} hours, {asked}")
        _print(normal, list(_scored(options, work, model, normal)), options.rate)
        print(f"\n{options.sessions} sessions, {len(odd.odd)} of them odd, {asked}")
        _print(odd, list(_scored(options, work, model, odd)), options.rate)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--train", type=int, default=8_000)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--epochs", default="auto")
    parser.add_argument("--folds", default="auto")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rotations", type=int, default=0)
    parser.add_argument("--odd", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", help="keep logs and model here, and take a model that is there")
    return parser.parse_args()


def _trained(options: argparse.Namespace, work: Path) -> Path:
    """Train on as many sessions an hour as are scored, which begin off a full hour."""
    hours = options.hours * options.train / options.sessions
    log = service_log(hours, options.train, options.seed, begin=BEGIN - 86_400 * 7 + 1_234)
    model = work / "model"
    if model.exists():
        return model
    began = time.monotonic()
    _run(
        *("train", log.write(work / "train.log"), "--out", model, "--key", KEY, "--quiet"),
        *("--window", "session", "--gap", f"{GAP_S}s", "--size", options.size),
        *("--false-alarm-rate", options.rate, "--device", "cpu"),
        *("--epochs", options.epochs, "--folds", options.folds),
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = f"{used.ru_utime + used.ru_stime:.0f} s of CPU"
    print(f"trained on {options.train} sessions: {time.monotonic() - began:.0f} s, {spent}")
    sys.stdout.flush()
    return model


def _scored(options: argparse.Namespace, work: Path, model: Path, log: Log) -> Iterator[dict]:
    """The windows of a log that was rotated so many times, the oldest file first."""
    span = options.hours * HOUR_S / (options.rotations + 1)
    borders = [BEGIN + span * n for n in range(1, options.rotations + 1)]
    files = []
    for number, (begin, end) in enumerate(pairwise([0.0, *borders, float("inf")])):
        left = options.rotations - number
        files.append(log.write(work / f"app.log{f'.{left}' if left else ''}", begin, end))
    out = work / "scores.jsonl"
    _run("score", model, *files, "--output", "json", "--out", out)
    with out.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
    for file in files:
        file.unlink()


def _run(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "logmlm", *map(str, words)], check=True)


def _print(log: Log, windows: list[dict], rate: float) -> None:
    sessions = Counter(window["key"] for window in windows)
    windows_of: Counter[str] = Counter()
    false_of: Counter[str] = Counter()
    odd_of: Counter[str] = Counter()
    found_of: Counter[str] = Counter()
    found_in: dict[str, bool] = {}
    for window in windows:
        key, alarms = window["key"], window["anomaly"]
        near = min(window["start"] % HOUR_S, -window["start"] % HOUR_S)
        near = min(near, window["end"] % HOUR_S, -window["end"] % HOUR_S)
        kinds = ["in parts" if sessions[key] > 1 else "whole", "all"]
        kinds.append("beside a full hour" if near < NEAR_S else "elsewhere")
        for kind in kinds:
            if key in log.odd:
                continue
            windows_of[kind] += 1
            false_of[kind] += alarms
        if key in log.odd:
            found_in[key] = found_in.get(key, False) or alarms
    for key, found in found_in.items():
        for kind in ("in parts" if sessions[key] > 1 else "whole", "all"):
            odd_of[kind] += 1
            found_of[kind] += found
    print(f"{'':20}{'windows':>9}{'false':>7}{'expected':>10}{'odd':>6}{'found':>7}")
    for kind in ("whole", "in parts", "beside a full hour", "elsewhere", "all"):
        n = windows_of[kind]
        row = f"{kind:20}{n:9}{false_of[kind]:7}{n * rate:10.1f}"
        print(row + (f"{odd_of[kind]:6}{found_of[kind]:7}" if odd_of[kind] else ""))


if __name__ == "__main__":
    main()
