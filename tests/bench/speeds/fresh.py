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

from logmlm.detection.detector import Detector
from logmlm.detection.known_windows import PrecomputedScores
from logmlm.evaluation.labels import Labels
from logmlm.records import Window
from speeds.exact import Task, compared, parsed, tokens_of
from speeds.figure import Figure, Options, one_core, seconds_by_turns, spread
from speeds.hdfs_model import Trained
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
    labels = Labels.read(sample / "incidents.csv")
    task = Task.of(model, SAMPLE, _never_repeating(model, model.detector(), labels))
    turns = seconds_by_turns(task.sides(model.bert()), time.process_time)
    figure = Figure.of(
        [task.scale * naive_s / ours_s for naive_s, ours_s in turns],
        "windows that never repeat, CPU time of naive exact scoring / ours",
    )
    length = np.mean([len(window.events) for window in task.windows])
    rows = {
        "ratio": str(figure),
        "ours_s": spread([ours_s for _, ours_s in turns]),
        "windows": f"{task.told()}; of {length:.1f} events in the mean",
        "screen": model.screen(),
        "alerts": compared(model, task.windows),
    }
    return replace(figure, rows=rows)


def _never_repeating(model: Trained, detector: Detector, labels: Labels) -> list[Window]:
    """The first window of each content, in the order of closing."""
    known = PrecomputedScores.read(model.directory).surprisals
    found: dict[tuple[int, ...], Window] = {}
    for window in parsed(model, detector):
        if not labels.is_anomaly(window):
            found.setdefault(tokens_of(detector, window), window)
    return [window for tokens, window in found.items() if tokens not in known]
