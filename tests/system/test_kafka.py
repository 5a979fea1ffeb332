"""Who we are and whom we trust: secrets from files, tokens from an endpoint, TLS, true causes."""

import base64
import json
import logging
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs

import pytest
from kafka import KafkaConsumer
from kafka.errors import SaslAuthenticationFailedError

from logmlm.config.kafka import KafkaConnection, KafkaTokenEndpoint
from logmlm.errors import ConfigError, UnreachableError
from logmlm.system.kafka import KafkaLogCapture, client_options, close_with_timeout, connect
from logmlm.system.kafka_tokens import MAX_ANSWER_BYTES, FileTokenProvider, OAuthTokenProvider
from logmlm.system.secret_file import read_secret


def connection(**told):
    return KafkaConnection(**{"bootstrap_servers": "127.0.0.1:9", "connect_timeout": 2.0} | told)


def token(lives=3600):
    """A token that Kafka's unsecured validator takes: for tests alone."""
    now = int(time.time())
    parts = [{"alg": "none"}, {"sub": "alice", "iat": now, "exp": now + lives}]
    coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*coded, b""]).decode()


def topics(broker_address, **told):
    consumer = connect(KafkaConsumer, connection(bootstrap_servers=broker_address, **told))
    try:
        return consumer.topics()
    finally:
        consumer.close()


def test_a_secret_is_a_line_of_text_and_never_stands_in_an_error(tmp_path):
    path = tmp_path / "secret"
    path.write_text("geheim-ä\n")
    assert read_secret("password_file", path, ascii_only=False) == "geheim-ä"
    for bad in (b"", b"two\nlines", b"\xff\xfe", b"tab\there"):
        path.write_bytes(bad)
        with pytest.raises(ConfigError, match="secret of one line") as caught:
            read_secret("password_file", path, ascii_only=False)
        assert "two" not in str(caught.value)
    with pytest.raises(ConfigError, match="'password_file': can't read"):
        read_secret("password_file", tmp_path / "none")


def test_a_token_file_is_read_anew_for_each_connection(tmp_path):
    path = tmp_path / "token"
    path.write_text("first")
    tokens = FileTokenProvider(path)
    assert tokens.token() == "first"
    path.write_text("second")
    assert tokens.token() == "second"
    path.unlink()
    with pytest.raises(SaslAuthenticationFailedError, match="can't read"):
        tokens.token()


class TokenServer(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append((self.headers["Authorization"], parse_qs(body)))
        status, answer = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def serving(answer, status=200):
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenServer)
    server.asked, server.answer = [], (status, answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def endpoint(server, tmp_path, **told):
    secret = tmp_path / "client-secret"
    secret.write_text("s3cr3t")
    url = f"http://127.0.0.1:{server.server_port}/token"
    return KafkaTokenEndpoint(url=url, client_id="me", client_secret_file=secret, **told)


def test_a_token_is_asked_for_with_the_clients_credentials_and_used_until_it_ends(tmp_path):
    now = [0.0]
    with serving(json.dumps({"access_token": "t1", "expires_in": 300})) as server:
        tokens = OAuthTokenProvider(endpoint(server, tmp_path, scope="logs"), clock=lambda: now[0])
        assert (tokens.token(), tokens.token()) == ("t1", "t1")
        now[0] = 241.0
        tokens.token()
    assert len(server.asked) == 2
    authorization, form = server.asked[0]
    assert base64.b64decode(authorization.removeprefix("Basic ")) == b"me:s3cr3t"
    assert form == {"grant_type": ["client_credentials"], "scope": ["logs"]}


@pytest.mark.parametrize(
    ("status", "answer"),
    [(401, "no"), (200, "no json"), (200, "{}"), (200, "[]"), (302, "{}")],
)
def test_an_endpoint_that_gives_no_token_is_named_without_secrets(tmp_path, status, answer):
    with serving(answer, status) as server:
        tokens = OAuthTokenProvider(endpoint(server, tmp_path))
        with pytest.raises(SaslAuthenticationFailedError, match="no token from http://127") as bad:
            tokens.token()
    assert "s3cr3t" not in str(bad.value)


@pytest.mark.parametrize("answer", ["[" * 100_000, f'"{"x" * 2 * MAX_ANSWER_BYTES}"'])
def test_an_endpoint_that_answers_without_end_or_sense_is_left(tmp_path, answer):
    with serving(answer) as server:
        tokens = OAuthTokenProvider(endpoint(server, tmp_path))
        with pytest.raises(SaslAuthenticationFailedError, match="no token from http://127"):
            tokens.token()


def test_an_endpoint_that_drips_is_left_after_the_timeout(tmp_path):
    def drip(listener):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        server = SimpleNamespace(server_port=listener.getsockname()[1])
        tokens = OAuthTokenProvider(endpoint(server, tmp_path, timeout="500ms"))
        began = time.monotonic()
        with pytest.raises(SaslAuthenticationFailedError, match="TimeoutError"):
            tokens.token()
        assert time.monotonic() - began < 5
        thread.join()


def test_bearers_of_tokens_are_let_in(broker, tmp_path):
    path = tmp_path / "token"
    path.write_text(token())
    sasl = {"mechanism": "OAUTHBEARER", "token_file": path}
    assert isinstance(topics(broker.sasl_address, sasl=sasl), set)
    with serving(json.dumps({"access_token": token(), "expires_in": 3600})) as server:
        told = endpoint(server, tmp_path).model_dump()
        sasl = {"mechanism": "OAUTHBEARER", "token_endpoint": told}
        assert isinstance(topics(broker.sasl_address, sasl=sasl), set)


def test_a_token_that_has_ended_is_refused_and_said(broker, tmp_path):
    path = tmp_path / "token"
    path.write_text(token(lives=-10))
    with pytest.raises(UnreachableError, match="check 'sasl'"):
        topics(broker.sasl_address, sasl={"mechanism": "OAUTHBEARER", "token_file": path})


def test_tls_with_a_certificate_of_our_own_is_let_in(broker):
    tls = {
        "ca_file": broker.certificate,
        "cert_file": broker.certificate,
        "key_file": broker.key,
    }
    assert isinstance(topics(broker.tls_address, tls=tls), set)


def test_an_authority_that_we_do_not_trust_is_said(broker):
    with pytest.raises(UnreachableError, match="its certificate is not trusted"):
        topics(broker.tls_address, tls={})


def test_a_broker_that_wants_a_certificate_gets_none_and_that_is_said(broker):
    with pytest.raises(UnreachableError, match="refuses our certificate"):
        topics(broker.tls_address, tls={"ca_file": broker.certificate})


def test_certificates_that_can_not_be_used_stop_the_start(tmp_path):
    wrong = tmp_path / "cert.pem"
    wrong.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"can't use 'tls' of Kafka with .*cert\.pem"):
        client_options(connection(tls={"cert_file": wrong, "key_file": wrong}))
    with pytest.raises(ConfigError, match=r"can't use 'tls' of Kafka with .*none\.pem"):
        client_options(connection(tls={"ca_file": tmp_path / "none.pem"}))
    told = {"cert_file": wrong, "key_file": wrong, "key_password_file": tmp_path / "none"}
    with pytest.raises(ConfigError, match="can't read"):
        client_options(connection(tls=told))


def test_the_host_of_a_certificate_is_checked_unless_told():
    assert client_options(connection(tls={}))["ssl_context"].check_hostname
    lax = client_options(connection(tls={"check_hostname": False}))
    assert not lax["ssl_context"].check_hostname


def test_an_unknown_mechanism_and_host_are_said():
    with pytest.raises(UnreachableError, match="there is no host of that name"):
        topics("no-such-host.invalid:9092", connect_timeout=0.5)


def test_the_most_telling_cause_wins_and_none_is_silence():
    library = KafkaLogCapture()
    assert library.cause() == "no answer in time"
    for text in (
        "Bootstrap connection to x failed: KafkaConnectionError: socket disconnected (backoff 1)",
        "Bootstrap connection to x failed: SaslAuthenticationFailedError: bad (backoff 0.1 secs)",
        "something else",
    ):
        library.emit(logging.makeLogRecord({"msg": text}))
    assert library.cause() == (
        "it refuses our credentials; check 'sasl' (SaslAuthenticationFailedError: bad)"
    )
    library.reset()
    library.emit(logging.makeLogRecord({"msg": "socket disconnected"}))
    assert library.cause().startswith("it ends the connection; does it want 'tls' or 'sasl'?")
    assert library.cause(with_sasl=True).startswith("it ends the connection as we log in")
    library.reset()
    assert library.cause() == "no answer in time"


def test_the_library_is_listened_to_once_and_shows_nothing_below_warnings():
    assert KafkaLogCapture.install() is KafkaLogCapture.install()
    assert not logging.getLogger("kafka.net").isEnabledFor(logging.DEBUG)


def test_a_client_that_does_not_close_is_not_waited_for(caplog):
    caplog.set_level(logging.INFO)
    done = threading.Event()
    started = time.monotonic()
    close_with_timeout(lambda: done.wait(20), 0.05)
    assert time.monotonic() - started < 5
    done.set()

    def fail():
        raise SaslAuthenticationFailedError("x")

    close_with_timeout(fail, 5.0)
    assert "was not closed in good order (SaslAuthenticationFailedError)" in caplog.text
