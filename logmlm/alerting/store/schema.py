"""The tables of the state: their columns, checksums, and the triggers that keep totals."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

VERSION = 1
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
TRANSACTIONS = "transactions"
"""The row of `totals` that counts transactions, with a checksum of the count."""


def make_tables(connection: sqlite3.Connection) -> None:
    """Create all tables, empty, in one transaction."""
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
    connection.execute("INSERT INTO totals VALUES (?, 0, ?)", (TRANSACTIONS, count_checksum(0)))
    for index in _INDEXES:
        connection.execute(index)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def schema(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """Return what tables, indexes and triggers a database has, as SQL."""
    return set(connection.execute("SELECT type, name, sql FROM sqlite_master"))


def checksum(table: str, values: Sequence[Any]) -> int:
    """Return the checksum of a table's row."""
    return zlib.crc32(json.dumps([table, *values]).encode())


def count_checksum(transactions: int) -> int:
    """Return the checksum of a count of transactions."""
    return checksum(TRANSACTIONS, [transactions])
