"""Where state is kept, if the configuration does not say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from logmlm.errors import ConfigError


def default_state_dir(environment: Mapping[str, str]) -> Path:
    """Systemd's state directory, or the user's (XDG Base Directory).

    Raises:
        ConfigError: there is none.

    """
    if systemd := environment.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    if state := environment.get("XDG_STATE_HOME"):
        return Path(state) / "logmlm"
    if home := environment.get("HOME"):
        return Path(home) / ".local" / "state" / "logmlm"
    raise ConfigError("there is no home directory to keep state in; give 'state_dir'")
