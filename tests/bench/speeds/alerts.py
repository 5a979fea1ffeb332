"""Raw lines to alerts, as `logmlm score` makes them, beside Drain3 alone on the same lines.

Ours reads the packed file, parses, makes windows and scores them, with a model that is given and
a detector that has seen nothing yet. Drain3 is given the messages in memory, already taken out of
their lines, and knows their templates. Both have one process on one core, and what is compared is
CPU time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from logmlm.detector import Detector
from logmlm.records import Window
from speeds.figure import Figure, Options, by_turns
from speeds.hdfs_model import Trained, scored, trained
from speeds.parse import Log, drain3

WINDOWS_AT_ONCE = 2_048


def measure(options: Options) -> Figure:
    """The whole of HDFS's 2 %, which repeats itself."""
    with trained(options) as model:
        log = Log(model.log, limit=None)
        theirs = drain3(log.messages)
        figure = by_turns(
            "Drain3 on messages / raw HDFS lines to alerts, CPU time, one process",
            theirs,
            lambda: alerts(model.detector(), model, workers=0),
            clock=time.process_time,
        )
        rows = dict(figure.rows) | {"lines": len(log.lines)}
        whole = drain3(log.texts)
        rows["Drain3 on whole lines"] = _row(whole, lambda: alerts(model.detector(), model, 0))
        rows["without scoring"] = _row(theirs, lambda: _read(model))
    return replace(figure, rows=rows)


def alerts(detector: Detector, model: Trained, workers: int | None = None) -> int:
    """How many windows of the log alarm."""
    windows = detector.windows(model.lines(), workers)
    found = 0
    while batch := list(islice(windows, WINDOWS_AT_ONCE)):
        found += sum(score.is_anomaly for score in scored(detector, batch))
    return found


def _read(model: Trained) -> list[Window]:
    return list(model.detector().windows(model.lines(), workers=0))


def _row(theirs: Callable[[], object], ours: Callable[[], object]) -> str:
    found = by_turns("", theirs, ours, 3, time.process_time)
    return f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})"
