"""Wrong clocks are told of: in the log once an hour, in a metric, and by a daemon that goes on."""

import json
import logging
from functools import partial

import requests
import session_parts
from daemon_process import PATIENCE_S, Process, stop
from window_parts import event

from logmlm.config.training import WindowConfig
from logmlm.detection.skew_report import REPORT_EVERY_S, ClockSkewReporter
from logmlm.detection.watermark import ClockOutliers

WRONG = event(7, "k", 4.1e9, host="web\n1")
RIGHT = event(8, "k", 1.7e9)


def found(outliers, times=1):
    for _ in range(times):
        outliers.watermark_after([WRONG, RIGHT], 1.7e9, is_last=False)


def test_a_wrong_clock_is_told_of_once_an_hour_with_its_host(caplog):
    now, outliers = [0.0], ClockOutliers(WindowConfig(kind="time"))
    report = ClockSkewReporter(lambda: now[0], lambda partition: f"/var/log/{partition}")
    with caplog.at_level(logging.WARNING):
        report.report(outliers)
        assert caplog.messages == []
        for at in (0.0, 10.0, REPORT_EVERY_S - 1, REPORT_EVERY_S):
            now[0] = at
            found(outliers)
            report.report(outliers)
    first, second = caplog.messages
    assert first.startswith("1 lines have a time far ahead of the lines around them")
    assert "2099-12-03T16:53:20Z, in /var/log/p of host 'web\\n1';" in first
    assert second.startswith("3 lines ")


def test_another_models_are_counted_anew(caplog):
    report = ClockSkewReporter(lambda: 0.0, str)
    old, new = (ClockOutliers(WindowConfig(kind="time")) for _ in range(2))
    found(old, 3)
    found(new, 1)
    with caplog.at_level(logging.WARNING):
        report.report(old)
        report = ClockSkewReporter(lambda: REPORT_EVERY_S, str)
        report.report(new)
    assert [text.split()[0] for text in caplog.messages] == ["3", "1"]


def test_the_daemon_goes_on_past_a_line_of_2100(tmp_path):
    """Its clock is the true one, so that no window is closed because nothing comes."""
    process = Process(tmp_path)
    process.line = partial(session_parts.line, odd_every=15)
    process.configure(model="s12")
    process.write(300)
    process.write_line("2100-01-01T00:00:00Z INFO s1 the future")
    process.write(1200)
    with process.running(DAEMON_PARTS_SPEED="1") as child:
        process.wait_until(lambda: process.metric("lines_clock_skew_total") == 1, every_s=0.2)
        process.wait_until(lambda: len(process.alerts()) > 60)
        state = tmp_path / "state" / "checkpoints.json"
        size = process.log.stat().st_size

        def safe():
            (known,) = json.loads(state.read_text())["files"]
            return known["checkpoint"]["safe"]

        process.wait_until(lambda: safe() > size * 2 / 3, every_s=0.2)
        assert requests.get(f"{process.url}/-/healthy", timeout=PATIENCE_S).status_code == 200
        (told,) = [text for text in process.messages_at("warning") if "far ahead" in text]
        assert "app.log" in told
        stop(child)
