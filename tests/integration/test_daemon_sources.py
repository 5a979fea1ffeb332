"""The daemon on each kind of source: rotation with kills, a clean stop, the journal."""

import io
import json
import signal
import socket
import subprocess
import sys
import time

import daemon_parts
import pytest
from daemon_parts import FakeDetector
from journal_parts import Journal, needs_journal
from trials import rotation

from logmlm.config.run import RunConfig
from logmlm.daemon import app as daemon


def test_rotated_while_killed_again_and_again_no_line_is_lost_or_in_two_windows(tmp_path):
    assert "0 lost" in rotation.rotate(tmp_path, files=5, lines=5_000, kills=6)


def test_what_can_not_be_read_again_is_scored_at_sigterm(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: {{path: none}}\nstate_dir: {tmp_path}/state\nsource: {{syslog: {{tcp: {port}}}}}\n"
    )
    command = [sys.executable, daemon_parts.__file__, str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            with connected(port) as client:
                client.sendall(b"<1>ODD 1\n<1>ODD 2\n<1>ODD 3\n")
                first = json.loads(child.stdout.readline())
                child.send_signal(signal.SIGTERM)
                rest, _ = child.communicate(timeout=20)
        finally:
            child.kill()
    assert child.returncode == 0
    second = json.loads(rest)
    assert first["annotations"]["lines"] == "> <1>ODD 1\n> <1>ODD 2"
    assert second["annotations"]["lines"] == "> <1>ODD 3"
    assert first["labels"]["source"] == "syslog"


def connected(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the daemon does not listen"
            time.sleep(0.02)


@needs_journal
def test_alerts_on_the_journal_show_the_message_and_have_the_same_ids_again(tmp_path):
    journal = Journal(tmp_path / "journal")
    journal.write("fine", "ODD one", "fine", "fine", "ODD two")
    first, second = (run(tmp_path / name, journal.directory) for name in ("one", "two"))
    assert [alert["id"] for alert in first] == [alert["id"] for alert in second]
    assert ['"MESSAGE": "ODD one"' in alert["annotations"]["lines"] for alert in first] == [
        True,
        False,
    ]
    assert first[0]["annotations"]["origin"] == "journal of web1"
    assert run(tmp_path / "one", journal.directory) == []


def run(state, directory):
    out = io.StringIO()
    started = time.monotonic()
    config = RunConfig(
        model={"path": "none"},
        source={"journald": {"directory": directory, "start_at": "beginning"}},
        state_dir=state,
    )
    daemon.run_daemon(
        config,
        out=out,
        stop_when_idle=500.0,  # five seconds: journalctl may take some to start
        load=lambda *_: FakeDetector(),
        world=daemon.DaemonContext(
            clock=lambda: 1000.0 + (time.monotonic() - started) * 100,
            monotonic=lambda: (time.monotonic() - started) * 100,
        ),
    )
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("rest", [b"", b"ODD 5"])
def test_standard_input_that_goes_on_is_scored_at_sigterm(tmp_path, rest):
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {{path: none}}\nstate_dir: {tmp_path}/s\nsource: {{stdin: }}\n")
    command = [sys.executable, daemon_parts.__file__, str(config)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as child:
        try:
            child.stdin.write(b"ODD 1\nODD 2\nODD 3\n" + rest)
            child.stdin.flush()
            child.stdout.readline()
            child.send_signal(signal.SIGTERM)
            found = child.stdout.read()
            child.stdin.close()
            assert child.wait(20) == 0
        finally:
            child.kill()
    assert json.loads(found)["annotations"]["lines"].startswith("> ODD 3")
