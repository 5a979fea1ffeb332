"""Config files: YAML to sections, with the line of every key, so that an error names it.

`${VAR}` is replaced in values only, after the YAML was parsed, so that a variable's content
can't add keys; `$${VAR}` stands for the text `${VAR}` itself.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from logmlm.config import Section, TrainingConfig
from logmlm.errors import ConfigError, UsageError
from logmlm.kafkaconfig import KafkaSourceConfig
from logmlm.runconfig import RunConfig

_VARIABLE = re.compile(r"\$?\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SHOWN = ("literal_error", "greater_than", "greater_than_equal", "less_than", "less_than_equal")
"""Errors whose value may be shown: words and numbers, never a secret."""
_MAX_DEPTH = 20

Location = tuple[str | int, ...]
AnySection = TypeVar("AnySection", bound=Section)


def read_training_config(
    path: Path, environment: Mapping[str, str] | None = None
) -> TrainingConfig:
    """Read what `logmlm train` is told; `environment` fills `${VAR}` (None: the process's own).

    Raises:
        ConfigError: the file can't be read, or is wrong; the text has one line for each
            mistake, with file, line and key.

    """
    document = _Document.read(path, environment)
    if _kind(document) is RunConfig:
        raise ConfigError(f"{path}: this is a config for running; use it with logmlm run --config")
    return _check(document, TrainingConfig)


def read_run_config(path: Path, environment: Mapping[str, str] | None = None) -> RunConfig:
    """Read what `logmlm run` is told; as `read_training_config`."""
    document = _Document.read(path, environment)
    if _kind(document) is TrainingConfig:
        raise ConfigError(f"{path}: this is for training; use it with logmlm train --config")
    return _check(document, RunConfig)


def read_config(
    path: Path, environment: Mapping[str, str] | None = None
) -> TrainingConfig | RunConfig:
    """Read a config of either kind; its keys decide which; as `read_training_config`."""
    document = _Document.read(path, environment)
    kind = _kind(document)
    if kind is None:
        raise ConfigError(
            f"{path}: can't tell whether this is for training (keys 'logs', 'out') "
            "or for running (keys 'source', 'sinks')"
        )
    return _check(document, kind)


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
    document = _Document.read(path, environment)
    if "source" in document.data:
        document = document.below("source").below("kafka")
    document.data |= over
    return _check(document, KafkaSourceConfig)


def _plain(details: ErrorDetails) -> str:
    if details["type"] in ("missing", "too_short"):
        return f"'{details['loc'][0]}' is missing"
    return f"'{details['loc'][0]}': {details['msg'].removeprefix('Value error, ')}"


@dataclass
class _Document:
    """A parsed file: plain data, and the line (from 1) of every key and list item in it."""

    path: Path
    environment: Mapping[str, str]
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Location, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, environment: Mapping[str, str] | None) -> _Document:
        document = cls(path, os.environ if environment is None else environment)
        root = _compose(path)
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path}: holds no keys; write 'key: value' lines")
        document.data = document._value(root, ())
        return document

    def error(self, line: int, message: str) -> ConfigError:
        return ConfigError(f"{self.path}:{line}: {message}")

    def below(self, key: str) -> _Document:
        """The section of that name, as if it were the whole file."""
        data = self.data.get(key)
        if not isinstance(data, dict):
            raise ConfigError(f"{self.path}: has no section '{key}'; see --help")
        lines = {at[1:]: line for at, line in self.lines.items() if at[:1] == (key,)}
        return _Document(self.path, self.environment, data, lines)

    def place(self, location: Location) -> tuple[Location, int]:
        """Find the longest part of `location` that stands in the file, and its line."""
        while location and location not in self.lines:
            location = location[:-1]
        return location, self.lines.get(location, 1)

    def _value(self, node: yaml.Node, at: Location) -> Any:
        self.lines.setdefault(at, _line(node))
        if isinstance(node, yaml.MappingNode):
            return {key: self._value(inner, (*at, key)) for key, inner in self._items(node, at)}
        if isinstance(node, yaml.SequenceNode):
            return [self._value(inner, (*at, index)) for index, inner in enumerate(node.value)]
        return self._scalar(node)

    def _items(self, node: yaml.MappingNode, at: Location) -> list[tuple[str, yaml.Node]]:
        items: dict[str, yaml.Node] = {}
        for key_node, inner in node.value:
            key, line = key_node.value, _line(key_node)
            if not isinstance(key, str):
                raise self.error(line, "a key should be one word")
            if key in items:
                first = self.lines[(*at, key)]
                raise self.error(line, f"key '{key}' is already given in line {first}")
            items[key] = inner
            self.lines[(*at, key)] = line
        return list(items.items())

    def _scalar(self, node: yaml.Node) -> Any:
        loader = yaml.SafeLoader("")
        try:
            value = loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise self.error(
                _line(node), f"'{node.value}' is no valid value: {_reason(error)}"
            ) from error
        finally:
            loader.dispose()
        if not isinstance(value, str):
            return value
        value = _VARIABLE.sub(lambda match: self._variable(match, _line(node)), value)
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self.error(_line(node), "this value is no valid Unicode text")
        return value

    def _variable(self, match: re.Match[str], line: int) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        if match[1] not in self.environment:
            raise self.error(line, f"environment variable {match[1]} is not set; set it")
        return self.environment[match[1]]


def _kind(document: _Document) -> type[TrainingConfig] | type[RunConfig] | None:
    """The kind of config that has more of the file's keys; None where both have as many."""
    training, running = (
        len(set(document.data) & set(kind.model_fields)) for kind in (TrainingConfig, RunConfig)
    )
    if training == running:
        return None
    return TrainingConfig if training > running else RunConfig


def _line(part: yaml.Node | yaml.Event) -> int:
    return part.start_mark.line + 1 if part.start_mark else 1


def _compose(path: Path) -> yaml.Node | None:
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_traps(path, text)
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is no UTF-8; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        said = f"{path}:{line}: this is no valid YAML: {error.problem}"
        if "${" in "".join(text.splitlines()[line - 1 : line]):
            said += "; between { } or [ ], write '${VAR}' in quotes"
        raise ConfigError(said) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this is no valid YAML: {_reason(error)}") from error


def _refuse_traps(path: Path, text: str) -> None:
    """Refuse what makes a small file costly: aliases (they multiply) and deep nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                f"{path}:{_line(event)}: aliases (*x) are not supported; write it out"
            )
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ConfigError(f"{path}:{_line(event)}: sections are nested too deeply")


def _reason(error: Exception) -> str:
    """Say in one line what PyYAML says in several."""
    return getattr(error, "problem", None) or str(error).partition("\n")[0]


def _check(document: _Document, kind: type[AnySection]) -> AnySection:
    try:
        return kind.model_validate(document.data)
    except ValidationError as error:
        found: dict[tuple[int, str], list[str]] = {}
        every = error.errors(include_url=False)
        for details in every:
            if details["type"] == "too_short" and any(_is_inside(one, details) for one in every):
                continue  # its entries are there, and wrong
            line, subject, complaint = _complaint(document, kind, details)
            found.setdefault((line, subject), []).append(complaint)
    raise ConfigError(
        "\n".join(
            f"{document.path}:{line}: {subject}{' or '.join(complaints)}"
            for (line, subject), complaints in sorted(found.items())
        )
    )


def _is_inside(inner: ErrorDetails, outer: ErrorDetails) -> bool:
    depth = len(outer["loc"])
    return len(inner["loc"]) > depth and inner["loc"][:depth] == outer["loc"]


def _complaint(
    document: _Document, kind: type[Section], details: ErrorDetails
) -> tuple[int, str, str]:
    """Line, subject and complaint of one mistake; two with one subject are joined by 'or'."""
    location = details["loc"]
    place, line = document.place(location)
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
    complaint = details["msg"].removeprefix("Input ")
    if details["type"] in _SHOWN:
        complaint += f", not {details['input']!r}"
    return line, f"'{_dotted(place)}' ", complaint


def _unknown_key(kind: type[Section], location: Location) -> str:
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
