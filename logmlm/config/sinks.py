"""Where the daemon's alerts go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from logmlm.config.kafka import KafkaSinkConfig
from logmlm.config.types import BaseSinkConfig, Duration, ExactlyOne, StrictModel

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class StdoutConfig(BaseSinkConfig):
    """Alerts on standard output: one JSON object a line, or a block of text for people."""

    name: Annotated[str, Field(min_length=1)] = "stdout"
    grouped: bool = False
    format: Literal["json", "text"] = "json"


class AlertFileConfig(BaseSinkConfig):
    """Alerts appended to the file `path`, one JSON object a line, synced to the disk."""

    name: Annotated[str, Field(min_length=1)] = "file"
    grouped: bool = False
    path: Path


class TlsConfig(StrictModel):
    """For https: whose certificates are trusted, and our own; all are PEM files.

    `ca_file` None trusts those that `requests` trusts. `key_file` None looks into `cert_file`.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _no_key_alone(self) -> TlsConfig:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("'key_file' needs a 'cert_file'")
        return self


class HttpConfig(BaseSinkConfig):
    """What is posted to by HTTP.

    The URL may be a secret (many receivers put a token there): `url_file` names a file that
    holds it. `headers` are sent along; `bearer_token_file` holds a token.
    """

    url: SecretStr | None = None
    url_file: Path | None = None
    bearer_token_file: Path | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeout: Duration = 10.0
    tls: TlsConfig = Field(default_factory=TlsConfig)

    @model_validator(mode="after")
    def _one_url(self) -> HttpConfig:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give either 'url' or 'url_file'")
        return self

    @field_validator("url")
    @classmethod
    def _url_is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            check_url(url.get_secret_value())
        return url

    @field_validator("headers")
    @classmethod
    def _headers_are_clean(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER.fullmatch(name):
                raise ValueError(f"'{name}' is no header's name")
            if not (value.get_secret_value().isascii() and value.get_secret_value().isprintable()):
                raise ValueError(f"the value of header '{name}' has characters that can't be sent")
        return headers


class WebhookConfig(HttpConfig):
    """Alerts as Alertmanager's webhook JSON, version 4, or as a template says.

    `template_file` is JSON with `${...}` in its texts, such as `configs/slack.json`;
    `template_secrets` names files whose content stands for `${secret.NAME}` in it.
    `hmac_secret_file` holds the key with which each request is signed: the header
    `X-Logmlm-Signature` is `v1=` and the HMAC-SHA256, in hexadecimal, of the header
    `X-Logmlm-Timestamp` (epoch seconds), a full stop, and the body.
    """

    name: Annotated[str, Field(min_length=1)] = "webhook"
    hmac_secret_file: Path | None = None
    template_file: Path | None = None
    template_secrets: dict[str, Path] = Field(default_factory=dict)


class AlertmanagerConfig(HttpConfig):
    """Alerts pushed to an Alertmanager, `url` being its address; it groups them itself.

    Each label set is an alert there, sent again every `resend_interval` while it fires, and for
    five minutes after it was resolved.
    """

    name: Annotated[str, Field(min_length=1)] = "alertmanager"
    grouped: Literal[True] = True
    resend_interval: Annotated[Duration, Field(le=120)] = 60.0


class SinkConfig(ExactlyOne):
    """Where alerts go: one kind of sink."""

    stdout: StdoutConfig | None = None
    file: AlertFileConfig | None = None
    webhook: WebhookConfig | None = None
    alertmanager: AlertmanagerConfig | None = None
    kafka: KafkaSinkConfig | None = None

    @property
    def kind(self) -> str:
        """The kind of sink: the one key that is given."""
        return next(iter(self.model_fields_set))

    @property
    def section(self) -> BaseSinkConfig:
        """What the sink is told."""
        section: BaseSinkConfig = getattr(self, self.kind)
        return section

    @property
    def name(self) -> str:
        """The sink's name, which is its queue's name too."""
        return self.section.name


def check_url(url: str) -> str:
    """Return `url` if it is an http or https address; raise ValueError, without it, if not."""
    if not re.fullmatch(r"https?://[^\s/]+\S*", url):
        raise ValueError("should be an address that starts with http:// or https://")
    return url
