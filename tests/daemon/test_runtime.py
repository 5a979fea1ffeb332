"""The daemon as a process: reloaded under load, told what is wrong, watched by its manager."""

import re
import signal
import socket
import time
from collections import Counter

import pytest
import requests
from daemon_process import PATIENCE_S, TOKEN, Process, stop
from trials.reload import reload

from logmlm.alerting import delivery
from logmlm.daemon import signals


@pytest.fixture
def process(tmp_path):
    return Process(tmp_path)


def test_the_time_to_end_in_is_under_ten_seconds():
    assert signals.GRACE_S + delivery.COMMIT_RESERVE_S < signals.STOP_S < 9


def test_twenty_reloads_under_load_lose_no_line_and_a_bad_config_never_takes_effect(process):
    assert "0 lost" in reload(process, times=20)


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


def test_alerts_that_are_made_again_are_not_counted_again(tmp_path):
    for counted in (5, 0):
        process = Process(tmp_path)
        with process.running() as child:
            process.write(0 if process.log.stat().st_size else 10)
            deadline = time.monotonic() + PATIENCE_S
            while process.metric("lines_total") < 10 and time.monotonic() < deadline:
                time.sleep(0.1)
            stopped_at = process.metric('alerts_total{status="firing"}')
            stop(child)
        assert stopped_at == counted
        (tmp_path / "state" / "checkpoints.json").unlink()
        (tmp_path / "notify").unlink()


def test_lines_are_never_in_the_log_of_the_daemon(process):
    process.write(10)
    with process.running() as child:
        process.wait_for(10)
        stop(child)
    assert process.said()
    assert "ODD" not in (process.directory / "err").read_text()


def test_reloads_beside_a_receiver_that_hangs_send_nothing_again_and_are_quick(process):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        process.configure(more=f"sinks: [{{webhook: {{url: '{url}', timeout: 60s}}}}]\n")
        process.write(2)
        with process.running(GRACE_S="0.5") as child:
            deaf.settimeout(20)
            connection, _ = deaf.accept()
            began = time.monotonic()
            for _ in range(2):
                child.send_signal(signal.SIGHUP)
                process.hear("RELOADING=1")
                process.hear("READY=1")
            assert time.monotonic() - began < 4
            deaf.settimeout(0.5)
            with pytest.raises(TimeoutError):
                deaf.accept()
            stop(child)
            connection.close()


def test_a_receiver_that_hangs_does_not_keep_it_from_ending_in_time(process):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        process.configure(more=f"sinks: [{{webhook: {{url: '{url}', timeout: 60s}}}}]\n")
        process.write(10)
        with process.running() as child:
            deaf.settimeout(20)
            connection, _ = deaf.accept()
            assert stop(child) < 10
            connection.close()
    late, waiting = process.messages_at("warning")[-2:]
    assert "it goes on at the next start" in late
    assert waiting.endswith("for sink webhook; the next start there sends them")
