"""Everyday operations on the PostgreSQL server: none of them is a fault."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg2
from pg_clients import Session, session
from pg_server import BIN, PORT, Server, client, login


def wrong_password() -> None:
    """Somebody mistypes a password and then gets it right."""
    role = random.choice(("app", "analyst", "batch"))
    with contextlib.suppress(psycopg2.Error):
        psycopg2.connect(**login(role, "shop", "misstyped"))
    time.sleep(0.5)
    with session(role) as db:
        db.run("SELECT 1")


def wrong_database() -> None:
    """Somebody mistypes the name of the database."""
    with contextlib.suppress(psycopg2.Error):
        psycopg2.connect(**login("analyst", "shopp"))


def typing_error() -> None:
    """An analyst mistypes a column name."""
    with session("analyst") as db, contextlib.suppress(psycopg2.Error):
        db.run("SELECT nmae FROM products LIMIT 5")


def cancelled_query() -> None:
    """An analyst loses patience with a query."""
    with session("analyst") as db:
        timer = threading.Timer(0.4, db.connection.cancel)
        timer.start()
        with contextlib.suppress(psycopg2.Error):
            db.run("SELECT count(*) FROM reviews a, reviews b, reviews c")
        db.run("SELECT count(*) FROM reviews")


def timed_out_query() -> None:
    """An analyst's query runs into the time limit that was set."""
    with session("analyst") as db:
        db.run("SET statement_timeout = 300")
        with contextlib.suppress(psycopg2.Error):
            db.run("SELECT count(*) FROM reviews a, reviews b, reviews c")


def big_sort() -> None:
    """An analyst's query that needs a temporary file."""
    with session("analyst") as db:
        db.run(
            "SELECT max(s) FROM (SELECT md5(i::text) s FROM "
            "generate_series(1, 90000) i ORDER BY 1) t"
        )


def _vanish(db: Session) -> None:
    with socket.socket(fileno=db.connection.fileno()) as wire:
        wire.shutdown(socket.SHUT_RDWR)
        wire.detach()
    db.connection.close()


def gone_away() -> None:
    """A client goes away in the middle of its transaction."""
    db = Session("app")
    db.run("BEGIN")
    db.run("SELECT stock FROM products WHERE id = %s FOR UPDATE", random.randint(1, 200))
    _vanish(db)


def lock_wait() -> None:
    """One session waits for a row that another holds for half a second."""
    number = random.randint(1, 200)
    other = threading.Timer(0.15, _touch, (number, 0.0))
    other.start()
    _touch(number, 0.6)
    other.join(5)


def _touch(number: int, hold: float) -> None:
    with contextlib.suppress(psycopg2.Error), session("app") as db:
        db.run("BEGIN")
        db.run("UPDATE products SET stock = stock - 1 WHERE id = %s", number)
        time.sleep(hold)
        db.run("COMMIT")


@dataclass
class Keeper:
    """The operations that need the server's administrator."""

    server: Server

    def dump(self) -> None:
        """The logical backup."""
        where = ("-h", "127.0.0.1", "-p", str(PORT), "-U", "backup", "-d", "shop")
        client("backup", str(BIN / "pg_dump"), *where, "-Fc", "--no-sync", "-f", "/dev/null")

    def base_backup(self) -> None:
        """The physical backup."""
        target = self.server.work / "base_backup"
        where = ("-h", "127.0.0.1", "-p", str(PORT), "-U", "backup")
        options = ("-D", str(target), "-Ft", "-X", "fetch", "-c", "fast", "--no-sync")
        client("backup", str(BIN / "pg_basebackup"), *where, *options)
        shutil.rmtree(target, ignore_errors=True)

    def reload(self) -> None:
        """A setting is changed and the configuration read again."""
        value = random.choice(("3MB", "4MB", "5MB", "6MB"))
        self.server.admin(f"ALTER SYSTEM SET work_mem = '{value}'")
        self.server.control("reload")

    def vacuum(self) -> None:
        """A manual vacuum."""
        self.server.admin("VACUUM ANALYZE order_items", "shop")

    def checkpoint(self) -> None:
        """A manual checkpoint."""
        self.server.admin("CHECKPOINT")

    def terminate(self) -> None:
        """An administrator ends an idle session."""
        idle = Session("analyst")
        idle.run("SELECT 1")
        self.server.admin(f"SELECT pg_terminate_backend({idle.connection.get_backend_pid()})")
        time.sleep(0.1)
        idle.connection.close()

    def restart(self) -> None:
        """A clean restart."""
        self.server.control("restart")

    def gentle(self) -> list[Callable[[], None]]:
        """All but the restart and the reload."""
        own = [self.dump, self.base_backup, self.vacuum, self.checkpoint, self.terminate]
        return [
            wrong_password,
            wrong_database,
            typing_error,
            cancelled_query,
            timed_out_query,
            big_sort,
            gone_away,
            lock_wait,
            wrong_password,
            gone_away,
            lock_wait,
            *own,
        ]
