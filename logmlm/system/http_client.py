"""HTTP to others, in bounded time and memory, whatever they answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse


class BoundedSession(requests.Session):
    """Follows no redirect and keeps no cookie; a header that drips ends with the time-out.

    `requests` reads a redirect's address and all of its body even where it is told not to
    follow; here neither is looked at. Post with `stream=True`, or the body is read whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that there is none."""


def read_bounded(response: requests.Response, most_bytes: int, timeout_s: float) -> bytes:
    """Read the body of a streamed answer that was asked to be `identity`.

    Raises:
        ValueError: it is longer than `most_bytes`.
        OSError: it did not come, or not within `timeout_s` seconds.

    """
    try:
        with _deadline(timeout_s, response.raw.shutdown):
            body: bytes = response.raw.read(most_bytes + 1, decode_content=False)
    except HTTPError as error:
        raise requests.ConnectionError("the answer's body broke off") from error
    if len(body) > most_bytes:
        raise ValueError(f"the answer is longer than {most_bytes} bytes")
    return body


class _HttpConnection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        with _header_in_time(self):
            return super().getresponse()


class _HttpsConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        with _header_in_time(self):
            return super().getresponse()


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _use_our_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if isinstance(manager, ProxyManager):  # one for SOCKS has pools of its own
            _use_our_pools(manager)
        return manager


def _use_our_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


@contextmanager
def _header_in_time(connection: HTTPConnection) -> Iterator[None]:
    """The time-out of a socket is that of each read, so a byte now and then would never end."""
    timeout = connection.timeout
    if not isinstance(timeout, int | float):
        yield
        return
    # An SSL socket's own method would also drop its state, which the other thread reads by.
    with _deadline(timeout, partial(socket.socket.shutdown, connection.sock, socket.SHUT_RDWR)):
        yield


@contextmanager
def _deadline(seconds: float, cut: Callable[[], object]) -> Iterator[None]:
    """Call `cut` from another thread if this takes longer; a TimeoutError, whatever that led to."""
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(Exception):  # it is gone already
            cut()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError("the answer took too long")
