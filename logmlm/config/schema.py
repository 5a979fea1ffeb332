"""JSON Schemas of the config files, for editors: `python -m logmlm.config.schema DIRECTORY`.

The sections of Pydantic are the source. The schemas describe what stands in the file, so that a
duration may be `5m`, and any number or word may be a variable such as `${PORT}`. Rules between
keys ("either url or url_file") are left to `logmlm validate`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from logmlm.config.run import RunConfig
from logmlm.config.training import TrainingConfig
from logmlm.config.types import StrictModel

SCHEMAS: Mapping[str, type[StrictModel]] = MappingProxyType(
    {"run.schema.json": RunConfig, "train.schema.json": TrainingConfig}
)
"""Names of the schema files, and the section that each describes."""

_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
_NARROW = ("enum", "const", "pattern")
"""Keywords that a text with a variable in it may fail before the variable is replaced."""

_KEYWORDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
_LIST_KEYWORDS = {"minLength": "minItems", "maxLength": "maxItems"}
"""Standard keywords for limits that Pydantic writes otherwise where a validator stands before."""


class _WithoutTitles(GenerateJsonSchema):
    """Pydantic's generator, without a title that repeats each key."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  Pydantic's signature
        return False


def make_schema(kind: type[StrictModel]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a config file of that kind."""
    schema = kind.model_json_schema(schema_generator=_WithoutTitles)
    if kind is TrainingConfig:
        del schema["required"]  # the command line may give `logs` and `out`
    sections = {name: _section(section) for name, section in schema.pop("$defs").items()}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        **_section(schema),
        "$defs": {**sections, "Variable": _VARIABLE},
    }


def write_schemas(directory: Path) -> None:
    """Write all schemas into a directory."""
    for name, kind in SCHEMAS.items():
        text = json.dumps(make_schema(kind), indent=2, ensure_ascii=False)
        (directory / name).write_text(text + "\n", encoding="utf-8")


def _section(section: dict[str, Any]) -> dict[str, Any]:
    properties = {key: _value(value) for key, value in section["properties"].items()}
    return section | {"properties": properties}


def _value(value: dict[str, Any]) -> dict[str, Any]:
    """Describe one value as it is written in a file, with its default if that is plain."""
    default = value.get("default")
    outer = {} if default is None or _has_keys(default) else {"default": default}
    value = {key: content for key, content in value.items() if key != "default"}
    forms = [_form(form) for form in value.pop("anyOf", [value])]
    if any(map(_is_narrow, forms)):
        forms.append({"$ref": "#/$defs/Variable"})
    return (forms[0] if len(forms) == 1 else {"anyOf": forms}) | outer


def _has_keys(default: object) -> bool:
    """Return whether a default is a section or a list of sections, which an editor cannot fill."""
    return isinstance(default, dict) or (isinstance(default, list) and any(map(_has_keys, default)))


def _form(form: dict[str, Any]) -> dict[str, Any]:
    """Describe one form of a value with the standard keywords."""
    words = _LIST_KEYWORDS if form.get("type") == "array" else _KEYWORDS
    form = {words.get(key, key): content for key, content in form.items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(form.get(inner), dict):
            form[inner] = _value(form[inner])
    return form


def _is_narrow(form: Mapping[str, Any]) -> bool:
    return form.get("type") in ("integer", "number", "boolean") or any(
        keyword in form for keyword in _NARROW
    )


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
