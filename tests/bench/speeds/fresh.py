"""Windows that never repeat, against exact scoring as one would write it first.

The stream is the recorded PostgreSQL log, every 32 lines of all its sessions a window; beside it
nginx's visits and Redis's sessions, as their configurations cut them. Windows of the logs after
their normal part, outside the recorded faults: each content once, and none that came with the
model, so that no memory of windows helps. The naive way is timed on a random sample by turns with
ours on all, and scaled by the number of tokens through the model. CPU time on one core;
parsing is left out on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from logmlm.detector import Detector
from logmlm.known import Known
from logmlm.labels import Labels
from logmlm.records import Window
from speeds.exact import compared, cost, tokens_of
from speeds.figure import Figure, Options, by_turns, one_core
from speeds.hdfs_model import Trained, scored
from speeds.naive import naive
from speeds.trained import SAMPLES, trained

STREAM = ("--window", "count", "--size", "32", "--false-alarm-rate", "0.002", "--folds", "4")
OTHERS = ("nginx", "redis")
SAMPLE = 40
EPOCHS = 20


def measure(_options: Options) -> Figure:
    """The ratio of CPU times of scoring alone: that of the stream, and as rows those of others."""
    with TemporaryDirectory() as name:
        stream = _figure(Path(name) / "stream", "postgresql", STREAM)
        others = {log: _figure(Path(name) / log, log, ("--folds", "4")) for log in OTHERS}
    rows = {f"{log}: {key}": value for log in OTHERS for key, value in others[log].rows.items()}
    return replace(stream, rows=stream.rows | rows)


def _figure(directory: Path, log: str, how: Sequence[str]) -> Figure:
    trained(directory, EPOCHS, log, how)
    with one_core():
        return _measured(Trained(directory, SAMPLES / log / "later.log.gz"), SAMPLES / log)


def _measured(model: Trained, sample: Path) -> Figure:
    detector = model.detector()
    windows = _never_repeating(model, detector, Labels.read(sample / "incidents.csv"))
    tokens = [tokens_of(detector, window) for window in windows]
    places = np.random.default_rng(0).permutation(len(tokens))[:SAMPLE]
    chosen = [tokens[i] for i in places]
    scale = sum(map(cost, tokens)) / sum(map(cost, chosen))
    bert = model.bert()
    figure = by_turns(
        "windows that never repeat, CPU time of naive exact scoring / ours",
        lambda: naive(bert, chosen),
        lambda: scored(model.detector(), windows),
        clock=time.process_time,
    )
    low, ratio, high = (scale * each for each in (figure.low, figure.ratio, figure.high))
    rows = {
        "ratio": f"{ratio:.1f} ({low:.1f} to {high:.1f})",
        "ours_s": figure.rows["ours_s"],
        "windows": f"{len(windows)} of {np.mean([len(each) for each in tokens]):.1f} events,"
        f" naive on {len(chosen)}, times {scale:.1f}",
        "screen": model.screen(),
        "alerts": compared(model, windows),
    }
    return replace(figure, ratio=ratio, low=low, high=high, rows=rows)


def _never_repeating(model: Trained, detector: Detector, labels: Labels) -> list[Window]:
    known = Known.read(model.directory).readings
    found = {tokens_of(detector, window): window for window in detector.windows(model.lines())}
    return [
        window
        for tokens, window in found.items()
        if tokens not in known and not labels.is_anomaly(window)
    ]
