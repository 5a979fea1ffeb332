"""A very small client for Redis."""

from __future__ import annotations

import random
import socket
import struct
from typing import Any, BinaryIO, cast

PORT = 16379  # below the ports that clients are given


class RefusedError(OSError):
    """Redis answered with an error."""


class Client:
    """One connection; `call` sends a command and reads the answer."""

    def __init__(self, name: str = "", user: str = "app", port: int = PORT) -> None:
        self.wire = socket.create_connection(("127.0.0.1", port), 5.0)
        self.file = cast(BinaryIO, self.wire.makefile("rb"))
        if user:
            self.call("AUTH", user, f"{user}-pw")
        if name:
            self.call("CLIENT", "SETNAME", name)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, *words: object) -> Any:
        """Send one command, return its answer."""
        parts = [str(word).encode() for word in words]
        head = b"*%d\r\n" % len(parts)
        self.wire.sendall(head + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self._read()

    def _read(self) -> Any:
        line = self.file.readline()
        if not line:
            raise ConnectionResetError("closed by the server")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RefusedError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest.decode()

    def close(self) -> None:
        """Hang up in good order."""
        self.file.close()
        self.wire.close()

    def abort(self) -> None:
        """Hang up with a reset, as a client that dies does."""
        self.wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


def key(kind: str, highest: int = 400) -> str:
    """A key such as product:17."""
    return f"{kind}:{random.randint(1, highest)}"
