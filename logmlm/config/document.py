"""Config documents: YAML to plain data, with the line of every key.

`${VAR}` is replaced in values only, after the YAML was parsed, so that a variable's content
can't add keys; `$${VAR}` stands for the text `${VAR}` itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from logmlm.errors import ConfigError

_VARIABLE = re.compile(r"\$?\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_MAX_DEPTH = 20

Location = tuple[str | int, ...]


@dataclass
class Document:
    """A parsed file: plain data, and the line (from 1) of every key and list item in it.

    `environment` fills `${VAR}`.
    """

    path: Path
    environment: Mapping[str, str]
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Location, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, environment: Mapping[str, str] | None) -> Document:
        """Read a file; without `environment` the process's own is taken.

        Raises:
            ConfigError: it can't be read, is no YAML of keys, or needs a variable that is not set.

        """
        document = cls(path, os.environ if environment is None else environment)
        root = _compose(path)
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path}: holds no keys; write 'key: value' lines")
        document.data = document._value(root, ())
        return document

    def error(self, line: int, message: str) -> ConfigError:
        """What is wrong in a line, to be raised."""
        return ConfigError(f"{self.path}:{line}: {message}")

    def subsection(self, key: str) -> Document:
        """The section of that name, as if it were the whole file."""
        data = self.data.get(key)
        if not isinstance(data, dict):
            raise ConfigError(f"{self.path}: has no section '{key}'; see --help")
        lines = {at[1:]: line for at, line in self.lines.items() if at[:1] == (key,)}
        return Document(self.path, self.environment, data, lines)

    def locate(self, location: Location) -> tuple[Location, int]:
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


def _line(part: yaml.Node | yaml.Event) -> int:
    return part.start_mark.line + 1 if part.start_mark else 1


def _compose(path: Path) -> yaml.Node | None:
    try:
        text = path.read_text(encoding="utf-8")
        _reject_aliases_and_deep_nesting(path, text)
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


def _reject_aliases_and_deep_nesting(path: Path, text: str) -> None:
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
