"""A training config from the words of the command line, which `logmlm.train` takes too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from logmlm.config.loader import read_training_config
from logmlm.config.training import FormatConfig, TrainingConfig, unheeded
from logmlm.errors import ConfigError, UsageError
from logmlm.parsing.formats import get_format

_OPTIONS = MappingProxyType({"span": "size", "kind": "window", "name": "format"})
"""Options that are not called as what they set."""
_THRESHOLD = (
    "alerts_per_day",
    "false_alarm_rate",
    "contamination",
    "folds",
    "exactness",
    "new_errors",
)
_FIELDS = ("message_field", "time_field", "level_field")
_MODEL = ("preset", "positions", "epochs", "budget", "patience", "seed", "device")
NAMES = frozenset(
    ("name", "labels", "format", "window", "key", "gap", "size", *_FIELDS, *_MODEL, *_THRESHOLD)
)
"""All options of a training but where its logs are and its model goes."""


def training_config(
    logs: Sequence[str],
    out: str | Path | None,
    config: TrainingConfig | Path | None,
    options: dict[str, Any],
) -> TrainingConfig:
    """Lay options over a config, or over a YAML file; None stands for what was not given.

    Raises:
        ConfigError: the file can't be used.
        UsageError: an option has no meaning, or there are no logs or no place for the model.

    """
    logs = tuple(logs)
    given = _drop_none({"logs": logs or None, "out": out})
    base: dict[str, Any] = {}
    if isinstance(config, Path):
        kind = options.get("window") or ("session" if options.get("key") else None)
        base = read_training_config(config, over=given, window_kind=kind).model_dump()
    elif config is not None:
        base = config.model_dump()
    own = _sections(options, base.get("window", {}).get("kind"))
    merged = _overlay(base, given | own)
    for name, what in (("logs", "LOG files"), ("out", "--out DIR")):
        if not merged.get(name):
            raise UsageError(f"train needs {what}; see logmlm train --help")
    found = _checked(merged)
    if any(options.get(name) for name in ("format", *_FIELDS)):
        _check_format(found.format)
    return found


def _check_format(config: FormatConfig) -> None:
    try:
        if config.name != "auto":
            get_format(config)
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _checked(values: dict[str, Any]) -> TrainingConfig:
    try:
        return TrainingConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        alike = [one for one in error.errors() if one["loc"][:2] == first["loc"][:2]]
        what = " or ".join(
            one["msg"].removeprefix("Input ").removeprefix("Value error, ") for one in alike
        )
        if first["type"] == "value_error":
            raise UsageError(f"{_option(first['loc'])}{first['ctx']['error']}") from error
        raise UsageError(f"{_option(first['loc'])}{what}, not {first['input']!r}") from error


def _option(location: tuple[str | int, ...]) -> str:
    """The option that sets what stands there in a config, where it is one option."""
    if len(location) == 1:
        return ""
    name = str(location[1])
    return f"--{_OPTIONS.get(name, name.replace('_', '-'))} "


def _sections(options: dict[str, Any], configured_kind: str | None) -> dict[str, Any]:
    """The options as a config's sections; what was not given is left out."""
    said = options.get("window") or ("session" if options.get("key") else configured_kind)
    kind = "count" if said in (None, "auto") else said
    size_name = "span" if kind == "time" else "size"
    if options.get("gap") and (kinds := unheeded("gap", kind)):
        raise UsageError(
            f"--gap says nothing of {kind} windows; it is for {kinds} windows: give --key KEY too"
            f"{' and --window session' if options.get('window') else ''}"
        )
    if kind != "time" and options.get("size") and not str(options["size"]).isdigit():
        raise UsageError(
            f"--size is a number of lines, not '{options['size']}'; a span of time needs"
            " --window time"
        )
    sections = {
        "name": options.get("name"),
        "labels": options.get("labels"),
        "format": {"name": options.get("format"), **{name: options.get(name) for name in _FIELDS}},
        "window": {
            "kind": kind if any(map(options.get, ("window", "key", "size"))) else None,
            "key": options.get("key"),
            "gap": options.get("gap"),
            size_name: options.get("size"),
        },
        "model": {name: options.get(name) for name in _MODEL},
        "threshold": {name: options.get(name) for name in _THRESHOLD},
    }
    return _drop_none(sections)


def _drop_none(values: dict[str, Any]) -> dict[str, Any]:
    """Everything that is not None, at every depth."""
    inner = {k: _drop_none(v) if isinstance(v, dict) else v for k, v in values.items()}
    return {k: v for k, v in inner.items() if v not in (None, {})}


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`; of the two ways to set a threshold the given one wins."""
    result = dict(base)
    for name, value in over.items():
        if isinstance(value, dict):
            below = dict(base.get(name, {}))
            if name == "threshold" and {"alerts_per_day", "false_alarm_rate"} & set(value):
                below |= {"alerts_per_day": None, "false_alarm_rate": None}
            result[name] = _overlay(below, value)
        else:
            result[name] = value
    return result
