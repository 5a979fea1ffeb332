"""Raw HDFS lines to alerts, against exact scoring as one would write it first.

The naive way takes too long for the whole log: it is timed on a random sample of windows, and its
time is scaled by the number of tokens through the model. A turn is that sample, the parsing of
all lines, with logmlm's own parser on both sides, and our scoring of all windows, surges too. CPU
time on one core.

The model was trained on the log's first 100,000 lines, and the figure is of all its 222,579; rows
are of those after the training part alone, where sessions that began before are read from there on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import BertForMaskedLM

from logmlm.detection.calibration import Calibration, window_statistics
from logmlm.detection.detector import Detector
from logmlm.detection.model_dir import load_calibration
from logmlm.records import Score, Window
from speeds.figure import ROUNDS, Figure, Options, by_turns, seconds_by_turns, spread
from speeds.hdfs_model import TRAINING_LINES, Trained, judged, trained
from speeds.naive import naive

SAMPLE = 100
MINICONS_SAMPLE = 10


def measure(options: Options) -> Figure:
    """The ratio of CPU times for the whole log, and that of scoring alone."""
    with trained(options) as model:
        task = Task.of(model, SAMPLE)
        bert = model.bert()
        figure = _whole(task, bert)
        unseen = _whole(Task.of(model.after(TRAINING_LINES), SAMPLE), bert)
        rows = figure.rows | {
            "screen": model.screen(),
            "exact values differ from naive ones by at most": _difference(task, bert),
            "minicons' token_score / our in-order reading": minicons(
                model.directory, task.chosen, bert
            ),
            "lines after the training part alone": str(unseen),
        }
        rows |= {f"lines after the training part: {k}": v for k, v in unseen.rows.items()}
        return replace(figure, rows=rows)


@dataclass(frozen=True)
class Task:
    """Windows to score, a sample of them as tokens, and what all cost beside the sample."""

    model: Trained
    windows: list[Window]
    sample: list[int]
    chosen: list[tuple[int, ...]]
    scale: float

    @classmethod
    def of(cls, model: Trained, size: int, windows: list[Window] | None = None) -> Task:
        """A random sample of so many of the windows, by default of all in the model's log."""
        detector = model.detector()
        windows = list(parsed(model, detector)) if windows is None else windows
        tokens = [tokens_of(detector, window) for window in windows]
        sample = np.random.default_rng(0).permutation(len(windows))[:size].tolist()
        chosen = [tokens[i] for i in sample]
        scale = sum(map(cost, tokens)) / sum(map(cost, chosen))
        return cls(model, windows, sample, chosen, scale)

    def sides(self, bert: BertForMaskedLM) -> list[Callable[[], object]]:
        """The naive scoring of the sample, and ours of all windows."""
        return [
            lambda: naive(bert, self.chosen),
            lambda: exhaust(judged(self.model.detector(), self.windows)),
        ]

    def told(self) -> str:
        """How many windows there are, and how many of them the naive way is timed on."""
        return f"{len(self.windows)}, naive on {len(self.chosen)}, times {self.scale:.1f}"


def parsed(model: Trained, detector: Detector) -> Iterator[Window]:
    """The windows of the model's log, one after the other, as `score` takes them."""
    return detector.windows(model.lines(), workers=0)


def exhaust(things: Iterable[object]) -> None:
    deque(things, maxlen=0)


def _whole(task: Task, bert: BertForMaskedLM) -> Figure:
    """Both sides from raw lines on, each turn with its own seconds of parsing."""
    fresh = [task.model.detector() for _ in range(ROUNDS)]
    works = [*task.sides(bert), lambda: exhaust(parsed(task.model, fresh.pop()))]
    turns = seconds_by_turns(works, time.process_time)
    naive_s, ours_s, parse_s = zip(*turns, strict=True)
    naive_s = tuple(task.scale * each for each in naive_s)
    return Figure.of(
        [(p + n) / (p + o) for n, o, p in zip(naive_s, ours_s, parse_s, strict=True)],
        "raw HDFS lines to alerts, CPU time of naive exact scoring / ours",
        {
            "scoring alone": spread([n / o for n, o in zip(naive_s, ours_s, strict=True)], 1),
            "parsing, s": spread(parse_s),
            "our scoring, s": spread(ours_s),
            "naive scoring, s": spread(naive_s, 1),
            "windows": task.told(),
            "alerts": compared(task.model, task.windows),
        },
    )


def tokens_of(detector: Detector, window: Window) -> tuple[int, ...]:
    return detector._tokens(window)


def cost(tokens: Sequence[int]) -> int:
    """Tokens that go through the model when each place is hidden once, in two readings."""
    return 2 * len(tokens) * (len(tokens) + 2)


def compared(model: Trained, windows: list[Window]) -> str:
    """Whether the alerts are those of the exact scorer: by value, and through surges.

    A surge that is told of at another window than the exact scorer's counts as missed there and
    as additional here.
    """
    ours, exact = (list(judged(model.detector(each), windows)) for each in (False, True))
    both = list(zip(ours, exact, strict=True))
    alike = [(a, b) for a, b in both if alarms_alone(a) and alarms_alone(b)]
    worst = max((abs(a.value - b.value) for a, b in alike), default=0.0)
    share = sum(score.stage == "exact" for score in ours) / len(ours)
    return (
        f"by value {_differences(both, alarms_alone)}, values differ by {worst:.1e} at most;"
        f" surges {_differences(both, surges)}; {share:.1%} of {len(ours)} windows scored exactly"
    )


def alarms_alone(score: Score) -> bool:
    return score.is_anomaly and not surges(score)


def surges(score: Score) -> bool:
    return score.surge is not None


def _differences(both: Sequence[tuple[Score, Score]], kind: Callable[[Score], bool]) -> str:
    """Alerts of a kind that one has and the other not, not even as one of the other kind."""
    missed = sum(kind(b) and not a.is_anomaly for a, b in both)
    more = sum(kind(a) and not b.is_anomaly for a, b in both)
    return f"{missed} of {sum(kind(b) for _, b in both)} missed, {more} additional"


def _difference(task: Task, bert: BertForMaskedLM) -> float:
    """Between our exact values and those of naive surprisals, at most."""
    calibration = load_calibration(task.model.directory)[0]
    values = _values(calibration, naive(bert, task.chosen))
    exact = task.model.detector(exact=True).score([task.windows[i] for i in task.sample])
    return max(abs(a - b.value) for a, b in zip(values, exact, strict=True))


def _values(calibration: Calibration, pairs: list) -> list[float]:
    return calibration.values(np.array([window_statistics(a, b) for a, b in pairs]))[0].tolist()


def minicons(directory: Path, chosen: list[tuple[int, ...]], bert: BertForMaskedLM) -> str:
    """How many times as long minicons takes for the in-order reading of the same windows."""
    from minicons.scorer import MaskedLMScorer

    from logmlm.mlm.pretrained import load_vocabulary
    from logmlm.mlm.scorer import Scorer

    words = load_vocabulary(directory).words
    theirs = MaskedLMScorer(str(directory), "cpu", PLL_metric="original")
    texts = [" ".join(words[token] for token in each) for each in chosen[:MINICONS_SAMPLE]]
    figure = by_turns(
        "",
        lambda: theirs.token_score(theirs.tokenizer(texts, padding=True), surprisal=True),
        lambda: Scorer(bert).score_ordered(chosen[:MINICONS_SAMPLE]),
        time.process_time,
    )
    return f"{figure} on {MINICONS_SAMPLE} windows, no window of ours known before"
