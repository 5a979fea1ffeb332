"""Raw lines to alerts, as `logmlm score` makes them, beside Drain3 alone on the same lines.

Ours reads the packed file, parses, makes windows and scores them, with a model that is given and
a detector that has seen nothing yet. Drain3 is given the messages in memory, already taken out of
their lines, and knows their templates. What is compared is CPU time, that of other processes
too; a row compares the time on the clock, where our parsing may use the other cores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

from logmlm.detector import Detector
from logmlm.records import Window
from logmlm.sources.archive import read_lines
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
            "Drain3 on messages / raw HDFS lines to alerts, CPU time of all processes",
            theirs,
            lambda: alerts(model.detector(), model),
            clock=_cpu_time,
        )
        rows = dict(figure.rows) | {"lines": len(log.lines)}
        rows["Drain3 on whole lines"] = _row(drain3(log.texts), model, _cpu_time)
        rows["time on the clock"] = _row(theirs, model, time.perf_counter)
        rows["no scoring"] = _row(theirs, model, _cpu_time, read_only=True)
        rows["no scoring, one process, on the clock"] = _row(
            theirs, model, time.perf_counter, read_only=True, workers=0
        )
    return replace(figure, rows=rows)


def alerts(detector: Detector, model: Trained, workers: int | None = None) -> int:
    """How many windows of the log alarm."""
    windows = detector.windows(read_lines([str(model.log)], time.time()), workers)
    found = 0
    while batch := list(islice(windows, WINDOWS_AT_ONCE)):
        found += sum(score.is_anomaly for score in scored(detector, batch))
    return found


def _row(
    theirs: Callable[[], object],
    model: Trained,
    clock: Callable[[], float],
    read_only: bool = False,
    workers: int | None = None,
) -> str:
    def read() -> list[Window]:
        lines = read_lines([str(model.log)], time.time())
        return list(model.detector().windows(lines, workers))

    def work() -> object:
        return read() if read_only else alerts(model.detector(), model, workers)

    found = by_turns("", theirs, work, 3, clock)
    return f"{found.ratio:.2f} ({found.low:.2f} to {found.high:.2f})"


def _cpu_time() -> float:
    return sum(os.times()[:4])
