"""How the daemon is seen from outside: its HTTP endpoint, and its own log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator

from logmlm.config.types import HOST_PORT, StrictModel, WrittenAs

_ADDRESS_FORM = WrittenAs(
    {
        "anyOf": [
            {"type": "string", "pattern": rf"^(?:{HOST_PORT.pattern}|\d{{1,5}}|off)$"},
            {"type": "integer", "minimum": 0, "maximum": 65535},
            {"enum": [False, None]},
        ]
    },
    replaces=True,
)


class ServerAddress(NamedTuple):
    """Where a server listens; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(value: Any) -> Any:
    """Read `127.0.0.1:9464`, `[::1]:9464` or `localhost:9464`; a port alone is one of 127.0.0.1.

    `off` (in YAML: false) is None.
    """
    if value in (False, "off"):
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    if value.isascii() and value.isdigit():
        value = f"127.0.0.1:{value}"
    match = HOST_PORT.fullmatch(value)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"'{value}' is no address; write it like 127.0.0.1:9464, or off")
    return ServerAddress(match[1] or match[2], int(match[3]))


class ServerConfig(StrictModel):
    """The endpoint that says how the daemon is: `/metrics`, `/-/healthy`, `/-/ready`.

    `listen` is an address and a port, or `off`. `token_file` holds the token that
    `POST /-/reload` asks for (as a bearer token); without it nobody may reload by HTTP.
    """

    listen: Annotated[ServerAddress | None, BeforeValidator(parse_address), _ADDRESS_FORM] = None
    token_file: Path | None = None


class LogConfig(StrictModel):
    """The daemon's own log, on standard error, one line a thing.

    `format` `auto` is plain text on a terminal and JSON elsewhere. What a log line said is
    written at level `debug` alone.
    """

    format: Literal["auto", "json", "text"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"
