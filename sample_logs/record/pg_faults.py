"""The faults that the PostgreSQL recording causes."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg2
from common import NEW_LINES, ORDINARY, Fault, fill, for_seconds
from pg_clients import CLEANUP, IMPORT, REPORT, session, steps
from pg_server import BAD_HBA, HBA, Server, login

LENGTH = 22.0  # seconds that most faults last
FAILURES = (OSError, psycopg2.Error)


def _repeat(work: object, crews: int, pause: tuple[float, float]) -> None:
    assert callable(work)
    for_seconds(work, LENGTH, crews, FAILURES, pause)


def exhaust() -> None:
    """A client opened connections until max_connections (30) was reached and kept them."""
    held: list[psycopg2.extensions.connection] = []
    end = time.monotonic() + LENGTH
    while time.monotonic() < end:
        with contextlib.suppress(psycopg2.Error):
            held.append(psycopg2.connect(**login("app", "shop")))
            continue
        time.sleep(0.5)
    for connection in held:
        connection.close()


def deadlocks() -> None:
    """Five clients updated the same pairs of rows in opposite order."""
    _repeat(_opposite, 5, (0.05, 0.4))


def _opposite() -> None:
    pair = [random.randint(1, 2), random.randint(3, 4)]
    random.shuffle(pair)
    with session("app") as db:
        db.run("BEGIN")
        for number in pair:
            db.run("UPDATE products SET stock = stock - 1 WHERE id = %s", number)
            time.sleep(0.15)
        db.run("COMMIT")


# The broken release of the batch jobs: steps left out or out of order, no error.
BROKEN: tuple[Sequence[str], ...] = (
    (REPORT[0], REPORT[6], REPORT[4], REPORT[7]),
    (REPORT[8], REPORT[0], REPORT[4], REPORT[1], REPORT[3], REPORT[6], REPORT[7]),
    (IMPORT[0], IMPORT[6], IMPORT[1], IMPORT[4], IMPORT[7]),
    (CLEANUP[6], CLEANUP[1], CLEANUP[4], CLEANUP[5]),
)


def broken_batch() -> None:
    """A broken release of the batch jobs ran beside the right one: middle steps skipped or out of
    order, committed all the same.
    """
    _repeat(lambda: steps(random.choice(BROKEN)), 2, (0.8, 2.0))


def query_loop() -> None:
    """Three clients of the application ran the same SELECT 25 to 45 times in each session."""
    _repeat(_loop, 3, (0.2, 1.0))


def _loop() -> None:
    customer = random.randint(1, 500)
    with session("app") as db:
        db.run("SELECT id, name FROM customers WHERE email = %s", f"c{customer}@example.org")
        for _ in range(random.randint(25, 45)):
            number = random.randint(1, 3000)
            db.run("SELECT product_id, quantity FROM order_items WHERE order_id = %s", number)


def empty_sessions() -> None:
    """Four clients opened sessions of the application and closed them without running anything."""
    _repeat(_empty, 4, (0.2, 0.8))


def _empty() -> None:
    with session("app"):
        time.sleep(random.uniform(0.1, 0.5))


@dataclass
class Faults:
    """The faults that are done to the server itself."""

    server: Server

    def kill(self) -> None:
        """A backend was killed with kill -9 three times; each time the server ended all sessions
        and recovered.
        """
        for _ in range(3):
            sql = (
                "SELECT pid FROM pg_stat_activity "
                "WHERE backend_type = 'client backend' AND usename IN ('app', 'bench')"
            )
            pids = self.server.admin(sql).split()
            while not pids:
                pids = self.server.admin(sql).split()
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pids[0]), signal.SIGKILL)
            time.sleep(6.0)
            self.server.wait_ready()

    def full_disk(self) -> None:
        """A stray file filled the tmpfs that holds the tablespace of the events table, then was
        removed.
        """
        stray = self.server.small / "stray.dump"
        fill(stray)
        time.sleep(LENGTH + 4)
        stray.unlink()

    def wrong_rules(self) -> None:
        """A pg_hba.conf without the application's line was reloaded, then put right."""
        self.server.write_hba(BAD_HBA)
        self.server.control("reload")
        time.sleep(LENGTH)
        self.server.write_hba(HBA)
        self.server.control("reload")

    def all(self) -> list[Fault]:
        """The faults in the order in which they are caused."""
        return [
            Fault("broken-batch", ORDINARY, broken_batch),
            Fault("backend-killed", NEW_LINES, self.kill),
            Fault("query-loop", ORDINARY, query_loop),
            Fault("connections-exhausted", NEW_LINES, exhaust),
            Fault("disk-full", NEW_LINES, self.full_disk),
            Fault("empty-sessions", ORDINARY, empty_sessions),
            Fault("deadlock-storm", NEW_LINES, deadlocks),
            Fault("wrong-access-rules", NEW_LINES, self.wrong_rules),
        ]
