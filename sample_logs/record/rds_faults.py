"""The faults that the Redis recording causes."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from common import NEW_LINES, ORDINARY, Fault, fill, for_seconds
from rds_clients import CLAIM, QUEUES, think
from rds_server import Server
from resp import PORT, Client

LENGTH = 22.0  # seconds that most faults last


def _repeat(work: Callable[[], None], crews: int, pause: tuple[float, float]) -> None:
    for_seconds(work, LENGTH, crews, (OSError,), pause)


def reconnects() -> None:
    """Four clients connected, touched one key and hung up, without pause."""
    _repeat(_reconnect, 4, (0.02, 0.06))


def _reconnect() -> None:
    with Client("web") as client:
        client.call("EXPIRE", "session:1", 600)


def stuck_workers() -> None:
    """Five workers of a broken release claimed jobs and never finished nor returned them."""
    _repeat(_claim_only, 5, (0.02, 0.2))


def _claim_only() -> None:
    queue = random.choice(QUEUES)
    with Client(f"worker-{queue}") as client:
        for _ in range(random.randint(3, 8)):
            client.call("EVAL", CLAIM, 0, queue, f"worker-{queue}")
            think()


def leak() -> None:
    """A client opened connections until maxclients (60) was reached, and used none of them; Redis
    accepts and refuses without a line of its own.
    """
    held: list[Client] = []
    end = time.monotonic() + LENGTH
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            held.append(Client(user=""))
        time.sleep(0.02 if len(held) < 70 else 0.3)
    for client in held:
        client.close()


def wrong_role() -> None:
    """The master was told by mistake to follow a server that is not there, then put right."""
    with Client("", "admin") as admin:
        admin.call("REPLICAOF", "127.0.0.1", PORT + 9)
    time.sleep(LENGTH)
    with Client("", "admin") as admin:
        admin.call("REPLICAOF", "NO", "ONE")
        admin.call("CONFIG", "REWRITE")  # or the next restart brings it back
    time.sleep(4.0)


@dataclass
class Faults:
    """The faults that are done to the servers."""

    server: Server

    def hung_replica(self) -> None:
        """The replica was stopped with SIGSTOP, dropped by the master after repl-timeout, and
        went on at the end.
        """
        self.server.tell("replica", signal.SIGSTOP)
        time.sleep(LENGTH)
        self.server.tell("replica", signal.SIGCONT)
        time.sleep(5.0)

    def full_disk(self) -> None:
        """A stray file filled the tmpfs of the append-only file and the saves, then was removed."""
        stray = self.server.small / "stray"
        fill(stray)
        time.sleep(LENGTH + 6)
        stray.unlink()
        with Client("", "admin") as admin, contextlib.suppress(OSError):
            admin.call("BGSAVE")
        time.sleep(3.0)

    def crash(self) -> None:
        """The server was killed with kill -9 three times and started again each time."""
        for _ in range(3):
            self.server.restart("master", signal.SIGKILL)
            time.sleep(5.0)

    def all(self) -> list[Fault]:
        """The faults in the order in which they are caused."""
        return [
            Fault("reconnect-storm", ORDINARY, reconnects),
            Fault("replica-hung", NEW_LINES, self.hung_replica),
            Fault("stuck-workers", ORDINARY, stuck_workers),
            Fault("disk-full", NEW_LINES, self.full_disk),
            Fault("connections-exhausted", ORDINARY, leak),
            Fault("wrong-replicaof", NEW_LINES, wrong_role),
            Fault("server-killed", ORDINARY, self.crash),
        ]
