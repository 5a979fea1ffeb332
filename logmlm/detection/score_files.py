"""Scores as files: JSON lines (an object a window), CSV or Parquet (a row a line)."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from logmlm.detection.explanation import END_OF_WINDOW
from logmlm.errors import StorageError, UsageError
from logmlm.records import LogLine, Score, Window
from logmlm.system.atomic_files import ORDINARY, atomic_path, is_special_file
from logmlm.system.text import UNSEEN, SafeWriter, dump_json, escape_unencodable

IdOf = Callable[[Window], str]


def window_object(score: Score, window_id: str) -> dict[str, Any]:
    """One window: its value, pseudo-log-likelihood and each event, the end token last.

    Surprisals are in nats; `line` counts from 1 in its file (None for the end token). Where
    `exact` is false, value, p-value and surprisals are those of a look (`screen.py`). `template` is
    an id that `logmlm templates` lists, empty for a line never seen; `level` is empty where the
    line has none.
    """
    window = score.window
    return {
        "window": window_id,
        "partition": window.partition,
        "key": window.key,
        "start": window.start,
        "end": window.end,
        "closed_by": window.closed_by,
        "value": score.value,
        "p_value": score.p_value,
        "anomaly": score.is_anomaly,
        "surge": score.surge is not None,
        "exact": score.is_exact,
        "pll": score.pll,
        "events": list(_events(score)),
    }


def write_json_lines(scores: Iterable[Score], id_of: IdOf, out: TextIO) -> None:
    """One window a line, as they come; what the stream's encoding can't hold is escaped."""
    writer = SafeWriter(out)
    for score in scores:
        writer.write(dump_json(window_object(score, id_of(score.window))) + "\n")


def write_csv(scores: Iterable[Score], id_of: IdOf, out: TextIO) -> None:
    """One log line a row below a header, with its window's figures; else as `write_json_lines`.

    A spreadsheet takes a text for a formula that begins with `=`, `+`, `-` or `@`, or with blanks
    and then such a character: an apostrophe is put before it (OWASP, "CSV Injection"). Numbers stay
    numbers. Control characters but line ends and tabs within a text are replaced by U+FFFD.
    """
    writer = csv.DictWriter(SafeWriter(out), [name for name, _ in _COLUMNS], lineterminator="\n")
    writer.writeheader()
    for score in scores:
        rows = _rows(score, id_of(score.window))
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def write_parquet(scores: Iterable[Score], id_of: IdOf, path: Path) -> None:
    """One log line a row, a row group for every thousand windows or so; whole or not at all.

    Texts are those of the log, to the character: nobody looks at the file itself.

    Raises:
        StorageError: the file can't be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in _COLUMNS])
    with atomic_path(path, ORDINARY) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        rows: list[dict[str, Any]] = []
        for score in scores:
            rows += _rows(score, id_of(score.window))
            if len(rows) >= 20_000:
                writer.write_table(pa.Table.from_pylist(_storable(rows), schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(_storable(rows), schema))


def check_target(output: str, out: Path | None) -> None:
    """See that there is a place for the file, and that Parquet, which is no text, goes to one.

    Raises:
        StorageError: there is no such directory.
        UsageError: it would go to standard output, or into a pipe or a device.
    """
    if out is not None and not out.absolute().parent.is_dir():
        raise StorageError(f"can't write {out}: there is no directory {out.parent}")
    if output == "parquet" and out is None:
        raise UsageError("Parquet can't be written to standard output; name a file with --out")
    if output == "parquet" and out is not None and is_special_file(out):
        raise UsageError(f"Parquet can't be written into {out}, which is no regular file")


_COLUMNS = (
    ("window", "string"),
    ("partition", "string"),
    ("key", "string"),
    ("start", "float64"),
    ("end", "float64"),
    ("closed_by", "string"),
    ("value", "float64"),
    ("p_value", "float64"),
    ("anomaly", "bool_"),
    ("surge", "bool_"),
    ("exact", "bool_"),
    ("pll", "float64"),
    ("line", "int64"),
    ("text", "string"),
    ("surprisal", "float64"),
    ("bag_surprisal", "float64"),
    ("template", "string"),
    ("level", "string"),
)


_FORMULA = ("=", "+", "-", "@", "\t", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a cell more than a text; the last four are full-width forms of the first."""
_CONTROL = re.compile(f"[\x00-\x08\x0b-\x1f{UNSEEN}]")


def _events(score: Score) -> Iterator[dict[str, Any]]:
    events = score.window.events
    for index, surprisal in enumerate(score.surprisals):
        ends = index >= len(events)
        yield {
            "line": None if ends else _place(events[index].line),
            "text": END_OF_WINDOW if ends else events[index].line.text,
            "surprisal": surprisal,
            "bag_surprisal": score.bag_surprisals[index],
            "template": None if ends else events[index].template_id,
            "level": None if ends else events[index].fields.level,
        }


def _place(line: LogLine) -> int:
    """The line's number in its file; of a topic's record, its offset."""
    return line.number or line.start


def _rows(score: Score, window_id: str) -> list[dict[str, Any]]:
    whole = window_object(score, window_id)
    events = whole.pop("events")
    return [whole | event for event in events]


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = _CONTROL.sub("\ufffd", value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _storable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with texts that UTF-8 can hold: a file's name need not be one."""
    return [
        {name: escape_unencodable(x, None) if isinstance(x, str) else x for name, x in row.items()}
        for row in rows
    ]
