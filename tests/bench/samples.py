"""The recorded logs: the model and the simple rules, on windows labelled by the faults' times.

    python tests/bench/samples.py [--system postgresql|nginx|redis] [--seeds N] [--json]

Trains as `configs/SYSTEM.yaml` says on the normal log, and measures on the later one, which is read
as what it is, the normal log's continuation: windows that begin in it count, and no session is odd
because the recording was cut in its middle. Run it from the repository's root. A window is labelled
if it overlaps a fault's time, so ordinary sessions that run during a fault count against recall;
`incidents_found` counts the faults. The model is measured twice: as it runs by itself, and with
`--exact`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from logmlm.config.loader import read_training_config
from logmlm.detection.detector import Detector
from logmlm.evaluation.evaluate import EvaluationRun, evaluate_detector
from logmlm.evaluation.labels import Labels
from logmlm.evaluation.results import ResultTable
from logmlm.records import Window
from logmlm.sources.archive.reader import read_lines
from logmlm.training.train import Reporter, train

SYSTEMS = ("postgresql", "nginx", "redis")
SAMPLES = Path("sample_logs")
ODD = 0.01


def main() -> None:
    options = _options()
    result: dict[str, Any] = {}
    for system in [options.system] if options.system else SYSTEMS:
        runs = [_measure(system, seed, options.epochs) for seed in range(options.seeds)]
        result[system] = runs[0] if options.seeds == 1 else runs
    print(json.dumps(result, indent=None if options.json else 1))


def _measure(system: str, seed: int, epochs: int | None) -> Any:
    began = time.monotonic()
    config = read_training_config(Path("configs") / f"{system}.yaml")
    changes: dict[str, Any] = {"seed": seed} | ({"epochs": epochs} if epochs else {})
    model = config.model.model_copy(update=changes)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        config = config.model_copy(update={"model": model, "out": out})
        train(config, read_lines(config.logs, time.time()), Reporter(_say, _report))
        trained = time.monotonic() - began
        evaluations = [_evaluation(system, out, exact) for exact in (False, True)]
    tables = "\nwith --exact:\n".join(each.as_text() for each in evaluations)
    _say(f"{system}, seed {seed}: trained in {trained:.0f} s\n{tables}")
    quick, exact = (each.as_json() for each in evaluations)
    return quick | {"logmlm --exact": exact["logmlm"]}


def _evaluation(system: str, model: Path, exact: bool) -> ResultTable:
    detector = Detector.load(model, "auto", exact=exact)
    windows = later_windows(detector, system)
    labels = Labels.read(SAMPLES / system / "incidents.csv")
    found = evaluate_detector(detector, model, windows, labels, oracle=False)
    _say("\n".join(_by_fault(found, windows, labels)))
    return found.evaluation


def _by_fault(found: EvaluationRun, windows: Sequence[Window], labels: Labels) -> Iterator[str]:
    """Of each fault, how many windows overlap it, and how many of these each detector flags."""
    for fault in labels.intervals:
        alone = Labels(labels.source, (fault,))
        at = [i for i, window in enumerate(windows) if alone.is_anomaly(window)]
        flagged = ", ".join(f"{v.name} {int(v.flagged[at].sum())}" for v in found.verdicts)
        surges = sum(found.scores[i].surge is not None for i in at)
        odd = sum(found.scores[i].p_value <= ODD for i in at)
        yield f"{fault.name}: {len(at)} windows; {flagged}; {surges} surges; {odd} at p <= {ODD}"


def later_windows(detector: Detector, system: str) -> list[Window]:
    """The windows that begin in the later part of a system's log."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"{system}.log"
        with whole.open("wb") as file:
            for part in ("normal", "later"):
                begin = file.tell()
                with gzip.open(SAMPLES / system / f"{part}.log.gz") as log:
                    shutil.copyfileobj(log, file)
        windows = detector.windows(read_lines([str(whole)], time.time()))
        return [each for each in windows if each.events[0].line.start >= begin]


def _report(name: str, epoch: Any) -> None:
    if epoch.epoch == epoch.epochs:
        _say(f"  {name}: {epoch}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--system", choices=SYSTEMS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--json", action="store_true", help="one line of JSON and nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    main()
