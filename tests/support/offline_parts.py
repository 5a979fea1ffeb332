"""A small service's log, and a model trained on it once, for the tests of the offline commands."""

import io
import json
import random
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from unittest.mock import patch

from logmlm.cli import main as cli

BEGIN = datetime(2024, 5, 6, 7, 0, tzinfo=UTC)
KEY = r"(req-\d+)"
KINDS = (
    (
        "{key} GET /files/{n} from 10.0.0.{small}",
        "cache miss for {key}",
        "read {n} blocks for {key} in {small} ms",
        "{key} answered 200",
    ),
    (
        "{key} PUT /files/{n} from 10.0.0.{small}",
        "allocated {n} blocks for {key}",
        "wrote {n} blocks for {key} in {small} ms",
        "replicated {key} to 2 nodes",
        "{key} answered 201",
    ),
    (
        "{key} POST /login from 10.0.0.{small}",
        "checking password for {key}",
        "session opened for {key}",
        "{key} answered 302",
    ),
)
ODD = (
    "{key} PUT /files/{n} from 10.0.0.{small}",
    "disk failure while allocating for {key}",
    "{key} answered 201",
    "cache miss for {key}",
    "replica lost for {key}",
)
TRAIN = (
    *("--preset", "tiny", "--epochs", "20", "--folds", "0", "--false-alarm-rate", "0.1"),
    *("--key", KEY, "--gap", "30s"),
)


def service_log(sessions=160, odd=(), seed=0, first=1000):
    """Lines of sessions `req-FIRST` and on, two at a time; those whose number is in `odd` fail."""
    luck = random.Random(seed)  # noqa: S311  a log, no secret
    moment, lines, running = BEGIN, [], []
    waiting = [_session(first + i, ODD if i in odd else None, luck) for i in range(sessions)]
    while waiting or running:
        while waiting and len(running) < 2:
            running.append(waiting.pop(0))
        current = luck.choice(running)
        moment += timedelta(milliseconds=luck.randrange(20, 900))
        stamp = moment.isoformat(timespec="milliseconds").removesuffix("+00:00")
        lines.append(f"{stamp}Z INFO {current.pop(0)}")
        running = [session for session in running if session]
    return lines


def _session(number, steps, luck):
    steps = steps or luck.choice(KINDS)
    return [
        step.format(key=f"req-{number}", n=luck.randrange(9999), small=luck.randrange(1, 250))
        for step in steps
    ]


def write_log(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def logmlm(*words, stdin=b""):
    """Run the command line as the program does, in this process."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    given = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    code = 0
    argv = ["logmlm", *map(str, words)]
    with redirect_stdout(out), redirect_stderr(err), patch.multiple(sys, argv=argv, stdin=given):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Outcome(code, *texts)


@dataclass(frozen=True)
class Trained:
    """A model directory, the log that it learned, a log with odd sessions, and its labels."""

    model: Path
    log: Path
    said: str
    odd_log: Path
    labels: Path


ODD_SESSIONS = (5, 17)


def trained(tmp_path_factory):
    """What was trained once for all tests of a run."""
    return _trained(tmp_path_factory.getbasetemp() / "trained")


SCREENED_TRAIN = (
    *("--preset", "tiny", "--epochs", "10", "--folds", "0", "--false-alarm-rate", "0.02"),
    *("--key", KEY, "--gap", "30s", "--device", "cpu"),
)


def screened(tmp_path_factory):
    """A model of more sessions, whose screen pays; trained once for all tests of a run.

    It came without a memory of windows, so that ordinary ones are looked at too.
    """
    return _screened(tmp_path_factory.getbasetemp() / "screened")


@cache
def _screened(place):
    from logmlm.detection.manifest import Manifest

    place.mkdir()
    # Of these keys, none is cut by its age.
    log = write_log(place / "service.log", service_log(sessions=600, first=2000))
    odd_lines = service_log(sessions=100, odd=ODD_SESSIONS, seed=7, first=20_000)
    odd_log = write_log(place / "odd.log", odd_lines)
    rows = [f"req-{20_000 + i},{int(i in ODD_SESSIONS)}" for i in range(100)]
    labels = write_log(place / "labels.csv", ["request,label", *rows])
    model = place / "model"
    outcome = logmlm("train", log, "--out", model, *SCREENED_TRAIN)
    assert outcome.code == 0, outcome.err
    manifest = Manifest.read(model)
    (model / "known.npz").unlink()
    rewrite(model, manifest)
    return Trained(model, log, outcome.err, odd_log, labels)


def surging(tmp_path_factory):
    """The screened model, which calls little a surge and hardly anything else an alarm; two logs.

    Many of their sessions lack a line, and many are over at once.
    """
    return _surging(tmp_path_factory.getbasetemp() / "surging", screened(tmp_path_factory).model)


@cache
def _surging(place, screened_model):
    from logmlm.detection.manifest import Manifest

    model = place / "model"
    shutil.copytree(screened_model, model)
    manifest = Manifest.read(model)
    path = model / "calibration.json"
    state = json.loads(path.read_text())
    state["threshold"] = 7.5
    state["parts"] = {}  # whose thresholds are others
    for step in state["screen"]["steps"]:
        step["calibration"]["threshold"] = 7.5
    state["surge"]["threshold"] = state["screen"]["surge"]["threshold"] = 3.0
    path.write_text(json.dumps(state))
    rewrite(model, manifest)
    logs = [write_log(place / f"{n}.log", bunched_log(300, seed=n, first=1000)) for n in (2, 1)]
    return model, tuple(map(str, logs))


def rewrite(model, manifest):
    """Make a model directory whole again of which files were changed."""
    from logmlm.detection.manifest import digest_files

    manifest.model_copy(update={"files": digest_files(model)}).write(model)


def bunched_log(sessions, seed, first):
    """Lines of sessions, up to eight at a time, with silences in which all of them end.

    Some lack a line, some are odd by themselves, and some lines are late.
    """
    luck = random.Random(seed)  # noqa: S311  a log, no secret
    moment, lines, number = BEGIN, [], first
    while number < first + sessions:
        bunch = [_lacking(number + i, luck) for i in range(luck.randrange(1, 9))]
        number += len(bunch)
        while any(bunch):
            moment += timedelta(milliseconds=luck.choice((0, 20, 900)))
            late = timedelta(seconds=luck.choice((0, 0, 0, 7)))
            stamp = (moment - late).isoformat(timespec="milliseconds").removesuffix("+00:00")
            lines.append(f"{stamp}Z INFO {luck.choice([one for one in bunch if one]).pop(0)}")
        moment += timedelta(seconds=luck.choice((0, 1, 40)))
    return lines


def _lacking(number, luck):
    steps = luck.choice(KINDS)
    lost = luck.choice((0, 0, 1, 1, 2, None))
    odd = luck.random() < 0.03
    kept = ODD if odd else tuple(step for i, step in enumerate(steps) if i != lost)
    return _session(number, kept, luck)


@cache
def _trained(place):
    place.mkdir()
    log = write_log(place / "service.log", service_log())
    odd_lines = service_log(sessions=30, odd=ODD_SESSIONS, seed=1, first=5000)
    odd_log = write_log(place / "odd.log", odd_lines)
    rows = [f"req-{5000 + i},{int(i in ODD_SESSIONS)}" for i in range(30)]
    labels = write_log(place / "labels.csv", ["request,label", *rows])
    outcome = logmlm("train", log, "--out", place / "model", *TRAIN)
    assert outcome.code == 0, outcome.err
    assert outcome.out == ""
    return Trained(place / "model", log, outcome.err, odd_log, labels)
