"""Checks before the start: is the config right, is the model there, can it work here?"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from logmlm.alerting.receivers import build_receivers
from logmlm.config.globs import is_excluded, matches
from logmlm.config.loader import read_config
from logmlm.config.run import RunConfig
from logmlm.config.sources import SourceConfig
from logmlm.config.training import TrainingConfig, TrainingFile
from logmlm.daemon.app import resolve_state_dir
from logmlm.detection.manifest import FILE_NAME, Manifest
from logmlm.detection.model_dir import require_replaceable
from logmlm.errors import ConfigError, LogmlmError, ModelError, StorageError
from logmlm.evaluation.labels import Labels
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats.registry import auto_candidates, get_format
from logmlm.parsing.input_check import SUSPICIOUS_SHARE
from logmlm.parsing.pattern_advice import slow_patterns, slow_rules
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import LogLine, one_by_one
from logmlm.sources.archive.reader import STDIN, expand, read_lines, require_nonempty
from logmlm.sources.binary_check import why_not_text
from logmlm.sources.file.discovery import reject_directories, reject_files
from logmlm.sources.file.gzip_tail import MAGIC
from logmlm.sources.fingerprint import HEAD_BYTES
from logmlm.sources.journald import journalctl
from logmlm.sources.kafka.url import SCHEME, KafkaUrl
from logmlm.sources.syslog.sockets import bind, unbind
from logmlm.system.secret_file import read_secret
from logmlm.training.train import DETECTION_LINES, check_device, choose_format

SAMPLED_FILES = 20
"""So many of the followed files are looked into."""
LABELS_IN_LINE = "in-line"
"""In place of a labels' file: the log's own alert column says it."""


def check_config(
    path: Path,
    environment: Mapping[str, str],
    read_model: Callable[[Path], Any] = Manifest.read,
) -> list[str]:
    """Check a config of either kind: first that it is right, then the model, then this machine.

    Returns sentences on what was found to be good, and, marked `note:`, on what may be meant
    but looks odd. Nothing is written, and no receiver is called.

    Raises:
        ConfigError: the config is wrong, or what it names is missing here.
        ModelError: the model directory can't be used.

    """
    config = read_config(path, environment)
    kind = "training" if isinstance(config, TrainingConfig) else "running"
    found = [f"{path} is a right config for {kind}"]
    if isinstance(config, TrainingFile):
        return found + _check_training(path, config)
    try:
        manifest = read_model(config.model.path)
    except ModelError as error:
        raise ModelError(f"{path}: 'model.path': {error}") from error
    found.append(f"model {manifest.name} in {config.model.path} is complete")
    found += _check_running(path, config, environment) + slow_rules(config.redact)
    return found + _check_followed(config, manifest)


def _check_training(path: Path, config: TrainingFile) -> list[str]:
    """What `train` would refuse before it reads a line is refused here, in its words."""
    _check_logs(path, config)
    with _named(path, "labels"):
        if config.labels is not None and str(config.labels) != LABELS_IN_LINE:
            Labels.read(config.labels)
    if "out" not in config.left_out:
        with _named(path, "out"):
            require_replaceable(config.out, (FILE_NAME,))
        _require_writable(path, "out", config.out)
    with _named(path, "format"):
        auto_candidates(config.format) if config.format.name == "auto" else get_format(
            config.format
        )
    with _named(path, "templates"):
        TemplateMiner(config.templates)
    with _named(path, "model.device"):
        check_device(config.model.device)
    return [*_places(path, config), *slow_patterns(config), *_check_lines(path, config)]


def _places(path: Path, config: TrainingFile) -> list[str]:
    """Say of logs and model directory that they are good, or what the command line is to give."""
    if not config.left_out:
        return ["logs are there, and the model directory can be written"]
    words = {"logs": "LOG", "out": "--out DIR"}
    given = " ".join(words[key] for key in config.left_out)
    keys = " and ".join(f"'{key}'" for key in config.left_out)
    return [
        f"note: {keys} {'are' if len(config.left_out) > 1 else 'is'} to be given on the command"
        f" line: logmlm train --config {path} {given}"
    ]


def _check_lines(path: Path, config: TrainingConfig) -> list[str]:
    """Read the first lines as `train` would, and say in which format and what is odd about it."""
    logs = [log for log in config.logs if log != STDIN and not log.startswith(SCHEME)]
    if not logs:
        return []
    said: list[str] = []
    with _named(path, "format"):
        read = read_lines(expand(logs), time.time(), keep_going=True)
        first = list(islice(one_by_one(read), DETECTION_LINES))
        line_format, _ = choose_format(config.format, first, said.append)
    multiline = config.format.named(line_format.name).multiline
    reader = EventParser(*(line_format, config.window.key, lambda _: ""), multiline, finished=True)
    return said + _line_warnings(reader, first)


def _check_followed(config: RunConfig, manifest: Manifest) -> list[str]:
    """Read the first lines of the files that are there as the model does; say what is odd."""
    patterns = config.source.file.include if config.source.file else ()
    exclude = config.source.file.exclude if config.source.file else ()
    logs = [log for pattern in patterns for log in _existing(pattern)]
    found = []
    for log in [log for log in logs if not is_excluded(log, exclude)][:SAMPLED_FILES]:
        reader = EventParser(
            *(get_format(manifest.format), manifest.window.key, lambda _: ""),
            manifest.format.multiline,
            finished=True,
        )
        with suppress(LogmlmError):  # what can't be read was told of before
            read = read_lines([log], time.time(), keep_going=True)
            lines = list(islice(one_by_one(read), DETECTION_LINES))
            found += [f"{doubt} ({log})" for doubt in _line_warnings(reader, lines)]
    return found


def _line_warnings(reader: EventParser, lines: Sequence[LogLine]) -> list[str]:
    """Return notes on lines that the reader misreads or leaves out."""
    reader.feed(lines)
    reader.flush()
    misfits, of = reader.unmatched
    found = reader.find_warnings()
    if misfits > SUSPICIOUS_SHARE * of:
        found.append(f"{misfits} of the first {of} lines are not of the line format")
    return [f"note: {doubt}" for doubt in found]


def _check_logs(path: Path, config: TrainingConfig) -> None:
    found = []
    for pattern in config.logs:
        if pattern.startswith(SCHEME):
            with _named(path, "logs"):
                KafkaUrl.parse(pattern, 0.0)
            continue
        logs = matches(pattern)
        if not logs and pattern != STDIN:
            raise ConfigError(f"{path}: 'logs': no file matches {pattern}")
        found += logs or [pattern]
    with _named(path, "logs"):
        if found:
            require_nonempty(found)


@contextmanager
def _named(config: Path, key: str) -> Iterator[None]:
    """Let what is wrong be an error of that key."""
    try:
        yield
    except LogmlmError as error:
        raise ConfigError(f"{config}: '{key}': {error}") from error


def _check_running(path: Path, config: RunConfig, environment: Mapping[str, str]) -> list[str]:
    notes = _check_source(path, config.source)
    with _named(path, "model.device"):
        check_device(config.model.device)
    with _named(path, "sinks"):
        build_receivers(config, sys.stdout, clock=lambda: 0.0)
    for sink in config.sinks:
        if sink.file is not None:
            _require_folder(path, "sinks.file.path", sink.file.path)
    with _named(path, "source.kafka"):
        _check_kafka(config.source)
    if config.http.token_file is not None:
        with _named(path, "http.token_file"):
            read_secret("token_file", config.http.token_file)
    _require_writable(path, "state_dir", resolve_state_dir(config, environment))
    return [*notes, "files can be read, secrets are there, and the state can be written"]


def _check_source(path: Path, config: SourceConfig) -> list[str]:
    """Say what is found of the source; nothing is read, and no port is kept."""
    try:
        if config.journald is not None:
            return journalctl.check_access(config.journald)
        if config.syslog is not None:
            unbind(sock for _, sock in bind(config.syslog))
    except StorageError as error:
        raise ConfigError(f"{path}: 'source.{config.kind}': {error}") from error
    notes = _check_rotated(path, config)
    patterns, exclude = (config.file.include, config.file.exclude) if config.file else ((), ())
    with _named(path, "source.file.include"):
        reject_directories(patterns)
    for pattern in patterns:
        logs = [log for log in _existing(pattern) if not is_excluded(log, exclude)]
        notes += [] if logs else [f"note: no file matches {pattern} yet; it will be waited for"]
        for log in logs:
            _require_readable(path, "source.file.include", Path(log))
            notes += _note_no_text(Path(log))
    return notes


def _check_rotated(path: Path, config: SourceConfig) -> list[str]:
    """Note which directories are not there that rotations are said to move files to."""
    rotated = config.file.rotated if config.file else ()
    with _named(path, "source.file.rotated"):
        reject_files(rotated)
    return [f"note: there is no directory {each} yet" for each in rotated if not matches(each)]


def _note_no_text(path: Path) -> list[str]:
    """Note that a file to follow will not be read, if it is no text."""
    if not path.is_file():
        return []
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return []  # `run` says so
    packed = head.startswith(MAGIC)  # rotated ones are unpacked
    reason = "" if packed else why_not_text(head.lstrip(b"\0")).partition(", or name it")[0]
    return [f"note: {path} is no text, and is not read: {reason}"] if reason else []


def _existing(pattern: str) -> Iterator[str]:
    """What matches a pattern; a link to nothing is passed over, as it is when it is followed."""
    for found in matches(pattern):
        try:
            Path(found).stat()
        except PermissionError:
            yield found  # this is told by whoever wants to read it
        except OSError:
            continue
        else:
            yield found


def _check_kafka(config: SourceConfig) -> None:
    """See that secrets and certificates are there; no broker is called."""
    if config.kafka is not None:
        from logmlm.system.kafka import client_options

        client_options(config.kafka)


def _require_readable(config: Path, key: str, path: Path) -> None:
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{config}: '{key}': {path} can't be read by this user")


def _require_folder(config: Path, key: str, path: Path) -> None:
    """See that a file can be appended to, or made in the folder that is to hold it."""
    if path.is_dir():
        raise ConfigError(f"{config}: '{key}': {path} is a directory; name a file in it")
    place = path if path.exists() else path.absolute().parent
    if place.is_dir() == path.exists() or not os.access(place, os.W_OK):
        raise ConfigError(f"{config}: '{key}': {path} can't be written by this user; make {place}")


def _require_writable(config: Path, key: str, path: Path) -> None:
    """See that a directory can be written, or made in the nearest one above that is there."""
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"{config}: '{key}': {there} is no directory that this user can write to"
            f" ({error.strerror})"
        ) from error
