"""`logmlm run` and `validate` from the command line."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import offline_parts
import pytest
from http_parts import served
from offline_parts import logmlm, write_log


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.trained(tmp_path_factory)


def test_run_follows_a_log_and_prints_its_alerts(trained, tmp_path):
    words = ("--state-dir", tmp_path / "state", "--stop-when-idle", "0.2", "--from-beginning")
    outcome = logmlm("run", "--model", trained.model, "--follow", trained.odd_log, *words)
    assert outcome.code == 0
    alerts = outcome.out.splitlines()
    assert len(alerts) >= 2
    assert all('"alertname": "LogAnomaly"' in alert for alert in alerts)
    for line in alerts:
        identity = json.loads(line)["id"]
        explained = logmlm("explain", trained.model, trained.odd_log, "--window", identity)
        assert explained.code == 0
        assert explained.out.startswith(f"window {identity}, ")
    again = logmlm("run", "--model", trained.model, "--follow", trained.odd_log, *words)
    assert (again.code, again.out) == (0, "")


def test_alerts_have_the_same_ids_beside_a_file_that_begins_alike(trained, tmp_path):
    first, *rest = Path(trained.odd_log).read_text(encoding="utf-8").splitlines()
    logs = tmp_path / "a.log", tmp_path / "b.log"
    for log, name in zip(logs, ("req-50", "req-70"), strict=True):
        write_log(log, [first, *(line.replace("req-50", name) for line in rest)])
    words = ("--stop-when-idle", "0.5", "--from-beginning")
    told = {}
    for state, followed in (("both", logs), ("alone", logs[1:])):
        places = (word for log in followed for word in ("--follow", log))
        outcome = logmlm(
            *("run", "--model", trained.model, *places, "--state-dir", tmp_path / state, *words)
        )
        told[state] = {json.loads(line)["id"] for line in outcome.out.splitlines()}
    assert len(told["alone"]) >= 2
    assert told["alone"] < told["both"]
    for identity in told["alone"]:
        explained = logmlm("explain", trained.model, logs[1], "--window", identity)
        assert explained.out.startswith(f"window {identity}, ")


def test_a_secret_address_stands_in_a_file_and_in_no_argument(trained, tmp_path):
    with served() as (url, calls):
        (tmp_path / "url").write_text(f"{url}/hunter2\n")
        words = ("--state-dir", tmp_path / "state", "--stop-when-idle", "0.2", "--from-beginning")
        words = (*words, "--webhook", f"@{tmp_path / 'url'}")
        assert (
            logmlm("run", "--model", trained.model, "--follow", trained.odd_log, *words).code == 0
        )
    assert {call.path for call in calls} == {"/hook/hunter2"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "run needs --config FILE, or --model DIR and --follow LOG"),
        (("--config", "c.yaml", "--model", "m"), "--model can't stand beside --config"),
        (
            ("--model", "m", "--follow", "l", "--webhook", "notaurl"),
            "--webhook should be an address that starts with http:// or https://",
        ),
        (
            ("--model", "m", "--follow", "l", "--http", "here"),
            "--http 'here' is no address; write it like 127.0.0.1:9464, or off",
        ),
    ],
)
def test_words_that_make_no_sense_are_told(words, sentence):
    outcome = logmlm("run", *words)
    assert outcome.code == 64
    assert sentence in outcome.err


def test_a_port_that_is_taken_is_told_and_the_exit_code_lets_systemd_try_again(tmp_path):
    words = ("--state-dir", tmp_path / "state", "--model", "m", "--follow", "l")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        outcome = logmlm("run", *words, "--http", address, "--log-format", "json")
    assert outcome.code == 69
    (said,) = outcome.err.splitlines()
    assert json.loads(said)["message"].startswith(f"another program listens on {address} already")


def test_a_signal_while_the_command_is_loaded_ends_it_in_good_order(tmp_path):
    config = tmp_path / "run.yaml"
    os.mkfifo(config)
    command = [sys.executable, "-m", "logmlm", "run", "--config", str(config)]
    with subprocess.Popen(command) as child, config.open("w"):  # which it reads now, for ever
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0


def test_the_log_may_be_plain_where_no_person_watches(tmp_path):
    words = ("--state-dir", tmp_path / "state", "--model", tmp_path / "none", "--follow", "l")
    outcome = logmlm("run", *words, "--log-format", "text")
    assert outcome.code == 65
    assert outcome.err.startswith(f"logmlm: there is no {tmp_path / 'none'}: name a model")


def test_validate_checks_the_shipped_training_config():
    configs = Path(__file__).parents[2] / "configs"
    outcome = logmlm("validate", configs / "train.yaml")
    assert (outcome.code, outcome.out) == (78, "")
    assert "no file matches /var/log/myapp" in outcome.err


def test_a_run_config_is_read_and_its_model_missed(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {{path: {tmp_path}/none}}\nsource: {{stdin: {{}}}}\n")
    outcome = logmlm("run", "--config", config)
    assert outcome.code == 65
    assert "none" in outcome.err
