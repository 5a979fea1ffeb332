"""The model and its calibration on files of sessions, one a line, events as ids.

    python tests/bench/sequences.py --train F --normal F --abnormal F [--seeds N] [--json]

`--train` holds normal sessions only; no label sets the threshold. `--weight-normal N` counts
false alarms as if the normal test sessions were N (where the file is a sample of them). The
simple rules are set on the same training sessions. Each figure is the mean over the seeds, with
the values beside it. `--oracle` adds the F1 of the best threshold, which is chosen on the labels.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from logmlm.config.training import ModelConfig, ThresholdConfig, WindowConfig
from logmlm.detection.calibration import window_statistics
from logmlm.evaluation.baselines import Predictions, run_baselines
from logmlm.evaluation.results import GroundTruth, ResultTable, build_results, model_verdict
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.tokenizer import END, UNK, Vocabulary
from logmlm.training.fit import FitResult, FitTask, fit

FIGURES = ("f1", "precision", "recall", "roc_auc", "pr_auc", "false_alarm_rate")
Session = tuple[str, ...]


@dataclass(frozen=True)
class Data:
    """Sessions for training and testing, and the weight of a normal test session."""

    train: list[Session]
    normal: list[Session]
    abnormal: list[Session]
    weight: float

    @property
    def tested(self) -> list[Session]:
        return [*self.normal, *self.abnormal]

    @property
    def truth(self) -> GroundTruth:
        anomalous = np.repeat([False, True], [len(self.normal), len(self.abnormal)])
        return GroundTruth(anomalous, np.where(anomalous, 1.0, self.weight))


class Encoder:
    """Sessions as windows of token ids: cut by length as the model takes no more."""

    def __init__(self, train: Sequence[Session], config: ModelConfig, size: int) -> None:
        counts = Counter(event for session in train for event in session)
        self.vocabulary = Vocabulary.build(counts, config.min_count)
        self._index = self.vocabulary.index()
        self._size = size

    def windows(self, session: Session) -> list[tuple[int, ...]]:
        tokens = tuple(self._index.get(event, UNK) for event in session)
        cut = [tokens[i : i + self._size] for i in range(0, len(tokens), self._size)]
        return [*cut[:-1], (*cut[-1], END)]


def main() -> None:
    options = _options()
    data = _read(options)
    rows: dict[str, dict[str, list[float | None]]] = {}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        table = _one_seed(data, options, seed)
        for row in table.rows:
            values = row.as_json()
            for figure in (*FIGURES, "oracle_f1") if options.oracle else FIGURES:
                rows.setdefault(row.name, {}).setdefault(figure, []).append(values[figure])
        _say(f"seed {seed}\n{table.as_text()}")
    result = {name: {k: _spread(v) for k, v in row.items()} for name, row in rows.items()}
    print(json.dumps(result, indent=None if options.json else 1))


def _one_seed(data: Data, options: argparse.Namespace, seed: int) -> ResultTable:
    began = time.monotonic()
    config = ModelConfig(
        preset=options.preset,
        epochs=options.epochs or "auto",
        seed=seed,
        device=options.device,
    )
    encoder = Encoder(data.train, config, options.size)
    fitted, folds = _fit(data, encoder, config, options)
    _say(f"seed {seed}: fitted in {time.monotonic() - began:.0f} s, {fitted.calibration.promise}")
    verdicts = [model_verdict(_values(fitted, encoder, data.tested))]
    verdicts += _rules(data, folds, options.false_alarm_rate, seed)
    return build_results(verdicts, data.truth, oracle=options.oracle)


def _fit(
    data: Data, encoder: Encoder, config: ModelConfig, options: argparse.Namespace
) -> tuple[FitResult, list[int]]:
    """The model, and the fold of each training session (that of its last window)."""
    windows = [encoder.windows(session) for session in data.train]
    task = FitTask(
        corpus=Corpus.of(window for cut in windows for window in cut),
        vocabulary_size=len(encoder.vocabulary),
        window_size=options.size,
        windows_per_day=1.0,
        model=config,
        threshold=ThresholdConfig(false_alarm_rate=options.false_alarm_rate, folds=options.folds),
    )
    fitted = fit(task, None, _report)
    last = np.cumsum([len(cut) for cut in windows]) - 1
    return fitted, fitted.folds[last].tolist()


def _values(fitted: FitResult, encoder: Encoder, sessions: Sequence[Session]) -> list[float]:
    """The largest value among each session's windows."""
    cut = [encoder.windows(session) for session in sessions]
    flat = [window for windows in cut for window in windows]
    scorer = Scorer(fitted.model)
    pairs = zip(scorer.score_ordered(flat), scorer.score_bag(flat), strict=True)
    found = np.array([window_statistics(reading.surprisals, bag) for reading, bag in pairs])
    values, _ = fitted.calibration.values(found)
    ends = np.cumsum([len(windows) for windows in cut])
    starts = ends - [len(windows) for windows in cut]
    return [float(values[a:b].max()) for a, b in zip(starts, ends, strict=True)]


def _rules(data: Data, folds: list[int], rate: float, seed: int) -> list[Predictions]:
    return run_baselines(data.train, folds, data.tested, rate, seed)


def _spread(values: list[float | None]) -> dict[str, object]:
    known = [value for value in values if value is not None]
    return {"mean": float(np.mean(known)) if known else None, "values": values}


def _read(options: argparse.Namespace) -> Data:
    train, normal, abnormal = map(_sessions, (options.train, options.normal, options.abnormal))
    weight = (options.weight_normal or len(normal)) / max(1, len(normal))
    return Data(train, normal, abnormal, weight)


def _sessions(path: Path) -> list[Session]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        sys.exit(f"can't read {path}: {error.strerror}")
    found = [tuple(line.split()) for line in lines if line.strip()]
    if not found:
        sys.exit(f"{path} holds no sessions")
    return found


def _report(name: str, epoch: object) -> None:
    done, total = getattr(epoch, "epoch", 0), getattr(epoch, "epochs", 1)
    if done % max(1, total // 4) == 0:
        _say(f"  {name}: {epoch}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", 1)[0])
    for name in ("train", "normal", "abnormal"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--weight-normal", type=float)
    parser.add_argument("--false-alarm-rate", type=float, default=0.001)
    defaults = ModelConfig()
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--preset", default=defaults.preset)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folds", default="auto", type=lambda v: v if v == "auto" else int(v))
    parser.add_argument("--size", type=int, default=WindowConfig().size)
    parser.add_argument("--oracle", action="store_true", help="F1 with a threshold from the labels")
    parser.add_argument("--json", action="store_true", help="one line of JSON and nothing else")
    return parser.parse_args()


if __name__ == "__main__":
    main()
