"""The endpoint answers what it should, to whom it should, and can't be held up or misused."""

import re
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
from http_server_parts import LOCAL, TOKEN, Daemon

from logmlm.config.server import ServerAddress
from logmlm.daemon.http_server import HttpServer, Limits
from logmlm.errors import ConfigError, UnreachableError


@pytest.fixture
def daemon():
    return Daemon()


@contextmanager
def served(daemon, token=TOKEN, address=LOCAL, **limits):
    server = HttpServer(address, daemon, token, Limits(**limits))
    try:
        yield f"http://{server.address}"
    finally:
        server.close()


@pytest.fixture
def url(daemon):
    with served(daemon) as url:
        yield url


def ask(url, path, method="GET", **words):
    return requests.request(method, url + path, timeout=10, **words)


def authorized(token=TOKEN):
    return {"Authorization": f"Bearer {token}"}


def raw(url, request, timeout=10):
    """Send bytes as they are; the answer as it comes, empty where the connection is cut."""
    host, port = url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout) as connection:
        answer = b""
        with suppress(ConnectionError):
            connection.sendall(request)
            while piece := connection.recv(4096):
                answer += piece
        return answer


def test_metrics_health_and_readiness_are_answered(url, daemon):
    metrics = ask(url, "/metrics")
    assert (metrics.status_code, metrics.text) == (200, "m 1\n")
    assert metrics.headers["Content-Type"] == "text/plain; version=0.0.4"
    assert ask(url, "/-/healthy").status_code == 200
    daemon.healthy = False
    assert ask(url, "/-/healthy").status_code == 503
    assert (ask(url, "/-/ready").status_code, ask(url, "/-/ready").text) == (200, "ready\n")
    daemon.ready = False
    assert ask(url, "/-/ready").status_code == 503


@pytest.mark.parametrize(
    "path", ["/", "/etc/passwd", "/../../etc/passwd", "/metrics/", "/-/", "//"]
)
def test_there_is_nothing_else_and_no_directory_of_anything(url, path):
    answer = raw(url, f"GET {path} HTTP/1.0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 404 ")
    assert b"root:" not in answer


def test_other_methods_are_not_allowed(url, daemon):
    assert ask(url, "/-/reload").status_code == 405
    assert ask(url, "/metrics", "POST").status_code == 405
    assert ask(url, "/metrics", "DELETE").status_code == 405
    assert ask(url, "/metrics", "PUT").status_code == 501
    head = ask(url, "/metrics", "HEAD")
    assert (head.status_code, head.text, head.headers["Content-Length"]) == (200, "", "4")
    assert daemon.reloads == 0


def test_no_answer_says_what_it_runs_on(url):
    assert ask(url, "/metrics").headers["Server"] == "logmlm"
    assert b"Python" not in raw(url, b"NONSENSE\r\n\r\n")


def test_a_reload_with_the_token_takes_place_and_says_how_it_went(url, daemon):
    assert ask(url, "/-/reload", "POST", headers=authorized()).status_code == 200
    daemon.complaint = "c.yaml:3: unknown key"
    refused = ask(url, "/-/reload", "POST", headers=authorized(), data=b"x" * 1000)
    assert (refused.status_code, refused.text) == (400, "c.yaml:3: unknown key\n")
    assert daemon.reloads == 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        authorized("hunter3"),
        authorized(""),
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer h\xfcnter2"},
    ],
)
def test_a_reload_without_the_token_is_refused(url, daemon, headers):
    answer = ask(url, "/-/reload", "POST", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in answer.text
    assert daemon.reloads == 0


def test_where_no_token_is_configured_nobody_reloads(daemon):
    with served(daemon, token=None) as url:
        for headers in ({}, authorized(), authorized("None"), authorized("")):
            answer = ask(url, "/-/reload", "POST", headers=headers)
            assert answer.status_code == 403
    assert daemon.reloads == 0


def test_a_request_is_bounded(url):
    long = b"GET /metrics HTTP/1.0\r\nX: " + b"x" * (2 * Limits().request_bytes)
    assert b"200 OK" not in raw(url, long)
    assert ask(url, "/metrics").status_code == 200


def test_a_client_that_says_nothing_is_cut(daemon):
    with served(daemon, silence_s=0.1) as url:
        assert raw(url, b"GET /met") == b""


def drip(url, seconds):
    """Send a byte now and then, until the connection is cut."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            connection.sendall(b"x")
            time.sleep(0.02)


def test_a_client_that_drips_is_cut_in_the_end(daemon):
    with served(daemon, connection_s=0.3) as url, pytest.raises(ConnectionError):
        drip(url, 10)


def test_only_so_many_are_answered_at_once_and_the_next_ones_later(daemon):
    daemon.answered.clear()
    with served(daemon, requests=3, probes=0) as url:
        askers = [threading.Thread(target=ask, args=(url, "/metrics")) for _ in range(3)]
        for asker in askers:
            asker.start()
        deadline = time.monotonic() + 10
        while daemon.asking < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert raw(url, b"GET /-/ready HTTP/1.0\r\n\r\n") == b""
        daemon.answered.set()
        for asker in askers:
            asker.join()
        while not raw(url, b"GET /-/ready HTTP/1.0\r\n\r\n"):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_probes_are_answered_while_all_other_places_are_taken(daemon):
    daemon.answered.clear()
    with served(daemon, requests=3, probes=2) as url:
        askers = [threading.Thread(target=ask, args=(url, "/metrics")) for _ in range(3)]
        for asker in askers:
            asker.start()
        deadline = time.monotonic() + 60
        while daemon.asking < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for _ in range(5):
            assert ask(url, "/-/healthy").status_code == 200
            assert ask(url, "/-/ready").status_code == 200
            busy = ask(url, "/metrics")
            assert (busy.status_code, busy.headers["Retry-After"]) == (503, "1")
            assert ask(url, "/-/reload", "POST", headers=authorized()).status_code == 503
        daemon.answered.set()
        for asker in askers:
            asker.join()
        while ask(url, "/metrics").status_code != 200:
            assert time.monotonic() < deadline
    assert daemon.reloads == 0


class Drips(threading.Thread):
    """A slow-loris: so many connections, each fed a byte now and then, opened again when cut."""

    def __init__(self, url, count):
        super().__init__(daemon=True)
        host, port = url.removeprefix("http://").split(":")
        self.place = (host, int(port))
        self.count = count
        self.rounds = 0
        self.ended = threading.Event()

    def run(self):
        connections = [self.opened() for _ in range(self.count)]
        while not self.ended.wait(0.05):
            for number, connection in enumerate(connections):
                try:
                    connection.sendall(b"X")
                except OSError:
                    connection.close()
                    connections[number] = self.opened()
            self.rounds += 1
        for connection in connections:
            connection.close()

    def opened(self):
        connection = socket.create_connection(self.place, 10)
        with suppress(OSError):
            connection.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
        return connection


def test_sixty_dripping_connections_keep_no_probe_from_its_answer(url):
    drips = Drips(url, 60)
    drips.start()
    deadline = time.monotonic() + 60
    answered = 0
    while answered < 10:
        assert time.monotonic() < deadline, "the probes are kept from their answers"
        if drips.rounds < 2:
            time.sleep(0.01)
            continue
        with suppress(requests.ConnectionError):  # as a prober does, it asks again
            answered += ask(url, "/-/healthy").status_code == 200
    drips.ended.set()
    drips.join()


def test_what_goes_wrong_in_an_answer_ends_that_answer_alone(url, daemon, caplog):
    daemon.is_ready = lambda: 1 / 0
    assert raw(url, b"GET /-/ready HTTP/1.0\r\n\r\n") == b""
    assert ask(url, "/-/healthy").status_code == 200
    assert "ZeroDivisionError" not in caplog.text


def test_a_taken_port_and_an_address_of_others_are_told(daemon):
    with served(daemon) as url:
        taken = ServerAddress("127.0.0.1", int(url.rsplit(":", 1)[1]))
        with pytest.raises(UnreachableError, match=rf"listens on {taken} already") as caught:
            HttpServer(taken, daemon, None)
        assert caught.value.exit_code == 69
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(ConfigError, match=f"can't listen on {host}:0"):
            HttpServer(ServerAddress(host, 0), daemon, None)


def listening(inodes):
    """Local addresses that this process listens on."""
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


def test_nothing_listens_beyond_this_machine_unless_told(daemon):
    def inodes():
        links = []
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                links.append(str(link.readlink()))
        return {inode for link in links for inode in re.findall(r"socket:\[(\d+)\]", link)}

    before = inodes()
    with served(daemon):
        assert listening(inodes() - before) == {"0100007F"}
    with served(daemon, address=ServerAddress("0.0.0.0", 0)):  # noqa: S104  what is tested
        assert listening(inodes() - before) == {"00000000"}


def test_it_serves_on_ipv6_too(daemon):
    with served(daemon, address=ServerAddress("::1", 0)) as url:
        assert url.startswith("http://[::1]:")
        assert ask(url, "/-/ready").status_code == 200
