"""The webhook, against a real HTTP server on this machine."""

import hmac
import shutil
import socket
import subprocess
import threading
import time
from contextlib import closing, contextmanager, suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from daemon_parts import explain, score
from http_parts import alert, served

from logmlm.alerting.alert_builder import build_alert
from logmlm.alerting.delivery import Receiver
from logmlm.alerting.dispatcher import AlertDispatcher
from logmlm.alerting.notification import build_single
from logmlm.alerting.sinks.webhook import WebhookSink, payload, signature
from logmlm.alerting.store.database import StateDatabase
from logmlm.config.sinks import WebhookConfig
from logmlm.errors import ConfigError
from logmlm.records import DeliveryResult, Notification

NOW = 1_700_000_000.0


def send(url, **config):
    sink = WebhookSink(WebhookConfig(url=url, **config), clock=lambda: NOW)
    return sink.send(build_single(alert()))


def test_the_json_is_alertmanagers_version_4():
    with served() as (url, calls):
        assert send(url, name="on-call") == DeliveryResult("accepted")
    ((path, headers, body, _),) = calls
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
        (204, {}, DeliveryResult("accepted")),
        (301, {"Location": "/elsewhere"}, DeliveryResult("refused", "HTTP 301 Moved Permanently")),
        (400, {}, DeliveryResult("refused", "HTTP 400 Bad Request")),
        (404, {"Retry-After": "5"}, DeliveryResult("refused", "HTTP 404 Not Found")),
        (408, {}, DeliveryResult("later", "HTTP 408 Request Timeout")),
        (429, {"Retry-After": "7"}, DeliveryResult("later", "HTTP 429 Too Many Requests", 7.0)),
        (500, {"Retry-After": "soon"}, DeliveryResult("later", "HTTP 500 Internal Server Error")),
        (503, {"Retry-After": "-3"}, DeliveryResult("later", "HTTP 503 Service Unavailable")),
        (
            503,
            {"Retry-After": formatdate(NOW + 60, usegmt=True)},
            DeliveryResult("later", "HTTP 503 Service Unavailable", 60.0),
        ),
        (
            503,
            {"Retry-After": formatdate(NOW - 60, usegmt=True)},
            DeliveryResult("later", "HTTP 503 Service Unavailable"),
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
    assert send(url + "?token=hunter2") == DeliveryResult(
        "later", "ConnectionError: Connection refused"
    )
    nowhere = send("http://no.such.host.invalid/?token=hunter2")
    assert nowhere == DeliveryResult("later", "ConnectionError: the host's name is not known")


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
        assert send(url, timeout=0.1) == DeliveryResult("later", "ReadTimeout")
    finally:
        release.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw(*pieces, pause=0.0):
    """A receiver that answers with these bytes; yields its address, and how many it sent."""
    sent = [0]

    def answer(listener):
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    for piece in pieces:
                        connection.sendall(piece)
                        sent[0] += len(piece)
                        time.sleep(pause)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/hunter2", sent
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: %s\r\n"


@pytest.mark.parametrize("place", [b"http://[", b"/\xff\xfe", b"http://h:99999/", b""])
def test_where_a_redirect_leads_is_not_even_looked_at(place):
    with raw(REDIRECT % place + b"Content-Length: 0\r\n\r\n") as (url, _):
        assert send(url) == DeliveryResult("refused", "HTTP 302 Found")


@pytest.mark.parametrize("head", [REDIRECT % b"/x", b"HTTP/1.1 200 OK\r\n"])
def test_the_body_of_an_answer_is_left_where_it_is(head):
    with raw(head + b"\r\n", *[bytes(2**20)] * 64) as (url, sent):
        assert send(url).outcome in ("accepted", "refused")
        time.sleep(0.1)
    assert sent[0] < 32 * 2**20


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"H", b"T"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_an_answer_that_drips_ends_with_the_timeout(first, drop):
    began = time.monotonic()
    with raw(first, *[drop] * 100, pause=0.1) as (url, _):
        assert send(url, timeout=0.5) == DeliveryResult("later", "ReadTimeout")
        assert time.monotonic() - began < 5


def test_no_cookie_is_kept():
    with served((200, {"Set-Cookie": "a=b"})) as (url, calls):
        sink = WebhookSink(WebhookConfig(url=url), clock=lambda: NOW)
        for _ in range(2):
            assert sink.send(build_single(alert())) == DeliveryResult("accepted")
    assert all("Cookie" not in call.headers for call in calls)


def test_secrets_from_files_are_sent_and_netrc_is_not_asked(tmp_path, monkeypatch):
    token, address, netrc = tmp_path / "token", tmp_path / "url", tmp_path / "netrc"
    token.write_text("hunter2\n")
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with served() as (url, calls):
        address.write_text(url + "\n")
        config = WebhookConfig(url_file=address, bearer_token_file=token, headers={"X-Team": "t"})
        sink = WebhookSink(config, clock=lambda: NOW)
        assert sink.send(build_single(alert())).outcome == "accepted"
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


def test_a_key_signs_the_timestamp_and_the_body(tmp_path):
    key = tmp_path / "key"
    key.write_text("hunter2\n")
    with served() as (url, calls):
        assert send(url, hmac_secret_file=key).outcome == "accepted"
    (call,) = calls
    assert call.headers["X-Logmlm-Timestamp"] == str(int(NOW))
    signed = f"{int(NOW)}.".encode() + call.body
    expected = hmac.new(b"hunter2", signed, "sha256").hexdigest()
    assert call.headers["X-Logmlm-Signature"] == f"v1={expected}"


def test_the_signature_is_hmac_sha256():
    """From RFC 4231, test case 2, with the full stop in its place."""
    of_rfc = hmac.new(b"Jefe", b"what do ya want .for nothing?", "sha256").hexdigest()
    assert signature(b"Jefe", "what do ya want ", b"for nothing?") == f"v1={of_rfc}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate of 127.0.0.1 that signs itself, and its key."""
    place = tmp_path_factory.mktemp("tls")
    certificate, key = place / "cert.pem", place / "key.pem"
    words = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost")
    words += ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate)
    subprocess.run(["openssl", "req", *words], check=True, capture_output=True)
    return certificate, key


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl (Debian: openssl)")
def test_tls_trusts_the_given_certificate_alone_and_shows_its_own(certificates, tmp_path):
    certificate, key = certificates
    tls = {"ca_file": certificate, "cert_file": certificate, "key_file": key}
    both = tmp_path / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    with served(certificate=(certificate, key, certificate)) as (url, calls):
        assert send(url, tls=tls).outcome == "accepted"
        assert send(url, tls={"ca_file": certificate, "cert_file": both}).outcome == "accepted"
        assert send(url).outcome == "later"
        assert send(url, tls={"ca_file": certificate}).outcome == "later"
    assert len(calls) == 2


def test_certificates_that_can_not_be_used_are_a_config_error(tmp_path):
    empty = tmp_path / "empty"
    empty.touch()
    for tls in ({"ca_file": tmp_path / "none"}, {"ca_file": empty}, {"cert_file": empty}):
        with pytest.raises(ConfigError, match="'tls' of sink 'webhook' can't be used"):
            send("https://127.0.0.1:1/", tls=tls)
    with pytest.raises(ValueError, match="'key_file' needs a 'cert_file'"):
        send("https://127.0.0.1:1/", tls={"key_file": empty})


def test_two_failures_then_success_deliver_once_and_a_400_is_buried(tmp_path):
    answers = (500, {}), (502, {"Retry-After": "9"}), (400, {}), (200, {})
    with served(*answers) as (url, calls), closing(StateDatabase(tmp_path / "state.db")) as state:
        sink = WebhookSink(WebhookConfig(url=url), clock=lambda: NOW)
        alerting = AlertDispatcher(
            state,
            [Receiver("hook", sink.send)],
            make=lambda found: build_alert(
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
