"""Raw lines to alerts, as `logmlm score` makes them, beside Drain3 alone on the same lines.

Ours reads the packed file, parses, makes windows, scores them and watches for surges, with a model
that is given and a detector that has seen nothing yet. Drain3 is given the messages in memory,
already taken out of their lines, and knows their templates. Both have one process on one core, and
what is compared is CPU time.

The model was trained on the log's first 100,000 lines, and the figure is of all its 222,579; a row
is of those after the training part alone, where sessions that began before are read from there on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from speeds.figure import Figure, Options, by_turns
from speeds.hdfs_model import TRAINING_LINES, Trained, judged, trained
from speeds.parse import Log, drain3

ROW_LINES = 40_000
"""The last lines of the log, for the rows that tell of a part of the work."""


def measure(options: Options) -> Figure:
    """The whole of HDFS's 2 %, which repeats itself."""
    with trained(options) as model:
        log = Log(model.log, limit=None)
        unseen = model.after(TRAINING_LINES)
        figure = _compared(log.messages, lambda: alerts(model))
        beside = _compared(log.messages[TRAINING_LINES:], lambda: alerts(unseen))
        rows = figure.rows | {
            "lines": len(log.lines),
            "windows that alarm": alerts(model),
            "lines after the training part alone": str(beside),
            "windows that alarm there": alerts(unseen),
        }
        return replace(figure, rows=rows | _parts(model, log))


def _parts(model: Trained, log: Log) -> dict[str, str]:
    start = len(log.lines) - ROW_LINES
    part, name = model.after(start), f"last {ROW_LINES:,} lines"
    whole = _compared(log.texts[start:], lambda: alerts(part))
    unscored = _compared(log.messages[start:], lambda: _read(part))
    return {f"Drain3 on whole lines, {name}": str(whole), f"without scoring, {name}": str(unscored)}


def _compared(texts: list[str], ours: Callable[[], object]) -> Figure:
    what = "Drain3 on messages / raw HDFS lines to alerts, CPU time, one process"
    return by_turns(what, drain3(texts), ours, time.process_time)


def alerts(model: Trained) -> int:
    """How many windows of the log alarm, by themselves or as a surge."""
    detector = model.detector()
    windows = detector.windows(model.lines(), workers=0)
    return sum(score.is_anomaly for score in judged(detector, windows))


def _read(model: Trained) -> None:
    for _ in model.detector().windows(model.lines(), workers=0):
        pass
