"""Finished logs scored on Ray: the same windows and values as one process gives, on many machines.

Ray Data (docs.ray.io/en/latest/data) reads and matches the shards, shuffles events to buckets, and
scores on a pool of actors. What is lost with a worker or a machine, Ray makes again; nothing here
depends on who does what, or when. What travels is rows of a number and a pickle, as Ray moves
Python objects: join only a cluster that you trust as you trust this machine.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from logmlm.errors import LogmlmError, UnreachableError, UsageError
from logmlm.formats import get_format
from logmlm.kafkaconfig import Port
from logmlm.manifest import Manifest
from logmlm.reader import EventReader, TemplateOf, refuse_foreign, warn_of_misfits
from logmlm.records import Score, Window
from logmlm.shards import Carry, Shard, Summary, carried, cut, gathered, scattered, summarised
from logmlm.sourceconfig import host_and_port
from logmlm.sources.archive import STDIN, refuse_empty
from logmlm.templates import Templates

if TYPE_CHECKING:
    from ray.data import Dataset

SHARD_BYTES = 64 * 1024**2
BUCKET_BYTES = 64 * 1024**2
"""Text of the events that one task puts together; it is held in memory, several times over."""
BATCH_WINDOWS = 512
KNOCK_TIMEOUT_S = 10.0
LEAST_CPUS = 2
"""An actor that scores has one while others still read."""

Row = dict[str, Any]
Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Work:
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


@contextmanager
def running(address: str | None) -> Iterator[None]:
    """A Ray of our own on this machine, or the cluster at `address`, while the block lasts.

    Raises:
        UsageError: Ray is not installed, or the cluster is too small.
        UnreachableError: there is no such cluster.

    """
    # Ray would tell its makers of its use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--engine ray needs Ray, which is not installed: pip install 'logmlm[ray]'"
        ) from error
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    own = {"address": "local", "num_cpus": max(LEAST_CPUS, len(os.sched_getaffinity(0)))}
    try:
        if address is None:
            ray.init(**own, include_dashboard=False, **quiet)
        else:
            _knock(address)
            ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:  # a ConnectionError is an OSError
        where = "on this machine" if address is None else f"at {address}"
        reason = str(error).partition("\n")[0]
        raise UnreachableError(f"can't use Ray {where}: {reason}") from error
    try:
        _settle()
        # Ray prints there what befalls its workers; standard output is for data.
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ray.shutdown()


def scores(work: Work, warn: Warn) -> Iterator[Score]:
    """Every window of the logs with its score, in no particular order; see `running`.

    The lines of a window have their text and place, but no fields.

    Raises:
        DataError: a log is empty, binary or damaged, or not of the model's format.
        ModelError: the model can't be used.
        StorageError: a log is missing or can't be read.
        UsageError: a log can't be read by several machines.

    """
    manifest = Manifest.read(work.model)
    shards = _shards(work, manifest, warn)
    summaries = _summaries(shards, manifest, work.keep_going)
    _judge(summaries, manifest, warn)
    buckets = -(-sum(each.size for each in summaries) // work.bucket_bytes)
    buckets = max(buckets, _cpus())
    scatter = partial(_scatter, work.model, shards, carried(shards, summaries), buckets)
    found = (
        _numbers(len(shards))
        .flat_map(scatter)
        .groupby("bucket", num_partitions=buckets)
        .map_groups(partial(_gather, manifest), batch_format="numpy")
        .map(_Scoring, fn_constructor_args=(work,), **_pool(work.device))
    )
    with _translated():
        for row in found.iter_rows():
            yield from pickle.loads(row["scores"])  # noqa: S301  made by our own code, on Ray


class _Scoring:
    """An actor that has the model, and scores batches of windows."""

    def __init__(self, work: Work) -> None:
        from logmlm.detector import Detector

        self._detector = Detector.load(work.model, work.device, work.stride, work.exact)
        self._only_anomalies = work.only_anomalies

    def __call__(self, row: Row) -> Row:
        windows: list[Window] = pickle.loads(row["windows"])  # noqa: S301  as above
        found = self._detector.score(windows)
        kept = [each for each in found if each.is_anomaly or not self._only_anomalies]
        return {"scores": pickle.dumps(kept)}


def _shards(work: Work, manifest: Manifest, warn: Warn) -> list[Shard]:
    for log in work.logs:
        if log == STDIN or (Path(log).exists() and not Path(log).is_file()):
            raise UsageError(f"--engine ray reads files, which can be read twice; not {log}")
    refuse_empty(work.logs, warn)
    line_format = None if manifest.format.multiline else get_format(manifest.format)
    return [shard for log in work.logs for shard in cut(log, work.shard_bytes, line_format)]


def _summaries(shards: Sequence[Shard], manifest: Manifest, keep_going: bool) -> list[Summary]:
    found: dict[int, Summary] = {}
    with _translated():
        rows = _numbers(len(shards)).map(partial(_summarise, shards, manifest, keep_going))
        for row in rows.iter_rows():
            outcome = pickle.loads(row["summary"])  # noqa: S301  as above
            if isinstance(outcome, LogmlmError):
                raise outcome
            found[row["shard"]] = outcome
    return [found[number] for number in range(len(shards))]


def _judge(summaries: Sequence[Summary], manifest: Manifest, warn: Warn) -> None:
    """What one process says of lines that were left out."""
    for summary in summaries:
        if summary.warning:
            warn(summary.warning)
    misfits = sum(each.misfits[0] for each in summaries)
    lines = sum(each.misfits[1] for each in summaries)
    refuse_foreign(misfits, lines, manifest.format.name)
    warn_of_misfits(misfits, lines, manifest.format.name)


def _summarise(shards: Sequence[Shard], manifest: Manifest, keep_going: bool, row: Row) -> Row:
    read = partial(_reader, manifest, _nothing)
    outcome: Summary | LogmlmError
    try:
        outcome = summarised(shards[row["id"]], read, keep_going)
    except LogmlmError as error:  # an answer, not a failure that Ray would try again
        outcome = error
    return {"shard": row["id"], "summary": pickle.dumps(outcome)}


def _scatter(
    model: Path, shards: Sequence[Shard], carries: Sequence[Carry], buckets: int, row: Row
) -> Iterator[Row]:
    manifest = Manifest.read(model)
    templates = Templates.read(model / "templates.json")
    read = partial(_reader, manifest, templates.match)
    shard, carry = shards[row["id"]], carries[row["id"]]
    for bucket, part in scattered(shard, carry, read, manifest.window, buckets):
        yield {"bucket": bucket, "part": pickle.dumps(part)}


def _gather(manifest: Manifest, group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    parts = [pickle.loads(part) for part in group["part"]]  # noqa: S301  as above
    batch: list[Window] = []
    for window in gathered(parts, manifest.window):
        batch.append(window)
        if len(batch) == BATCH_WINDOWS:
            yield _batch(batch)
            batch = []
    if batch:
        yield _batch(batch)


def _batch(windows: list[Window]) -> dict[str, Any]:
    return {"windows": np.array([pickle.dumps(windows)], dtype=object)}


def _reader(manifest: Manifest, template_of: TemplateOf) -> EventReader:
    key, multiline = manifest.window.key, manifest.format.multiline
    return EventReader(get_format(manifest.format), key, template_of, multiline, finished=True)


def _nothing(message: str, masked: str | None = None, /) -> str:  # noqa: ARG001  nobody reads the id
    return ""


def _numbers(count: int) -> Dataset:
    """A row for each number below `count`, each a task of its own."""
    import ray

    return ray.data.range(count, override_num_blocks=count)


def _pool(device: str) -> dict[str, Any]:
    """How many score: one on each GPU if there are GPUs and they are wanted, else on each CPU."""
    import ray
    from ray.data import ActorPoolStrategy

    gpus = int(ray.cluster_resources().get("GPU", 0))
    if gpus and device != "cpu":
        return {"compute": ActorPoolStrategy(min_size=1, max_size=gpus), "num_gpus": 1}
    return {"compute": ActorPoolStrategy(min_size=1, max_size=max(1, _cpus() - 1)), "num_cpus": 1}


def _cpus() -> int:
    import ray

    return int(ray.cluster_resources().get("CPU", 1))


def _settle() -> None:
    """Say nothing but errors; bars on a terminal alone."""
    import ray.data

    if _cpus() < LEAST_CPUS:
        raise UsageError(f"--engine ray needs a cluster of {LEAST_CPUS} CPUs or more")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _knock(address: str) -> None:
    """See that something listens at `host:port`: Ray itself would try for minutes.

    Raises:
        OSError: nothing does.

    """
    place = address.removeprefix("ray://")
    if Port.fullmatch(place):
        socket.create_connection(host_and_port(place), KNOCK_TIMEOUT_S).close()


@contextmanager
def _translated() -> Iterator[None]:
    """Errors that Ray hands over, as what they were in the worker."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, LogmlmError):
                raise cause from error
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise LogmlmError(f"Ray gave up: {str(error).strip().splitlines()[-1]}") from error
