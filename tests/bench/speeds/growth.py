"""What a line costs after 10^4 to 10^7 lines, and with 10^2 to 10^6 open windows.

From source lines to scores, all that may grow at work: masks with the shapes they remember,
templates, sessions, a real (tiny) model with the windows it remembers, the watch for surges. One
line in 84 has a word that was never there before, so that the masks meet new shapes and forget
all of them every 1,400,000 lines; one window in 25 is drawn at random, so that of a million lines
10,000 windows are new and the memory of windows is full before 4,000,000 lines. What is new goes
through the model; that the rest repeats is what makes 10^7 lines feasible.

Detectors of all ages take the same number of lines by turns, so that a machine that is shared
slows all of them. CPU time on one core. Medians pass over what comes seldom, such as a memory
that is emptied: the rows `before` give means over all lines before the turns.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from string import ascii_lowercase
from tempfile import TemporaryDirectory

from logmlm.config.training import (
    FormatConfig,
    ModelConfig,
    ThresholdConfig,
    TrainingConfig,
    WindowConfig,
)
from logmlm.detection.detector import Detector
from logmlm.detection.windows import Windower
from logmlm.records import LogLine
from logmlm.system.processes import freeze_gc
from logmlm.training.train import Reporter, train
from speeds.figure import ROUNDS, Figure, Options, one_core

LINES = (10**4, 10**5, 10**6, 10**7)
KEYS = (10**2, 10**4, 10**6)
FEW_KEYS = KEYS[0]
LAP = 2_000
"""Lines of a turn: the youngest is three times as old at the end as at the beginning."""
BATCH = 10_000
"""Lines at once before the turns."""
KEY = r"job (\d+)"
LINES_A_KEY = 4
"""Of each key before the turns: by then as many sessions end as begin."""
TRAINING_LINES, EPOCHS, RATE = 40_000, 3, 0.001
FLOWS, RANDOM_FLOW, NEW_WORD_EVERY = 200, 0.04, 21
VERBS = tuple(first + vowel + "ted" for first in "bdfgklmr" for vowel in "aeio")
STEPS = (
    "part {0} of 64 in {1} ms by job {job}",
    "{1} rows to /var/lib/shop/part-{0} by job {job}",
    "10.0.{0}.7 port {1} by job {job}",
    "customer {word} at 2026-11-21 10:00:{0} by job {job}",
)
SESSION = len(STEPS)
"""Lines of a key, after which its session ends."""
KINDS = tuple(tuple(f"{verb} {step}" for verb in VERBS) for step in STEPS)
"""What a line can be, by its place in a session."""


def made(keys: int, seed: int) -> Iterator[LogLine]:
    """Lines of so many jobs in turn, one a millisecond; sessions begin and end evenly in time."""
    draw = random.Random(seed)  # noqa: S311  no secret
    flows = [_flow(draw) for _ in range(FLOWS)]
    going: list[list[str]] = [[]] * keys
    for number in count():
        turn, place = divmod(number, keys)
        session, step = divmod(turn - place % SESSION, SESSION)
        if session < 0:
            continue
        if step == 0:
            is_new = draw.random() < RANDOM_FLOW
            going[place] = _flow(draw) if is_new else draw.choice(flows)
        word = _word(draw) if number % NEW_WORD_EVERY == 0 else "anna"
        text = going[place][step].format(
            number % 60 + 10, number % 9_000 + 1_000, job=session * keys + place, word=word
        )
        yield LogLine(text, "p", number, number + 1, 1e9 + number / 1000)


def _flow(draw: random.Random) -> list[str]:
    return [draw.choice(kinds) for kinds in KINDS]


def _word(draw: random.Random) -> str:
    return "".join(draw.choices(ascii_lowercase, k=8))


def window_config(keys: int) -> WindowConfig:
    """A key comes again after `keys` lines, and never after its session's last."""
    return WindowConfig(kind="session", key=KEY, gap=1.2 * keys / 1000, max_age=1e9)


class Worker:
    """A detector at work, whose stream has `keys` sessions at any time."""

    def __init__(self, model: Path, keys: int) -> None:
        detector = Detector.load(model, "cpu")
        self._reader = detector.event_parser()
        self._windower = Windower(window_config(keys))
        self._judge = detector.surge_monitor()
        self._lines = made(keys, seed=1)
        self.windows = 0

    @property
    def open_windows(self) -> int:
        """Windows that hold an event now."""
        return self._windower.open_windows

    def take(self, lines: int, at_once: int = BATCH) -> float:
        """Seconds of CPU for so many more lines, their making aside."""
        spent = 0.0
        for start in range(0, lines, at_once):
            batch = list(islice(self._lines, min(at_once, lines - start)))
            began = time.process_time()
            windows = self._windower.add(self._reader.feed(batch))
            self._judge.score(windows)
            spent += time.process_time() - began
            self.windows += len(windows)
        return spent


@dataclass(frozen=True)
class Aged:
    """A worker, and how many lines it takes before the turns."""

    worker: Worker
    lines: int

    def grow(self) -> float:
        """Take them; microseconds of CPU a line."""
        return self.worker.take(self.lines) / self.lines * 1e6

    def lap(self) -> float:
        """Microseconds of CPU a line in a turn."""
        return self.worker.take(LAP, LAP) / LAP * 1e6


def measure(_options: Options) -> Figure:
    with TemporaryDirectory() as name, one_core():
        everyone = _everyone(trained(Path(name) / "model"))
        freeze_gc()  # as the daemon does
        before = {name: aged.grow() for name, aged in everyone.items()}
        laps = [[aged.lap() for aged in everyone.values()] for _ in range(2 * ROUNDS)]
    youngest, oldest, fewest, most = 0, len(LINES) - 1, len(LINES), len(everyone) - 1
    ratios = [min(lap[youngest] / lap[oldest], lap[fewest] / lap[most]) for lap in laps]
    return Figure(
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        "cost a line, from lines to scores, at the least over that at the most lines, or open"
        " windows: the lower of both; one window in 25 is drawn at random, one line in 84 has a"
        " new word, the rest repeats",
        _rows(everyone, before, laps),
    )


def _everyone(model: Path) -> dict[str, Aged]:
    """Those of all ages, then those of all numbers of jobs."""
    by_age = {f"after {lines:,} lines": Aged(Worker(model, FEW_KEYS), lines) for lines in LINES}
    by_keys = {f"of {keys:,} jobs": Aged(Worker(model, keys), LINES_A_KEY * keys) for keys in KEYS}
    return by_age | by_keys


def _rows(
    everyone: dict[str, Aged], before: dict[str, float], laps: list[list[float]]
) -> dict[str, str | float]:
    rows: dict[str, str | float] = {}
    for (name, aged), costs in zip(everyone.items(), zip(*laps, strict=True), strict=True):
        rows[f"us_a_line_{name}"] = (
            f"{statistics.median(costs):.2f} ({min(costs):.2f} to {max(costs):.2f}),"
            f" {aged.worker.open_windows:,} windows open"
        )
    for name in list(everyone)[: len(LINES)]:
        rows[f"us_a_line_before: {name}"] = round(before[name], 2)
    return rows


def trained(out: Path) -> Path:
    """A model of the stream's first lines: its weights are real, not good."""
    config = TrainingConfig(
        logs=("made",),
        out=out,
        format=FormatConfig(name="plain"),
        window=window_config(FEW_KEYS),
        model=ModelConfig(epochs=EPOCHS, device="cpu"),
        threshold=ThresholdConfig(false_alarm_rate=RATE, folds=0),
    )
    lines = islice(made(FEW_KEYS, seed=0), TRAINING_LINES)
    train(config, lines, Reporter(_quiet, _quiet))
    return out


def _quiet(*_: object) -> None:
    pass
