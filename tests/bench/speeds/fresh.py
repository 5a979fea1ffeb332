"""Windows that never repeat, against exact scoring as one would write it first.

Every content of the raw HDFS log once, so that no cache helps; and as many again with two
neighbours exchanged. The naive way is timed on a random sample by turns with ours on all, and
scaled by the number of tokens through the model. CPU time, one thread a pass.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from logmlm.records import Window
from speeds.exact import compared, cost, tokens_of
from speeds.figure import Figure, Options, by_turns
from speeds.hdfs_model import Trained, scored, trained
from speeds.naive import naive

SAMPLE = 100


def measure(options: Options) -> Figure:
    """The ratio of CPU times of scoring alone."""
    with trained(options) as model:
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


def _never_repeating(detector, windows: list[Window]) -> list[Window]:
    """Each content once, and once more with two neighbouring events exchanged if that is new."""
    draw = np.random.default_rng(0)
    known = {}
    for window in windows:
        known.setdefault(tokens_of(detector, window), window)
    for window in list(known.values()):
        events = list(window.events)
        at = int(draw.integers(max(1, len(events) - 1)))
        events[at : at + 2] = events[at : at + 2][::-1]
        other = replace(window, events=tuple(events))
        known.setdefault(tokens_of(detector, other), other)
    return list(known.values())
