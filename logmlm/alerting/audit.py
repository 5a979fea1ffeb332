"""Search for secrets and personal data in what logmlm keeps: a model or a state directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from logmlm.alerting.queries import STATE
from logmlm.alerting.store.database import StateDatabase
from logmlm.alerting.store.schema import TABLES
from logmlm.config.redaction import Redactor
from logmlm.detection.manifest import FILE_NAME
from logmlm.errors import StorageError, UsageError

TEMPLATES = "templates.json"


@dataclass(frozen=True, slots=True)
class Finding:
    """The file, the template or row, and the field in which a rule matched; never the text.

    `of` is a template's id, or a table and the key of its row; empty elsewhere.
    """

    rule: str
    file: str
    of: str
    field: str


def find_secrets(place: Path, redactor: Redactor) -> Iterator[Finding]:
    """Search a model directory or a state directory; findings come file by file.

    Raises:
        UsageError: it is neither.
        StorageError: a file can't be read, or the state is damaged.

    """
    is_model = (place / FILE_NAME).is_file()
    if not is_model and not (place / STATE).is_file():
        raise UsageError(f"{place} is neither a model directory nor a state directory")
    for path in sorted([*place.glob("*.json"), *place.glob("*.jsonl")]):
        for of, value in _documents(path):
            yield from _findings(redactor, path.name, of, value)
    if (place / STATE).is_file():
        yield from _in_state(place / STATE, redactor)


def _documents(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the documents of a file: each template, each line of JSON lines, or the whole file."""
    try:
        text = path.read_text(encoding="utf-8")
        rows = text.splitlines() if path.suffix == ".jsonl" else [text]
        found = [json.loads(row) for row in rows]
    except (OSError, ValueError) as error:
        raise StorageError(f"can't read {path}: {error}") from error
    for document in found:
        if path.name == TEMPLATES and isinstance(document, dict):
            for template in document.pop("templates", ()):
                yield f"template {template['id']}", template
        yield "", document


def _in_state(path: Path, redactor: Redactor) -> Iterator[Finding]:
    with closing(StateDatabase(path)) as state:
        for table, columns in TABLES.items():
            for row in state.select(table):
                of = f"{table} {row[columns[0]]}"
                if redactor.matching_rules(of):  # a group's key may be what a line said
                    of = f"{table} {redactor(of.partition(' ')[2])}"
                for column, value in row.items():
                    yield from _findings(redactor, path.name, of, _parsed(value), column)


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and value[:1] in "{[" else value
    except ValueError:
        return value


def _findings(
    redactor: Redactor, file: str, of: str, value: Any, field: str = ""
) -> Iterator[Finding]:
    for name, text in _texts(value, field):
        for rule in redactor.matching_rules(text):
            yield Finding(rule, file, of, redactor(name))


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield each text in plain data, with the path of keys that leads to it; keys are texts too.

    A text whose key says what it is (`"password": "…"`) is looked at with it.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            below = f"{name}.{key}".lstrip(".")
            yield name, str(key)
            yield from _texts(inner, below)
            if isinstance(inner, str):
                yield below, f"{key}={inner}" if " " not in inner else ""
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, name)
    elif isinstance(value, str):
        yield name, value
