"""Secrets for Kafka: passwords from files, and OAuth 2 tokens from a file or an endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from kafka.errors import SaslAuthenticationFailedError
from kafka.net.sasl.oauth import AbstractTokenProvider

from logmlm.config.kafka import KafkaTokenEndpoint
from logmlm.errors import ConfigError
from logmlm.system.http_client import BoundedSession, read_bounded
from logmlm.system.secret_file import read_secret

RENEW_BEFORE_S = 60.0
"""A token is not used in its last seconds."""
MAX_ANSWER_BYTES = 1024 * 1024


class FileTokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """The token that a file holds now: whoever renews it writes the file anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def token(self) -> str:
        """Return the token; the library asks at each connection."""
        try:
            return read_secret("token_file", self._path, ascii_only=False)
        except ConfigError as error:
            raise SaslAuthenticationFailedError(str(error)) from error


class OAuthTokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # kafka-python has no types
    """Tokens for a client's credentials (RFC 6749, 4.4), each used until shortly before its end."""

    def __init__(
        self, config: KafkaTokenEndpoint, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0

    def token(self) -> str:
        """Return a token, a new one where the last one ends.

        Raises:
            SaslAuthenticationFailedError: the endpoint gives none; the text holds no secret.

        """
        if not self._token or self._clock() >= self._renew_at:
            self._renew()
        return self._token

    def _renew(self) -> None:
        config = self._config
        form = {"grant_type": "client_credentials"} | (
            {"scope": config.scope} if config.scope else {}
        )
        try:
            found = json.loads(self._ask(form))
            self._token = str(found["access_token"])
            life = float(found.get("expires_in", 0.0))
        except (OSError, ValueError, LookupError, TypeError, RecursionError, ConfigError) as error:
            raise SaslAuthenticationFailedError(
                f"no token from {config.url} ({type(error).__name__})"
            ) from error
        self._renew_at = self._clock() + max(0.0, life - RENEW_BEFORE_S)

    def _ask(self, form: dict[str, str]) -> bytes:
        config = self._config
        secret = read_secret("client_secret_file", config.client_secret_file, ascii_only=False)
        with (
            BoundedSession() as session,
            session.post(
                config.url,
                data=form,
                headers={"Accept-Encoding": "identity"},
                auth=(config.client_id, secret),
                timeout=config.timeout,
                allow_redirects=False,
                stream=True,
            ) as answer,
        ):
            answer.raise_for_status()
            return read_bounded(answer, MAX_ANSWER_BYTES, config.timeout)
