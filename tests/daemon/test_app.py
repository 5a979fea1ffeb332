"""The daemon as a whole: starts, stops, is killed, and goes on without losing or doubling."""

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import daemon_parts
import pytest
from daemon_parts import FakeDetector
from http_parts import served

from logmlm.alerting.store.database import StateDatabase
from logmlm.config.run import RunConfig
from logmlm.daemon import app as daemon
from logmlm.daemon.signals import ShutdownSignal
from logmlm.errors import ConfigError, ModelError, StorageError, UndeliveredError


class Clock:
    """Runs a hundred times as fast, so that nothing is waited for."""

    def __init__(self):
        self.started = time.monotonic()

    def __call__(self):
        return 1000.0 + (time.monotonic() - self.started) * 100


@pytest.fixture
def log(tmp_path):
    return tmp_path / "app.log"


@pytest.fixture
def config(tmp_path, log):
    return RunConfig(
        model={"path": tmp_path / "model"},
        source={"file": {"include": f"{log}*", "start_at": "beginning"}},
        state_dir=tmp_path / "state",
        labels={"service": "s"},
    )


def changed(config, **parts):
    return RunConfig.model_validate(config.model_dump(exclude_unset=True) | parts)


def run(config, detector=None, stop_when_idle=20.0, **world):
    out = io.StringIO()
    daemon.run_daemon(
        config,
        out=out,
        stop_when_idle=stop_when_idle,
        load=lambda *_: detector or FakeDetector(),
        world=daemon.DaemonContext(clock=Clock(), monotonic=Clock(), host="here", **world),
    )
    return [json.loads(line) for line in out.getvalue().splitlines()]


def lines_of(alerts):
    return [line[2:] for alert in alerts for line in alert["annotations"]["lines"].splitlines()]


def test_a_log_is_followed_scored_and_alerted(config, log):
    log.write_text("a\nb\nODD c\nd\ne\n")
    (alert,) = run(config)
    assert alert["labels"] == {
        "alertname": "LogAnomaly",
        "severity": "warning",
        "service": "s",
        "source": "file",
        "model": "fake",
        "host": "here",
        "file": str(log),
    }
    assert alert["annotations"]["lines"] == "> ODD c\n  d"
    assert alert["annotations"]["origin"] == str(log)
    assert "ODD c" in alert["annotations"]["description"]


class WhenReady(logging.Handler):
    """Does something at the very moment at which the daemon says that it is ready."""

    def __init__(self, do):
        super().__init__()
        self.do = do

    def emit(self, record):
        if record.getMessage().startswith("ready"):
            self.do()


@contextmanager
def when_ready(do):
    said, handler = logging.getLogger("logmlm.daemon.app"), WhenReady(do)
    level = said.level
    said.addHandler(handler)
    said.setLevel(logging.INFO)
    try:
        yield
    finally:
        said.removeHandler(handler)
        said.setLevel(level)


def test_what_is_written_once_it_says_ready_is_read_at_the_very_first_start(config, tmp_path):
    files = [tmp_path / f"app.log.{i}" for i in range(12)]
    for i, file in enumerate(files):
        file.write_text(f"ODD old {i}\nODD older {i}\n")

    def write():
        for i, file in enumerate(files):
            with file.open("a") as stream:
                stream.write(f"ODD new {i}\nODD newer {i}\n")
        (tmp_path / "app.log.late").write_text("ODD late\nODD later\n")

    source = {"file": {"include": f"{tmp_path}/app.log*", "start_at": "end"}}
    with when_ready(write):
        alerts = run(changed(config, source=source))
    wanted = [[f"ODD new {i}", f"ODD newer {i}"] for i in range(12)] + [["ODD late", "ODD later"]]
    found = [[line[2:] for line in a["annotations"]["lines"].splitlines()] for a in alerts]
    assert sorted(found) == sorted(wanted)


def test_a_path_without_a_file_is_waited_for_and_said(config, log, caplog):
    assert run(config) == []
    assert f"no file matches {log}* yet; waiting for one" in caplog.text


def test_a_second_start_goes_on_where_the_first_stopped(config, log):
    log.write_text("ODD 1\nODD 2\n")
    assert len(run(config)) == 1
    assert run(config) == []
    with log.open("a") as stream:
        stream.write("ODD 3\nODD 4\n")
    assert lines_of(run(config)) == ["ODD 3", "ODD 4"]


def test_a_clean_stop_commits_past_alerts_that_a_receiver_took_only_then(config, log):
    log.write_text("ODD 1\nODD 2\n")
    alerting = {"group_wait": "1d", "group_interval": "2d", "repeat_interval": "3d"}
    with served() as (url, calls):
        run(changed(config, sinks=[{"webhook": {"url": url}}], alerting=alerting))
    assert [call.json["status"] for call in calls] == ["firing"]
    stored = json.loads((config.state_dir / "checkpoints.json").read_text())
    (known,) = stored["files"]
    assert known["checkpoint"]["safe"] == log.stat().st_size


def test_lost_checkpoints_do_not_page_anybody_twice(config, log):
    log.write_text("ODD 1\nODD 2\n")
    run(config)
    (config.state_dir / "checkpoints.json").unlink()
    assert run(config) == []


def test_a_lost_database_of_alerts_is_told_but_not_at_a_first_start(config, log, caplog):
    log.write_text("a\nb\n")
    run(config)
    assert "gone" not in caplog.text
    for path in config.state_dir.glob("state.db*"):
        path.unlink()
    run(config)
    assert "state.db is gone: alerts that waited, silences and feedback are lost" in caplog.text


def test_a_device_that_is_none_is_an_error_of_the_config(config, trained):
    config = changed(config, model={"path": trained.model, "device": "gpu7"})
    with pytest.raises(ConfigError, match=r"'model.device': device 'gpu7' can't be used"):
        daemon.run_daemon(config, out=io.StringIO())


def test_how_to_open_the_model_is_handed_on(config):
    def load(model):
        raise ModelError(f"{model.path.name} {model.device} {model.exact}")

    with pytest.raises(ModelError, match="model auto False"):
        daemon.run_daemon(config, out=io.StringIO(), load=load)


def test_another_models_open_windows_come_out_whole(config, log):
    """Windows of four lines leave three open; under windows of two, these were not scored."""
    log.write_text("1\n2\n3\n4\n5\nODD 6\n7\n")
    checkpoints = config.state_dir / "checkpoints.json"
    run(config, FakeDetector(size=4))
    stored = json.loads(checkpoints.read_text())
    stored["files"][0]["checkpoint"] |= {"safe": 8, "reached": 16}
    stored["version"] = 1  # which has no checksum
    checkpoints.write_text(json.dumps(stored))
    other = FakeDetector(size=2)
    other.digest = "another"
    assert lines_of(run(config, other)) == ["5", "ODD 6"]
    assert json.loads((config.state_dir / "model.json").read_text())["digest"] == "another"


def test_open_windows_of_other_rules_come_out_whole_under_the_same_model(config, log):
    log.write_text("1\n2\n3\n4\n5\nODD 6\n7\n")
    checkpoints, note = config.state_dir / "checkpoints.json", config.state_dir / "model.json"
    run(config, FakeDetector(size=4))
    stored = json.loads(checkpoints.read_text())
    stored["files"][0]["checkpoint"] |= {"safe": 8, "reached": 16}
    stored["version"] = 1
    del stored["checksum"]  # that version has none
    checkpoints.write_text(json.dumps(stored))
    del (old := json.loads(note.read_text()))["rules"]
    note.write_text(json.dumps(old))
    assert lines_of(run(config, FakeDetector(size=2))) == ["5", "ODD 6"]
    assert json.loads(note.read_text()) == old | {"rules": 2}


def test_standard_input_is_read_to_its_end(config):
    read_end, write_end = os.pipe()
    os.write(write_end, b"ODD 1\n2\nODD 3")
    os.close(write_end)
    config = changed(config, source={"stdin": {}})
    alerts = run(config, stdin=read_end)
    os.close(read_end)
    assert lines_of(alerts) == ["ODD 1", "2", "ODD 3"]
    assert {alert["annotations"]["origin"] for alert in alerts} == {"standard input"}
    assert not (config.state_dir / "checkpoints.json").exists()


def test_two_daemons_do_not_share_a_state_directory(config):
    with (
        daemon.lock_state_dir(config.state_dir),
        pytest.raises(StorageError, match="another logmlm uses") as caught,
    ):
        run(config)
    assert "state_dir" in str(caught.value)
    assert run(config) == []


def test_a_state_directory_that_can_not_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="can't use"),
        daemon.lock_state_dir(tmp_path / "file" / "s"),
    ):
        pass


def test_the_state_is_for_its_owner_alone(config, log):
    log.write_text("ODD 1\nODD 2\n")
    seen = {}

    class Looking(FakeDetector):
        def explain(self, found):
            every = [config.state_dir, *config.state_dir.iterdir()]
            seen.update({path.name: path.stat().st_mode & 0o077 for path in every})
            return super().explain(found)

    before = os.umask(0)
    try:
        run(config, Looking())
        run(config, Looking())
    finally:
        os.umask(before)
    seen.update({path.name: path.stat().st_mode & 0o077 for path in config.state_dir.iterdir()})
    assert set(seen.values()) == {0}
    assert {"state.db", "state.db-wal", "state.db-shm", "state.db-tally", "lock"} <= set(seen)
    assert {"checkpoints.json", "model.json"} <= set(seen)


def test_the_state_directory_is_the_configured_one_or_systemds_or_the_users(config):
    default = config.model_copy(update={"state_dir": None})
    everything = {"STATE_DIRECTORY": "/v/l:/v/2", "XDG_STATE_HOME": "/x", "HOME": "/h"}
    assert daemon.resolve_state_dir(config, everything) == config.state_dir
    for name, expected in (
        ("STATE_DIRECTORY", "/v/l"),
        ("XDG_STATE_HOME", "/x/logmlm"),
        ("HOME", "/h/.local/state/logmlm"),
    ):
        assert daemon.resolve_state_dir(default, everything) == Path(expected)
        del everything[name]
    with pytest.raises(ConfigError, match="give 'state_dir'"):
        daemon.resolve_state_dir(default, everything)


def test_a_damaged_model_note_is_a_storage_error(config):
    config.state_dir.mkdir()
    (config.state_dir / "model.json").write_text("{")
    with pytest.raises(StorageError, match="move it away"):
        run(config)


def test_an_alert_that_no_receiver_takes_waits_for_the_next_start(config, log):
    log.write_text("ODD 1\nODD 2\n")
    refused = changed(config, sinks=[{"webhook": {"url": "http://127.0.0.1:9/"}}, {"stdout": {}}])
    with pytest.raises(UndeliveredError) as caught:
        run(refused)
    assert caught.value.exit_code == 75
    waits = f"alerts wait in {config.state_dir}: 1 for sink webhook (Conn"
    assert str(caught.value).startswith(waits)
    assert str(caught.value).endswith("; the next start there sends them")
    with closing(StateDatabase(config.state_dir / "state.db")) as state:
        assert [row["sink"] for row in state.select("queue")] == ["webhook"]


def test_told_to_stop_it_says_what_waits_and_has_ended_well(config, log, caplog):
    log.write_text("ODD 1\nODD 2\n")
    webhook = {"webhook": {"url": "http://127.0.0.1:9/", "grouped": False}}

    def end():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    ending = threading.Thread(target=end)
    with when_ready(ending.start):
        run(changed(config, sinks=[webhook]), stop_when_idle=10**6)
    ending.join()
    assert f"alerts wait in {config.state_dir}: 1 for sink webhook" in caplog.text


def test_a_signal_ends_the_wait_and_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with ShutdownSignal() as stop:
        assert not stop.is_set()
        stop.wait(0.0)
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        started = time.monotonic()
        stop.wait(30.0)
        assert time.monotonic() - started < 10
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set()
        timer.join()
    assert signal.getsignal(signal.SIGTERM) == before


class Process:
    """The daemon as a process of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.config = directory / "run.yaml"
        self.config.write_text(
            f"model: {{path: none}}\nstate_dir: {directory}/state\n"
            f"source: {{file: {{include: '{directory}/app.log*', start_at: beginning}}}}\n"
        )
        self.out = directory / "out.jsonl"

    @contextmanager
    def running(self, number):
        with self.out.open("a") as out:
            child = subprocess.Popen(
                [sys.executable, daemon_parts.__file__, str(self.config)], stdout=out
            )
            try:
                yield child
                child.send_signal(number)
                child.wait(20)
            finally:
                child.kill()
                child.wait()

    def alerts(self):
        """Alerts that came out; a line that a kill cut short was sent again."""
        found = []
        for line in self.out.read_text().splitlines() if self.out.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:
                assert "ODD" not in line or not line.endswith("}")
        return found

    def wait_for(self, count):
        deadline = time.monotonic() + 20
        while len({alert["id"] for alert in self.alerts()}) < count:
            assert time.monotonic() < deadline, "the daemon does not come"
            time.sleep(0.01)


class Writer:
    """Numbers its lines, two for each alert, and rotates."""

    def __init__(self, directory):
        self.log = directory / "app.log"
        self.written = self.rotated = 0

    def write(self, count):
        with self.log.open("a") as stream:
            for _ in range(count):
                stream.write(f"ODD {self.written}\nODD {self.written + 1}\n")
                self.written += 2

    def rotate(self):
        self.rotated += 1
        self.log.rename(self.log.with_name(f"app.log.{self.rotated}"))


def test_killed_anywhere_and_rotated_it_loses_nothing_and_makes_no_other_alert(tmp_path):
    process, writer = Process(tmp_path), Writer(tmp_path)
    writer.write(5)
    for turn in range(4):
        with process.running(signal.SIGKILL):
            process.wait_for(writer.written // 2)
            writer.write(20)
            if turn % 2:
                writer.rotate()
            writer.write(20)
            process.wait_for(writer.written // 2 - 30 + turn * 7)
        writer.write(3)
        writer.rotate()
        writer.write(3)
    with process.running(signal.SIGTERM) as child:
        process.wait_for(writer.written // 2)
    assert child.returncode == 0
    by_id = {alert["id"]: alert for alert in process.alerts()}
    numbers = Counter(int(line.split()[1]) for line in lines_of(by_id.values()))
    assert numbers == Counter(range(writer.written))


def wait_for_handler(pid):
    """Wait until a process handles SIGTERM: alerts of the one before it say nothing of that."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = int(status.partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)


def test_a_receiver_that_hangs_does_not_hold_up_the_others_nor_the_stop(tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:  # takes calls, never answers
        process, writer = Process(tmp_path), Writer(tmp_path)
        with process.config.open("a") as stream:
            address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            hook = f"webhook: {{url: '{address}', timeout: 60s, grouped: false}}"
            stream.write(f"sinks: [stdout: , {{{hook}}}]")
        writer.write(5)
        with process.running(signal.SIGTERM) as child:
            process.wait_for(5)
            wait_for_handler(child.pid)
            began = time.monotonic()
        assert child.returncode == 0
        assert time.monotonic() - began < 9
    with closing(StateDatabase(tmp_path / "state" / "state.db")) as state:
        assert state.count("queue", "sink = 'webhook'") == 5
        assert state.count("waiting") == 0


NO_BROKER = "{kafka: {bootstrap_servers: '127.0.0.1:1', topics: t, auto_offset_reset: latest,\
 connect_timeout: 60s}}"


@pytest.mark.parametrize(("model", "source"), [("slow", "{stdin: }"), ("none", NO_BROKER)])
def test_told_to_stop_while_it_starts_it_ends_well_and_without_a_traceback(tmp_path, model, source):
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {{path: {model}}}\nstate_dir: {tmp_path}/state\nsource: {source}\n")
    command = [sys.executable, daemon_parts.__file__, str(config)]
    environment = os.environ | {"GRACE_S": "0.5"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as child:
        try:
            wait_for_handler(child.pid)
            time.sleep(1)
            child.send_signal(signal.SIGTERM)
            _, said = child.communicate(timeout=20)
        finally:
            child.kill()
    assert child.returncode == 0
    assert "Traceback" not in said
    assert "which the next start does again" in said


def test_stopped_by_sigterm_nothing_is_sent_twice(tmp_path):
    process, writer = Process(tmp_path), Writer(tmp_path)
    writer.write(3)
    for _ in range(2):
        with process.running(signal.SIGTERM) as child:
            process.wait_for(writer.written // 2)
            writer.write(10)
            process.wait_for(writer.written // 2 - 10)
            wait_for_handler(child.pid)
        assert child.returncode == 0
    with process.running(signal.SIGTERM):
        process.wait_for(writer.written // 2)
    counted = Counter(int(line.split()[1]) for line in lines_of(process.alerts()))
    assert counted == Counter(range(writer.written))
