"""Raw HDFS lines to alerts, against exact scoring as one would write it first.

The naive way takes too long for the whole log: it is timed on a random sample of windows, by
turns with ours on the whole, and its time is scaled by the number of tokens through the model.
Both sides read the lines with logmlm's own parser. CPU time on one core.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from logmlm.calibration import Calibration, statistics
from logmlm.modeldir import load_calibration
from logmlm.records import Score, Window
from speeds.figure import Figure, Options, by_turns
from speeds.hdfs_model import Trained, scored, trained
from speeds.naive import naive

SAMPLE = 100
MINICONS_SAMPLE = 10


def measure(options: Options) -> Figure:
    """The ratio of CPU times for the whole log, and that of scoring alone."""
    with trained(options) as model:
        return _measure(model)


def _measure(model: Trained) -> Figure:
    detector = model.detector()
    began = time.process_time()
    windows = list(detector.windows(model.lines()))
    parse_s = time.process_time() - began
    tokens = [tokens_of(detector, window) for window in windows]
    sample = np.random.default_rng(0).choice(len(windows), SAMPLE, replace=False)
    chosen = [tokens[i] for i in sample]
    scale = sum(map(cost, tokens)) / sum(map(cost, chosen))
    bert = model.bert()

    scoring = by_turns(
        f"naive exact scoring of {SAMPLE} windows of {len(windows)}, times {scale:.0f}",
        lambda: naive(bert, chosen),
        lambda: scored(model.detector(), windows),
        clock=time.process_time,
    )
    naive_s = scoring.rows["theirs_s"] * scale
    whole = (parse_s + naive_s) / (parse_s + scoring.rows["ours_s"])
    alerts = compared(model, windows)
    values = _values(load_calibration(model.directory)[0], naive(bert, chosen))
    exact = scored(model.detector(exact=True), [windows[i] for i in sample])
    return Figure(
        round(whole, 2),
        (parse_s + naive_s) / (parse_s + naive_s / (scoring.low * scale)),
        (parse_s + naive_s) / (parse_s + naive_s / (scoring.high * scale)),
        "raw HDFS lines to alerts, CPU time of naive exact scoring / ours",
        {
            "scoring alone": f"{scoring.ratio * scale:.0f} ({scoring.low * scale:.0f} to"
            f" {scoring.high * scale:.0f})",
            "parsing, ours, naive": f"{parse_s:.2f} s, {scoring.rows['ours_s']:.2f} s,"
            f" {naive_s:.0f} s (a sample of {SAMPLE} windows, times {scale:.0f})",
            "screen": model.screen(),
            "alerts": alerts,
            "exact values differ from naive ones by at most": max(
                abs(a - b.value) for a, b in zip(values, exact, strict=True)
            ),
            "minicons' token_score / our in-order reading": minicons(model.directory, chosen, bert),
        },
    )


def tokens_of(detector, window: Window) -> tuple[int, ...]:
    return detector._tokens(window)


def cost(tokens: Sequence[int]) -> int:
    """Tokens that go through the model when each place is hidden once, in two readings."""
    return 2 * len(tokens) * (len(tokens) + 2)


def compared(model: Trained, windows: list[Window]) -> str:
    """Whether the alerts are those of the exact scorer."""
    ours, exact = (scored(model.detector(exact=each), windows) for each in (False, True))
    alerts = [(a, b) for a, b in zip(ours, exact, strict=True) if b.is_anomaly]
    missed = sum(not a.is_anomaly for a, _ in alerts)
    worst = max((abs(a.value - b.value) for a, b in alerts if a.is_anomaly), default=0.0)
    return (
        f"{missed} of {len(alerts)} missed, values differ by {worst:.1e} at most;"
        f" {_share(ours):.1%} of {len(windows)} windows scored exactly"
    )


def _share(scores: Sequence[Score]) -> float:
    return sum(score.is_exact for score in scores) / len(scores)


def _values(calibration: Calibration, pairs: list) -> list[float]:
    return calibration.values(np.array([statistics(a, b) for a, b in pairs]))[0].tolist()


def minicons(directory: Path, chosen: list[tuple[int, ...]], bert) -> str:
    """How many times as long minicons takes for the in-order reading of the same windows."""
    from minicons.scorer import MaskedLMScorer

    from logmlm.mlm.pll import Scorer
    from logmlm.mlm.store import load_vocabulary

    words = load_vocabulary(directory).words
    theirs = MaskedLMScorer(str(directory), "cpu", PLL_metric="original")
    texts = [" ".join(words[token] for token in each) for each in chosen[:MINICONS_SAMPLE]]
    figure = by_turns(
        "",
        lambda: theirs.token_score(theirs.tokenizer(texts, padding=True), surprisal=True),
        lambda: Scorer(bert).in_order(chosen[:MINICONS_SAMPLE]),
        rounds=3,
        clock=time.process_time,
    )
    return f"{figure.ratio:.1f} on {MINICONS_SAMPLE} windows, no window of ours known before"
