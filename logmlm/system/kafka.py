"""Clients of kafka-python: made of a configuration, and why one could not be made."""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaConsumer, KafkaProducer
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from logmlm.config.kafka import KafkaConnection, KafkaSaslConfig, KafkaTlsConfig
from logmlm.errors import ConfigError, UnreachableError
from logmlm.system.kafka_tokens import FileTokenProvider, OAuthTokenProvider
from logmlm.system.secret_file import read_secret

RECONNECT_BACKOFF_MAX_MS = 2_000
"""kafka-python's own 30 s would keep a daemon waiting long after a broker is back."""
REQUEST_TIMEOUT_MS = 10_000
_HUNG_UP = "socket disconnected"
_CAUSES = (
    ("SaslAuthenticationFailed", "it refuses our credentials; check 'sasl'"),
    ("UnsupportedSaslMechanism", "it does not know this 'mechanism' of 'sasl'"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted; check 'tls'"),
    ("Handshake failed", "it does not speak TLS, or refuses our certificate; check 'tls'"),
    ("_ALERT_", "it refuses our certificate, or that we have none; check 'tls'"),
    ("DNS", "there is no host of that name"),
    ("ECONNREFUSED", "nothing listens there"),
    (_HUNG_UP, "it ends the connection; does it want 'tls' or 'sasl'?"),
)
"""What the library's log says, the most telling first, and what it means."""

logger = logging.getLogger(__name__)


class KafkaClientFactory(NamedTuple):
    """Constructors of kafka-python's clients."""

    consumer: Callable[..., Any] = KafkaConsumer
    producer: Callable[..., Any] = KafkaProducer


KAFKA = KafkaClientFactory()


class KafkaLogCapture(logging.Handler):
    """Log handler that captures kafka-python's log, which repeats itself, and remembers the cause.

    The true cause of a failed connection stands nowhere else.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._found: dict[str, str] = {}

    @classmethod
    def install(cls) -> KafkaLogCapture:
        """Return the one that listens to the library; from now on one does."""
        library = logging.getLogger("kafka")
        for handler in library.handlers:
            if isinstance(handler, cls):
                return handler
        handler = cls()
        library.addHandler(handler)
        library.setLevel(logging.WARNING)  # below that, it shows passwords
        library.propagate = False
        return handler

    def emit(self, record: logging.LogRecord) -> None:
        """Remember what a message says of a cause; show it to whoever debugs."""
        text = record.getMessage()
        logger.debug("kafka-python: %s", text)
        for mark, _ in _CAUSES:
            if mark in text:
                self._found[mark] = text

    def reset(self) -> None:
        """Start anew: what was said before is over."""
        self._found.clear()

    def cause(self, *, with_sasl: bool = False) -> str:
        """The most telling cause since `reset`, in words, with what the library says.

        A broker that refuses credentials says so and hangs up at once, and the library may
        notice only the latter.
        """
        for mark, meaning in _CAUSES:
            if mark in self._found:
                if with_sasl and mark == _HUNG_UP:
                    meaning = "it ends the connection as we log in; check 'sasl'"  # noqa: PLW2901
                detail = re.sub(r"^.*?failed: | \(backoff .*|<[^>]*>:? *", "", self._found[mark])
                return f"{meaning} ({detail})"
        return "no answer in time"


def connect(make: Callable[..., Any], connection: KafkaConnection, **options: Any) -> Any:
    """Make a client (`KafkaConsumer`, `KafkaProducer`) that has reached a broker.

    Raises:
        ConfigError: a certificate or secret can't be read.
        UnreachableError: no broker answered in time, or it did not let us in.

    """
    library = KafkaLogCapture.install()
    library.reset()
    begun: list[Any] = []

    def begin(**settings: Any) -> Any:
        client = KafkaNetClient(**settings)
        # kafka-python 3.0 does not hand this on, and who asks for a topic makes it.
        key = "allow_auto_create_topics"
        client.cluster.config[key] = settings[key]
        begun.append(client)
        return client

    try:
        return make(**client_options(connection) | options | {"kafka_client": begin})
    except KafkaError as error:
        for client in begun:  # or its thread would go on
            client.close()
        servers = ", ".join(connection.bootstrap_servers)
        cause = library.cause(with_sasl=connection.sasl is not None)
        raise UnreachableError(f"can't use Kafka at {servers}: {cause}") from error


def close_with_timeout(close: Callable[[], object], seconds: float) -> None:
    """Close a client within `seconds`: without a broker, kafka-python may take much longer."""

    def quietly() -> None:
        try:
            close()
        except KafkaError as error:
            logger.info("a client of Kafka was not closed in good order (%s)", type(error).__name__)

    thread = threading.Thread(target=quietly, name="kafka-close", daemon=True)
    thread.start()
    thread.join(seconds)


def client_options(connection: KafkaConnection) -> dict[str, Any]:
    """Options of kafka-python for a connection.

    Raises:
        ConfigError: a certificate or secret can't be read.

    """
    protocol = ("SASL_" if connection.sasl else "") + ("SSL" if connection.tls else "PLAINTEXT")
    options: dict[str, Any] = {
        "bootstrap_servers": list(connection.bootstrap_servers),
        "client_id": "logmlm",
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MAX_MS,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "bootstrap_timeout_ms": round(connection.connect_timeout * 1000),
        "security_protocol": protocol,
    }
    if connection.tls is not None:
        options["ssl_context"] = _tls(connection.tls)
    return options | (_sasl(connection.sasl) if connection.sasl is not None else {})


def _tls(config: KafkaTlsConfig) -> ssl.SSLContext:
    password = (
        None
        if config.key_password_file is None
        else read_secret("key_password_file", config.key_password_file, ascii_only=False)
    )
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
        context.check_hostname = config.check_hostname
        if config.cert_file is not None:
            # Without a password OpenSSL would ask for one on the terminal.
            context.load_cert_chain(config.cert_file, config.key_file, lambda: password or "")
    except OSError as error:  # SSLError is one
        files = ", ".join(str(path) for path in _files(config))
        raise ConfigError(f"can't use 'tls' of Kafka with {files}: {error}") from error
    return context


def _files(config: KafkaTlsConfig) -> list[Path]:
    files = (config.ca_file, config.cert_file, config.key_file)
    return [path for path in files if path is not None]


def _sasl(config: KafkaSaslConfig) -> dict[str, Any]:
    options: dict[str, Any] = {"sasl_mechanism": config.mechanism}
    if config.password_file is not None:
        options["sasl_plain_username"] = config.username
        options["sasl_plain_password"] = read_secret(
            "password_file", config.password_file, ascii_only=False
        )
    elif config.token_file is not None:
        read_secret("token_file", config.token_file, ascii_only=False)
        options["sasl_oauth_token_provider"] = FileTokenProvider(config.token_file)
    elif config.token_endpoint is not None:
        read_secret(
            "client_secret_file", config.token_endpoint.client_secret_file, ascii_only=False
        )
        options["sasl_oauth_token_provider"] = OAuthTokenProvider(config.token_endpoint)
    return options
