"""The daemon's HTTP endpoint: metrics, health, readiness; reload and silences with a token.

GET  /metrics     Prometheus's text format
GET  /-/healthy   200 while the loop goes round, else 503
GET  /-/ready     200 while a model is loaded and the sources are open, else 503
POST /-/reload    200 after a reload, 400 where the new configuration is refused, 401
                  without the right token, 403 where no token is configured
/api/v2/silence…  as `logmlm.daemon.silences_api` says, with the token too

What one client of the HTTP endpoint, and all together, may take.
"""

from __future__ import annotations

import errno
import hmac
import io
import json
import logging
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, Protocol

from logmlm.config.server import ServerAddress
from logmlm.errors import ConfigError, UnreachableError

logger = logging.getLogger(__name__)
SILENCES = "/api/v2/silence"
THERE_IS = f"there is /metrics, /-/healthy, /-/ready, /-/reload, {SILENCES}s\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on requests.

    So many connections are open at once as `requests` and `probes` say together. All but `probes`
    of them may be requests that are being answered; a probe of health or readiness always finds a
    place, because the oldest connection that has not sent its request yet makes room for a new one.
    No connection lives longer than `connection_s`, however slowly it is fed; a reload has its
    time in it. A client that says nothing for `silence_s` is cut.
    """

    request_bytes: int = 16 * 1024
    requests: int = 8
    probes: int = 2
    connection_s: float = 60.0
    silence_s: float = 5.0


USUAL = Limits()


class LimitedReader(io.RawIOBase):
    """A connection that ends after so many bytes; `left` says how many may still come."""

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self.left = limit
        self._connection = connection

    def readable(self) -> bool:
        """True: that is what it is for."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, at least a byte, and no more than is left."""
        read = self._connection.recv_into(buffer, min(len(buffer), self.left)) if self.left else 0
        self.left -= read
        return read


class DaemonHandle(Protocol):
    """The daemon, as it is asked from outside, by other threads than its own."""

    def metrics(self) -> tuple[bytes, str]:
        """All metrics as text, and the text's content type."""
        ...

    def is_healthy(self) -> bool:
        """Whether the loop went round lately."""
        ...

    def is_ready(self) -> bool:
        """Whether the model is loaded and the sources are open."""
        ...

    def reload(self) -> str:
        """Ask for a reload and wait for its end: empty if it took effect, else why not."""
        ...

    def silences(self, method: str, target: str, body: bytes) -> tuple[HTTPStatus, Any]:
        """Answer a request about silences: a status, and what is sent as JSON."""
        ...


@dataclass(frozen=True, slots=True)
class _Response:
    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


class HttpServer:
    """Serves in a thread of its own, from its making until `close`; bounded in every way."""

    def __init__(
        self,
        address: ServerAddress,
        subject: DaemonHandle,
        token: str | None,
        limits: Limits = USUAL,
    ) -> None:
        """Begin to listen.

        Raises:
            UnreachableError: another program listens there.
            ConfigError: this machine has no such address, or this user may not listen there.

        """
        try:
            self._server = _Server(address, subject, token, limits)
        except OSError as error:
            raise _refusal(address, error) from error
        self.address = ServerAddress(address.host, self._server.server_address[1])
        """Where it listens, with the port that was chosen."""
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and cut what connections there are."""
        self._server.shutdown()
        self._server.server_close()
        self._server.close_old(older_than_s=0.0)
        self._thread.join()


def _refusal(address: ServerAddress, error: OSError) -> UnreachableError | ConfigError:
    if error.errno == errno.EADDRINUSE:
        return UnreachableError(
            f"another program listens on {address} already; stop it, or give 'http.listen'"
            " another port"
        )
    return ConfigError(f"can't listen on {address} ('http.listen'): {error.strerror or error}")


class _Server(ThreadingMixIn, HTTPServer):
    """Threads for a few connections at once.

    Where no place is left, the oldest connection whose request is not whole yet is cut: clients
    that drip their requests (slow-loris) give way to those that come. Requests that are being
    answered stay, and leave places for the probes of health and readiness; see `Limits`.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True  # on Linux: after a restart, never beside another listener
    request_queue_size = 16

    def __init__(
        self, address: ServerAddress, subject: DaemonHandle, token: str | None, limits: Limits
    ) -> None:
        self.limits = limits
        self.subject = subject
        self.token = token
        self._open: dict[socket.socket, float] = {}
        """When each connection was opened, the oldest first."""
        self._answering: set[socket.socket] = set()
        """Connections whose request is whole, those of probes left out."""
        self._lock = threading.Lock()
        self.address_family = _family(address)
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's own, which asks the DNS for this machine's name.
        super(HTTPServer, self).server_bind()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002  socketserver's signature
        with self._lock:
            if len(self._open) >= self.limits.requests + self.limits.probes:
                waiting = next((each for each in self._open if each not in self._answering), None)
                if waiting is None:
                    return False
                _cut(waiting)  # its thread reads no more, and ends
                del self._open[waiting]
            self._open[request] = time.monotonic()
        return True

    def begins(self, request: socket.socket) -> bool:
        """Take note that a request that is no probe is whole; False where there are too many."""
        with self._lock:
            if len(self._answering) >= self.limits.requests or request not in self._open:
                return False
            self._answering.add(request)
        return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
            self._answering.discard(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self.close_old(older_than_s=self.limits.connection_s)

    def close_old(self, older_than_s: float) -> None:
        """Shut connections down that were opened so long ago; their threads then end."""
        now = time.monotonic()
        with self._lock:
            for request, opened_at in self._open.items():
                if now - opened_at >= older_than_s:
                    _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  socketserver's signature
        logger.debug("a request ended badly", exc_info=True)


def _cut(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _family(address: ServerAddress) -> socket.AddressFamily:
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    return found[0][0]


class _Handler(BaseHTTPRequestHandler):
    """Answers one request, and closes the connection (HTTP/1.0)."""

    error_content_type = "text/plain; charset=utf-8"
    error_message_format = "%(code)d %(message)s\n"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.limits.silence_s)
        self._limited = LimitedReader(self.connection, self.server.limits.request_bytes)
        self.rfile = io.BufferedReader(self._limited)

    def do_GET(self) -> None:
        self._answer(self._silences() if self.path.startswith(SILENCES) else self._get())

    def do_DELETE(self) -> None:
        self._answer(self._silences())

    def do_HEAD(self) -> None:
        self._answer(self._get())

    def do_POST(self) -> None:
        if self.path == "/-/reload":
            self._body()
            self._answer(self._begun() or self._refusal() or self._reload())
        else:
            self._answer(self._silences())

    def version_string(self) -> str:
        return "logmlm"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  http.server's signature
        logger.debug("%s: " + format.replace("%s", "%r"), self.client_address[0], *args)

    def _get(self) -> _Response:
        subject = self.server.subject
        if self.path == "/metrics":
            return self._begun() or self._metrics()
        if self.path == "/-/healthy":
            return _state(subject.is_healthy(), "healthy", "the loop does not go round")
        if self.path == "/-/ready":
            return _state(subject.is_ready(), "ready", "not ready yet")
        return _not_found(self.path)

    def _metrics(self) -> _Response:
        body, content_type = self.server.subject.metrics()
        return _Response(HTTPStatus.OK, body, content_type)

    def _begun(self) -> _Response | None:
        """Take one of the places for requests that are no probes; the answer where none is left."""
        if self.server.begins(self.connection):
            return None
        text = b"too many requests at once; try again\n"
        return _Response(HTTPStatus.SERVICE_UNAVAILABLE, text, headers={"Retry-After": "1"})

    def _silences(self) -> _Response:
        body = self._body()
        if not self.path.startswith(SILENCES):
            return _not_found(self.path)
        return self._begun() or self._refusal() or self._about_silences(body)

    def _about_silences(self, body: bytes) -> _Response:
        if not self.server.subject.is_ready():
            return _state(False, "", "not ready yet")
        status, found = self.server.subject.silences(self.command, self.path, body)
        return _Response(status, json.dumps(found).encode(), "application/json")

    def _body(self) -> bytes:
        """Read what was sent along: an answer may not arrive where something is left unread."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            return b""
        return self.rfile.read(min(int(length), self._limited.left))

    def _refusal(self) -> _Response | None:
        if self.server.token is None:
            text = "this needs 'http.token_file' in the configuration\n"
            return _Response(HTTPStatus.FORBIDDEN, text.encode())
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self.server.token.encode())
        if right and scheme.lower() == "bearer":
            return None
        return _Response(
            HTTPStatus.UNAUTHORIZED,
            b"a bearer token is needed\n",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _reload(self) -> _Response:
        complaint = self.server.subject.reload()
        if complaint:
            return _Response(HTTPStatus.BAD_REQUEST, f"{complaint}\n".encode())
        return _Response(HTTPStatus.OK, b"reloaded\n")

    def _answer(self, answer: _Response) -> None:
        if self._limited.left <= 0:
            answer = _Response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"too long a request\n")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)


def _state(good: bool, yes: str, no: str) -> _Response:
    if good:
        return _Response(HTTPStatus.OK, f"{yes}\n".encode())
    return _Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{no}\n".encode())


def _not_found(path: str) -> _Response:
    known = {"/metrics", "/-/healthy", "/-/ready", "/-/reload"}
    if path in known:
        return _Response(HTTPStatus.METHOD_NOT_ALLOWED, b"another method is needed\n")
    return _Response(HTTPStatus.NOT_FOUND, THERE_IS.encode())
