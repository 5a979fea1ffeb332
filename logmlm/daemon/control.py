"""The daemon as it is seen from outside: by systemd, by Prometheus, by who asks over HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Protocol

from logmlm.config.server import ServerAddress, ServerConfig
from logmlm.daemon.http_server import HttpServer
from logmlm.daemon.metrics import CONTENT_TYPE, DaemonMetrics
from logmlm.daemon.silences_api import Reply, SilencesApi
from logmlm.daemon.systemd import SystemdNotifier
from logmlm.system.secret_file import read_secret

HEALTHY_WITHIN_S = 60.0
"""A loop that did not go round for so long is not healthy."""
SAMPLE_EVERY_S = 1.0
RELOAD_TIMEOUT_S = 30.0

logger = logging.getLogger(__name__)


class ReloadRequests(Protocol):
    """Wishes for a reload."""

    def request_reload(self) -> None:
        """Wish for one, and wake the loop; any thread may call this."""
        ...

    def consume_reload(self) -> bool:
        """Whether one was wished for since this was asked last."""
        ...


class ControlPlane:
    """Holds the endpoint open while it is entered, and tells the service manager.

    Its `is_healthy`, `is_ready`, `metrics`, `reload` and `silences` may be called by any thread.
    `monotonic` tells seconds that are never set back; `wishes` are those for a reload, by signal
    or HTTP.
    """

    def __init__(
        self,
        config: ServerConfig,
        environment: Mapping[str, str],
        metrics: DaemonMetrics,
        *,
        wishes: ReloadRequests,
        silences: SilencesApi | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.measured = metrics
        self.service = SystemdNotifier(environment, monotonic)
        self._config = config
        self._requests = wishes
        self._silences = silences
        self._monotonic = monotonic
        self._heartbeat_at = monotonic()
        self._sampled_at = -float("inf")
        self._ready = False
        self._asked: list[_Request] = []
        self._lock = threading.Lock()
        self._server: HttpServer | None = None

    def __enter__(self) -> ControlPlane:
        """Begin to listen, if the configuration names an address.

        Raises:
            UnreachableError: another program listens there.
            ConfigError: it can't be listened there, or the token's file can't be used.

        """
        token = self._config.token_file
        secret = None if token is None else read_secret("token_file", token)
        if self._config.listen is not None:
            self._server = HttpServer(self._config.listen, self, secret)
            logger.info("metrics are on http://%s/metrics", self._server.address)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._answer("the daemon stops")
        if self._server is not None:
            self._server.close()

    @property
    def address(self) -> ServerAddress | None:
        """Where it listens; None if it does not."""
        return None if self._server is None else self._server.address

    def started(self) -> None:
        """Say that the model is loaded and the sources are open."""
        self._ready = True
        self._heartbeat_at = self._monotonic()
        self.measured.reloaded(True)
        self.service.ready("at work")

    def stopping(self) -> None:
        """Say that the end begins."""
        self._ready = False
        self.service.stopping()

    def heartbeat(self, look: Callable[[], None]) -> None:
        """Say that the loop went round; `look` brings samples up to date, now and then."""
        self._heartbeat_at = now = self._monotonic()
        if now - self._sampled_at >= SAMPLE_EVERY_S:
            self._sampled_at = now
            look()
        self.service.heartbeat(self.measured.summary)

    def is_healthy(self) -> bool:
        """Whether the loop went round within `HEALTHY_WITHIN_S`, or is about to start."""
        return self._monotonic() - self._heartbeat_at < HEALTHY_WITHIN_S

    def is_ready(self) -> bool:
        """Whether the model is loaded and the sources are open."""
        return self._ready

    def metrics(self) -> tuple[bytes, str]:
        """All metrics as text, and the text's content type."""
        return self.measured.exposition(), CONTENT_TYPE

    def reload(self, timeout_s: float = RELOAD_TIMEOUT_S) -> str:
        """Wish for a reload and wait for its end: empty if it took effect, else why not."""
        request = _Request()
        with self._lock:
            self._asked.append(request)
        self._requests.request_reload()
        if not request.done.wait(timeout_s):
            return f"the daemon is busy; the reload was not done within {timeout_s:.0f} s"
        return request.error

    def silences(self, method: str, target: str, body: bytes) -> Reply:
        """Answer a request about silences."""
        if self._silences is None:
            return HTTPStatus.NOT_FOUND, "no silences are kept here"
        return self._silences.answer(method, target, body)

    def takes_reload(self) -> bool:
        """Whether somebody wished for a reload since this was asked last."""
        return self._requests.consume_reload()

    def reloading(self) -> None:
        """Say that a reload begins; `reloaded` ends it."""
        self.service.reloading()

    def reloaded(self, error: str) -> None:
        """Say how a reload went: `error` is empty if it took effect."""
        self.measured.reloaded(not error)
        self.service.ready("the last reload was refused; see the log" if error else "at work")
        self._answer(error)

    def _answer(self, error: str) -> None:
        with self._lock:
            asked, self._asked = self._asked, []
        for request in asked:
            request.error = error
            request.done.set()


class _Request:
    def __init__(self) -> None:
        self.done = threading.Event()
        self.error = ""
