"""What one client of the HTTP endpoint, and all together, may take."""

from __future__ import annotations

import io
import socket
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on requests.

    So many connections are open at once as `requests` and `probes` say together. All but `probes`
    of them may be requests that are being answered; a probe of health or readiness always finds a
    place, because the oldest connection that has not sent its request yet makes room for a new one.
    No connection lives longer than `connection_s`, however slowly it is fed; a reload has its
    time in it. A client that says nothing for `silence_s` is cut.
    """

    request_bytes: int = 16 * 1024
    requests: int = 8
    probes: int = 2
    connection_s: float = 60.0
    silence_s: float = 5.0


USUAL = Limits()


class LimitedReader(io.RawIOBase):
    """A connection that ends after so many bytes; `left` says how many may still come."""

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self.left = limit
        self._connection = connection

    def readable(self) -> bool:
        """True: that is what it is for."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there, at least a byte, and no more than is left."""
        read = self._connection.recv_into(buffer, min(len(buffer), self.left)) if self.left else 0
        self.left -= read
        return read
