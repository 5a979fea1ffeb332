"""Alerts on a stream: JSON for programs, text for people, colour on a terminal only."""

import io
import json

import pytest
from daemon_parts import explain, score

from logmlm.alerting.alert_builder import build_alert
from logmlm.alerting.notification import build_single
from logmlm.alerting.sinks.stdout import StdoutSink
from logmlm.config.sinks import StdoutConfig
from logmlm.detection.explanation import format_explanation
from logmlm.errors import StorageError
from logmlm.records import DeliveryResult
from logmlm.system.text import format_rfc3339


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def alert():
    found = score("one", "ODD two", "three")
    return build_alert(
        found,
        explain(found),
        digest="d",
        labels={"source": "file", "model": "m"},
        origin="/var/log/a.log",
        description=format_explanation(found, explain(found)),
    )


def sent(alert, style, out):
    sink = StdoutSink(StdoutConfig(format=style), out)
    assert sink.name == "stdout"
    assert sink.send(build_single(alert)) == DeliveryResult("accepted")
    return out.getvalue()


def test_json_is_one_object_a_line(alert):
    text = sent(alert, "json", io.StringIO())
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert json.loads(text) == {
        "id": alert.id,
        "fingerprint": alert.fingerprint,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "starts_at": "1970-01-01T00:16:40Z",
        "ends_at": None,
    }


def test_text_shows_the_lines_the_odd_one_and_what_was_expected(alert):
    text = sent(alert, "text", io.StringIO())
    head, labels, origin, key, *lines = text.splitlines()
    assert head == "1970-01-01T00:16:40Z  WARNING  1 of 3 log lines are unusual: ODD two"
    assert labels == "  source=file  model=m"
    assert (origin, key) == ("  origin: /var/log/a.log", "  key: k")
    assert [line for line in lines if line.startswith("  >")] == ["  >      2    1.00  ODD two"]
    assert "expected  75.0%  usual <NUM>" in text
    assert text.endswith("\n\n")
    assert "\x1b" not in text


def test_a_terminal_gets_colour_for_the_head_and_the_odd_line(alert):
    text = sent(alert, "text", Terminal())
    assert text.startswith("\x1b[33;1m1970")
    assert "  \x1b[1m>      2    1.00  ODD two\x1b[0m\n" in text
    assert "\x1b" not in sent(alert, "json", Terminal())


def test_a_stream_that_is_gone_is_a_storage_error(alert):
    class Gone(io.StringIO):
        def flush(self):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(StorageError, match="can't write to standard output: Broken pipe"):
        sent(alert, "json", Gone())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (1700000000.25, "2023-11-14T22:13:20.250000Z"),
        (-5.0, "1970-01-01T00:00:00Z"),
        (1e300, "9999-12-31T23:59:59Z"),
    ],
)
def test_times_are_rfc_3339_whatever_a_log_claims(seconds, text):
    assert format_rfc3339(seconds) == text
