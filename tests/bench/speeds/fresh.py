"""Windows that never repeat, against exact scoring as one would write it first.

Windows of the three recorded logs after their normal part, outside the recorded faults: each
content once, and none that came with the model, so that no memory of windows helps. The naive
way is timed on a random sample by turns with ours on all, and scaled by the number of tokens
through the model. CPU time, one thread a pass; parsing is left out on both sides.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from logmlm.detector import Detector
from logmlm.known import Known
from logmlm.labels import Labels
from logmlm.records import Window
from speeds.exact import compared, cost, tokens_of
from speeds.figure import Figure, Options, by_turns
from speeds.hdfs_model import Trained, scored
from speeds.naive import naive
from speeds.trained import SAMPLES, trained

LOGS = ("postgresql", "nginx", "redis")
SAMPLE = 40
EPOCHS = 40
RATE = 0.005
"""What the tenth of the windows that is held out can carry without folds."""


def measure(_options: Options) -> Figure:
    """The ratio of CPU times of scoring alone, over all three logs and for each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as name:
            figures = {log: _figure(Path(name) / log, log) for log in LOGS}
    finally:
        torch.set_num_threads(threads)
    ours = {log: figure.rows["ours_s"] for log, figure in figures.items()}
    mean = {
        which: sum(ours[log] * getattr(figures[log], which) for log in LOGS) / sum(ours.values())
        for which in ("ratio", "low", "high")
    }
    rows = {f"{log}: {key}": value for log in LOGS for key, value in figures[log].rows.items()}
    what = "windows that never repeat, CPU time of naive exact scoring / ours, three logs together"
    return Figure(mean["ratio"], mean["low"], mean["high"], what, rows)


def _figure(directory: Path, log: str) -> Figure:
    trained(directory, EPOCHS, log, RATE)
    model = Trained(directory, SAMPLES / log / "later.log.gz")
    detector = model.detector()
    windows = _never_repeating(model, detector, Labels.read(SAMPLES / log / "incidents.csv"))
    tokens = [tokens_of(detector, window) for window in windows]
    places = np.random.default_rng(0).permutation(len(tokens))[:SAMPLE]
    chosen = [tokens[i] for i in places]
    scale = sum(map(cost, tokens)) / sum(map(cost, chosen))
    bert = model.bert()
    figure = by_turns(
        "",
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
