"""The webhook, against a real HTTP server on this machine."""

import json
import threading
from contextlib import closing, contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from daemon_parts import explain, score

from logmlm.alerting import Alerting
from logmlm.alerts import make_alert
from logmlm.couriers import Receiver
from logmlm.errors import ConfigError
from logmlm.groups import single
from logmlm.records import Delivery, Notification
from logmlm.sinkconfig import WebhookConfig
from logmlm.sinks.webhook import WebhookSink, payload
from logmlm.state import State

NOW = 1_700_000_000.0


@contextmanager
def served(*answers):
    """A receiver that gives these answers (status, headers), then 200; yields its calls."""
    calls, answers = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append((self.path, dict(self.headers), json.loads(body)))
            status, headers = answers.pop(0) if answers else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def alert(*texts, **changes):
    found = score(*(texts or ("one", "ODD")), **changes)
    labels = {"source": "file", "model": "m"}
    return make_alert(
        found, explain(found), digest="d", labels=labels, origin="o", description="long"
    )


def send(url, **config):
    sink = WebhookSink(WebhookConfig(url=url, **config), clock=lambda: NOW)
    return sink.send(single(alert()))


def test_the_json_is_alertmanagers_version_4():
    with served() as (url, calls):
        assert send(url, name="on-call") == Delivery("accepted")
    ((path, headers, body),) = calls
    made = alert()
    assert path == "/hook"
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "version": "4",
        "groupKey": '{}:{alertname="LogAnomaly", model="m", severity="warning", source="file"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "on-call",
        "groupLabels": made.labels,
        "commonLabels": made.labels,
        "commonAnnotations": made.annotations,
        "externalURL": "",
        "alerts": [
            {
                "status": "firing",
                "labels": made.labels,
                "annotations": made.annotations,
                "startsAt": "1970-01-01T00:16:40Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "",
                "fingerprint": made.fingerprint,
            }
        ],
    }


def test_common_labels_are_those_that_all_alerts_share():
    body = payload(Notification("g", "firing", (alert(), alert(value=1.0))), "r")
    assert body["commonLabels"] == {"alertname": "LogAnomaly", "source": "file", "model": "m"}
    assert body["commonAnnotations"]["lines"] == "  one\n> ODD"
    assert "score" not in body["commonAnnotations"]


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (204, {}, Delivery("accepted")),
        (301, {"Location": "/elsewhere"}, Delivery("refused", "HTTP 301 Moved Permanently")),
        (400, {}, Delivery("refused", "HTTP 400 Bad Request")),
        (404, {"Retry-After": "5"}, Delivery("refused", "HTTP 404 Not Found")),
        (408, {}, Delivery("later", "HTTP 408 Request Timeout")),
        (429, {"Retry-After": "7"}, Delivery("later", "HTTP 429 Too Many Requests", 7.0)),
        (500, {"Retry-After": "soon"}, Delivery("later", "HTTP 500 Internal Server Error")),
        (503, {"Retry-After": "-3"}, Delivery("later", "HTTP 503 Service Unavailable")),
        (
            503,
            {"Retry-After": formatdate(NOW + 60, usegmt=True)},
            Delivery("later", "HTTP 503 Service Unavailable", 60.0),
        ),
        (
            503,
            {"Retry-After": formatdate(NOW - 60, usegmt=True)},
            Delivery("later", "HTTP 503 Service Unavailable"),
        ),
    ],
)
def test_the_status_says_whether_to_try_again(status, headers, expected):
    with served((status, headers)) as (url, calls):
        assert send(url) == expected
    assert len(calls) == 1


def test_a_receiver_out_of_reach_is_tried_later_and_its_address_is_not_told():
    with served() as (url, _):
        pass
    assert send(url + "?token=hunter2") == Delivery("later", "ConnectionError")


def test_a_receiver_that_does_not_answer_is_left_after_the_timeout():
    release = threading.Event()

    class Slow(ThreadingHTTPServer):
        def finish_request(self, *_):
            release.wait(10)

    server = Slow(("127.0.0.1", 0), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert send(url, timeout=0.1) == Delivery("later", "ReadTimeout")
    finally:
        release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_secrets_from_files_are_sent_and_netrc_is_not_asked(tmp_path, monkeypatch):
    token, address, netrc = tmp_path / "token", tmp_path / "url", tmp_path / "netrc"
    token.write_text("hunter2\n")
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with served() as (url, calls):
        address.write_text(url + "\n")
        config = WebhookConfig(url_file=address, bearer_token_file=token, headers={"X-Team": "t"})
        sink = WebhookSink(config, clock=lambda: NOW)
        assert sink.send(single(alert())).outcome == "accepted"
        assert send(url).outcome == "accepted"
        assert send(url.replace("//", "//user:word@")).outcome == "accepted"
    assert calls[0][1]["Authorization"] == "Bearer hunter2"
    assert calls[0][1]["X-Team"] == "t"
    assert "Authorization" not in calls[1][1]
    assert calls[2][1]["Authorization"] == "Basic dXNlcjp3b3Jk"


@pytest.mark.parametrize("content", [b"", b"\xff", b"two\nlines", "ö".encode()])
def test_a_secret_that_can_not_be_sent_is_a_config_error(tmp_path, content):
    path = tmp_path / "secret"
    path.write_bytes(content)
    for config in (
        WebhookConfig(url_file=path),
        WebhookConfig(url="http://h", bearer_token_file=path),
    ):
        with pytest.raises(ConfigError, match="secret of one line"):
            WebhookSink(config, clock=lambda: NOW)


def test_a_secret_file_that_is_not_there_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match=r"can't read .*none: No such file"):
        WebhookSink(WebhookConfig(url_file=tmp_path / "none"), clock=lambda: NOW)


def test_an_address_that_is_none_is_a_config_error_that_does_not_tell_it(tmp_path):
    path = tmp_path / "url"
    path.write_text("hunter2")
    with pytest.raises(ConfigError, match="holds no http address") as caught:
        WebhookSink(WebhookConfig(url_file=path), clock=lambda: NOW)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match="'url' of sink 'webhook' holds no http address"):
        WebhookSink(WebhookConfig(url="http://[x"), clock=lambda: NOW)


def test_a_lost_ca_file_is_tried_later(monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    assert send("https://127.0.0.1:1/").outcome == "later"


def test_two_failures_then_success_deliver_once_and_a_400_is_buried(tmp_path):
    answers = (500, {}), (502, {"Retry-After": "9"}), (400, {}), (200, {})
    with served(*answers) as (url, calls), closing(State(tmp_path / "state.db")) as state:
        sink = WebhookSink(WebhookConfig(url=url), clock=lambda: NOW)
        alerting = Alerting(
            state,
            [Receiver("hook", sink.send)],
            make=lambda found: make_alert(
                found, explain(found), digest="d", labels={}, origin="", description=""
            ),
            random=lambda: 1.0,
        )
        alerting.update([score("ODD 1"), score("ODD 2", first=99)], NOW)
        counts = []
        for seconds in (0.0, 0.9, 1.0, 9.9, 10.0, 11.0):
            alerting.deliver(NOW + seconds)
            counts.append(len(calls))
        (letter,) = state.select("dead")
    assert counts == [1, 1, 2, 2, 4, 4]
    lines = [call[2]["alerts"][0]["annotations"]["lines"] for call in calls]
    assert lines == ["> ODD 1", "> ODD 2", "> ODD 1", "> ODD 2"]
    assert letter["reason"] == "HTTP 400 Bad Request"
