"""Sink: append alerts to a file, one JSON object a line."""

from __future__ import annotations

import os

from logmlm.alerting.sinks.base import json_line
from logmlm.config.sinks import AlertFileConfig
from logmlm.records import DeliveryResult, Notification


class FileSink:
    """Appends each alert and syncs it; the file is opened each time, so it may be rotated.

    A file that can't be written is tried again later; a line is written whole or not at all. A new
    file is readable for its owner alone.
    """

    def __init__(self, config: AlertFileConfig) -> None:
        self.name = config.name
        self._path = config.path

    def send(self, notification: Notification) -> DeliveryResult:
        """Append the alerts."""
        lines = "".join(json_line(alert) + "\n" for alert in notification.alerts)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags, 0o600)
            try:
                _append(descriptor, lines.encode("utf-8", "backslashreplace"))
            finally:
                os.close(descriptor)
        except OSError as error:
            return DeliveryResult("later", f"can't write the file: {error.strerror}")
        return DeliveryResult("accepted")

    def close(self) -> None:
        """Do nothing: the file is open only while it is written."""


def _append(descriptor: int, content: bytes) -> None:
    size = os.fstat(descriptor).st_size
    try:
        while content:
            content = content[os.write(descriptor, content) :]
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
