"""Alerts on standard output: one JSON object a line, or a block of text for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from logmlm.alerting.sinks.base import json_line
from logmlm.config.sinks import StdoutConfig
from logmlm.detection.explanation import printable
from logmlm.errors import StorageError
from logmlm.records import Alert, DeliveryResult, Notification
from logmlm.system.text import SafeWriter, format_rfc3339

_COLOURS = {"critical": "31;1", "warning": "33;1", "info": "36;1"}
_SHOWN = ("alertname", "severity")


class StdoutSink:
    """Writes each alert to a stream and flushes it, so that a reader has it at once.

    Text is coloured where the stream is a terminal. What its encoding can't hold is escaped.
    """

    def __init__(self, config: StdoutConfig, out: TextIO) -> None:
        self.name = config.name
        self._out = out
        self._writer = SafeWriter(out)
        self._render = json_line if config.format == "json" else self._as_text

    def send(self, notification: Notification) -> DeliveryResult:
        """Write the alerts.

        Raises:
            StorageError: the stream is closed, or its disk full.

        """
        render: Callable[[Alert], str] = self._render
        try:
            for alert in notification.alerts:
                self._writer.write(render(alert) + "\n")
            self._out.flush()
        except OSError as error:
            raise StorageError(f"can't write to standard output: {error.strerror}") from error
        return DeliveryResult("accepted")

    def close(self) -> None:
        """Do nothing: standard output belongs to the process."""

    def _as_text(self, alert: Alert) -> str:
        notes = alert.annotations
        labels = (
            f"{key}={printable(text)}" for key, text in alert.labels.items() if key not in _SHOWN
        )
        severity = alert.labels["severity"]
        head = f"{format_rfc3339(alert.starts_at)}  {severity.upper()}  {notes['summary']}"
        block = [self._colour(head, _COLOURS[severity]), f"  {'  '.join(labels)}"]
        block += [
            f"  {name}: {printable(notes[name])}" for name in ("origin", "key") if notes.get(name)
        ]
        block += [f"  {self._line(line)}" for line in notes["description"].splitlines()]
        return "\n".join(block) + "\n"

    def _line(self, line: str) -> str:
        return self._colour(line, "1") if line.startswith(">") else line

    def _colour(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._out.isatty() else text
