"""Scores from shards: rows, windows and surges are those of one process, in its order."""

import pickle
import random
from collections import defaultdict
from functools import partial
from operator import itemgetter

import offline_parts
import pytest

from logmlm.config.training import WindowConfig
from logmlm.detection.detector import Detector
from logmlm.detection.manifest import Manifest
from logmlm.distributed import ray_scoring as clusterscores
from logmlm.distributed.ray_cluster import SHARD_BYTES
from logmlm.distributed.ray_scoring import ScoreJob
from logmlm.distributed.shards import shard_contexts
from logmlm.distributed.window_order import WindowOrder
from logmlm.sources.archive.reader import read_lines

WINDOWS = {
    "session": {},
    "short": {"kind": "session", "gap": 2.0, "size": 3, "max_age": 60.0},
    "count": {"kind": "count", "size": 4},
    "time": {"kind": "time", "span": 7.0, "size": 5},
}


@pytest.fixture(scope="module")
def surging(tmp_path_factory):
    return offline_parts.surging(tmp_path_factory)


@pytest.fixture
def model(surging, tmp_path, request):
    """The surging model, with windows of another kind."""
    manifest = Manifest.read(surging[0])
    window = WindowConfig(**manifest.window.model_dump() | WINDOWS[request.param])
    target = tmp_path / "model"
    target.mkdir()
    for path in surging[0].iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    manifest.model_copy(update={"window": window}).write(target)
    return target


def in_one(work):
    """As the command does it without Ray."""
    detector = Detector.load(work.model, "cpu", work.stride, work.exact)
    found = detector.surge_monitor().score(
        list(detector.windows(read_lines(work.logs, 0.0), workers=0))
    )
    return [score for score in found if score.is_anomaly or not work.only_anomalies]


def in_shards(work, buckets, luck):
    """What `scores` gives, with the rows made, and sorted, here rather than on Ray."""
    rows = rows_of(work, buckets, luck)
    rows.sort(key=itemgetter("log", *WindowOrder._fields))
    judge = clusterscores._detector(work, "cpu").surge_monitor()
    return list(clusterscores._judged(rows, judge, work.only_anomalies)), rows


def rows_of(work, buckets, luck):
    manifest = Manifest.read(work.model)
    shards = clusterscores._shards(work, manifest, print)
    told = [clusterscores._summarize(shards, manifest, False, n_(n)) for n in range(len(shards))]
    summaries = [pickle.loads(row["summary"]) for row in told]  # noqa: S301  our own
    read = partial(clusterscores._first_reader, manifest)
    carries, parts = shard_contexts(shards, summaries, read, manifest.window), defaultdict(list)
    for number in range(len(shards)):
        scatter = clusterscores._scatter(work.model, shards, carries, buckets, n_(number))
        for row in scatter:
            parts[row["bucket"]].append(row["part"])
    score, rows = clusterscores._ScoringActor(work), []
    for group in parts.values():
        luck.shuffle(group)
        for batch in clusterscores._gather(manifest, {"part": group}):
            rows += score({"windows": batch["windows"][0]})
    luck.shuffle(rows)
    return rows


def n_(number):
    return {"id": number}


def assert_same(found, alone):
    assert [placed(one) for one in found] == [placed(one) for one in alone]
    for one, other in zip(found, alone, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), abs=1e-4)


def placed(score):
    window, rise = score.window, score.surge
    lines = [(event.line.number, event.line.text, event.template_id) for event in window.events]
    surge = None if rise is None else (rise.since, rise.windows, rise.odd)
    return (window.partition, window.key, window.closed_by, lines, surge, score.stage)


def numbers(score):
    level = 0.0 if score.surge is None else score.surge.level
    return [score.value, score.p_value, level, *score.surprisals, *score.bag_surprisals]


@pytest.mark.parametrize("model", WINDOWS, indirect=True)
@pytest.mark.parametrize(("shard_bytes", "buckets"), [(SHARD_BYTES, 1), (9_000, 2), (2_000, 7)])
def test_scores_and_surges_are_those_of_one_process_and_in_its_order(
    surging, model, shard_bytes, buckets, monkeypatch
):
    monkeypatch.setattr(clusterscores, "BATCH_WINDOWS", 13)
    work = ScoreJob(model, surging[1], "cpu", shard_bytes=shard_bytes)
    luck = random.Random(buckets)  # noqa: S311  an order, no secret
    found, rows = in_shards(work, buckets, luck)
    alone = in_one(work)
    assert sum(score.surge is not None for score in alone) >= 5
    assert len({score.window.partition for score in alone if score.surge}) == 2
    assert_same(found, alone)
    assert len(rows) == len(alone)
    if buckets > 1:  # the order matters to what is found
        judge = Detector.load(model, "cpu").surge_monitor()
        luck.shuffle(rows)
        other = clusterscores._judged(rows, judge, True)
        surges = sorted(placed(score) for score in alone if score.surge)
        assert sorted(placed(score) for score in other if score.surge) != surges


@pytest.mark.parametrize("model", ["session"], indirect=True)
@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"exact": True}])
def test_alone_what_may_alarm_brings_its_lines_where_nothing_else_is_asked_for(
    surging, model, settings
):
    work = ScoreJob(model, surging[1], "cpu", only_anomalies=True, shard_bytes=4_000, **settings)
    found, rows = in_shards(work, 3, random.Random(1))  # noqa: S311  as above
    alone = in_one(work)
    assert {score.is_anomaly for score in alone} == {True}
    assert any(score.surge for score in alone)
    assert {score.stage for score in alone} <= {"exact", "strided"}
    assert_same(found, alone)
    scores = [pickle.loads(row["score"]) for row in rows]  # noqa: S301  our own
    bare = [score for score in scores if not score.window.events]
    judge = Detector.load(model, "cpu", work.stride, work.exact).surge_monitor()
    assert len(bare) == sum(not judge.can_contribute(score) for score in scores) > 80
    assert max(len(row["score"]) for row in rows if not pickle.loads(row["score"]).surprisals) < 400  # noqa: S301  our own


@pytest.mark.parametrize("model", ["session"], indirect=True)
def test_a_window_that_tells_of_a_surge_has_exact_numbers(surging, model):
    work = ScoreJob(model, surging[1], "cpu", stride=2, only_anomalies=True)
    found, _ = in_shards(work, 2, random.Random(2))  # noqa: S311  as above
    surges = [score for score in found if score.surge]
    assert {score.stage for score in surges} == {"exact"}
    exact = Detector.load(model, "cpu", exact=True).score([score.window for score in surges])
    for one, other in zip(surges, exact, strict=True):
        assert one.surprisals == pytest.approx(other.surprisals, abs=1e-4)
