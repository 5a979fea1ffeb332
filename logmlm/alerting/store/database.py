"""The durable state of alerts, silences and feedback: one SQLite database with checksums.

Every row carries a checksum of all it holds, and triggers keep each table's number of rows and
the sum of their checksums, as SQLite's pages have no checksums of their own. All of it is checked
when the database is opened, and each row again whenever it is read: damage is an error, never
another answer. Each transaction has a number, which is noted beside the database once it is on
the disk (`CommitCounter`): without it, a truncated or damaged write-ahead log would lose the last
transactions silently.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from logmlm.alerting.store.commit_counter import SUFFIX, CommitCounter
from logmlm.alerting.store.schema import (
    TABLES,
    TRANSACTIONS,
    VERSION,
    checksum,
    count_checksum,
    make_tables,
    schema,
)
from logmlm.errors import StorageError
from logmlm.system.atomic_files import PRIVATE, sync

BUSY_TIMEOUT_S = 10.0
"""Longest wait of a transaction for one of another process."""

DatabaseRow = dict[str, Any]


class StateDatabase:
    """The database `state.db` of a state directory, for any number of threads.

    A `transaction` happens whole or not at all, and is on the disk when it ends. Another process
    may use the same file at the same time.
    """

    def __init__(self, path: Path) -> None:
        """Open the database and check all of it; make it where there is none.

        Raises:
            StorageError: it is damaged, of a newer version, or can't be read or written.

        """
        self.path = path
        self._lock = threading.RLock()
        self._named_locks: dict[str, threading.Lock] = {}
        self._depth = 0
        if not path.exists():
            _create(path)
        elif path.stat().st_size == 0:
            raise StorageError(_damaged(path, "it is empty"))
        self._tally = CommitCounter(path)
        try:
            noted = self._tally.noted()  # first: another process may go on meanwhile
            self._connection = self._connect()
            try:
                self._verify(noted)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._tally.close()
            raise

    def close(self) -> None:
        """Close the database, after another thread's transaction."""
        with self._lock, self._translated():
            self._connection.close()
            self._tally.close()

    def named_lock(self, name: str) -> threading.Lock:
        """Return the lock for an action that one thread at a time may do on this state."""
        with self._lock:
            return self._named_locks.setdefault(name, threading.Lock())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one transaction; one within another is a part of it.

        Raises:
            StorageError: the database can't be read or written, or is damaged.

        """
        with self._lock, self._translated():
            if self._depth:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth, before = 1, self._connection.total_changes
            try:
                yield
                number = self._number() if self._connection.total_changes > before else 0
                self._connection.execute("COMMIT")
                if number:
                    self._tally.note(number)
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
        with self.transaction():
            self._execute(
                f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608  names of our own
                f" ON CONFLICT ({columns[0]}) DO UPDATE SET {updates}",
                [*values, checksum(table, values)],
            )

    def get(self, table: str, key: str | int) -> DatabaseRow | None:
        """Return the row of a key."""
        return next(iter(self.select(table, f"{TABLES[table][0]} = ?", key)), None)

    def select(self, table: str, where: str = "1", *values: Any) -> list[DatabaseRow]:
        """Return rows; `where` is SQL of our own (with ORDER BY and LIMIT), values apart."""
        columns = TABLES[table]
        names = ", ".join((*columns, "checksum"))
        found = self._execute(f"SELECT {names} FROM {table} WHERE {where}", values)  # noqa: S608  SQL of our own
        return [self._checked(table, row) for row in found]

    def delete(self, table: str, where: str, *values: Any) -> int:
        """Delete rows, and return how many."""
        with self.transaction():
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

    def _number(self) -> int:
        """Return the number of the current transaction, and store it."""
        number = self._transactions() + 1
        sql = "UPDATE totals SET rows = ?, checksums = ? WHERE name = ?"
        self._execute(sql, (number, count_checksum(number), TRANSACTIONS))
        return number

    def _transactions(self) -> int:
        sql = "SELECT rows, checksums FROM totals WHERE name = ?"
        for number, stored in self._execute(sql, (TRANSACTIONS,)):
            if count_checksum(number) == stored:
                return int(number)
        raise StorageError(_damaged(self.path, "its count of transactions is not what was written"))

    def _checked(self, table: str, row: Sequence[Any]) -> DatabaseRow:
        *values, stored = row
        if checksum(table, values) != stored:
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

    def _verify(self, noted: int) -> None:
        """Check, in one transaction, that the whole database is what was written."""
        with self._translated():
            ((version,),) = self._execute("PRAGMA user_version", ())
            if version > VERSION:
                raise StorageError(
                    f"{self.path} was written by a newer logmlm (version {version}): take that one,"
                    f" or {_advice(self.path)}"
                )
            with closing(sqlite3.connect(":memory:")) as fresh:
                make_tables(fresh)
                expected = schema(fresh)
            self._connection.execute("BEGIN")
            try:
                if version != VERSION or schema(self._connection) != expected:
                    raise StorageError(_damaged(self.path, "its tables are not ours"))
                for (found,) in self._execute("PRAGMA integrity_check(1)", ()):
                    if found != "ok":
                        raise StorageError(_damaged(self.path, found))
                self._check_totals()
                self._check_transactions(noted)
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

    def _check_transactions(self, noted: int) -> None:
        number = self._transactions()
        if number < noted:
            missing = f"its last transactions are missing, {noted - number} of them"
            away = f"or move {self._tally.path} away to go on without them"
            raise StorageError(f"{_damaged(self.path, missing)}; {away}")
        self._tally.note(number)

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
    """Create the database under another name first, so that an empty file is always damage."""
    for left in (path.with_name(path.name + suffix) for suffix in ("-wal", SUFFIX)):
        if left.exists():
            raise StorageError(f"{left} is there, but {path.name} is not: {_advice(path)}")
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)
        new.touch(PRIVATE, exist_ok=False)  # SQLite gives the files beside it the same mode
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            make_tables(connection)
        sync(new)
        new.replace(path)
        sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        raise StorageError(f"can't make {path}: {error}") from error


def _damaged(path: Path, what: str) -> str:
    return f"{path} is damaged ({what}): {_advice(path)}"


def _advice(path: Path) -> str:
    return (
        f"move {path}, {path.name}-wal and {path.name}{SUFFIX} away to begin anew; alerts that wait"
        " in it, silences and feedback are then lost"
    )
