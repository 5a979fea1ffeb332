"""Files that hold one secret, such as systemd's credentials."""

from __future__ import annotations

from pathlib import Path

from logmlm.errors import ConfigError


def read_secret(key: str, path: Path, *, ascii_only: bool = True) -> str:
    """Read a secret of one line, for a header in ASCII; what it is never stands in an error.

    `key` is the name that the file has in the config.

    Raises:
        ConfigError: the file can't be read, or holds no such line.

    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"'{key}': {path} is no text, but should hold a secret of one line"
        ) from error
    except OSError as error:
        raise ConfigError(f"'{key}': can't read {path}: {error.strerror}") from error
    if not text.isprintable() or not text or (ascii_only and not text.isascii()):
        characters = ", in ASCII characters" if ascii_only else ""
        raise ConfigError(f"'{key}': {path} should hold a secret of one line{characters}")
    return text
