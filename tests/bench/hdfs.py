"""HDFS, both ways: the DeepLog split as sequences, and the raw 2 % of the log end to end.

    python tests/bench/hdfs.py --data DIR [--only sequences|normal|as-it-came] [--epochs N]

DIR holds `HDFS_2pct.log.gz`, `labels_2pct.csv` and the three `deeplog_*` files. The raw log is
cut at 60 % of its time: blocks that begin before are for training, the others for testing.
Training sees once the normal blocks only, and once everything as it came, anomalies included, of
which it is told their share alone (`threshold.contamination`, by the labels of the training part).
Both ask for a tenth of that share: found all of them, about one alert in ten would be false.
A block is a session that a pause of `--gap` cuts (blocks lie untouched for hours before they are
deleted, and many are not deleted yet when the log ends); each block counts once, judged by its
oddest window. Beside the asked rate, what the p-values would flag at others. Prints one JSON
object; tables and progress go to stderr.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from logmlm.config.training import (
    FormatConfig,
    ModelConfig,
    ThresholdConfig,
    TrainingConfig,
    WindowConfig,
)
from logmlm.detection.detector import Detector
from logmlm.evaluation.evaluate import evaluate_detector
from logmlm.evaluation.labels import Labels
from logmlm.evaluation.metrics import compute
from logmlm.records import Score
from logmlm.sources.archive.reader import read_lines
from logmlm.training.train import Reporter, train

BLOCK = re.compile(r"(blk_-?\d+)")
TRAINING_SHARE = 0.6
GAP = "4h"
"""Longer than the pauses between a block's reads (about an hour in the first 60 % of the time),
shorter than the wait until it is deleted."""
NORMAL_TEST_SESSIONS = 553_366
RATES = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.007, 0.01, 0.02)
FALSE_TO_TRUE = 0.1
"""So many false alarms are put up with for each anomaly that is expected."""
NAMES = ("sequences", "normal", "as-it-came")


def main() -> None:
    options = _options()
    chosen = [options.only] if options.only else NAMES
    result: dict[str, Any] = {}
    if "sequences" in chosen:
        result["sequences"] = _sequences(options)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if set(chosen) & {"normal", "as-it-came"}:
            _split(options.data / "HDFS_2pct.log.gz", folder)
        for kind in chosen:
            if kind != "sequences":
                result[kind] = _raw(options, folder, kind)
    print(json.dumps(result, indent=1))


def _sequences(options: argparse.Namespace) -> Any:
    command = [sys.executable, str(Path(__file__).with_name("sequences.py")), "--json"]
    for name, file in (
        ("train", "deeplog_train.txt"),
        ("normal", "deeplog_test_normal_2pct.txt"),
        ("abnormal", "deeplog_test_abnormal.txt"),
    ):
        command += [f"--{name}", str(options.data / file)]
    command += ["--weight-normal", str(NORMAL_TEST_SESSIONS), "--seeds", str(options.seeds)]
    command += ["--epochs", str(options.epochs)] if options.epochs else []
    command += ["--oracle"] if options.oracle else []
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def _raw(options: argparse.Namespace, folder: Path, kind: str) -> Any:
    """Train on the first part of the time, and measure on the rest."""
    began = time.monotonic()
    labels_file = options.data / "labels_2pct.csv"
    labels = Labels.read(labels_file)
    share = options.share or _anomalous(folder / "train.log", labels)
    rate = options.false_alarm_rate or round(FALSE_TO_TRUE * share, 4)
    contamination = 0.0 if kind == "normal" else share
    config = TrainingConfig(
        logs=(str(folder / "train.log"),),
        out=folder / f"model-{kind}",
        labels=labels_file if kind == "normal" else None,
        format=FormatConfig(name="hdfs"),
        window=WindowConfig(kind="session", key=BLOCK.pattern, gap=options.gap, max_age="365d"),
        model=ModelConfig(seed=options.first_seed, epochs=options.epochs or "auto"),
        threshold=ThresholdConfig(false_alarm_rate=rate, contamination=contamination),
    )
    train(config, read_lines(config.logs, time.time()), Reporter(_say, _report))
    detector = Detector.load(config.out, "auto")
    windows = list(detector.windows(read_lines([str(folder / "test.log")], time.time())))
    found = evaluate_detector(detector, config.out, windows, labels, oracle=options.oracle)
    _say(f"{kind}, asked {rate} ({time.monotonic() - began:.0f} s)\n{found.evaluation.as_text()}")
    rates = _by_rate(found.scores, labels)
    _say("\n".join(f"p at most {rate}: {line}" for rate, line in rates.items()))
    return found.evaluation.as_json() | {"by_rate": rates}


def _anomalous(log: Path, labels: Labels) -> float:
    """The share of a log's blocks that are labelled as anomalous."""
    with log.open(encoding="utf-8") as lines:
        blocks = {match[1] for line in lines if (match := BLOCK.search(line))}
    keys = labels.keys or {}
    return sum(keys.get(block, False) for block in blocks) / len(blocks)


def _by_rate(scores: Sequence[Score], labels: Labels) -> dict[str, dict[str, float | None]]:
    """What is flagged where a block's least p-value is at most a rate, for several rates."""
    least: dict[str, float] = {}
    for score in scores:
        key = score.window.key
        least[key] = min(score.p_value, least.get(key, 1.0))
    anomalous = {score.window.key: labels.is_anomaly(score.window) for score in scores}
    p_values, truth = np.array(list(least.values())), np.array([anomalous[key] for key in least])
    found = {rate: compute(p_values <= rate, -p_values, truth) for rate in RATES}
    return {
        str(rate): {
            name: getattr(each, name) for name in ("precision", "recall", "f1", "false_alarm_rate")
        }
        for rate, each in found.items()
    }


def _split(log: Path, folder: Path) -> None:
    """Write train.log and test.log: each block whole, on the side where it begins."""
    with gzip.open(log, "rt", encoding="utf-8") as lines:
        first = next(lines)
        last = deque(lines, maxlen=1)[0]
    begin, end = _time(first), _time(last)
    cut = begin + TRAINING_SHARE * (end - begin)
    with (
        (folder / "train.log").open("w", encoding="utf-8") as early,
        (folder / "test.log").open("w", encoding="utf-8") as late,
    ):
        for line, is_early in _sides(log, cut):
            (early if is_early else late).write(line)


def _sides(log: Path, cut: float) -> Iterator[tuple[str, bool]]:
    begun_early: dict[str, bool] = {}
    with gzip.open(log, "rt", encoding="utf-8") as lines:
        for line in lines:
            match = BLOCK.search(line)
            block = match[1] if match else ""
            yield line, begun_early.setdefault(block, _time(line) < cut)


def _time(line: str) -> float:
    return datetime.strptime(line[:13] + " +0000", "%y%m%d %H%M%S %z").timestamp()


def _report(name: str, epoch: Any) -> None:
    if epoch.epoch % max(1, epoch.epochs // 4) == 0:
        _say(f"  {name}: {epoch}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--seeds", type=int, default=3, help="for the sequences")
    parser.add_argument("--first-seed", type=int, default=0, help="for the raw log")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--false-alarm-rate", type=float, help="of the raw log's normal windows")
    parser.add_argument("--share", type=float, help="of anomalies [default: as the labels say]")
    parser.add_argument("--gap", default=GAP, help="for the raw log")
    parser.add_argument("--oracle", action="store_true", help="F1 with a threshold from the labels")
    options = parser.parse_args()
    if not (options.data / "HDFS_2pct.log.gz").exists():
        sys.exit(f"{options.data} holds no HDFS_2pct.log.gz; see --help")
    return options


if __name__ == "__main__":
    main()
