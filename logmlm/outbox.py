"""Alerts that are still to be delivered, durable, and those that never could be."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from logmlm.errors import StorageError
from logmlm.records import Alert
from logmlm.storage import write_text

VERSION = 1
MAX_WAITING = 1000
"""Alerts that wait for one sink at most."""
MAX_SEEN = 10_000
"""Ids that are remembered, so that a replay sends nothing twice."""
MAX_DEAD_BYTES = 16 * 1024**2


class Outbox:
    """A queue of alerts for each sink, in one JSON file that is replaced whole.

    Nothing is durable before `save`.
    """

    def __init__(self, path: Path) -> None:
        """Load what was saved at `path`, if anything was.

        Raises:
            StorageError: the file can't be read or is of a newer version.

        """
        self._path = path
        self._seen: dict[str, None] = {}
        self._queues: dict[str, deque[Alert]] = {}
        self._changed = False
        if path.exists():
            self._load()

    @property
    def sinks(self) -> list[str]:
        """Names of the sinks that alerts wait for."""
        return [sink for sink, queue in self._queues.items() if queue]

    def waiting(self, sink: str) -> Sequence[Alert]:
        """Alerts that wait for a sink, the oldest first."""
        return self._queues.get(sink, deque())

    def put(self, alert: Alert, sinks: Iterable[str]) -> bool:
        """Queue an alert for every sink, unless its id was put before; say whether it was new."""
        if alert.id in self._seen:
            return False
        self._seen[alert.id] = None
        for old in list(self._seen)[:-MAX_SEEN]:
            del self._seen[old]
        for sink in sinks:
            self._queues.setdefault(sink, deque()).append(alert)
        self._changed = True
        return True

    def pop(self, sink: str) -> Alert:
        """Take the oldest alert out of a sink's queue."""
        self._changed = True
        return self._queues[sink].popleft()

    def save(self) -> None:
        """Write and sync the file, if anything changed.

        Raises:
            StorageError: it can't be written.

        """
        if self._changed:
            queues = {sink: [plain(alert) for alert in self.waiting(sink)] for sink in self.sinks}
            seen = list(self._seen)
            stored = {"version": VERSION, "seen": seen, "queues": queues}
            write_text(self._path, json.dumps(stored, ensure_ascii=False))
            self._changed = False

    def _load(self) -> None:
        advice = f"move {self._path} away; alerts that wait in it are then not delivered"
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            if stored["version"] > VERSION:
                raise StorageError(f"{self._path} was written by a newer logmlm; {advice}")
            queues = TypeAdapter(dict[str, deque[Alert]]).validate_python(stored["queues"])
            seen = TypeAdapter(list[str]).validate_python(stored["seen"])
        except OSError as error:
            raise StorageError(f"can't read {self._path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, ValidationError, RecursionError) as error:
            raise StorageError(
                f"{self._path} is damaged ({type(error).__name__}); {advice}"
            ) from error
        self._queues, self._seen = queues, dict.fromkeys(seen)


class DeadLetters:
    """Alerts that no retry will deliver, appended as JSON lines, with the reason.

    A file over `MAX_DEAD_BYTES` is moved to `.1`, in place of the one before.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, alert: Alert, sink: str, reason: str, now: float) -> None:
        """Append and sync one alert.

        Raises:
            StorageError: the file can't be written.

        """
        letter = {"at": now, "sink": sink, "reason": reason, "alert": plain(alert)}
        try:
            if self._path.exists() and self._path.stat().st_size > MAX_DEAD_BYTES:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(letter, ensure_ascii=False) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise StorageError(f"can't write {self._path}: {error.strerror}") from error


def plain(alert: Alert) -> dict[str, Any]:
    """An alert as JSON holds it: all but its score."""
    values = {field.name: getattr(alert, field.name) for field in fields(Alert)}
    del values["score"]
    return {**values, "labels": dict(alert.labels), "annotations": dict(alert.annotations)}
