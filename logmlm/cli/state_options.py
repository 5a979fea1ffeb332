"""What the commands over a daemon's state share: whose state it is, durations, moments."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logmlm.errors import UsageError

if TYPE_CHECKING:
    from logmlm.alerting.store.database import StateDatabase
    from logmlm.config.run import RunConfig

CENTURY_S = 100 * 365.25 * 86400.0

output_option = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


def state_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whose state is meant."""
    path = click.Path(path_type=Path)
    command = click.option("--config", type=path, help="The daemon's config file.")(command)
    return click.option(
        "--state-dir", type=path, help="The daemon's state. [default: as run has it]"
    )(command)


def opened(state_dir: Path | None, config: Path | None) -> AbstractContextManager[StateDatabase]:
    """Open the state that the options mean, to be closed in the end."""
    import os

    from logmlm.alerting.queries import open_state
    from logmlm.daemon.state_dir import default_state_dir

    if state_dir is not None and config is not None:
        raise UsageError("give --state-dir or --config, not both")
    if config is not None:
        state_dir = daemon_config(config).state_dir
    return closing(open_state(state_dir or default_state_dir(os.environ)))


def daemon_config(path: Path) -> RunConfig:
    """The config of a daemon that another process is.

    Secrets that systemd gives to that process alone are not asked for here.
    """
    import os

    from logmlm.config.loader import read_run_config

    return read_run_config(path, {"CREDENTIALS_DIRECTORY": "/run/credentials", **os.environ})


def parse_duration_option(option: str, text: str) -> float:
    """Seconds of a duration such as 2h, of a century at most: what ends has a date.

    Raises:
        UsageError: it is none, or has no unit: 2 may mean hours or seconds.

    """
    from logmlm.config.types import parse_duration

    number = text.strip()
    if number.replace(".", "", 1).isdecimal() and float(number):
        raise UsageError(f"{option}: {number} of what? say {number}h, {number}m or {number}s")
    try:
        found = float(str(parse_duration(text)))
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
    if found > CENTURY_S:
        raise UsageError(f"{option}: '{text}' is more than a hundred years")
    return found


def parse_time_option(option: str, text: str) -> float:
    """Epoch seconds of an ISO 8601 time, UTC where no zone is given."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{option}: '{text}' is no time like 2024-05-06T07:08:09Z") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
