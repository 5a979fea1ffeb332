"""Scoring and training on Ray: the outcome of one process, on two nodes, with workers killed."""

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace

import offline_parts
import pytest
import rank_parts
from offline_parts import KEY, logmlm, service_log, write_log

from logmlm.config.training import TrainingConfig
from logmlm.detection.detector import Detector
from logmlm.detection.manifest import Manifest
from logmlm.distributed import ray_parsing as clusterparsing
from logmlm.errors import DataError, LogmlmError, UnreachableError, UsageError
from logmlm.records import SurgeState
from logmlm.sources.archive.reader import read_lines
from logmlm.training.train import Reporter, train

pytest.importorskip("ray", reason="there is no ray; pip install 'logmlm[ray]' brings it")
from ray_parts import Killer, two_nodes

from logmlm.distributed import ray_cluster as cluster_module
from logmlm.distributed.ray_cluster import ray_session
from logmlm.distributed.ray_scoring import ScoreJob, score_on_ray

# Ray's own sockets, files and child processes at its end, and what it calls of others.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def surging(tmp_path_factory):
    return offline_parts.surging(tmp_path_factory)


def by_one_process(model, logs, keep_going=False):
    detector = Detector.load(model, "cpu")
    lines = read_lines(logs, 0.0, keep_going=keep_going)
    return told(detector.surge_monitor().score(list(detector.windows(lines))))


@pytest.fixture(scope="module")
def cluster():
    with two_nodes() as started:
        yield started


def told(found):
    """What a window's output shows, by what names it, in order; numbers by themselves."""
    shown, numbers = {}, {}
    for one in found:
        window = one.window
        name = (window.partition, window.key, window.first_position)
        events = [(e.line.number, e.line.text, e.timestamp, e.template_id) for e in window.events]
        rise = one.surge or SurgeState(0.0, 0.0, 0, 0)
        surge = (rise.since, rise.windows, rise.odd)
        shown[name] = (window.closed_by, window.complete, events, surge, one.stage)
        numbers[name] = [one.value, one.p_value, rise.level, *one.surprisals, *one.bag_surprisals]
    return shown, numbers


def assert_same(found, alone):
    assert found[0] == alone[0]
    assert list(found[0]) == list(alone[0])
    for name, numbers in alone[1].items():
        assert found[1][name] == pytest.approx(numbers, abs=1e-4)


@pytest.fixture(scope="module")
def to_learn(tmp_path_factory):
    """A log for many shards, a packed one, and what one process learns of them."""
    place = tmp_path_factory.mktemp("learn")
    plain = write_log(place / "many.log", ["a foreign line", *service_log(3000)])
    packed = place / "more.log.gz"
    rest = service_log(200, seed=5, first=50_000)
    packed.write_bytes(gzip.compress("".join(f"{line}\n" for line in rest).encode()))
    config = TrainingConfig.model_validate(
        {
            "logs": [str(plain), str(packed)],
            "out": place / "alone",
            "name": "service",
            "window": {"kind": "session", "key": KEY, "gap": "30s"},
            "model": {"preset": "tiny", "epochs": 1, "device": "cpu"},
            "threshold": {"folds": 0, "false_alarm_rate": 0.1},
        }
    )
    return config, train(config, read_lines(config.logs, 0.0), Reporter(print, print))


def test_training_on_ray_writes_what_one_process_writes_though_a_worker_dies(
    to_learn, cluster, tmp_path
):
    config, alone = to_learn
    killer, warnings = Killer(cluster, ["_parse"]), []

    def parse(_, parsing):
        work = clusterparsing.ParseJob(config.logs, parsing, shard_bytes=20_000)
        return clusterparsing.parse_on_ray(work, warnings.append)

    on_ray = config.model_copy(update={"out": tmp_path / "model"})
    with ray_session(cluster.address):
        killer.start()
        found = train(on_ray, read_lines(config.logs, 0.0), Reporter(print, print), parse)
    killer.stop()
    assert (killer.killed, warnings) == (["_parse"], [])
    assert (found.data, found.metrics) == (alone.data, alone.metrics)
    log = {"training.jsonl": ""}  # has speeds in it
    assert found.files | log == alone.files | log
    assert found.data.discarded == {"orphan_continuation": 1}


def test_processes_that_train_together_have_the_first_one_use_ray(to_learn, cluster, tmp_path):
    config, alone = to_learn
    model = tmp_path / "model"
    options = ["--preset", "tiny", "--epochs", "1", "--folds", "0", "--false-alarm-rate", "0.1"]
    words = ["train", *config.logs, "--out", model, "--key", KEY, "--gap", "30s", *options]
    on_ray = ["--device", "cpu", "--engine", "ray", "--ray-address", cluster.address]
    with rank_parts.together(["-m", "logmlm", *words, *on_ray]) as processes:
        said = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "learned 10 templates from" in said[0][1]
    assert [out for out, _ in said] == ["", ""]
    found = Manifest.read(model)
    assert found.data == alone.data
    assert found.files["templates.json"] == alone.files["templates.json"]


def test_windows_values_surges_and_order_are_those_of_one_process_whoever_dies(surging, cluster):
    model, logs = surging
    work = ScoreJob(model, logs, "cpu", shard_bytes=7_000, bucket_bytes=20_000)
    # By then all is scored, and what lay on the node has to be scored again.
    (node,), stages = cluster.worker_nodes, ["_scatter", "_Scoring", "SortShuffleReduce"]
    killer, warnings = Killer(cluster, stages, node), []
    with ray_session(cluster.address):
        killer.start()
        whole = told(score_on_ray(work, warnings.append))
    killer.stop()
    assert sorted(killer.killed) == sorted(stages)
    assert warnings == []
    alone = by_one_process(model, logs)
    assert sum(surge != (0.0, 0, 0) for *_, surge, _ in alone[0].values()) > 5
    assert_same(whole, alone)


def test_errors_and_warnings_are_those_of_one_process(trained, cluster, tmp_path):
    binary = write_log(tmp_path / "binary.log", ["no text \x00\x01"])
    cut_off = tmp_path / "cut.log.gz"
    whole = gzip.compress(trained.odd_log.read_bytes())
    cut_off.write_bytes(whole[: len(whole) // 2])
    work, warnings = ScoreJob(trained.model, (str(cut_off),), "cpu"), []
    with ray_session(cluster.address):
        with pytest.raises(DataError, match="its first line holds a NUL byte"):
            list(score_on_ray(replace(work, logs=(str(binary), str(trained.log))), print))
        found = list(score_on_ray(replace(work, keep_going=True), warnings.append))
        assert "num_gpus" not in cluster_module.actor_pool("cpu")
        assert cluster_module.actor_pool("auto")["num_gpus"] == 1
    assert [f"{cut_off} is damaged" in sentence for sentence in warnings] == [True]
    assert_same(told(found), by_one_process(trained.model, [str(cut_off)], keep_going=True))


def test_a_log_without_an_event_is_no_trouble_beside_others(trained, cluster, tmp_path):
    blank = write_log(tmp_path / "blank.log", ["", "   "])
    logs = (str(blank), str(trained.odd_log))
    with ray_session(cluster.address):
        found = list(score_on_ray(ScoreJob(trained.model, logs, "cpu"), print))
    assert_same(told(found), by_one_process(trained.model, logs))


def test_the_command_starts_its_own_ray_and_prints_what_it_prints_without(surging):
    model, logs = surging
    words = ["score", model, *logs, "--only-anomalies", "--fail-on", "alert"]
    program = "from logmlm.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words), "--engine", "ray"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    alone = logmlm(*words)
    assert alone.code == 1
    found, expected = (
        [json.loads(row) for row in text.splitlines()] for text in (done.stdout, alone.out)
    )
    assert sum(row["surge"] for row in expected) > 5
    assert sum(not row["surge"] for row in expected) > 5
    assert [shown(row) for row in found] == [shown(row) for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert figures(row) == pytest.approx(figures(other), abs=1e-4)


def shown(row):
    """What a row of JSON says but for figures."""
    told = {name: what for name, what in row.items() if not isinstance(what, float | list)}
    return told, row["start"], row["end"], [(each["line"], each["text"]) for each in row["events"]]


def figures(row):
    lines = [each[name] for each in row["events"] for name in ("surprisal", "bag_surprisal")]
    return [row["value"], row["p_value"], row["pll"], *lines]


def test_what_can_not_be_done_on_ray_is_said(trained):
    topic = logmlm("score", trained.model, "kafka://127.0.0.1:1/t", "--engine", "ray")
    assert (topic.code, "--engine ray reads files" in topic.err) == (64, True)
    piped = logmlm("score", trained.model, "-", "--engine", "ray")
    assert (piped.code, "which can be read twice; not -" in piped.err) == (64, True)
    folder = logmlm("score", trained.model, trained.model, "--engine", "ray")
    assert (folder.code, f"{trained.model} is a directory" in folder.err) == (74, True)
    nowhere = ray_session("127.0.0.1:1")
    with pytest.raises(UnreachableError, match=r"can't use Ray at 127\.0\.0\.1:1"), nowhere:
        pass


@pytest.mark.parametrize(
    ("log", "address", "code", "said"),
    [
        ("-", None, 64, "--engine ray reads files, which can be read twice; not -"),
        ("kafka://127.0.0.1:1/t", None, 64, "--engine ray reads files; take topics of Kafka"),
        (__file__, "127.0.0.1:1", 69, "can't use Ray at 127.0.0.1:1"),
    ],
)
def test_training_says_what_can_not_be_done_on_ray_and_leaves_nothing(
    log, address, code, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ["train", log, "--out", "model", "--engine", "ray"]
    outcome = logmlm(*words, *(["--ray-address", address] if address else []))
    assert (outcome.code, said in outcome.err) == (code, True), outcome.err
    assert list(tmp_path.iterdir()) == []


def test_without_ray_a_sentence_says_what_brings_it(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    log = trained.odd_log
    for words in (["score", trained.model, log], ["train", log, "--out", "nowhere"]):
        outcome = logmlm(*words, "--engine", "ray")
        assert (outcome.code, "pip install 'logmlm[ray]'" in outcome.err) == (64, True)


def test_what_a_worker_raised_is_raised_here_and_what_ray_says_is_a_sentence():
    from ray.exceptions import RayError, RayTaskError

    inner = RayTaskError("f", "traceback", DataError("a.log is damaged"))
    with pytest.raises(DataError, match=r"a\.log is damaged"), cluster_module.unwrap_ray_errors():
        raise inner
    with (
        pytest.raises(LogmlmError, match="Ray gave up: no room"),
        cluster_module.unwrap_ray_errors(),
    ):
        raise RayError("first\nno room")


def test_the_token_that_guards_ray_and_all_that_ray_writes_is_its_owners(tmp_path):
    """In a process with a home of its own."""
    before = os.umask(0)
    try:
        words = [sys.executable, "-c", OWN_RAY]
        home = {"HOME": str(tmp_path)}
        done = subprocess.run(
            words, env=os.environ | home, capture_output=True, text=True, check=False
        )
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    token = tmp_path / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o077 == 0
    assert done.stdout.split() == ["0o0"]  # the umask is what it was


OWN_RAY = """
import os
from logmlm.distributed.ray_cluster import ray_session
with ray_session(None, quiet=True):
    pass
print(oct(os.umask(0)))
"""


def test_a_token_that_others_could_read_is_closed_and_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    cluster_module._guard_token()  # there is none
    (tmp_path / ".ray").mkdir()
    token = tmp_path / ".ray" / "auth_token"
    token.write_text("t0ken")
    token.chmod(0o644)
    cluster_module._guard_token()
    assert token.stat().st_mode & 0o777 == 0o600
    assert "others could read" in caplog.text
    assert "t0ken" not in caplog.text
    caplog.clear()
    cluster_module._guard_token()
    assert caplog.text == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_a_token_of_somebody_else_that_others_can_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir(mode=0o755)
    for place in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        place.chmod(0o755)
    token = tmp_path / ".ray" / "auth_token"
    token.write_text("t0ken")
    token.chmod(0o644)
    os.seteuid(65534)
    try:
        with pytest.raises(UsageError, match="chmod 600 it"):
            cluster_module._guard_token()
    finally:
        os.seteuid(0)
