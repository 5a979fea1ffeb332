"""Config files: from a document to checked sections; an error names file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from logmlm.config.document import Document, Location
from logmlm.config.kafka import KafkaSourceConfig
from logmlm.config.loop_check import find_feedback_loops
from logmlm.config.run import RunConfig
from logmlm.config.training import TrainingConfig, TrainingFile, WindowConfig, unheeded
from logmlm.config.types import StrictModel
from logmlm.errors import ConfigError, UsageError

_SHOWN = ("literal_error", "greater_than", "greater_than_equal", "less_than", "less_than_equal")
"""Errors whose value may be shown: words and numbers, never a secret."""

_WORDS = {
    "path_type": "should be a path",
    "tuple_type": "should be a list",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
}
"""What Pydantic says in Python's words."""

AnySection = TypeVar("AnySection", bound=StrictModel)


def read_training_config(
    path: Path,
    environment: Mapping[str, str] | None = None,
    over: Mapping[str, Any] = MappingProxyType({}),
    window_kind: str | None = None,
) -> TrainingConfig:
    """Read what `logmlm train` is told; `environment` fills `${VAR}` (None: the process's own).

    The keys of `over` (`logs`, `out` from the command line) replace those of the file, which may
    then leave them out. `window_kind` is the kind that the command line asks for.

    Raises:
        ConfigError: the file can't be read, or is wrong; the text has one line for each
            mistake, with file, line and key.

    """
    document = Document.read(path, environment)
    if _kind(document) is RunConfig:
        raise ConfigError(f"{path}: this is a config for running; use it with logmlm run --config")
    document.data |= over
    config = _check(document, TrainingConfig)
    _refuse_unheeded(document, config.window, window_kind or config.window.kind)
    return config


def read_run_config(path: Path, environment: Mapping[str, str] | None = None) -> RunConfig:
    """Read what `logmlm run` is told; as `read_training_config`."""
    document = Document.read(path, environment)
    if _kind(document) is TrainingConfig:
        raise ConfigError(f"{path}: this is for training; use it with logmlm train --config")
    return _check(document, RunConfig)


def read_config(
    path: Path, environment: Mapping[str, str] | None = None
) -> TrainingFile | RunConfig:
    """Read a config of either kind; its keys decide which; as `read_training_config`.

    One for training is a `TrainingFile`.
    """
    document = Document.read(path, environment)
    kind = _kind(document)
    if kind is None:
        raise _of_no_kind(document)
    if kind is RunConfig:
        return _check(document, kind)
    config = _check(document, TrainingFile)
    _refuse_unheeded(document, config.window, config.window.kind)
    return config


def _refuse_unheeded(document: Document, window: WindowConfig, kind: str) -> None:
    """See that each setting of windows says something of windows of that kind.

    Defaults may be written out.
    """
    for key in window.model_fields_set:
        kinds = unheeded(key, kind)
        if kinds and getattr(window, key) != WindowConfig.model_fields[key].default:
            line = document.locate(("window", key))[1]
            text = f"'window.{key}' says nothing of windows of kind '{kind}'; it is for {kinds}"
            raise document.error(line, f"{text} ('window.kind')")


def read_kafka_config(
    path: Path | None, over: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> KafkaSourceConfig:
    """Read how Kafka is reached: a config for running, or the keys of its `source.kafka` alone.

    What `over` says counts more; without a file it is all there is. As `read_training_config`.

    Raises:
        UsageError: `over` can't be used.

    """
    if path is None:
        try:
            return KafkaSourceConfig.model_validate(over)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise UsageError(f"this is no address of Kafka: {_plain(first)}") from error
    document = Document.read(path, environment)
    if "source" in document.data:
        document = document.subsection("source").subsection("kafka")
    document.data |= over
    return _check(document, KafkaSourceConfig)


def _plain(details: ErrorDetails) -> str:
    if details["type"] in ("missing", "too_short"):
        return f"'{details['loc'][0]}' is missing"
    return f"'{details['loc'][0]}': {details['msg'].removeprefix('Value error, ')}"


def _of_no_kind(document: Document) -> ConfigError:
    known = (*TrainingConfig.model_fields, *RunConfig.model_fields)
    for key in document.data:
        near = difflib.get_close_matches(key, known, n=1)
        if near and key not in known:
            hint = f"unknown key '{key}'; did you mean '{near[0]}'?"
            return document.error(document.locate((key,))[1], hint)
    return ConfigError(
        f"{document.path}: can't tell whether this is for training (keys 'logs', 'out') "
        "or for running (keys 'source', 'sinks')"
    )


def _kind(document: Document) -> type[TrainingConfig] | type[RunConfig] | None:
    """The kind of config that has more of the file's keys; None where both have as many."""
    training, running = (
        len(set(document.data) & set(kind.model_fields)) for kind in (TrainingConfig, RunConfig)
    )
    if training == running:
        return None
    return TrainingConfig if training > running else RunConfig


def _check(document: Document, kind: type[AnySection]) -> AnySection:
    try:
        config = kind.model_validate(document.data)
    except ValidationError as error:
        found: dict[tuple[int, str], list[str]] = {}
        every = error.errors(include_url=False)
        for details in every:
            if details["type"] == "too_short" and any(_is_inside(one, details) for one in every):
                continue  # its entries are there, and wrong
            line, subject, complaint = _describe_error(document, kind, details)
            found.setdefault((line, subject), []).append(complaint)
    else:
        found = _loops(document, config)
        if not found:
            return config
    raise ConfigError(
        "\n".join(
            f"{document.path}:{line}: {subject}{' or '.join(complaints)}"
            for (line, subject), complaints in sorted(found.items())
        )
    )


def _loops(document: Document, config: StrictModel) -> dict[tuple[int, str], list[str]]:
    """Complaints by line and subject, if what is written would be read again."""
    found: dict[tuple[int, str], list[str]] = {}
    for location, complaint in find_feedback_loops(config) if isinstance(config, RunConfig) else ():
        place, line = document.locate(location)
        found.setdefault((line, f"'{_dotted(place)}': "), []).append(complaint)
    return found


def _is_inside(inner: ErrorDetails, outer: ErrorDetails) -> bool:
    depth = len(outer["loc"])
    return len(inner["loc"]) > depth and inner["loc"][:depth] == outer["loc"]


def _describe_error(
    document: Document, kind: type[StrictModel], details: ErrorDetails
) -> tuple[int, str, str]:
    """Line, subject and complaint of one mistake; two with one subject are joined by 'or'."""
    location = details["loc"]
    place, line = document.locate(location)
    if details["type"] == "extra_forbidden":
        return line, "", _unknown_key(kind, location)
    if details["type"] == "missing":
        section = f"'{_dotted(place)}' " if place else ""
        return line, f"{section}needs key '{location[-1]}'", ""
    if details["type"] == "too_short":
        return line, f"'{_dotted(place)}' ", "needs an entry at least"
    if details["type"] in ("model_type", "model_attributes_type"):
        return (
            line,
            f"'{_dotted(place)}' ",
            "should be a section: a key, then its own keys below it",
        )
    if details["type"] == "value_error":
        return line, f"'{_dotted(place)}': " if place else "", str(details["ctx"]["error"])
    complaint = _WORDS.get(details["type"], details["msg"].removeprefix("Input "))
    if details["type"] in _SHOWN:
        complaint += f", not {details['input']!r}"
    if details["type"] == "string_too_short" and details["input"] == "":
        complaint = "is empty; give it a value"
    return line, f"'{_dotted(place)}' ", complaint


def _unknown_key(kind: type[StrictModel], location: Location) -> str:
    key, section = str(location[-1]), _section_at(kind, location[:-1])
    where = f" in '{_dotted(location[:-1])}'" if len(location) > 1 else ""
    near = difflib.get_close_matches(key, list(section.model_fields), n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else "known: " + ", ".join(section.model_fields)
    return f"unknown key '{key}'{where}; {hint}"


def _section_at(kind: type[BaseModel], location: Location) -> type[BaseModel]:
    """Find the section that stands at `location` below `kind`."""
    for part in location:
        if part in kind.model_fields:
            kind = _section_in(kind.model_fields[str(part)].annotation) or kind
    return kind


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """Find the section in an annotation like `FileSourceConfig | None` or `tuple[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
