"""Labels: which windows people know to be anomalous, for measuring and for leaving out.

Three forms: time intervals, keys with a verdict, and the log's own label column.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType

from logmlm.errors import DataError, StorageError
from logmlm.records import Window

_VERDICTS = MappingProxyType(
    {"0": False, "1": True, "false": False, "true": True, "normal": False}
    | dict.fromkeys(("anomaly", "anomalous", "abnormal"), True)
)
_VERDICT_COLUMNS = ("label", "anomaly", "is_anomaly", "anomalous", "abnormal", "class")
_REST_OF_SECOND = 1 - 1e-6
_LAST_SECOND = 253_402_300_799.0
"""The end of the year 9999, the latest moment that has a date."""

_Row = tuple[int, list[str]]
"""A row of the file: its line number from 1, and its cells."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A labelled stretch of time: UTC epoch seconds, both ends belong to it."""

    start: float
    end: float
    name: str


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of windows in one of three forms; build one with `read` or `in_line`.

    `intervals` is in order of start, and empty where the labels are no intervals; `keys` is
    None where they go by no key.
    """

    source: str
    intervals: tuple[Interval, ...] = ()
    keys: Mapping[str, bool] | None = None
    _spans: _IntervalIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        spans = _IntervalIndex((interval.start, interval.end) for interval in self.intervals)
        object.__setattr__(self, "_spans", spans)

    @classmethod
    def in_line(cls) -> Labels:
        """Labels that stand in the log's own label column ("-" is normal)."""
        return cls("the log's label column")

    @classmethod
    def read(cls, path: Path) -> Labels:
        """Read labels from a CSV file with a header, UTF-8, gzipped or not.

        With columns `start` and `end`, every row is an anomalous interval: ISO 8601 (UTC
        where no zone is given) or epoch seconds; its name is the column `name`, else the
        first other one. Otherwise the first column is the key, and the verdict (0/1,
        Normal/Anomaly, true/false) is the column called label or anomaly, else the only one
        that holds nothing but verdicts.

        Raises:
            DataError: the file holds no usable labels; the text names file and line.
            StorageError: the file can't be read.

        """
        rows = _rows(path)
        line, header = next(rows, (1, []))
        names = [name.strip().lower() for name in header]
        if any(_is_number(name) for name in names):
            raise DataError(f"{path}:{line}: the first line is data; it must name the columns")
        body = list(_same_width(path, len(names), rows))
        if not body:
            raise DataError(f"{path}: no labels in it; it needs a header and at least one row")
        if "start" in names and "end" in names:
            intervals = _intervals(path, names, body)
            return cls(str(path), intervals=tuple(sorted(intervals, key=lambda i: i.start)))
        return cls(str(path), keys=MappingProxyType(_keys(path, names, body)))

    def is_anomaly(self, window: Window) -> bool:
        """Whether the window is labelled anomalous.

        By time: it overlaps an interval; where its times have no fraction, such as those of an
        access log, its last one stands for all of that second. By key: its key's verdict, normal
        where the key is not listed. In line: any event's label is something else than "-".
        """
        if self.intervals:
            return self._spans.overlap(*_span(window))
        if self.keys is not None:
            return self.keys.get(window.key, False)
        return any(event.fields.label not in (None, "-") for event in window.events)

    def overlaps_any(self, window: Window) -> bool:
        """Whether the labels say something of the window, be it that it is normal.

        By time: it overlaps an interval. By key: its key is listed. In line: a line of it has a
        label column.
        """
        if self.intervals:
            return self.is_anomaly(window)
        if self.keys is not None:
            return window.key in self.keys
        return any(event.fields.label is not None for event in window.events)

    def matched_intervals(self, windows: Iterable[Window]) -> tuple[Interval, ...]:
        """Return the intervals that at least one of `windows` overlaps, in order of start."""
        spans = _IntervalIndex(map(_span, windows))
        return tuple(i for i in self.intervals if spans.overlap(i.start, i.end))

    def check(self, windows: Sequence[Window]) -> None:
        """See that the labels belong to these windows.

        Raises:
            DataError: not one window overlaps an interval, has a listed key, or comes from a
                line with a label column; the text shows examples of both sides.

        """
        if not windows:
            raise DataError(f"no windows to label with {self.source}: the logs make none")
        if any(map(self.overlaps_any, windows)):
            return
        if self.intervals:
            raise DataError(self._no_interval_matches(windows))
        if self.keys is not None:
            raise DataError(self._no_key_matches(windows))
        raise DataError(
            "no line has a label column; give labels as a CSV file, or a line format that"
            " has the column (bgl, thunderbird, or a custom one with a group 'label')"
        )

    def _no_interval_matches(self, windows: Sequence[Window]) -> str:
        first, last = min(w.start for w in windows), max(w.end for w in windows)
        latest = max(interval.end for interval in self.intervals)
        return (
            f"none of the {len(self.intervals)} intervals of {self.source}"
            f" ({_date(self.intervals[0].start)} to {_date(latest)}) overlaps a window of the"
            f" logs ({_date(first)} to {_date(last)}); times without a zone are read as UTC"
        )

    def _no_key_matches(self, windows: Sequence[Window]) -> str:
        keys = self.keys or {}
        return (
            f"none of the {len(keys)} keys of {self.source} ({_examples(keys)}) is a window's"
            f" key ({_examples(window.key for window in windows)}); the first column must hold"
            " what the windows are grouped by (the window section's 'key')"
        )


class _IntervalIndex:
    """Closed spans of time, ready to be asked what overlaps them in O(log n)."""

    def __init__(self, spans: Iterable[tuple[float, float]]) -> None:
        ordered = sorted(spans)
        self._starts = [start for start, _ in ordered]
        self._reach = list(accumulate((end for _, end in ordered), max))

    def overlap(self, start: float, end: float) -> bool:
        """Whether any span overlaps the closed span from `start` to `end`."""
        begun = bisect_right(self._starts, end)
        return begun > 0 and self._reach[begun - 1] >= start


def _span(window: Window) -> tuple[float, float]:
    """A window's first and last moment."""
    start, end = window.start, window.end
    is_whole = start % 1 == end % 1 == 0
    return start, end + _REST_OF_SECOND * is_whole


def _rows(path: Path) -> Iterator[_Row]:
    """Yield the file's rows that are not blank."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: no CSV: {error}") from error


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StorageError(f"can't read the labels {path}: {error.strerror or error}") from error
    try:
        unpacked = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        return unpacked.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file: {error}; fetch it again") from error
    except UnicodeDecodeError as error:
        line = unpacked[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8; save the labels as UTF-8") from error


def _same_width(path: Path, width: int, rows: Iterable[_Row]) -> Iterator[_Row]:
    for line, cells in rows:
        if len(cells) != width:
            raise DataError(f"{path}:{line}: {len(cells)} cells, but the header names {width}")
        yield line, [cell.strip() for cell in cells]


def _intervals(path: Path, names: list[str], body: list[_Row]) -> Iterator[Interval]:
    begin, finish = names.index("start"), names.index("end")
    others = [column for column, name in enumerate(names) if name not in ("start", "end")]
    title = names.index("name") if "name" in names else next(iter(others), None)
    for number, (line, cells) in enumerate(body, start=1):
        start = _time(path, line, "start", cells[begin])
        end = _time(path, line, "end", cells[finish])
        if end < start:
            raise DataError(f"{path}:{line}: end {cells[finish]} is before start {cells[begin]}")
        name = "" if title is None else cells[title]
        yield Interval(start, end, name or f"interval {number}")


def _time(path: Path, line: int, column: str, text: str) -> float:
    """Epoch seconds of a number of seconds or an ISO 8601 time, UTC where it has no zone."""
    try:
        if _is_number(text):
            seconds = float(text)
        else:
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError as error:
        raise DataError(
            f"{path}:{line}: {column} '{text}' is no time; write it like"
            " 2024-05-06T07:08:09Z or as epoch seconds"
        ) from error
    if not abs(seconds) <= _LAST_SECOND:
        raise DataError(f"{path}:{line}: {column} {text} is past year 9999; seconds are meant")
    return seconds


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _keys(path: Path, names: list[str], body: list[_Row]) -> dict[str, bool]:
    column = _verdict_column(path, names, body)
    keys: dict[str, bool] = {}
    for line, cells in body:
        verdict = _VERDICTS.get(cells[column].lower())
        if verdict is None:
            raise DataError(
                f"{path}:{line}: column '{names[column]}' holds '{cells[column]}', which is"
                f" none of {', '.join(_VERDICTS)}"
            )
        if keys.setdefault(cells[0], verdict) != verdict:
            raise DataError(f"{path}:{line}: key '{cells[0]}' had the other label further up")
    return keys


def _verdict_column(path: Path, names: list[str], body: list[_Row]) -> int:
    for name in _VERDICT_COLUMNS:
        if name in names[1:]:
            return names.index(name, 1)
    found = [
        column
        for column in range(1, len(names))
        if all(cells[column].lower() in _VERDICTS for _, cells in body)
    ]
    if len(found) != 1:
        what = "several columns" if found else "no column"
        raise DataError(
            f"{path}: {what} of only 0 and 1 after the key '{names[0]}' (columns:"
            f" {', '.join(names)}); call the one that counts 'label', or give 'start' and 'end'"
        )
    return found[0]


def _examples(keys: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(keys))
    return ", ".join(f"'{key}'" for key in distinct[:3]) + (", …" if len(distinct) > 3 else "")


def _date(seconds: float) -> str:
    moment = datetime.fromtimestamp(max(min(seconds, _LAST_SECOND), 0.0), UTC)
    return moment.isoformat(sep=" ", timespec="seconds")
