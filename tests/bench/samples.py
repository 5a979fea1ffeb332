"""The recorded logs: the model and the simple rules, on windows labelled by the faults' times.

    python tests/bench/samples.py [--system postgresql|nginx|redis] [--seeds N] [--json]

Trains as `configs/SYSTEM.yaml` says on the normal log, and measures on the later one. Run it
from the repository's root. A window is labelled if it overlaps a fault's time, so ordinary
sessions that run during a fault count against recall; `incidents_found` counts the faults.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from logmlm.assessment import assess
from logmlm.configfile import read_training_config
from logmlm.detector import Detector
from logmlm.labels import Labels
from logmlm.sources.archive import read_lines
from logmlm.training import Session, train

SYSTEMS = ("postgresql", "nginx", "redis")
SAMPLES = Path("sample_logs")


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
        train(config, read_lines(config.logs, time.time()), Session(_say, _report))
        trained = time.monotonic() - began
        detector = Detector.load(out, "auto")
        later = [str(SAMPLES / system / "later.log.gz")]
        windows = list(detector.windows(read_lines(later, time.time())))
        labels = Labels.read(SAMPLES / system / "incidents.csv")
        found = assess(detector, out, windows, labels, oracle=False)
    _say(f"{system}, seed {seed}: trained in {trained:.0f} s\n{found.evaluation.as_text()}")
    return found.evaluation.as_json()


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
