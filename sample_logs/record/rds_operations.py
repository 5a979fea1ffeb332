"""Everyday operations on the Redis server: none of them is a fault."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from common import quietly
from rds_clients import LOCK, think
from rds_server import Server
from resp import PORT, Client, RefusedError, key


def wrong_password() -> None:
    """Somebody mistypes a password, then gets it right."""
    for password in ("misstyped", "batch-pw"):
        with Client(user="") as client, contextlib.suppress(RefusedError):
            client.call("AUTH", "batch", password)
            client.call("PING")
        time.sleep(0.4)


def batch() -> None:
    """The price import: many keys in one session, under a lock."""
    with Client("price-import", "batch") as client:
        client.call("EVAL", LOCK, 0, "prices", "price-import")
        for number in range(1, 150):
            client.call("SET", f"product:{number}", "p" * random.randint(100, 900))
        client.call("DEL", "lock:prices")


def cleanup() -> None:
    """A job that scans keys and deletes old ones."""
    with Client("cleanup", "batch") as client:
        cursor, found = client.call("SCAN", 0, "MATCH", "views:*", "COUNT", 500)
        for name in found[:50]:
            client.call("DEL", name)
        client.call("SCAN", cursor)


def gone_away() -> None:
    """Clients that die without hanging up."""
    for _ in range(random.randint(1, 3)):
        client = Client("web")
        client.call("GET", key("session"))
        think()
        client.wire.sendall(b"*2\r\n$3\r\nGET\r\n")
        client.abort()


def backup() -> None:
    """A copy of the data over the replication protocol, to a file."""
    login = ("--user", "backup", "--pass", "backup-pw", "--no-auth-warning")
    quietly("redis-cli", "-p", str(PORT), *login, "--rdb", "/dev/null")


def save() -> None:
    """A background save asked for by hand."""
    with Client("", "admin") as client, contextlib.suppress(RefusedError):
        client.call("BGSAVE")


def rewrite() -> None:
    """The append-only file is rewritten."""
    with Client("", "admin") as client, contextlib.suppress(RefusedError):
        client.call("BGREWRITEAOF")


def reconfigure() -> None:
    """A setting is changed, and the configuration file written."""
    with Client("", "admin") as client:
        client.call("CONFIG", "SET", "maxmemory-samples", random.randint(3, 7))
        client.call("CONFIG", "REWRITE")


def flush() -> None:
    """A scratch database is emptied."""
    with Client("", "admin") as client:
        client.call("SELECT", 3)
        client.call("SET", "scratch", 1)
        client.call("FLUSHDB")


def end_client() -> None:
    """An administrator ends an idle connection."""
    with Client("", "admin") as client:
        idle = Client("web")
        client.call("CLIENT", "KILL", "ID", idle.call("CLIENT", "ID"))
        idle.close()


@dataclass
class Keeper:
    """The restarts."""

    server: Server

    def restart(self) -> None:
        """A clean restart of the master."""
        self.server.restart("master")

    def restart_replica(self) -> None:
        """A clean restart of the replica."""
        self.server.restart("replica")

    def gentle(self) -> list[Callable[[], None]]:
        """All that goes on during faults too."""
        return [
            wrong_password,
            batch,
            cleanup,
            gone_away,
            save,
            reconfigure,
            flush,
            end_client,
            batch,
            gone_away,
            wrong_password,
        ]

    def disruptive(self) -> list[Callable[[], None]]:
        """What would mix with a fault."""
        return [self.restart, self.restart_replica, backup, rewrite]
