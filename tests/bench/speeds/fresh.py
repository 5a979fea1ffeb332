"""Windows that never repeat, against exact scoring as one would write it first.

Every 32 lines of the raw HDFS log are a window, lines of many blocks between each other; each
content counts once, so that no cache helps. The naive way is timed on a random sample by turns
with ours on all, and scaled by the number of tokens through the model. CPU time, one thread a
pass; parsing is left out on both sides.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from logmlm.detector import Detector
from logmlm.records import Window
from speeds.exact import compared, cost, tokens_of
from speeds.figure import Figure, Options, by_turns
from speeds.hdfs_model import MIXED, Trained, scored, trained
from speeds.naive import naive

SAMPLE = 40
EPOCHS = 12
WINDOWS = 2_000


def measure(options: Options) -> Figure:
    """The ratio of CPU times of scoring alone."""
    with trained(options, MIXED, EPOCHS) as model:
        return _measure(model)


def _measure(model: Trained) -> Figure:
    detector = model.detector()
    windows = _never_repeating(detector, list(detector.windows(model.lines())))
    tokens = [tokens_of(detector, window) for window in windows]
    places = np.random.default_rng(0).permutation(len(tokens))[:SAMPLE]
    chosen = [tokens[i] for i in places]
    scale = sum(map(cost, tokens)) / sum(map(cost, chosen))
    figure = by_turns(
        f"{len(windows)} different windows, CPU time of naive exact scoring / ours",
        lambda: naive(detector.bert, chosen),
        lambda: scored(model.detector(), windows),
        clock=time.process_time,
    )
    return replace(
        figure,
        ratio=figure.ratio * scale,
        low=figure.low * scale,
        high=figure.high * scale,
        rows=figure.rows
        | {
            "scale": f"naive on a sample of {len(chosen)}, times {scale:.1f}",
            "screen": model.screen(),
            "alerts": compared(model, windows),
        },
    )


def _never_repeating(detector: Detector, windows: list[Window]) -> list[Window]:
    """The last windows of the log that training did not see, each content once."""
    return list({tokens_of(detector, window): window for window in windows}.values())[-WINDOWS:]
