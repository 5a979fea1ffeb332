"""Alerts by HTTP, as Alertmanager's webhook JSON, version 4.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, cast

import requests
from pydantic import SecretStr
from requests.auth import HTTPBasicAuth
from requests.utils import get_auth_from_url

from logmlm.errors import ConfigError
from logmlm.records import Alert, Delivery, Notification
from logmlm.secretfile import read_secret
from logmlm.sinkconfig import WebhookConfig, check_url
from logmlm.sinks.base import rfc3339

_STILL_FIRING = "0001-01-01T00:00:00Z"
_RETRIED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class WebhookSink:
    """Posts a notification; redirects are not followed, and answers not read.

    2xx is accepted. 408, 429, 5xx and transport errors are to be tried again, not before what
    Retry-After says (RFC 9110, 10.2.3). Everything else is refused for good.
    """

    def __init__(self, config: WebhookConfig, *, clock: Callable[[], float]) -> None:
        """Read the secrets' files.

        Raises:
            ConfigError: a file can't be read, or holds no address or token that can be sent.

        """
        self.name = config.name
        self._clock = clock
        self._timeout = config.timeout
        self._url = _url(config)
        self._headers = _headers(config)
        self._session = requests.Session()

    def send(self, notification: Notification) -> Delivery:
        """Post once; never longer than the connection's and the answer's timeout together."""
        try:
            response = self._session.post(
                self._url,
                json=payload(notification, self.name),
                auth=self._authorize,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            )
        except OSError as error:  # the base of RequestException, and what a lost CA file raises
            return Delivery("later", type(error).__name__)  # its text may hold a secret address
        with response:
            return self._delivery(response)

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # Headers set here, as `auth`, are safe from ~/.netrc, which `requests` would prefer.
        user, password = get_auth_from_url(self._url)
        if user:
            HTTPBasicAuth(user, password)(request)
        request.headers.update(self._headers)
        return request

    def _delivery(self, response: requests.Response) -> Delivery:
        status = response.status_code
        reason = f"HTTP {status} {response.reason or ''}".strip()
        if response.ok and status < HTTPStatus.MULTIPLE_CHOICES:
            return Delivery("accepted")
        if status in _RETRIED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Delivery("later", reason, self._retry_after(response.headers))
        return Delivery("refused", reason)

    def _retry_after(self, headers: Mapping[str, str]) -> float:
        text = headers.get("Retry-After", "").strip()
        if text.isascii() and text.isdigit():
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._clock())
        except (ValueError, OverflowError):
            return 0.0


def payload(notification: Notification, receiver: str) -> dict[str, Any]:
    """Alertmanager's webhook JSON for a notification."""
    labels = _common([alert.labels for alert in notification.alerts])
    return {
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": 0,
        "status": notification.status,
        "receiver": receiver,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": _common([alert.annotations for alert in notification.alerts]),
        "externalURL": "",
        "alerts": [_alert(alert) for alert in notification.alerts],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "status": "firing" if alert.ends_at is None else "resolved",
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": _STILL_FIRING if alert.ends_at is None else rfc3339(alert.ends_at),
        "generatorURL": "",
        "fingerprint": alert.fingerprint,
    }


def _common(maps: list[Mapping[str, str]]) -> dict[str, str]:
    return dict(set.intersection(*(set(one.items()) for one in maps)))


def _url(config: WebhookConfig) -> str:
    if config.url_file is None:
        url, where = cast(SecretStr, config.url).get_secret_value(), "'url'"
    else:
        url, where = read_secret(config.url_file), str(config.url_file)
    try:
        requests.Request("POST", check_url(url)).prepare()
    except ValueError as error:  # requests' InvalidURL is one too; its text may hold a secret
        raise ConfigError(f"{where} of sink '{config.name}' holds no http address") from error
    return url


def _headers(config: WebhookConfig) -> dict[str, str]:
    headers = {name: value.get_secret_value() for name, value in config.headers.items()}
    if config.bearer_token_file is not None:
        headers["Authorization"] = f"Bearer {read_secret(config.bearer_token_file)}"
    return headers
