"""The model directory as a whole: written beside its place, then put there in one move."""

from __future__ import annotations

import json
import os
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from logmlm.detection.calibration import KINDS, Calibration, Kind
from logmlm.detection.manifest import FILE_NAME as MANIFEST_FILE
from logmlm.detection.novelty import NoveltyRule
from logmlm.detection.screening import Screen
from logmlm.errors import ModelError, StorageError
from logmlm.system.atomic_files import PRIVATE_DIRECTORY, replace_directory, sync, write_json

WINDOWS_FILE = "windows.npz"
CALIBRATION_FILE = "calibration.json"
NOVELTY_FILE = "novelty.json"
ARRAY_DAMAGE = (ValueError, KeyError, IndexError, EOFError, BadZipFile, zlib.error)
"""What reading a damaged file of arrays raises."""


@dataclass(frozen=True, slots=True)
class TrainingWindows:
    """A sample of the training windows as words, for the simple rules to be set on.

    `folds[i]` is the part that window i was held out with, -1 where it never was.
    """

    words: tuple[tuple[str, ...], ...]
    folds: tuple[int, ...]

    def save(self, directory: Path) -> None:
        """Write them as arrays: no pickle.

        Raises:
            StorageError: the file can't be written.

        """
        index = {word: i for i, word in enumerate(dict.fromkeys(w for s in self.words for w in s))}
        try:
            np.savez_compressed(
                directory / WINDOWS_FILE,
                vocabulary=np.array(list(index), dtype=np.str_),
                tokens=np.array([index[w] for s in self.words for w in s], dtype=np.int32),
                lengths=np.array([len(s) for s in self.words], dtype=np.int64),
                folds=np.array(self.folds, dtype=np.int16),
            )
        except OSError as error:
            raise StorageError(f"can't write {directory / WINDOWS_FILE}: {error}") from error

    @classmethod
    def read(cls, directory: Path) -> TrainingWindows:
        """Read what `save` wrote.

        Raises:
            ModelError: the file is missing or damaged.

        """
        path = directory / WINDOWS_FILE
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                words: list[str] = arrays["vocabulary"][arrays["tokens"]].tolist()
                ends = np.cumsum(arrays["lengths"]).tolist()
                folds: list[int] = arrays["folds"].tolist()
        except (OSError, *ARRAY_DAMAGE) as error:
            raise ModelError(f"can't read {path}: {error}; train again") from error
        starts = [0, *ends][:-1]
        return cls(
            tuple(tuple(words[a:b]) for a, b in zip(starts, ends, strict=True)), tuple(folds)
        )


def sample(count: int, limit: int, seed: int) -> npt.NDArray[np.int64]:
    """At most `limit` of `count` indices, in order."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def save_calibration(
    calibration: Calibration,
    screen: Screen | None,
    directory: Path,
    parts: Mapping[Kind, Calibration] = MappingProxyType({}),
) -> None:
    """Write `calibration.json`; `parts` are the calibrations of windows that were cut.

    Raises:
        StorageError: it can't be written.

    """
    state = calibration.as_dict() | {
        "screen": screen.as_dict() if screen else None,
        "parts": {kind: part.as_dict() for kind, part in parts.items()},
    }
    write_json(directory / CALIBRATION_FILE, state)


def load_calibration(directory: Path) -> tuple[Calibration, Screen | None]:
    """Read `calibration.json`; a directory of an older version has no screen, or one without steps.

    That one is left out, as its looks are no more: all windows are scored exactly then.

    Raises:
        ModelError: it is missing or damaged.

    """
    state = _calibration_state(directory)
    screen = state.get("screen")
    if isinstance(screen, dict) and "look" in screen:
        screen = None
    return Calibration.from_dict(state), None if screen is None else Screen.from_dict(screen)


def load_parts(directory: Path) -> dict[Kind, Calibration]:
    """Read the calibrations of windows that were cut; a directory of an older version has none.

    Raises:
        ModelError: the file is missing or damaged.

    """
    state = _calibration_state(directory).get("parts", {})
    if not isinstance(state, dict):
        raise ModelError("calibration.json is damaged (its parts); train again")
    return {kind: Calibration.from_dict(state[kind]) for kind in KINDS if kind in state}


def save_novelty(rule: NoveltyRule, directory: Path) -> None:
    """Write `novelty.json`.

    Raises:
        StorageError: it can't be written.

    """
    write_json(directory / NOVELTY_FILE, rule.as_dict())


def load_novelty(directory: Path) -> NoveltyRule | None:
    """Read `novelty.json`; None for a directory of an older version, which has none.

    Raises:
        ModelError: it is damaged.

    """
    path = directory / NOVELTY_FILE
    if not path.exists():
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"can't read {path}: {error}; train again") from error
    return NoveltyRule.from_dict(state)


def _calibration_state(directory: Path) -> dict[str, Any]:
    path = directory / CALIBRATION_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"can't read {path}: {error}") from error
    if not isinstance(state, dict):
        raise ModelError(f"{path} is damaged; restore it or train again")
    return state


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """Yield an empty directory that takes the place of `directory` if all goes well.

    On any error the old directory stays as it was, and nothing is left beside it. If the process
    is killed while the one takes the other's place, `Manifest.read` brings the old one back.
    The new directory is its owner's alone, or keeps mode and group of the model that it replaces.

    Raises:
        StorageError: the place can't be written to.

    """
    fresh = directory.with_name(f".{directory.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)  # of a training that was killed while it saved
        fresh.mkdir(mode=PRIVATE_DIRECTORY, parents=True)
    except OSError as error:
        raise StorageError(f"can't write to {directory.parent}: {error.strerror}") from error
    try:
        yield fresh
        _put(fresh, directory)
    except OSError as error:
        raise StorageError(f"can't write {directory}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def require_replaceable(directory: Path, names: Sequence[str]) -> None:
    """See that `directory` is free, or holds a model that may be replaced.

    Raises:
        StorageError: it holds something else.

    """
    if directory.is_dir() and any(directory.iterdir()):
        if not any((directory / name).exists() for name in names):
            raise StorageError(
                f"{directory} exists and is no model directory; choose another --out"
            )
    elif directory.exists() and not directory.is_dir():
        raise StorageError(f"{directory} is a file; choose another --out")


def _put(fresh: Path, directory: Path) -> None:
    mode, group = PRIVATE_DIRECTORY, -1
    if (directory / MANIFEST_FILE).is_file():  # an operator may have let a group read it
        before = directory.stat()
        mode, group = stat.S_IMODE(before.st_mode), before.st_gid
    for path in (*fresh.iterdir(), fresh):
        with suppress(PermissionError):  # of a group that this user is not in
            os.chown(path, -1, group)
        path.chmod(mode if path == fresh else mode & 0o666)
        sync(path)
    replace_directory(fresh, directory)
