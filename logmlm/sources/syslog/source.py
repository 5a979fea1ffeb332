"""Syslog messages that are sent here: UDP, TCP and unix sockets."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

from logmlm.config.sources import SyslogSourceConfig
from logmlm.records import Checkpoint, LogLine
from logmlm.sources.base import NoRebalance
from logmlm.sources.idle import IdleTimes
from logmlm.sources.syslog.framing import Frame
from logmlm.sources.syslog.sockets import (
    Bound,
    DatagramSocket,
    MessageSocket,
    StreamConnection,
    StreamListener,
    bind,
    unbind,
)

BATCH_BYTES = 256 * 1024
TURN_BYTES = 16 * 1024
"""What a turn costs at least, so that a stream without end or sense does not hold it up."""
_NS = 1_000_000_000

logger = logging.getLogger(__name__)


class SyslogSource(NoRebalance):
    """Hands over each message as a line, as it came; the line format reads what is in it.

    None is a continuation of the one before, which may be another host's. A message that names no
    time has that of its receipt.
    At most once: nothing can be read again, and UDP may lose messages unseen. What is in open
    windows is scored at a clean stop; a process that is killed loses it. Each listener is a
    partition; positions are the time of receipt in nanoseconds, or one more than the last, so
    that they grow through restarts too. Who sends fast is read in turn with the others, and one
    that sends nonsense harms nobody but itself.

    `discarded` counts messages over `max_line_bytes` (`cut`), those that a connection ended
    within (`incomplete`, handed over as far as they came), datagrams that the kernel dropped
    (`socket_overflow`), and connections past `max_connections` (`refused_connection`).
    `clock` tells UTC epoch seconds.

    Raises:
        StorageError: an address or path can't be listened on.

    """

    name = "syslog"
    exhausted = False
    replayable = False

    def __init__(
        self,
        config: SyslogSourceConfig,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.discarded: Counter[str] = Counter()
        self._config = config
        self._clock = clock
        self._connections = 0
        self._idle = IdleTimes(monotonic)
        self._turn = 0
        self._selector = selectors.DefaultSelector()
        self._listeners: list[Bound] = bind(config)
        self._positions = {name: int(clock() * _NS) for name, _ in self._listeners}
        self._begun = {name: Checkpoint(at, at, None) for name, at in self._positions.items()}
        for name, sock in self._listeners:
            self._watch(self._listener(name, sock))
            logger.info("listening on %s", name)

    def poll(self, timeout: float) -> list[LogLine]:
        """Messages that came within `timeout` seconds, a bounded number of bytes."""
        lines: list[LogLine] = []
        room = BATCH_BYTES
        while room > 0 and (ready := self._ready(timeout)):
            for receiver in ready:
                found = self._serve(receiver)
                lines += found
                room -= max(TURN_BYTES, sum(len(line.text) for line in found))
                if room <= 0:
                    break
            timeout = 0.0
        if room > 0:  # no socket had anything any more
            for name, position in self._positions.items():
                self._idle.confirm(name, position)
        else:
            self._idle.forget_all()
        return lines

    def idle(self, partitions: Collection[str]) -> Mapping[str, float]:
        """Return since when the sockets of listeners have been empty, if the last poll saw it."""
        return self._idle.of(partitions)

    def is_idle(self) -> bool:
        """Whether all sockets were empty at the end of the last poll."""
        return bool(self._idle.of(self._positions))

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Every listener, from the start of this run on."""
        return self._begun

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> bool:  # noqa: ARG002  nothing to keep
        """Do nothing: what was sent is not sent again."""
        return True

    def lag(self) -> Mapping[str, int]:
        """Return nothing: what waits in the kernel's buffers is not known."""
        return {}

    def describe(self, partition: str) -> str:
        """Where it was sent to: the listener's kind and address."""
        return partition

    def close(self) -> None:
        """Hang up, and listen no more."""
        listening = {sock for _, sock in self._listeners}
        for key in list(self._selector.get_map().values()):
            if key.data.socket not in listening:
                key.data.socket.close()
        self._selector.close()
        unbind(listening)

    def _listener(self, name: str, sock: socket.socket) -> MessageSocket:
        if sock.type == socket.SOCK_DGRAM:
            return DatagramSocket(sock, name, self._config.max_line_bytes, self.discarded)
        return StreamListener(sock, name, self._admit)

    def _watch(self, receiver: MessageSocket) -> None:
        self._selector.register(receiver.socket, selectors.EVENT_READ, receiver)

    def _admit(self, sock: socket.socket, partition: str) -> None:
        if self._connections >= self._config.max_connections:
            sock.close()
            self.discarded["refused_connection"] += 1
            if self.discarded["refused_connection"] == 1:
                logger.warning(
                    "%s has %d connections; turning away others", partition, self._connections
                )
            return
        sock.setblocking(False)
        self._connections += 1
        self._watch(StreamConnection(sock, partition, self._config.max_line_bytes))

    def _ready(self, timeout: float) -> list[MessageSocket]:
        """Sockets that have something, the one first that has waited longest."""
        receivers = [key.data for key, _ in self._selector.select(timeout)]
        return sorted(receivers, key=lambda receiver: receiver.turn)

    def _serve(self, receiver: MessageSocket) -> list[LogLine]:
        self._turn += 1
        receiver.turn = self._turn
        frames = receiver.receive()
        if frames is None:
            self._selector.unregister(receiver.socket)
            receiver.socket.close()
            self._connections -= 1
        return [self._line(receiver.partition, frame) for frame in frames or ()]

    def _line(self, partition: str, frame: Frame) -> LogLine:
        now = self._clock()
        start = max(int(now * _NS), self._positions[partition])
        self._positions[partition] = start + 1
        self.discarded["cut"] += frame.cut
        self.discarded["incomplete"] += frame.incomplete
        return LogLine(frame.text, partition, start, start + 1, now, written_at=now, is_whole=True)
