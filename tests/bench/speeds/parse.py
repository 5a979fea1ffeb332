"""Lines to events, beside Drain3's own `TemplateMiner.add_log_message` with the same masks.

Drain3 is given the messages already taken out of their lines, which costs it nothing; ours takes
whole lines and finds timestamp, message, key and template. Both know the log's templates before
the first turn, and both work on one core (CPU time is what is compared). Drain3 has no masks that
keep a value, so it goes without `STATUS`. A row gives the ratio on one log: `learning` is ours
while it learns the templates too, `whole lines` is Drain3 given the lines as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from drain3 import TemplateMiner as DrainMiner
from drain3.masking import MaskingInstruction
from drain3.template_miner_config import TemplateMinerConfig

from logmlm.config.training import FormatConfig, TemplateConfig
from logmlm.parsing.event_parser import EventParser, MaskedTemplateLookup, TemplateLookup
from logmlm.parsing.formats import detect_format
from logmlm.parsing.masking import select_masks
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.sources.archive.reader import read_lines
from speeds.figure import Figure, Options, by_turns

BLOCK = r"(blk_-?\d+)"
HDFS = "hdfs/HDFS_2pct.log.gz"
LINES, ROW_LINES = 60_000, 10_000
"""Of HDFS and of each other log at most: enough to be past the start, few enough for Drain3."""
BATCH = 4_096
SAMPLES = Path(__file__).parents[3] / "sample_logs"


class Log:
    """A log in memory, with the templates that were learned from it."""

    def __init__(self, path: Path, limit: int | None) -> None:
        self.lines = list(islice(read_lines([str(path)], 0.0), limit))
        self.texts = [line.text for line in self.lines]
        self.format = detect_format(self.texts[:1000], FormatConfig()).format
        self.messages = [
            fields.message
            for line in self.lines
            if (fields := self.format.parse(line.text, line.received_at)) is not None
        ]
        self.templates = TemplateMiner(TemplateConfig())
        for message in self.messages:
            self.templates.learn(message)

    def read(self, template_of: TemplateLookup | None = None) -> None:
        """Turn all lines into events, with templates as they were saved: nothing is known yet."""
        fresh = TemplateMiner.load(self.templates.dump())
        by_mask = None if template_of else MaskedTemplateLookup(fresh.match_masked, fresh.masking)
        reader = EventParser(self.format, BLOCK, template_of or fresh.match, by_mask=by_mask)
        for start in range(0, len(self.lines), BATCH):
            reader.feed(self.lines[start : start + BATCH])
        reader.flush()

    def learn(self) -> None:
        """The same, with templates that are learned on the way."""
        known = TemplateMiner(TemplateConfig())
        self.read(known.learn)


def miner() -> DrainMiner:
    """Drain3 with the masks and the settings that are ours by default."""
    ours, config = TemplateConfig(), TemplateMinerConfig()
    config.drain_sim_th, config.drain_depth = ours.similarity, ours.depth
    config.drain_max_children = ours.max_children
    config.mask_prefix, config.mask_suffix = "<", ">"
    config.masking_instructions = [
        MaskingInstruction(pattern, name)
        for name, pattern in select_masks(None, ())
        if "?P<keep>" not in pattern
    ]
    return DrainMiner(config=config)


def drain3(texts: list[str]) -> Callable[[], None]:
    """Drain3 over these texts, its templates learned in an earlier pass."""
    known = miner()

    def work() -> None:
        for text in texts:
            known.add_log_message(text)

    work()
    return work


def measure(options: Options) -> Figure:
    """HDFS is the figure, every log at hand a row."""
    path = options.needs(HDFS)
    log = Log(path, LINES)
    figure = _compare("Drain3 on messages / lines to events, HDFS, CPU time", log)
    rows = dict(figure.rows)
    rows |= {f"ours_{unit}": value for unit, value in _rates(figure, len(log.lines)).items()}
    few = Log(path, ROW_LINES)
    rows["HDFS, whole lines"] = _row(drain3(few.texts), few.read)
    rows["HDFS, learning"] = _row(drain3(few.messages), few.learn)
    rows["HDFS, messages"] = _row(drain3(few.messages), few.read)
    for other in _others(options):
        found = Log(other, ROW_LINES)
        rows[f"{other.parent.name}/{other.name}"] = _row(drain3(found.messages), found.read)
    return replace(figure, rows=rows)


def _others(options: Options) -> Iterator[Path]:
    yield from sorted(SAMPLES.glob("*/*.log.gz"))
    if options.data is not None:
        yield from sorted((options.data / "loghub2k").glob("*_2k.log"))


def _compare(what: str, log: Log) -> Figure:
    return by_turns(what, drain3(log.messages), log.read, time.process_time)


def _row(theirs: Callable[[], object], ours: Callable[[], object]) -> str:
    return str(by_turns("", theirs, ours, time.process_time))


def _rates(figure: Figure, lines: int) -> dict[str, float]:
    return {"us_a_line": round(figure.rows["ours_s"] / lines * 1e6, 2)}
