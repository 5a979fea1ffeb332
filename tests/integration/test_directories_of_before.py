"""A model directory and a state directory that an earlier version wrote open and work.

`tests/data/before` was made by the commit before the modules and their names were put in order:
a tiny model, the state of a daemon that had read half of `service.log`, and what that version said
of them. Numbers are compared to the last bit.
"""

import json
import math
import shutil
from pathlib import Path

import offline_parts
import pytest
import torch

from logmlm.detection.explanation import NEVER_SEEN
from logmlm.detection.manifest import Manifest
from logmlm.records import Checkpoint
from logmlm.sources.journald import state as journal_state
from logmlm.sources.kafka import offsets as kafka_positions

BEFORE = Path(__file__).parents[1] / "data" / "before"
SCORES = json.loads((BEFORE / "scores.json").read_text())
STATE = json.loads((BEFORE / "state.json").read_text())


def said(*words):
    outcome = offline_parts.logmlm(*words)
    assert outcome.code == 0, outcome.err
    return outcome.out


def same(found, expected):
    """To the last bit on a processor like the one that made them, with the same torch; else nearly.

    Other kernels add up in another order.
    """
    if SCORES["made_on"] == [torch.__version__, torch.backends.cpu.get_cpu_capability()]:
        return found == expected
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[k], expected[k]) for k in found)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, str) and expected.lstrip("-").startswith("0x"):
        return math.isclose(
            float.fromhex(found), float.fromhex(expected), rel_tol=1e-4, abs_tol=1e-5
        )
    return found == expected


def numbers(window):
    """A scored window as `scores.json` has it: floats in hexadecimal."""
    kept = ("window", "key", "value", "p_value", "anomaly", "surge", "exact", "pll")
    found = {name: window[name] for name in kept}
    for name in ("surprisal", "bag_surprisal"):
        found[f"{name}s"] = [event[name] for event in window["events"]]
    return json.loads(json.dumps(found), parse_float=lambda text: float(text).hex())


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(BEFORE / "model", tmp_path / "model")


@pytest.fixture
def without_known(tmp_path, model):
    """The model without its table of known windows, so that its approximations are asked."""
    path = shutil.copytree(model, tmp_path / "without_known")
    manifest = Manifest.read(path)
    (path / "known.npz").unlink()
    offline_parts.rewrite(path, manifest)
    return path


@pytest.fixture
def state(tmp_path):
    """A copy: an opened database is written to."""
    return shutil.copytree(BEFORE / "state", tmp_path / "state")


@pytest.mark.parametrize(
    ("kind", "options"), [("default", ()), ("exact", ("--exact",)), ("stride", ("--stride", "2"))]
)
def test_a_model_of_before_gives_the_same_scores_to_the_last_bit(model, kind, options):
    lines = said("score", model, *options, BEFORE / "service.log").splitlines()
    expected = SCORES[kind]
    assert same([numbers(json.loads(line)) for line in lines[: len(expected)]], expected)


def test_its_approximations_give_the_same_scores_to_the_last_bit(without_known):
    lines = said("score", without_known, BEFORE / "service.log").splitlines()
    expected = SCORES["screened"]
    assert same([numbers(json.loads(line)) for line in lines[: len(expected)]], expected)
    assert not all(window["exact"] for window in expected)


def test_its_templates_and_explanations_are_the_same(model, monkeypatch):
    assert said("templates", model) == SCORES["templates"]
    monkeypatch.chdir(BEFORE)
    rows = said("explain", model, "service.log").splitlines(keepends=True)
    unseen = [row for row in rows if row.strip() == NEVER_SEEN]
    assert unseen, "what is said now beside what was said before"
    assert "".join(row for row in rows if row not in unseen) == SCORES["explain"]


def test_alerts_silences_and_feedback_of_before_are_there(state):
    options = ("--state-dir", state)
    exported = [json.loads(line) for line in said("alerts", "export", *options).splitlines()]
    assert exported == STATE["alerts"]
    assert said("silence", "list", *options, "--output", "json") == STATE["silences"]
    assert said("feedback", "list", *options, "--output", "json") == STATE["feedback"]


def test_a_dead_letter_of_before_is_sent_again_and_a_silence_ended(state):
    options = ("--state-dir", state)
    (dead,) = (alert["id"] for alert in STATE["alerts"] if alert["status"] == "dead")
    said("alerts", "retry", dead, *options)
    exported = [json.loads(line) for line in said("alerts", "export", *options).splitlines()]
    assert {alert["id"]: alert["status"] for alert in exported}[dead] == "waiting"
    silence = json.loads(STATE["silences"].splitlines()[0])["id"]
    said("silence", "expire", silence, *options)
    assert silence not in said("silence", "list", *options, "--output", "json")


def test_a_daemon_goes_on_where_the_one_before_stopped(tmp_path, model, state):
    log = shutil.copy(BEFORE / "service.log", tmp_path / "app.log")
    config = tmp_path / "run.yaml"
    config.write_text(
        f"""\
model: {{path: {model}, device: cpu}}
source: {{file: {{include: [{log}], start_at: beginning}}}}
state_dir: {state}
labels: {{team: storage}}
sinks:
  - file: {{path: {tmp_path}/alerts.jsonl}}
  - file: {{name: away, grouped: true, path: {tmp_path}/groups.jsonl}}
"""
    )
    said("run", "--config", config, "--stop-when-idle", "1")
    lines = (tmp_path / "alerts.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == STATE["after"]
    # What waited for the receiver that was away reaches it now, but for what was called false.
    told = json.dumps((tmp_path / "groups.jsonl").read_text())
    waited = [alert for alert in STATE["alerts"] if alert["status"] == "waiting"]
    assert any(alert["id"] in told for alert in waited)


def test_a_read_position_in_kafka_of_before_is_read():
    kept = json.loads((BEFORE / "kafka.json").read_text())
    at = kafka_positions.CommittedOffset(kept["offset"], kept["metadata"])
    found = kafka_positions.decode("topic/0", at, kept["model"])
    assert _numbers(found) == {name: kept[name] for name in _numbers(found)}
    assert kafka_positions.delivered(at, kept["model"]) == frozenset(kept["delivered"])


def test_the_state_of_a_journal_of_before_is_read():
    kept = json.loads((BEFORE / "journal.json").read_text())["state"]
    found = journal_state.load(BEFORE / "journal.json")
    assert found.cursor == kept["cursor"]
    (name, sequence), *others = kept["sequences"].items()
    assert not others
    assert found.sequences[name].host == sequence["host"]
    rise = sequence["checkpoint"].pop("rise")
    assert _numbers(found.sequences[name].checkpoint) == sequence["checkpoint"] | rise


def _numbers(checkpoint: Checkpoint):
    rise = checkpoint.rise
    return {
        **{"safe": checkpoint.safe, "reached": checkpoint.reached},
        **{"watermark": checkpoint.watermark, "level": rise.level, "since": rise.since},
        **{"windows": rise.windows, "odd": rise.odd},
    }
