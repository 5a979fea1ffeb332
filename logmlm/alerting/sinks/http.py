"""HTTP POST to a receiver: authentication, TLS, and the meaning of a status."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import cast

import requests
from pydantic import SecretStr
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url

from logmlm.config.sinks import HttpConfig, TlsConfig, check_url
from logmlm.errors import ConfigError
from logmlm.records import DeliveryResult
from logmlm.system.http_client import BoundedSession
from logmlm.system.secret_file import read_secret

_MOST_CAUSES = 50
_RETRIED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
Signer = Callable[[bytes], Mapping[str, str]]
"""Returns headers for a body."""


class HttpPoster:
    """Posts JSON; redirects are not followed, and answers not read.

    2xx is accepted. 408, 429, 5xx and transport errors are to be tried again, not before what
    Retry-After says (RFC 9110, 10.2.3). Everything else is refused for good.
    """

    def __init__(
        self,
        config: HttpConfig,
        *,
        clock: Callable[[], float],
        path: str = "",
        sign: Signer | None = None,
    ) -> None:
        """Read the secrets' files; `path` is added to the address.

        Raises:
            ConfigError: a file can't be read, or holds nothing that can be used.

        """
        self._clock = clock
        self._timeout = config.timeout
        self._url = _url(config, path)
        self._headers = _headers(config)
        self._sign = sign
        self._session = BoundedSession()
        self._verify, self._session.cert = _certificates(config)

    def post(self, body: bytes) -> DeliveryResult:
        """Post once; never longer than the connection's and the answer's timeout together.

        An answer that can't be understood counts as none.
        """
        signed = self._sign(body) if self._sign else {}
        try:
            response = self._session.post(
                self._url,
                data=body,
                headers={"Content-Type": "application/json", **signed},
                auth=self._authorize,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,  # the body is left where it is
                verify=self._verify,
            )
        except OSError as error:  # the base of RequestException, and what a lost CA file raises
            return DeliveryResult("later", _reason(error))
        with response:
            return self._delivery(response)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Headers set here, as `auth`, are safe from ~/.netrc, which `requests` would prefer.
        user, password = get_auth_from_url(self._url)
        if user:
            HTTPBasicAuth(user, password)(request)
        request.headers.update(self._headers)
        return request

    def _delivery(self, response: requests.Response) -> DeliveryResult:
        status = response.status_code
        reason = f"HTTP {status} {response.reason or ''}".strip()
        if response.ok and status < HTTPStatus.MULTIPLE_CHOICES:
            return DeliveryResult("accepted")
        if status in _RETRIED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return DeliveryResult("later", reason, self._retry_after(response.headers))
        return DeliveryResult("refused", reason)

    def _retry_after(self, headers: Mapping[str, str]) -> float:
        text = headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._clock())
        except (ValueError, OverflowError):
            return 0.0


def _reason(error: OSError) -> str:
    """Return the type of an error and the system's words for it; its own may hold a secret."""
    waiting: list[object] = [error]
    for one in waiting:  # which grows: the causes of each come after it
        if isinstance(one, ssl.SSLError) and one.reason:
            return f"{type(error).__name__}: {one.reason}"
        if isinstance(one, OSError) and one.errno in errno.errorcode and one.strerror:
            return f"{type(error).__name__}: {one.strerror}"
        if isinstance(one, socket.gaierror):
            return f"{type(error).__name__}: the host's name is not known"
        if isinstance(one, BaseException) and len(waiting) < _MOST_CAUSES:
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return type(error).__name__


def _url(config: HttpConfig, path: str) -> str:
    if config.url_file is None:
        url, where = cast(SecretStr, config.url).get_secret_value(), "'url'"
    else:
        url, where = read_secret("url_file", config.url_file), str(config.url_file)
    try:
        url = check_url(url).rstrip("/") + path if path else check_url(url)
        requests.Request("POST", url).prepare()
    except ValueError as error:  # requests' InvalidURL is one too; its text may hold a secret
        raise ConfigError(f"{where} of sink '{config.name}' holds no http address") from error
    return url


def _headers(config: HttpConfig) -> dict[str, str]:
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    if config.bearer_token_file is not None:
        token = read_secret("bearer_token_file", config.bearer_token_file)
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _certificates(config: HttpConfig) -> tuple[str | bool, tuple[str, str] | None]:
    """Return `verify` and `cert` for `requests`, after a check that the files can be used."""
    tls: TlsConfig = config.tls
    key_file = tls.key_file or tls.cert_file
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, key_file, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "no PEM file"
        raise ConfigError(f"'tls' of sink '{config.name}' can't be used: {reason}") from error
    pair = (str(tls.cert_file), str(key_file)) if tls.cert_file else None
    return str(tls.ca_file) if tls.ca_file else True, pair


def _no_password() -> str:
    raise ValueError("a key with a password can't be used")
