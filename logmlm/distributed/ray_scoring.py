"""Finished logs scored on Ray: the same windows and values as one process gives, on many machines.

Ray Data reads and matches the shards, shuffles events to buckets, scores on a pool of actors, and
sorts by the turns of windows; here surges are watched for as scores come by in that order.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logmlm.detection.event_parsing import event_parser_for
from logmlm.detection.manifest import Manifest
from logmlm.detection.seams import find_rotation_seams
from logmlm.detection.surges import SurgeMonitor
from logmlm.distributed.ray_cluster import (
    SHARD_BYTES,
    RayRow,
    actor_pool,
    cpus,
    indexed_dataset,
    unwrap_ray_errors,
)
from logmlm.distributed.shards import (
    Shard,
    ShardContext,
    ShuffleBlock,
    Summary,
    shard_contexts,
    shuffle_map,
    shuffle_reduce,
    split_at_events,
    summarize,
)
from logmlm.distributed.window_order import WindowOrder
from logmlm.errors import LogmlmError
from logmlm.parsing.event_parser import EventParser, require_matching_format, warn_if_unmatched
from logmlm.parsing.formats import get_format
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import Score, Window
from logmlm.sources.archive.reader import require_nonempty

if TYPE_CHECKING:
    from logmlm.detection.detector import Detector

BUCKET_BYTES = 64 * 1024**2
"""Text of the events that one task puts together; it is held in memory, several times over."""
BATCH_WINDOWS = 512

WarnFunction = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """What is scored: logs by a model, which each machine finds at the same paths."""

    model: Path
    logs: tuple[str, ...]
    device: str = "auto"
    exact: bool = False
    stride: int = 0
    keep_going: bool = False
    only_anomalies: bool = False
    shard_bytes: int = SHARD_BYTES
    bucket_bytes: int = BUCKET_BYTES


def score_on_ray(work: ScoreJob, warn: WarnFunction) -> Iterator[Score]:
    """Every window of the logs with its score, in the order of one process; see `running`.

    The lines of a window have their text and place, but no fields. Here is held what is being
    judged alone; until the last window is scored, what was scored waits in Ray's object store.

    Raises:
        DataError: a log is empty, binary or damaged, or not of the model's format.
        ModelError: the model can't be used.
        StorageError: a log is missing or can't be read.

    """
    detector = _detector(work, "cpu")  # for the windows that tell of a surge, which are few
    manifest, judge = detector.manifest, detector.surge_monitor()
    shards = _shards(work, manifest, warn)
    summaries = _summaries(shards, manifest, work.keep_going)
    _judge(summaries, manifest, warn)
    buckets = -(-sum(each.size for each in summaries) // work.bucket_bytes)
    buckets = max(buckets, cpus())
    read = partial(_first_reader, manifest)
    beside = find_rotation_seams(work.logs, get_format(manifest.format))
    carries = shard_contexts(shards, summaries, read, manifest.window, beside)
    scatter = partial(_scatter, work.model, shards, carries, buckets)
    found = (
        indexed_dataset(len(shards))
        .flat_map(scatter)
        .groupby("bucket", num_partitions=buckets)
        .map_groups(partial(_gather, manifest), batch_format="numpy")
        .flat_map(_ScoringActor, fn_constructor_args=(work,), **actor_pool(work.device))
    )
    with unwrap_ray_errors():
        # Sorted as a whole: beside a sort, Ray would score bucket by bucket, each after a start.
        in_order = found.materialize().sort(["log", *WindowOrder._fields])
        yield from _judged(in_order.iter_rows(), judge, work.only_anomalies)


class _ScoringActor:
    """An actor that has the model, and scores batches of windows."""

    def __init__(self, work: ScoreJob) -> None:
        self._detector = _detector(work, work.device)
        self._surge_monitor = self._detector.surge_monitor()
        self._only_anomalies = work.only_anomalies
        self._places = {log: place for place, log in enumerate(work.logs)}

    def __call__(self, row: RayRow) -> Iterator[RayRow]:
        turns, windows = zip(*pickle.loads(row["windows"]), strict=True)  # noqa: S301  as above
        for turn, score in zip(turns, self._detector.score(windows), strict=True):
            place = self._places[score.window.partition]
            yield {"log": place, **turn._asdict(), "score": pickle.dumps(self._kept(score))}

    def _kept(self, score: Score) -> Score:
        """The score, without lines where nobody will see them."""
        if not self._only_anomalies or self._surge_monitor.can_contribute(score):
            return score
        window = replace(score.window, events=())
        return replace(score, window=window, surprisals=(), bag_surprisals=())


def _judged(rows: Iterable[RayRow], judge: SurgeMonitor, only_anomalies: bool) -> Iterator[Score]:
    """The scores in rows, which are in the order of one process, with surges told."""
    found = (pickle.loads(row["score"]) for row in rows)  # noqa: S301  made by our own code, on Ray
    for score in judge.monitor(found):
        if score.is_anomaly or not only_anomalies:
            yield score


def _detector(work: ScoreJob, device: str) -> Detector:
    from logmlm.detection.detector import Detector

    return Detector.load(work.model, device, work.stride, work.exact)


def _shards(work: ScoreJob, manifest: Manifest, warn: WarnFunction) -> list[Shard]:
    require_nonempty(work.logs, warn)
    line_format = None if manifest.format.multiline else get_format(manifest.format)
    return [
        shard for log in work.logs for shard in split_at_events(log, work.shard_bytes, line_format)
    ]


def _summaries(shards: Sequence[Shard], manifest: Manifest, keep_going: bool) -> list[Summary]:
    found: dict[int, Summary] = {}
    with unwrap_ray_errors():
        rows = indexed_dataset(len(shards)).map(partial(_summarize, shards, manifest, keep_going))
        for row in rows.iter_rows():
            outcome = pickle.loads(row["summary"])  # noqa: S301  as above
            if isinstance(outcome, LogmlmError):
                raise outcome
            found[row["shard"]] = outcome
    return [found[number] for number in range(len(shards))]


def _judge(summaries: Sequence[Summary], manifest: Manifest, warn: WarnFunction) -> None:
    """What one process says of lines that were left out."""
    for summary in summaries:
        if summary.warning:
            warn(summary.warning)
    misfits = sum(each.misfits[0] for each in summaries)
    lines = sum(each.misfits[1] for each in summaries)
    require_matching_format(misfits, lines, manifest.format.name)
    warn_if_unmatched(misfits, lines, manifest.format.name)


def _summarize(
    shards: Sequence[Shard], manifest: Manifest, keep_going: bool, row: RayRow
) -> RayRow:
    read = partial(_first_reader, manifest)
    outcome: Summary | LogmlmError
    try:
        outcome = summarize(shards[row["id"]], read, manifest.window, keep_going)
    except LogmlmError as error:  # an answer, not a failure that Ray would try again
        outcome = error
    return {"shard": row["id"], "summary": pickle.dumps(outcome)}


def _scatter(
    model: Path, shards: Sequence[Shard], carries: Sequence[ShardContext], buckets: int, row: RayRow
) -> Iterator[RayRow]:
    manifest = Manifest.read(model)
    templates = TemplateMiner.read(model / "templates.json")
    read = partial(event_parser_for, manifest, templates, finished=True)
    shard, carry = shards[row["id"]], carries[row["id"]]
    nothing = 0, ShuffleBlock(shard.path, shard.start, carry.final, (), carry.seam)
    parts = shuffle_map(shard, carry, read, manifest.window, buckets)
    # Ray's shuffle fails on a block without rows, as that has no columns to sort by.
    for bucket, part in chain([nothing], parts):
        yield {"bucket": bucket, "part": pickle.dumps(part)}


def _gather(manifest: Manifest, group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    parts = [pickle.loads(part) for part in group["part"]]  # noqa: S301  as above
    batch: list[tuple[WindowOrder, Window]] = []
    for each in shuffle_reduce(parts, manifest.window):
        batch.append(each)
        if len(batch) == BATCH_WINDOWS:
            yield _batch(batch)
            batch = []
    if batch:
        yield _batch(batch)


def _batch(windows: list[tuple[WindowOrder, Window]]) -> dict[str, Any]:
    return {"windows": np.array([pickle.dumps(windows)], dtype=object)}


def _first_reader(manifest: Manifest) -> EventParser:
    """A reader for the first pass, where nobody asks for templates."""
    key, multiline = manifest.window.key, manifest.format.multiline
    return EventParser(get_format(manifest.format), key, lambda _: "", multiline, finished=True)
