"""A model of the raw HDFS log, trained quickly, for benchmarks of scoring."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import BertForMaskedLM

from logmlm.config.training import (
    FormatConfig,
    ModelConfig,
    ThresholdConfig,
    TrainingConfig,
    WindowConfig,
)
from logmlm.detection.detector import Detector
from logmlm.detection.model_dir import load_calibration
from logmlm.records import LogLine, Score, Window
from logmlm.sources.archive.reader import read_lines
from logmlm.system.processes import freeze_gc
from logmlm.training.train import Reporter, train
from speeds.figure import Options, one_core

TRAINING_LINES = 100_000
EPOCHS = 60
KEY = r"(blk_-?\d+)"
RATE = 0.005
BATCH_WINDOWS = 2_048


@dataclass(frozen=True)
class Trained:
    """The model directory, and the log that it is measured on."""

    directory: Path
    log: Path

    def detector(self, exact: bool = False) -> Detector:
        """A detector that has seen nothing yet."""
        return Detector.load(self.directory, "cpu", exact=exact)

    def bert(self) -> BertForMaskedLM:
        """The model as transformers opens it."""
        return BertForMaskedLM.from_pretrained(self.directory).eval()

    def lines(self) -> Iterator[LogLine]:
        """All lines of the log."""
        return read_lines([str(self.log)], time.time())

    def after(self, lines: int) -> Trained:
        """The same model on the log without its first `lines`, packed too."""
        part = self.directory.with_name(f"after-{lines}.log.gz")
        with gzip.open(self.log, "rb") as whole, gzip.open(part, "wb") as target:
            target.writelines(islice(whole, lines, None))
        return replace(self, log=part)

    def screen(self) -> str:
        """What calibration measured of the screen."""
        screen = load_calibration(self.directory)[1]
        if screen is None:
            return "none"
        steps = [f"{step.look}, level {step.level:.3f}" for step in screen.steps]
        return "; ".join([*steps, str(screen.measured)])


SESSIONS = WindowConfig(kind="session", key=KEY, gap="4h", max_age="365d")


@contextmanager
def trained(options: Options) -> Iterator[Trained]:
    """Train on the first lines of the raw log; it takes a minute or two."""
    log = options.needs("hdfs/HDFS_2pct.log.gz")
    with TemporaryDirectory() as name:
        first = Path(name) / "train.log"
        with gzip.open(log, "rt", encoding="utf-8") as lines:
            first.write_text("".join(next(lines) for _ in range(TRAINING_LINES)))
        config = TrainingConfig(
            logs=(str(first),),
            out=Path(name) / "model",
            labels=options.needs("hdfs/labels_2pct.csv"),
            format=FormatConfig(name="hdfs"),
            window=SESSIONS,
            model=ModelConfig(epochs=EPOCHS, device="cpu"),
            threshold=ThresholdConfig(false_alarm_rate=RATE, folds=0),
        )
        train(config, read_lines(config.logs, time.time()), Reporter(_quiet, _quiet))
        freeze_gc()  # as `logmlm score` does once a model is there
        with one_core():
            yield Trained(config.out, log)


def judged(detector: Detector, windows: Iterable[Window]) -> Iterator[Score]:
    """Scores in batches, with surges, as `logmlm score` makes them; one run of a log."""
    judge, windows = detector.surge_monitor(), iter(windows)
    while batch := list(islice(windows, BATCH_WINDOWS)):
        yield from judge.score(batch)


def _quiet(*_: object) -> None:
    pass
