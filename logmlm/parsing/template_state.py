"""The file that templates are kept in: plain JSON, checked before anything is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from logmlm.config.training import MaskConfig, TemplateConfig
from logmlm.config.types import StrictModel
from logmlm.errors import ModelError, StorageError
from logmlm.system.text import json_digest

VERSION: Final = 1

Count = Annotated[int, Field(ge=0)]


class TemplateEntry(StrictModel):
    """A template in the file; `birth` and `text` are tokens joined by a space."""

    id: str
    birth: str
    text: str
    count: Annotated[int, Field(ge=1)]
    example: str


class TemplateState(StrictModel):
    """The file's content."""

    version: Annotated[int, Field(ge=1)]
    config: TemplateConfig
    masks: tuple[MaskConfig, ...]
    lines: Count
    refused: Count
    templates: tuple[TemplateEntry, ...]
    digest: str


def digest_of(state: Mapping[str, Any]) -> str:
    """Return the SHA-256 in hex of all of a state but its digest."""
    rest = {key: value for key, value in state.items() if key != "digest"}
    return json_digest(rest)


def check_state(state: object, where: str) -> TemplateState:
    """Return a state read from JSON, checked.

    Raises:
        ModelError: it is damaged, or of a newer version; the text begins with `where`.

    """
    version = state.get("version") if isinstance(state, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise ModelError(
            f"{where} is of version {version}, this logmlm reads {VERSION}; install a newer one"
        )
    try:
        checked = TemplateState.model_validate(state)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        reason = f"{key}: {first['msg']}" if key else first["msg"]
        raise ModelError(f"{where} is damaged: {reason}; train the model again") from error
    if not isinstance(state, dict) or digest_of(state) != checked.digest:
        raise ModelError(f"{where} is damaged: its digest does not fit; train the model again")
    return checked


def read_state(path: Path) -> object:
    """Return what the JSON file at `path` holds, unchecked.

    Raises:
        ModelError: the file is missing or no JSON.
        StorageError: the file can't be read.

    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing; train the model again") from error
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}; train the model again") from error
