"""The daemon as a process: reloaded under load, told what is wrong, watched by its manager."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager

import daemon_parts
import pytest
import requests

from logmlm import signals

CONFIG = """\
model: {{path: '{model}'}}
state_dir: {directory}/state
source: {{file: {{include: '{directory}/app.log*', start_at: beginning}}}}
labels: {{service: {service}}}
http: {{listen: '127.0.0.1:0', token_file: {directory}/token}}
"""
TOKEN = "hunter2"  # noqa: S105  a test's


class Process:
    """The daemon as a process of its own, with a manager's socket to tell."""

    def __init__(self, directory):
        self.directory = directory
        self.config = directory / "run.yaml"
        self.log = directory / "app.log"
        self.log.touch()
        self.written = 0
        (directory / "token").write_text(TOKEN)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(directory / "notify"))
        self.manager.settimeout(20)
        self.messages = []
        self.configure()

    def configure(self, model="2", service="first", more=""):
        text = CONFIG.format(directory=self.directory, model=model, service=service)
        self.config.write_text(text + more)

    @contextmanager
    def running(self, **environment):
        given = {"NOTIFY_SOCKET": str(self.directory / "notify"), **environment}
        command = [sys.executable, daemon_parts.__file__, str(self.config)]
        with (
            (self.directory / "out").open("w") as out,
            (self.directory / "err").open("w") as err,
            subprocess.Popen(command, stdout=out, stderr=err, env=os.environ | given) as child,
        ):
            try:
                self.hear("READY=1")
                yield child
            finally:
                child.kill()
                self.manager.close()

    def hear(self, word):
        """Wait until the manager is told `word`; the lines of that message."""
        while True:
            message = self.manager.recv(4096).decode().splitlines()
            self.messages.append(message)
            if word in message:
                return message

    def write(self, count):
        with self.log.open("a") as stream:
            for number in range(self.written, self.written + count):
                stream.write(f"ODD {number}\n")
        self.written += count

    def said(self):
        return [json.loads(line) for line in (self.directory / "err").read_text().splitlines()]

    def messages_at(self, level):
        return [found["message"] for found in self.said() if found["level"] == level]

    def alerts(self):
        return [json.loads(line) for line in (self.directory / "out").read_text().splitlines()]

    def numbers(self):
        lines = "\n".join(alert["annotations"]["lines"] for alert in self.alerts())
        return Counter(map(int, re.findall(r"ODD (\d+)", lines)))

    def wait_for(self, numbers):
        deadline = time.monotonic() + 30
        while len(self.numbers()) < numbers:
            assert time.monotonic() < deadline, "the daemon does not come"
            time.sleep(0.02)

    @property
    def url(self):
        (listens,) = [text for text in self.messages_at("info") if "metrics are on" in text]
        return listens.split()[-1].removesuffix("/metrics")

    def metric(self, name):
        text = requests.get(f"{self.url}/metrics", timeout=10).text
        return float(re.search(rf"^logmlm_{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


@pytest.fixture
def process(tmp_path):
    return Process(tmp_path)


def test_the_time_to_end_in_is_under_ten_seconds():
    assert signals.GRACE_S < 9


def stop(child):
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    return time.monotonic() - began


def test_twenty_reloads_under_load_lose_no_line_and_a_bad_config_never_takes_effect(process):
    done = threading.Event()

    def write():
        while not done.is_set():
            process.write(10)
            time.sleep(0.01)

    with process.running() as child:
        writer = threading.Thread(target=write)
        writer.start()
        for turn in range(20):
            kind = turn % 4
            service = "bad" if kind == 3 else f"good{turn}"
            process.configure(
                model=str(8 + kind), service=service, more="lables: {}\n" if kind == 3 else ""
            )
            child.send_signal(signal.SIGHUP)
            process.hear("RELOADING=1")
            process.hear("READY=1")
        done.set()
        writer.join()
        process.wait_for(process.written - 11)
        stop(child)
    found = process.numbers()
    assert set(found.values()) == {1}
    assert set(found) == set(range(len(found)))
    assert process.written - len(found) < 12
    note = json.loads((process.directory / "state" / "model.json").read_text())
    assert note == {"digest": "d10"}  # of the last good one
    services = {alert["labels"]["service"] for alert in process.alerts()}
    assert "bad" not in services
    assert len(services) > 10
    refusals = process.messages_at("error")
    assert len(refusals) == 5
    assert all("unknown key 'lables'; did you mean 'labels'?" in text for text in refusals)


def test_killed_after_a_change_of_the_model_it_goes_on_with_every_line(tmp_path):
    first = Process(tmp_path)
    first.configure(model="3")
    with first.running() as child:
        first.write(8)
        first.wait_for(6)
        first.configure(model="5")
        child.send_signal(signal.SIGHUP)
        first.hear("RELOADING=1")
        first.hear("READY=1")
        child.kill()
        child.wait()
        before = first.numbers()
    (tmp_path / "notify").unlink()
    second = Process(tmp_path)
    second.configure(model="5")
    second.written = first.written
    with second.running() as child:
        second.write(3)
        second.wait_for(5)
        stop(child)
    assert before + second.numbers() == Counter(range(11))


def test_a_bad_config_and_a_lost_secret_are_said_in_log_and_metric_and_change_nothing(process):
    hook = f"sinks: [{{webhook: {{url_file: {process.directory}/url}}}}, {{stdout: }}]\n"
    with process.running() as child:
        for more, said in (("nonsense: 1\n", "unknown key 'nonsense'"), (hook, "can't read")):
            process.configure(more=more, service="other")
            child.send_signal(signal.SIGHUP)
            process.hear("RELOADING=1")
            assert "STATUS=the last reload was refused; see the log" in process.hear("READY=1")
            assert said in process.messages_at("error")[-1]
            assert process.metric("config_last_reload_successful") == 0
        process.write(2)
        process.wait_for(2)
        assert process.alerts()[0]["labels"]["service"] == "first"
        process.configure(service="other")
        child.send_signal(signal.SIGHUP)
        process.hear("READY=1")
        assert process.metric("config_last_reload_successful") == 1
        process.write(2)
        process.wait_for(4)
        assert process.alerts()[1]["labels"]["service"] == "other"
        stop(child)


def test_a_model_that_fails_to_load_in_an_unforeseen_way_leaves_the_old_one(process):
    with process.running() as child:
        process.configure(model="broken")
        child.send_signal(signal.SIGHUP)
        process.hear("RELOADING=1")
        process.hear("READY=1")
        process.write(2)
        process.wait_for(2)
        stop(child)
    assert "internal error (RuntimeError)" in process.messages_at("error")[-1]
    (traced,) = [found for found in process.said() if "traceback" in found]
    assert "CUDA out of memory" in traced["traceback"]


def test_the_same_model_elsewhere_is_put_on_the_other_device(process):
    with process.running() as child:
        process.write(3)
        process.wait_for(2)
        text = process.config.read_text().replace("path: '2'", "path: '2', device: cuda")
        process.config.write_text(text)
        child.send_signal(signal.SIGHUP)
        process.hear("RELOADING=1")
        process.hear("READY=1")
        process.write(1)
        process.wait_for(4)
        stop(child)
    assert "another model scores from now on: fake" in process.messages_at("info")
    assert process.numbers() == Counter(range(4))


def test_what_only_a_restart_changes_is_said_and_kept(process):
    with process.running() as child:
        text = process.config.read_text().replace("start_at: beginning", "start_at: end")
        process.config.write_text(text.replace("/state", "/elsewhere").replace("first", "new"))
        child.send_signal(signal.SIGHUP)
        process.hear("RELOADING=1")
        process.hear("READY=1")
        said = process.messages_at("warning")
        process.write(2)
        process.wait_for(2)
        stop(child)
    kept = [text.split()[0] for text in said if "at the next restart" in text]
    assert kept == ["'source'", "'state_dir'"]
    assert not (process.directory / "elsewhere").exists()
    assert process.alerts()[0]["labels"]["service"] == "new"


def test_a_reload_by_http_needs_the_token_which_is_never_shown(process):
    with process.running() as child:
        url = f"{process.url}/-/reload"
        assert requests.post(url, timeout=10).status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        process.configure(model="3")
        assert requests.post(url, headers=right, timeout=10).status_code == 200
        process.configure(more="x: 1\n")
        refused = requests.post(url, headers=right, timeout=10)
        assert refused.status_code == 400
        assert "unknown key 'x'" in refused.text
        arguments = (f"/proc/{child.pid}/cmdline", f"/proc/{child.pid}/environ")
        shown = [requests.get(f"{process.url}/metrics", timeout=10).text]
        for path in arguments:
            with open(path) as file:  # noqa: PTH123  no path of ours
                shown.append(file.read())
        stop(child)
    shown += [(process.directory / name).read_text() for name in ("err", "out")]
    assert all(TOKEN not in text for text in shown)


def test_the_manager_is_told_of_start_work_and_end(process):
    with process.running(WATCHDOG_USEC="200000") as child:
        process.hear("WATCHDOG=1")
        process.hear("WATCHDOG=1")
        took = stop(child)
        process.hear("STOPPING=1")
    words = [line for message in process.messages for line in message]
    assert words[0] == "READY=1"
    assert any(re.fullmatch(r"STATUS=\d+ lines read, .*", word) for word in words)
    assert took < 10


def test_lines_are_never_in_the_log_of_the_daemon(process):
    process.write(10)
    with process.running() as child:
        process.wait_for(10)
        stop(child)
    assert process.said()
    assert "ODD" not in (process.directory / "err").read_text()


def test_a_receiver_that_hangs_does_not_keep_it_from_ending_in_time(process):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        process.configure(more=f"sinks: [{{webhook: {{url: '{url}', timeout: 60s}}}}]\n")
        process.write(10)
        with process.running(GRACE_S="0.5") as child:
            deaf.settimeout(20)
            connection, _ = deaf.accept()
            assert stop(child) < 5
            connection.close()
    assert "the next start does again" in process.messages_at("warning")[-1]
