"""Files that hold one secret, such as systemd's credentials."""

from __future__ import annotations

from pathlib import Path

from logmlm.errors import ConfigError


def read_secret(path: Path) -> str:
    """Read a secret of one line; what it is never stands in an error.

    Raises:
        ConfigError: the file can't be read, or holds nothing that can be sent in a header.

    """
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text, but should hold a secret of one line") from error
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from error
    if not text or not text.isascii() or not text.isprintable():
        raise ConfigError(f"{path} should hold a secret of one line, in ASCII characters")
    return text
