"""What a user can set: one frozen model per section, unknown keys refused.

Sections that training fixes (`format`, `templates`, `window`) are written into the model
directory's manifest, and never stand in the daemon's config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB)?")
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, None: 1}
HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:/\s]+)):(\d{1,5})")
"""`host:port`, with an IPv6 address in brackets; the address, or the name, and the port."""


def parse_duration(value: object) -> object:
    """Seconds of `30s`, `5m`, `250ms`, `1.5h`, `1d` or a bare number of seconds."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"'{value}' is no duration; write it like 30s, 5m, 250ms, 1h or 1d")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(value: object) -> object:
    """Bytes of `512B`, `64KiB`, `10MiB`, `1GiB` or a bare number of bytes."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"'{value}' is no size; write it like 64KiB or 10MiB")
    return int(match[1]) * _BYTES[match[2]]


@dataclass(frozen=True, eq=False)
class WrittenAs:
    """Second form of a value in a config file, for the JSON Schema.

    The form stands beside the type's own. With `replaces`, it stands in place of the type's own.
    """

    form: Mapping[str, Any]
    replaces: bool = False

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the JSON Schema of all forms; Pydantic calls this."""
        return dict(self.form) if self.replaces else {"anyOf": [handler(core_schema), self.form]}


def _compiled_regex(pattern: str | None) -> str | None:
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"'{pattern}' is no regular expression: {error}") from error
    return pattern


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("the path is empty; give one")
    return value


def split_host_port(address: str) -> tuple[str, int]:
    """Split `127.0.0.1:514` or `[::1]:514`; a port alone stands for one of 127.0.0.1."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def as_tuple(value: object) -> object:
    """A list of the one word that `value` is; anything else as it is."""
    return (value,) if isinstance(value, str) else value


DURATION_FORM = WrittenAs({"type": "string", "pattern": rf"^\s*(?:{_DURATION.pattern})\s*$"})
_SIZE_FORM = WrittenAs({"type": "string", "pattern": rf"^\s*(?:{_SIZE.pattern})\s*$"})
ONE_WORD = WrittenAs({"type": "string", "minLength": 1})
"""A list of one word, written without brackets."""

Duration = Annotated[float, BeforeValidator(parse_duration), DURATION_FORM, Field(gt=0)]
Size = Annotated[int, BeforeValidator(parse_size), _SIZE_FORM, Field(gt=0)]
Regex = Annotated[str, Field(min_length=1), BeforeValidator(_compiled_regex)]
StringList = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(as_tuple), ONE_WORD
]
"""A list of words; one word alone is a list of one."""
NonEmptyPath = Annotated[Path, BeforeValidator(_not_empty)]
"""A path; an empty one, which would be the working directory, is refused."""


class StrictModel(BaseModel):
    """A part of a config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ExactlyOne(StrictModel):
    """A section with exactly one of its keys given; an empty one stands for its defaults."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    @model_validator(mode="before")
    @classmethod
    def _empty_means_defaults(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: {} if inner is None else inner for key, inner in value.items()}

    @model_validator(mode="after")
    def _exactly_one(self) -> ExactlyOne:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of " + ", ".join(type(self).model_fields))
        return self


class BaseSinkConfig(StrictModel):
    """What every sink is told.

    `name` is the receiver's; its queue of alerts is kept under it. A `grouped` sink gets groups,
    as `alerting` says, one that is not each alert. After `max_retries` failed tries a
    notification goes to the dead letters.
    """

    name: Annotated[str, Field(min_length=1)]
    grouped: bool = True
    max_retries: Annotated[int, Field(ge=0)] = 100
