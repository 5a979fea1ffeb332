"""Sockets that syslog messages come in by: datagrams, connections, and what brings these."""

from __future__ import annotations

import errno
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from logmlm.config.sources import SyslogSourceConfig
from logmlm.config.types import split_host_port
from logmlm.errors import StorageError
from logmlm.sources.syslog.framing import Frame, Framer, datagram

CHUNK_BYTES = 64 * 1024
DATAGRAMS = 64
"""So many are taken from a socket at a turn."""
CONNECTIONS = 16
BACKLOG = 128
_RXQ_OVFL = 40
"""Linux's SO_RXQ_OVFL: with each datagram comes how many were dropped before it."""


class MessageSocket(Protocol):
    """A socket that can be read from, and the partition that its messages belong to."""

    partition: str
    socket: socket.socket
    turn: int
    """When it was served last."""

    def receive(self) -> list[Frame] | None:
        """Messages that are there, a bounded number; None if none will come any more."""
        ...


class DatagramSocket:
    """A datagram socket, UDP or unix; the kernel's own drops are counted as `socket_overflow`."""

    turn = 0

    def __init__(
        self, sock: socket.socket, partition: str, max_line_bytes: int, discarded: Counter[str]
    ) -> None:
        self.socket = sock
        self.partition = partition
        self._max_line_bytes = max_line_bytes
        self._discarded = discarded
        self._dropped = 0

    def receive(self) -> list[Frame] | None:
        """See `MessageSocket`."""
        frames: list[Frame] = []
        for _ in range(DATAGRAMS):
            try:
                raw, extra, _, _ = self.socket.recvmsg(CHUNK_BYTES, socket.CMSG_SPACE(4))
            except OSError:  # nothing is there
                break
            for level, kind, value in extra:
                if (level, kind) == (socket.SOL_SOCKET, _RXQ_OVFL):
                    self._count_dropped(*struct.unpack("I", value[:4]))
            frames += datagram(raw, self._max_line_bytes)
        return frames

    def _count_dropped(self, dropped: int) -> None:
        self._discarded["socket_overflow"] += (dropped - self._dropped) % 2**32
        self._dropped = dropped


class StreamConnection:
    """One client's connection."""

    turn = 0

    def __init__(self, sock: socket.socket, partition: str, max_line_bytes: int) -> None:
        self.socket = sock
        self.partition = partition
        self._framer = Framer(max_line_bytes)
        self._ended = False

    def receive(self) -> list[Frame] | None:
        """See `MessageSocket`; a connection that breaks has ended."""
        if self._ended:
            return None
        try:
            chunk = self.socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            chunk = b""
        self._ended = not chunk
        return self._framer.add(chunk) if chunk else self._framer.rest()


class StreamListener:
    """A listening socket; each connection is handed to `admit`."""

    turn = 0

    def __init__(
        self, sock: socket.socket, partition: str, admit: Callable[[socket.socket, str], None]
    ) -> None:
        self.socket = sock
        self.partition = partition
        self._admit = admit

    def receive(self) -> list[Frame] | None:
        """Let in who waits; this brings no message yet."""
        for _ in range(CONNECTIONS):
            try:
                connection, _ = self.socket.accept()
            except OSError:  # nobody waits any more, or who did has gone
                break
            self._admit(connection, self.partition)
        return []


Bound = tuple[str, socket.socket]
"""A partition's name and its socket."""


def bind(config: SyslogSourceConfig) -> list[Bound]:
    """Open the sockets that `config` names.

    Raises:
        StorageError: one of them can't be had.

    """
    found: list[Bound] = []
    try:
        if config.udp is not None:
            found.append(_internet(config.udp, socket.SOCK_DGRAM, config.receive_buffer))
        if config.tcp is not None:
            found.append(_internet(config.tcp, socket.SOCK_STREAM, config.receive_buffer))
        if config.unix is not None:
            found.append(_unix(config.unix, socket.SOCK_DGRAM, config.unix_mode))
        if config.unix_stream is not None:
            found.append(_unix(config.unix_stream, socket.SOCK_STREAM, config.unix_mode))
    except StorageError:
        unbind(sock for _, sock in found)
        raise
    return found


def unbind(sockets: Iterable[socket.socket]) -> None:
    """Close sockets, and remove the files of unix ones."""
    for sock in sockets:
        name = sock.getsockname() if sock.family == socket.AF_UNIX else ""
        sock.close()
        if name:
            Path(name).unlink(missing_ok=True)


def _internet(address: str, kind: socket.SocketKind, receive_buffer: int) -> Bound:
    host, port = split_host_port(address)
    word = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    try:
        if word == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        return _opened(sock, (host, port)), sock
    except OSError as error:
        sock.close()
        raise StorageError(f"can't listen on {word} {address}: {_advice(error)}") from error


def _unix(path: Path, kind: socket.SocketKind, mode: int) -> Bound:
    if path.exists() and not path.is_socket():
        raise StorageError(f"can't listen on {path}: it is no socket; move it, or name another")
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        _remove_left_over(path, kind)
        name = _opened(sock, str(path))
        path.chmod(mode)
    except OSError as error:
        sock.close()
        raise StorageError(f"can't listen on {path}: {_advice(error)}") from error
    return name, sock


def _opened(sock: socket.socket, address: tuple[str, int] | str) -> str:
    """Bind a socket; return its partition's name."""
    sock.bind(address)
    sock.setblocking(False)
    is_stream = sock.type == socket.SOCK_STREAM
    if is_stream:
        sock.listen(BACKLOG)
    else:
        sock.setsockopt(socket.SOL_SOCKET, _RXQ_OVFL, 1)
    if isinstance(address, str):
        return f"syslog/{'unix-stream' if is_stream else 'unix'}/{address}"
    host, port = sock.getsockname()[:2]
    return f"syslog/{'tcp' if is_stream else 'udp'}/{host}:{port}"


def _remove_left_over(path: Path, kind: socket.SocketKind) -> None:
    """Remove the socket of a process that was killed; one that somebody has open stays."""
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink()


def _advice(error: OSError) -> str:
    text = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return f"{text}; end what listens there, or give another address"
    if error.errno == errno.EACCES:
        return f"{text}; ports below 1024 need CAP_NET_BIND_SERVICE"
    return text
