"""Where the daemon's alerts go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from logmlm.config import Duration, OneOf, Section
from logmlm.kafkaconfig import KafkaSinkConfig

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class StdoutConfig(Section):
    """Alerts on standard output: one JSON object a line, or a block of text for people."""

    name: Annotated[str, Field(min_length=1)] = "stdout"
    format: Literal["json", "text"] = "json"


class WebhookConfig(Section):
    """Alerts as Alertmanager's webhook JSON, version 4.

    The URL may be a secret (many receivers put a token there): `url_file` names a file that
    holds it. `headers` are sent along; `bearer_token_file` holds a token. After `max_retries`
    failed tries an alert goes to the dead letters.
    """

    name: Annotated[str, Field(min_length=1)] = "webhook"
    url: SecretStr | None = None
    url_file: Path | None = None
    bearer_token_file: Path | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeout: Duration = 10.0
    max_retries: Annotated[int, Field(ge=0)] = 100

    @model_validator(mode="after")
    def _one_url(self) -> WebhookConfig:
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


class SinkConfig(OneOf):
    """Where alerts go: one kind of sink."""

    stdout: StdoutConfig | None = None
    webhook: WebhookConfig | None = None
    kafka: KafkaSinkConfig | None = None

    @property
    def name(self) -> str:
        """The sink's name, which is its queue's name too."""
        kinds = (self.stdout, self.webhook, self.kafka)
        return next(sink.name for sink in kinds if sink is not None)


def check_url(url: str) -> str:
    """Return `url` if it is an http or https address; raise ValueError, without it, if not."""
    if not re.fullmatch(r"https?://[^\s/]+\S*", url):
        raise ValueError("should be an address that starts with http:// or https://")
    return url
