"""The yardstick: the model beside the simple rules, on each set of logs.

    python tests/bench/quality.py [SET ...] [--data DIR] [--seeds N] [--out FILE]

Sets: `deeplog` and `adfa` (sessions of ids), `trainticket` (traces of services), and `contact`: the
first 500, 2,000, 5,000 and 20,000 lines of each recorded log as training, by the command line with
defaults throughout, then its faults. DIR holds the folders `hdfs`, `adfa` and `trainticket`; a set
whose data is not there is skipped, and says so. Splits and rates are fixed here; no label sets a
threshold. Each row is added to FILE as one JSON line; what is there is not run again, so begin a
new FILE after a change. `--epochs N` is for a quick look, and is told in the row.

Many windows overlap a fault, so a detector that alarms at random finds faults too: `found_by_luck`
is how many it would find with the share of false alarms that was seen.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import lzma
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from sequences import Encoder

from logmlm.config.training import (
    FormatConfig,
    ModelConfig,
    ThresholdConfig,
    TrainingConfig,
    WindowConfig,
)
from logmlm.detection.calibration import clopper_pearson, window_statistics
from logmlm.detection.detector import Detector
from logmlm.evaluation.baselines import Predictions, run_baselines
from logmlm.evaluation.metrics import compute
from logmlm.evaluation.results import model_verdict
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.scorer import Scorer
from logmlm.sources.archive.reader import read_lines
from logmlm.training.fit import FitTask, fit
from logmlm.training.train import Reporter, train

Session = tuple[str, ...]
Row = dict[str, Any]
SAMPLES = Path(__file__).parents[2] / "sample_logs"
RECORDED = ("postgresql", "nginx", "redis")
CONTACT_LINES = (500, 2_000, 5_000, 20_000)
FALSE_ALARM_SHARES = (0.001, 0.01, 0.05)
RATE = 0.005
"""Asked share of normal sessions that alarm, on every set but the DeepLog split."""
TRACE_WINDOW = 128
DEEPLOG_FILES = ("train", "test_normal_2pct", "test_abnormal")
NORMAL_SESSIONS = 553_366
"""Normal test sessions of the whole DeepLog split, of which a part is there."""
ADFA_TEST = 500
"""Normal test traces of ADFA-LD: all attacks, and so many of the normal ones."""


def main() -> None:
    options = _options()
    known = _known(options.out)
    for name in options.sets or SETS:
        for key, rows in groupby(SETS[name](options, known), key=lambda row: row["key"]):
            found = list(rows)  # all of a key or none, so that a stop loses no row for good
            for row in found:
                _show(row)
            with options.out.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(row) + "\n" for row in found))
            known.add(key)


def figures(
    name: str, verdict: Predictions, truth: np.ndarray, rate: float, normal_weight: float = 1.0
) -> Row:
    """Figures of one detector: by rank, and at its own threshold.

    Each normal session stands for `normal_weight` of them.
    """
    weights = np.where(truth, 1.0, normal_weight)
    found = compute(verdict.flagged, verdict.scores, truth, weights)
    normal, odd = verdict.scores[~truth], verdict.scores[truth]
    by_rank = {
        f"recall_at_{share:g}": float(
            (odd > np.quantile(normal, 1 - share, method="higher")).mean()
        )
        for share in FALSE_ALARM_SHARES
    }
    false = int(verdict.flagged[~truth].sum())
    return {
        "detector": name,
        "roc_auc": found.roc_auc,
        "pr_auc": found.pr_auc,
        **by_rank,
        "f1": found.f1,
        "recall": found.recall,
        "asked_rate": rate,
        "observed_rate": found.false_alarm_rate,
        "interval": clopper_pearson(false, len(normal)),
    }


def deeplog(options: argparse.Namespace, known: set[str]) -> Iterator[Row]:
    """HDFS sessions of the split that DeepLog trains on."""
    folder = options.data / "hdfs"
    paths = [folder / f"deeplog_{name}.txt" for name in DEEPLOG_FILES]
    if not _is_there("deeplog", *paths):
        return
    train_set, normal, odd = (
        _sessions(path.read_text(encoding="utf-8").splitlines()) for path in paths
    )
    for seed in range(options.seeds):
        parts = (train_set, normal, odd)
        weight = NORMAL_SESSIONS / len(normal)
        yield from _by_ids("deeplog", options, known, seed, parts, 0.001, weight)


def adfa(options: argparse.Namespace, known: set[str]) -> Iterator[Row]:
    """System calls, by trace."""
    folder = options.data / "adfa"
    if not _is_there("adfa", folder / "train.xz", folder / "normal.xz"):
        return
    odd = [s for path in sorted(folder.glob("attack_*.xz")) for s in _packed(path)]
    parts = _packed(folder / "train.xz"), _packed(folder / "normal.xz")[:ADFA_TEST], odd
    for seed in range(options.seeds):
        yield from _by_ids("adfa", options, known, seed, parts, RATE)


def _by_ids(  # noqa: PLR0917  what a row is made of
    name: str,
    options: argparse.Namespace,
    known: set[str],
    seed: int,
    parts: tuple[list[Session], list[Session], list[Session]],
    rate: float,
    normal_weight: float = 1.0,
) -> Iterator[Row]:
    """Rows of one seed on sessions of ids: cut to windows, each judged by its oddest one."""
    key = _key(name, seed, options)
    if key in known:
        return
    learned, normal, odd = parts
    config = ModelConfig(epochs=options.epochs or "auto", seed=seed, device=options.device)
    encoder = Encoder(learned, config, TRACE_WINDOW)
    cut = [encoder.windows(session) for session in learned]
    task = FitTask(
        corpus=Corpus.of(window for windows in cut for window in windows),
        vocabulary_size=len(encoder.vocabulary),
        window_size=TRACE_WINDOW,
        windows_per_day=1.0,
        model=config,
        threshold=ThresholdConfig(false_alarm_rate=rate),
    )
    began = time.monotonic()
    fitted = fit(task, None, lambda *_: None)
    trained = time.monotonic()
    tested = [*normal, *odd]
    windows = [encoder.windows(session) for session in tested]
    flat = [window for session in windows for window in session]
    scorer = Scorer(fitted.model)
    pairs = zip(scorer.score_ordered(flat), scorer.score_bag(flat), strict=True)
    statistics = np.array([window_statistics(r.surprisals, bag) for r, bag in pairs])
    values, _ = fitted.calibration.values(statistics)
    ends = np.cumsum([len(session) for session in windows])
    value = [float(values[end - len(w) : end].max()) for end, w in zip(ends, windows, strict=True)]
    scored = time.monotonic()
    truth = np.repeat([False, True], [len(normal), len(odd)])
    folds = fitted.folds[np.cumsum([len(windows) for windows in cut]) - 1].tolist()
    verdicts = [model_verdict(value), *run_baselines(learned, folds, tested, rate, seed)]
    more = {
        "train_s": trained - began,
        "score_s": scored - trained,
        "perplexity": fitted.metrics["perplexity"],
    }
    for verdict in verdicts:
        own = more if verdict is verdicts[0] else {}
        yield (
            {"key": key, "set": name, "seed": seed, "epochs": options.epochs}
            | figures(verdict.name, verdict, truth, rate, normal_weight)
            | own
        )


def trainticket(options: argparse.Namespace, known: set[str]) -> Iterator[Row]:
    """Traces of services: lines missing and exceptions against normal ones, by trace."""
    folder = options.data / "trainticket"
    if not _is_there("trainticket", folder / "trainticket.jsonl.xz", folder / "labels.csv"):
        return
    with (folder / "labels.csv").open(newline="") as file:
        labels = {row["trace_id"]: int(row["label"]) for row in csv.DictReader(file)}
    normal = sorted(key for key, label in labels.items() if label == 0)
    order = np.random.default_rng(0).permutation(len(normal))
    learned = {normal[i] for i in order[: int(0.6 * len(normal))]}
    for seed in range(options.seeds):
        key = _key("trainticket", seed, options)
        if key not in known:
            with tempfile.TemporaryDirectory() as name:
                yield from _traces(key, options, seed, Path(name), learned, labels)


def _traces(
    key: str,
    options: argparse.Namespace,
    seed: int,
    place: Path,
    learned: set[str],
    labels: dict[str, int],
) -> Iterator[Row]:
    kinds = {trace: "train" if trace in learned else "test" for trace in labels}
    files = {kind: (place / f"{kind}.jsonl").open("w") for kind in ("train", "test")}
    with lzma.open(options.data / "trainticket" / "trainticket.jsonl.xz", "rt") as lines:
        for line in lines:
            kind = kinds.get(json.loads(line)["trace_id"])
            if kind:
                files[kind].write(line)
    for file in files.values():
        file.close()
    config = TrainingConfig(
        logs=(str(place / "train.jsonl"),),
        out=place / "model",
        format=FormatConfig(name="json"),
        window=WindowConfig(kind="session", key="trace_id"),
        model=ModelConfig(epochs=options.epochs or "auto", seed=seed, device=options.device),
        threshold=ThresholdConfig(false_alarm_rate=RATE),
    )
    began = time.monotonic()
    manifest = train(config, read_lines(config.logs, 0.0), Reporter(_say, lambda *_: None))
    trained = time.monotonic()
    detector = Detector.load(config.out, options.device, exact=True)
    value: dict[str, float] = {}
    for score in detector.score_files([place / "test.jsonl"]):
        trace = score.window.key
        value[trace] = max(value.get(trace, 0.0), score.value)
    scored = time.monotonic()
    for name, asked in (("missing lines, exceptions", 1), ("delays, CPU contention", -1)):
        tested = [trace for trace in value if labels[trace] in (0, asked)]
        truth = np.array([labels[trace] == asked for trace in tested])
        verdict = model_verdict([value[trace] for trace in tested])
        yield {
            "key": key,
            "set": f"trainticket: {name}",
            "seed": seed,
            "epochs": options.epochs,
            **figures("logmlm", verdict, truth, RATE),
            "train_s": trained - began,
            "score_s": scored - trained,
            "perplexity": manifest.metrics["perplexity"],
        }


def contact(options: argparse.Namespace, known: set[str]) -> Iterator[Row]:
    """First contact: few lines of a recorded log, defaults, the command line as a user runs it."""
    for system in RECORDED:
        for lines in options.lines or CONTACT_LINES:
            key = f"contact {system} {lines}"
            if key in known:
                continue
            with tempfile.TemporaryDirectory() as name:
                yield {"key": key, "set": f"contact: {system}", "lines": lines} | _first_contact(
                    SAMPLES / system, lines, Path(name)
                )


def _first_contact(data: Path, lines: int, place: Path) -> Row:
    log = place / "first.log"
    with gzip.open(data / "normal.log.gz", "rt", encoding="utf-8") as whole:
        log.write_text("".join(line for line, _ in zip(whole, range(lines), strict=False)))
    logmlm = str(Path(sys.executable).parent / "logmlm")
    began = time.monotonic()
    command = [logmlm, "train", str(log), "--out", str(place / "model"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    if done.returncode:
        return {"trains": False, "train_s": took, "said": done.stderr.strip().splitlines()[-1:]}
    command = [logmlm, "score", str(place / "model"), str(data / "later.log.gz")]
    scored = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    windows = [json.loads(line) for line in scored.stdout.splitlines()]
    return {"trains": True, "train_s": took, **_faults(windows, data / "incidents.csv")}


def _faults(windows: Sequence[Row], incidents: Path) -> Row:
    """Faults that an alarming window overlaps, and false alarms in quiet time."""
    with incidents.open(newline="") as file:
        faults = [(_seconds(row["start"]), _seconds(row["end"])) for row in csv.DictReader(file)]
    alarms = [window for window in windows if window["anomaly"]]
    found = sum(any(_overlaps(alarm, fault) for alarm in alarms) for fault in faults)
    quiet = [w for w in windows if not any(_overlaps(w, fault) for fault in faults)]
    false = sum(window["anomaly"] for window in quiet)
    share = false / max(1, len(quiet))
    touched = [sum(_overlaps(window, fault) for window in windows) for fault in faults]
    lasts = max(w["end"] for w in windows) - min(w["start"] for w in windows)
    return {
        "faults": len(faults),
        "found": found,
        "found_by_luck": sum(1 - (1 - share) ** count for count in touched),
        "false_alarms": false,
        "quiet_windows": len(quiet),
        "quiet_minutes": (lasts - sum(end - start for start, end in faults)) / 60,
    }


def _overlaps(window: Row, fault: tuple[float, float]) -> bool:
    return bool(window["start"] <= fault[1] and window["end"] >= fault[0])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _packed(path: Path) -> list[Session]:
    with lzma.open(path, "rt") as lines:
        return _sessions(lines)


def _sessions(lines: Iterable[str]) -> list[Session]:
    return [tuple(line.split()) for line in lines if line.strip()]


def _key(name: str, seed: int, options: argparse.Namespace) -> str:
    return f"{name} seed {seed} epochs {options.epochs or 'auto'}"


def _known(path: Path) -> set[str]:
    if not path.exists():
        return set()
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]  # the last one may be cut
    path.write_text("".join(whole), encoding="utf-8")
    return {json.loads(line)["key"] for line in whole}


def _is_there(name: str, *paths: Path) -> bool:
    missing = [path for path in paths if not path.exists()]
    if missing:
        _say(
            f"{name}: skipped, as {missing[0]} is not there; give the folder of the data by --data"
        )
    return not missing


def _show(row: Row) -> None:
    shown = {k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items() if k != "key"}
    print(" ".join(f"{name}={value}" for name, value in shown.items()), flush=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


SETS = {"contact": contact, "deeplog": deeplog, "adfa": adfa, "trainticket": trainticket}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"some of {', '.join(SETS)}")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="a quick look; told in the row")
    parser.add_argument("--lines", type=int, nargs="*", help="of `contact` alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("quality.jsonl"))
    options = parser.parse_args()
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"there is no set {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    return options


if __name__ == "__main__":
    main()
