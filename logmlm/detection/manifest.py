"""The model directory's manifest: everything that training fixed, and a digest of each file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from logmlm.config.training import FormatConfig, ModelConfig, ThresholdConfig, WindowConfig
from logmlm.config.types import StrictModel
from logmlm.errors import ModelError
from logmlm.system.atomic_files import recover_directory, write_json
from logmlm.system.text import json_digest

VERSION: Final = 1
FILE_NAME: Final = "manifest.json"
_REMEDY = "; copy the model directory again, or train again"


class DataSummary(StrictModel):
    """What the model learned from.

    `digest` is that of the windows as token ids; times are UTC epoch seconds.
    """

    files: tuple[str, ...] = ()
    lines: int
    discarded: dict[str, int] = Field(default_factory=dict)
    windows: int
    labelled_windows_left_out: int = 0
    first_event: float
    last_event: float
    digest: str


class Manifest(StrictModel):
    """The content of `manifest.json`; `files` maps each other file to its SHA-256.

    In the file stands beside it `checksum`, the SHA-256 of the rest, so that a changed setting
    is found as well as a damaged file.
    """

    version: int
    logmlm: str
    name: str
    created: str
    format: FormatConfig
    window: WindowConfig
    model: ModelConfig
    threshold: ThresholdConfig
    data: DataSummary
    metrics: dict[str, float]
    files: dict[str, str]

    def write(self, directory: Path) -> None:
        """Write the manifest, atomically.

        Raises:
            StorageError: it can't be written.

        """
        values = self.model_dump(mode="json")
        write_json(directory / FILE_NAME, values | {"checksum": json_digest(values)})

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Read the manifest and check every file that it names.

        If a training was killed while it replaced the directory, the old one is brought back.

        Raises:
            ModelError: the directory is no model, is incomplete or damaged, or is of a newer
                version.

        """
        recover_directory(directory)
        text = _text(directory)
        try:
            version = _Versioned.model_validate_json(text).version
            if version > VERSION:
                raise ModelError(
                    f"{directory} was made by a newer logmlm (model version {version}, this"
                    f" one reads {VERSION}); upgrade logmlm, or train again"
                )
            values = json.loads(text)
            if values.pop("checksum", None) != json_digest(values):
                raise ModelError(f"{directory / FILE_NAME} is damaged{_REMEDY}")
            manifest = cls.model_validate(values)
        except ValidationError as error:
            raise ModelError(f"{directory / FILE_NAME} is damaged{_REMEDY}") from error
        for name, digest in manifest.files.items():
            _check_file(directory / name, digest)
        return manifest

    @property
    def digest(self) -> str:
        """One SHA-256 for the whole model: of its files' digests."""
        parts = "".join(f"{name} {digest}\n" for name, digest in sorted(self.files.items()))
        return hashlib.sha256(parts.encode()).hexdigest()


class _Versioned(StrictModel):
    model_config = StrictModel.model_config | {"extra": "ignore"}
    version: int


def digest_files(directory: Path) -> dict[str, str]:
    """The SHA-256 of each file in the directory but the manifest, by name."""
    return {
        path.name: _digest(path)
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name != FILE_NAME
    }


def _text(directory: Path) -> str:
    path = directory / FILE_NAME
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = path if directory.is_dir() else directory
        is_file = directory.is_file()
        there = f"{directory} is no directory" if is_file else f"there is no {missing}"
        raise ModelError(
            f"{there}: name a model directory, made by logmlm train --out DIR"
        ) from error
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror}; mend its rights") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is damaged{_REMEDY}") from error


def _check_file(path: Path, digest: str) -> None:
    try:
        found = _digest(path)
    except FileNotFoundError as error:
        raise ModelError(
            f"{path} is missing: the model directory is incomplete; copy it whole, or train again"
        ) from error
    except OSError as error:
        raise ModelError(f"can't read {path}: {error.strerror}") from error
    if found != digest:
        raise ModelError(f"{path} is damaged: its content is not what training wrote{_REMEDY}")


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
