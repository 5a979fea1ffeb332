"""How far a journal was read, durable; and where it can be read again."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from logmlm.errors import StorageError
from logmlm.records import Checkpoint
from logmlm.system.atomic_files import write_text
from logmlm.system.text import json_digest

VERSION = 1
SPAN_ENTRIES = 256
MAX_SPANS = 4096


@dataclass(frozen=True, slots=True)
class SequencePosition:
    """How far a numbered sequence of entries was read; `host` wrote it, last seen at `seen_at`."""

    checkpoint: Checkpoint
    host: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class JournalState:
    """What is kept: the cursor where reading begins again, and each sequence by its name.

    None in place of the cursor is the journal's beginning.
    """

    cursor: str | None
    sequences: Mapping[str, SequencePosition]


def load(path: Path) -> JournalState | None:
    """What was saved at `path`; None if nothing was.

    Raises:
        StorageError: it can't be read, is damaged, or is of a newer version.

    """
    advice = f"move {path} away to begin anew (as start_at says)"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["version"] > VERSION:
            raise StorageError(f"{path} was written by a newer logmlm; {advice}")
        if stored["checksum"] != json_digest(stored["state"]):
            raise StorageError(f"{path} is damaged; {advice}")
        return TypeAdapter(JournalState).validate_python(stored["state"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, ValidationError, RecursionError) as error:
        raise StorageError(f"{path} is damaged ({type(error).__name__}); {advice}") from error


def save(path: Path, state: JournalState) -> None:
    """Keep `state` at `path`, atomically.

    Raises:
        StorageError: it can't be written.

    """
    content = asdict(state)
    stored = {"version": VERSION, "checksum": json_digest(content), "state": content}
    write_text(path, json.dumps(stored) + "\n")


@dataclass(slots=True)
class _CursorSpan:
    """Entries that came one after the other: the cursor of the first, the last of each sequence."""

    cursor: str
    last: dict[str, int]
    entries: int = 0


class CursorHistory:
    """The cursors that were passed, so that reading can begin again at the oldest one needed.

    Only one cursor a stretch of entries is kept; past `most` of them, every other one goes.
    """

    def __init__(
        self, cursor: str | None, stretch: int = SPAN_ENTRIES, most: int = MAX_SPANS
    ) -> None:
        self._passed = cursor
        self._spans: deque[_CursorSpan] = deque()
        self._entries = stretch
        self._most = most

    @property
    def newest(self) -> str | None:
        """The cursor of the newest entry."""
        return self._passed

    def skip(self, cursor: str) -> None:
        """Pass an entry that was not handed over."""
        self._passed = cursor

    def add(self, sequence: str, number: int, cursor: str) -> None:
        """Pass an entry that was handed over."""
        self._passed = cursor
        newest = self._spans[-1] if self._spans else None
        if newest is None or newest.entries >= self._entries:
            newest = _CursorSpan(cursor, {})
            self._spans.append(newest)
        newest.entries += 1
        newest.last[sequence] = number
        if len(self._spans) > self._most:
            self._thin_out()

    def cursor(self, safe: Mapping[str, int]) -> str | None:
        """Where to begin again so that no entry from each sequence's `safe` number on is missed."""
        while self._spans:
            oldest = self._spans[0]
            if any(number >= safe.get(name, 0) for name, number in oldest.last.items()):
                return oldest.cursor
            self._spans.popleft()
        return self._passed

    def _thin_out(self) -> None:
        thinned: deque[_CursorSpan] = deque()
        while self._spans:
            one = self._spans.popleft()
            if self._spans:
                two = self._spans.popleft()
                one = _CursorSpan(one.cursor, one.last | two.last, one.entries + two.entries)
            thinned.append(one)
        self._spans = thinned
        self._entries *= 2
