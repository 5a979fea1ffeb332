"""What a day of so many bytes of logs takes: the seconds of CPU of each step, and the arithmetic.

    python tests/bench/terabyte.py MODEL LOG… [--bytes 1e12]

Does in this process what `logmlm score --engine ray` has its workers do, step by step, and measures
the seconds of CPU of each (so a busy machine matters little). What Ray itself takes is not in it.
A window that came before is scored from memory, so the share of distinct windows counts.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from logmlm.detection.detector import Detector
from logmlm.distributed.ray_cluster import SHARD_BYTES
from logmlm.distributed.ray_scoring import BATCH_WINDOWS
from logmlm.distributed.shards import (
    shard_contexts,
    shuffle_map,
    shuffle_reduce,
    split_at_events,
    summarize,
)
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format

DAY_S = 86_400
BUCKETS = 16
T = TypeVar("T")


def main() -> None:
    options = _options()
    detector = Detector.load(options.model, "cpu")
    told = detector.manifest
    line_format = get_format(told.format)

    def first() -> EventParser:
        return EventParser(line_format, told.window.key, lambda _: "", told.format.multiline)

    shards = [
        shard for log in options.logs for shard in split_at_events(log, SHARD_BYTES, line_format)
    ]
    spent: dict[str, float] = {}
    summaries = _timed(
        spent, "first pass: read", lambda: [summarize(s, first, told.window) for s in shards]
    )

    def scatter() -> list[tuple[int, bytes]]:
        return [
            (bucket, pickle.dumps(part))
            for shard, carry in zip(
                shards, shard_contexts(shards, summaries, first, told.window), strict=True
            )
            for bucket, part in shuffle_map(
                shard, carry, detector.event_parser, told.window, BUCKETS
            )
        ]

    parts = _timed(spent, "second pass: read, match", scatter)
    windows = _timed(
        spent,
        "put together",
        lambda: [
            window
            for bucket in range(BUCKETS)
            for _, window in shuffle_reduce(
                (pickle.loads(raw) for number, raw in parts if number == bucket),  # noqa: S301  made above
                told.window,
            )
        ],
    )
    _timed(
        spent,
        "score",
        lambda: [
            detector.score(windows[start : start + BATCH_WINDOWS])
            for start in range(0, len(windows), BATCH_WINDOWS)
        ],
    )
    lines, size = sum(s.lines for s in summaries), sum(s.size for s in summaries)
    _show(spent, lines, size, options.bytes)


def _timed(spent: dict[str, float], name: str, work: Callable[[], T]) -> T:
    began = time.process_time()
    found = work()
    spent[name] = time.process_time() - began
    return found


def _show(spent: dict[str, float], lines: int, size: int, wanted: float) -> None:
    print(f"{lines:,} lines, {size:,} bytes: {size / lines:.0f} bytes a line")
    print(f"{wanted:.3g} bytes are {wanted * lines / size:.3g} lines\n")
    print("| step | µs of CPU a line | MB/s a core | core hours |\n|---|---|---|---|")
    for name, seconds in (spent | {"all": sum(spent.values())}).items():
        hours = wanted / size * seconds / 3600
        print(
            f"| {name} | {seconds / lines * 1e6:.1f} | {size / seconds / 1e6:.2f} | {hours:,.0f} |"
        )
    cores = wanted / size * sum(spent.values()) / DAY_S
    print(f"\nin a day: {cores:.1f} cores")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("logs", nargs="+", metavar="LOG")
    parser.add_argument("--bytes", type=float, default=1e12)
    return parser.parse_args()


if __name__ == "__main__":
    main()
