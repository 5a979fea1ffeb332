"""The durable state of alerts, silences and feedback: one SQLite database, checked.

Every row carries a checksum of all it holds, and triggers keep each table's number of rows and
the sum of their checksums, as SQLite's pages have no checksums of their own. All of it is checked
when the database is opened, and each row again whenever it is read: damage is an error, never
another answer. What a cut or flipped write-ahead log loses are its last transactions
(https://www.sqlite.org/wal.html); an alert that nobody had accepted is then made again from its
lines, as their positions were not committed.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from logmlm.errors import StorageError
from logmlm.storage import sync

VERSION = 1
BUSY_TIMEOUT_S = 10.0
"""How long a transaction waits for one of another process."""

TABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "alerts": ("id", "at", "verdict", "body"),
        "waiting": ("id",),
        "seen": ("id", "at"),
        "queue": ("seq", "sink", "alert", "bundle", "attempts"),
        "bundles": ("id", "sink", "due", "attempts", "body"),
        "dead": ("seq", "sink", "alert", "at", "reason", "body"),
        "sinks": ("name", "attempts", "due", "reason", "accepted_at"),
        "silences": ("id", "starts_at", "ends_at", "body"),
        "feedback": ("alert", "at", "verdict", "until", "pattern", "body"),
    }
)
"""Each table's columns; the first one is the key."""
_INDEXES = (
    "CREATE INDEX alerts_at ON alerts (at)",
    "CREATE INDEX seen_at ON seen (at)",
    "CREATE INDEX queue_next ON queue (sink, bundle, attempts, seq)",
    "CREATE INDEX queue_alert ON queue (alert)",
    "CREATE INDEX bundles_due ON bundles (sink, due)",
    "CREATE INDEX dead_alert ON dead (alert)",
    "CREATE INDEX dead_at ON dead (at)",
    "CREATE INDEX feedback_pattern ON feedback (pattern)",
)

Row = dict[str, Any]


class State:
    """The database `state.db` of a state directory, for any number of threads.

    What is read and written within one `transaction` happens whole or not at all, and is on the
    disk when the transaction ends. Another process may use the same file at the same time.
    """

    def __init__(self, path: Path) -> None:
        """Open the database and check all of it; make it where there is none.

        Raises:
            StorageError: it is damaged, of a newer version, or can't be read or written.

        """
        self.path = path
        self._lock = threading.RLock()
        self._turns: dict[str, threading.Lock] = {}
        self._depth = 0
        if not path.exists():
            _create(path)
        elif path.stat().st_size == 0:
            raise StorageError(_damaged(path, "it is empty"))
        self._connection = self._connect()
        try:
            self._check()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the database; another thread's transaction is waited for."""
        with self._lock, self._translated():
            self._connection.close()

    def turn(self, name: str) -> threading.Lock:
        """Return the lock of what one thread at a time may do over this state, such as sending."""
        with self._lock:
            return self._turns.setdefault(name, threading.Lock())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all or nothing; one within another is a part of it.

        Raises:
            StorageError: the database can't be read or written, or is damaged.

        """
        with self._lock, self._translated():
            if self._depth:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have rolled it back
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0

    def put(self, table: str, **row: Any) -> None:
        """Insert a row, or replace the one with the same key; all columns have to be given."""
        columns = TABLES[table]
        values = [row[column] for column in columns]
        names = ", ".join((*columns, "checksum"))
        marks = ", ".join("?" * (len(columns) + 1))
        updates = ", ".join(f"{name} = excluded.{name}" for name in (*columns[1:], "checksum"))
        self._execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608  names of our own
            f" ON CONFLICT ({columns[0]}) DO UPDATE SET {updates}",
            [*values, _checksum(table, values)],
        )

    def get(self, table: str, key: str | int) -> Row | None:
        """Return the row of a key."""
        return next(iter(self.select(table, f"{TABLES[table][0]} = ?", key)), None)

    def select(self, table: str, where: str = "1", *values: Any) -> list[Row]:
        """Return rows; `where` is SQL of our own (with ORDER BY and LIMIT), values apart."""
        columns = TABLES[table]
        names = ", ".join((*columns, "checksum"))
        found = self._execute(f"SELECT {names} FROM {table} WHERE {where}", values)  # noqa: S608  SQL of our own
        return [self._checked(table, row) for row in found]

    def delete(self, table: str, where: str, *values: Any) -> int:
        """Delete rows; the number of them."""
        with self._lock, self._translated():
            sql = f"DELETE FROM {table} WHERE {where}"  # noqa: S608  SQL of our own
            return self._connection.execute(sql, values).rowcount

    def count(self, table: str, where: str = "", *values: Any) -> int:
        """Return how many rows there are; without `where` at no cost."""
        if where:
            sql = f"SELECT count(*) FROM {table} WHERE {where}"  # noqa: S608  SQL of our own
        else:
            sql, values = "SELECT rows FROM totals WHERE name = ?", (table,)
        ((number,),) = self._execute(sql, values)
        return int(number)

    def distinct(self, table: str, column: str) -> list[Any]:
        """Return the values that a column has."""
        sql = f"SELECT DISTINCT {column} FROM {table}"  # noqa: S608  names of our own
        return [value for (value,) in self._execute(sql, ())]

    def next_seq(self, table: str) -> int:
        """Return a key that is greater than all those in a table whose key is `seq`."""
        ((last,),) = self._execute(f"SELECT coalesce(max(seq), 0) FROM {table}", ())  # noqa: S608  a name of our own
        return int(last) + 1

    def _execute(self, sql: str, values: Sequence[Any]) -> list[Any]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    def _checked(self, table: str, row: Sequence[Any]) -> Row:
        *values, checksum = row
        if _checksum(table, values) != checksum:
            raise StorageError(_damaged(self.path, f"a row of '{table}' is not what was written"))
        return dict(zip(TABLES[table], values, strict=True))

    def _connect(self) -> sqlite3.Connection:
        with self._translated():
            connection = sqlite3.connect(
                self.path,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA synchronous = FULL")
            return connection

    def _check(self) -> None:
        """See that the whole database is what was written, at one moment of it."""
        with self._translated():
            ((version,),) = self._execute("PRAGMA user_version", ())
            if version > VERSION:
                raise StorageError(
                    f"{self.path} was written by a newer logmlm (version {version}): take that one,"
                    f" or {_advice(self.path)}"
                )
            with closing(sqlite3.connect(":memory:")) as fresh:
                _make_tables(fresh)
                expected = _schema(fresh)
            self._connection.execute("BEGIN")
            try:
                if version != VERSION or _schema(self._connection) != expected:
                    raise StorageError(_damaged(self.path, "its tables are not ours"))
                for (found,) in self._execute("PRAGMA integrity_check(1)", ()):
                    if found != "ok":
                        raise StorageError(_damaged(self.path, found))
                self._check_totals()
            finally:
                self._connection.execute("ROLLBACK")

    def _check_totals(self) -> None:
        totals = {
            name: (rows, checksums)
            for name, rows, checksums in self._execute("SELECT * FROM totals", ())
        }
        for table, columns in TABLES.items():
            rows = checksums = 0
            names = ", ".join((*columns, "checksum"))
            for row in self._connection.execute(f"SELECT {names} FROM {table}"):  # noqa: S608  names of our own
                self._checked(table, row)
                rows, checksums = rows + 1, checksums + row[-1]
            if totals.get(table) != (rows, checksums):
                raise StorageError(_damaged(self.path, f"rows of '{table}' are missing"))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "") in ("SQLITE_ERROR", "SQLITE_CORRUPT"):
                raise StorageError(_damaged(self.path, str(error))) from error
            if "decode" in str(error).lower():  # SQLite's words hold the row's own
                raise StorageError(_damaged(self.path, "a text is no UTF-8")) from error
            raise StorageError(f"can't use {self.path}: {error}") from error
        except sqlite3.ProgrammingError as error:  # another thread closed it
            raise StorageError(f"{self.path} is closed") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise StorageError(_damaged(self.path, str(error))) from error


def _create(path: Path) -> None:
    """Make the database under another name first, so that an empty file is always damage."""
    left = path.with_name(path.name + "-wal")
    if left.exists():
        raise StorageError(f"{left} is there, but {path.name} is not: {_advice(path)}")
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            _make_tables(connection)
        sync(new)
        new.replace(path)
        sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"can't make {path}: {error}") from error


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("CREATE TABLE totals (name TEXT PRIMARY KEY, rows, checksums)")
    for table, columns in TABLES.items():
        key = f"{columns[0]} {'INTEGER' if columns[0] == 'seq' else 'TEXT'} PRIMARY KEY"
        connection.execute(f"CREATE TABLE {table} ({', '.join((key, *columns[1:], 'checksum'))})")
        connection.execute("INSERT INTO totals VALUES (?, 0, 0)", (table,))
        for name, event, rows, checksums in (
            ("added", "INSERT", "+ 1", "+ NEW.checksum"),
            ("changed", "UPDATE", "", "- OLD.checksum + NEW.checksum"),
            ("deleted", "DELETE", "- 1", "- OLD.checksum"),
        ):
            connection.execute(
                f"CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN UPDATE totals"  # noqa: S608  names of our own
                f" SET rows = rows {rows}, checksums = checksums {checksums}"
                f" WHERE name = '{table}'; END"
            )
    for index in _INDEXES:
        connection.execute(index)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _schema(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return set(connection.execute("SELECT type, name, sql FROM sqlite_master"))


def _checksum(table: str, values: Sequence[Any]) -> int:
    return zlib.crc32(json.dumps([table, *values]).encode())


def _damaged(path: Path, what: str) -> str:
    return f"{path} is damaged ({what}): {_advice(path)}"


def _advice(path: Path) -> str:
    return (
        f"move {path} and {path.name}-wal away to begin anew; alerts that wait in it, silences"
        " and feedback are then lost"
    )
