"""A PostgreSQL server of its own, from Debian's package, on 127.0.0.1."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from common import mount_small, quietly

BIN = Path("/usr/lib/postgresql/15/bin")
PORT = 15432
PASSWORDS = {"app": "app-pw", "batch": "batch-pw", "bench": "bench-pw"}
PASSWORDS |= {"backup": "backup-pw", "analyst": "analyst-pw", "monitor": "monitor-pw"}

SETTINGS = f"""
listen_addresses = '127.0.0.1'
port = {PORT}
max_connections = 30
shared_buffers = 32MB
log_line_prefix = '%m [%p] %q%u@%d '
log_timezone = 'UTC'
lc_messages = 'C'
log_connections = on
log_disconnections = on
log_checkpoints = on
log_lock_waits = on
log_replication_commands = on
log_autovacuum_min_duration = 0
log_temp_files = 0
deadlock_timeout = 200ms
autovacuum_naptime = 10s
checkpoint_timeout = 30s
max_wal_size = 256MB
work_mem = 4MB
"""

HBA = """local all postgres peer
host shop app 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host replication backup 127.0.0.1/32 scram-sha-256
"""
BAD_HBA = """local all postgres peer
host shop_v2 app 127.0.0.1/32 scram-sha-256
host all batch,bench,backup,analyst,monitor 127.0.0.1/32 scram-sha-256
host replication backup 127.0.0.1/32 scram-sha-256
"""

SCHEMA = Path(__file__).with_name("pg_schema.sql")


@dataclass
class Server:
    """The data directory, its log and the ways to handle the server."""

    work: Path

    @property
    def data(self) -> Path:
        return self.work / "data"

    @property
    def log(self) -> Path:
        return self.work / "postgresql.log"

    @property
    def small(self) -> Path:
        return self.work / "small"

    def create(self) -> None:
        """initdb, configuration, roles, tables; logged elsewhere."""
        mount_small(self.small, "96m")
        quietly("chown", "-R", "postgres:postgres", str(self.work))
        _as_postgres(str(BIN / "initdb"), "-D", str(self.data), "-E", "UTF8", "--locale=C")
        conf = self.data / "postgresql.conf"
        sockets = f"unix_socket_directories = '{self.work}'\n"
        conf.write_text(conf.read_text() + SETTINGS + sockets)
        self.write_hba(HBA)
        self.control("start", self.work / "setup.log")
        self._fill_in()
        self.control("stop", self.work / "setup.log")

    def _fill_in(self) -> None:
        for role, password in PASSWORDS.items():
            self.admin(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
            if role != "backup":
                self.admin(f"ALTER ROLE {role} SET log_statement = 'all'")
        self.admin("ALTER ROLE backup REPLICATION")
        self.admin("GRANT pg_read_all_data TO backup, analyst")
        self.admin(f"CREATE TABLESPACE small LOCATION '{self.small}'")
        self.admin("CREATE DATABASE shop")
        self.admin("CREATE DATABASE bench OWNER bench")
        self.admin(SCHEMA.read_text(), "shop")
        bench = ("-h", "127.0.0.1", "-p", str(PORT), "-U", "bench", "bench")
        client("bench", str(BIN / "pgbench"), "-i", "-q", "-s", "2", *bench)
        where = ("-h", str(self.work), "-p", str(PORT))
        _as_postgres("vacuumdb", *where, "--all", "--freeze", "--analyze", "--quiet")

    def admin(self, sql: str, database: str = "postgres") -> str:
        """Run SQL as the superuser over the local socket."""
        host = ("-h", str(self.work), "-p", str(PORT))
        return _as_postgres("psql", "-X", "-q", "-At", *host, "-d", database, "-c", sql)

    def control(self, action: str, log: Path | None = None) -> None:
        """pg_ctl start, stop, restart or reload."""
        command = [str(BIN / "pg_ctl"), action, "-D", str(self.data), "-s"]
        if action != "reload":
            command += ["-w"]
        if action in ("start", "restart"):
            command += ["-l", str(log or self.log)]
        _as_postgres(*command)

    def write_hba(self, text: str) -> None:
        """Put new access rules in place; a reload makes them count."""
        (self.data / "pg_hba.conf").write_text(text)

    def wait_ready(self) -> None:
        """Until the server takes connections again."""
        for _ in range(200):
            try:
                connection = psycopg2.connect(**login("monitor", "shop"))
                connection.autocommit = True
                connection.cursor().execute("SELECT 1")
                connection.close()
                return
            except psycopg2.Error:
                time.sleep(0.2)


def login(role: str, database: str, password: str = "") -> dict[str, str | int]:
    """Connection parameters of a role."""
    right = password or PASSWORDS[role]
    return {"host": "127.0.0.1", "port": PORT, "user": role, "password": right, "dbname": database}


def client(role: str, *command: str) -> None:
    """Run one of PostgreSQL's own client programs as a role."""
    environment = os.environ | {"PGPASSWORD": PASSWORDS[role]}
    _run(command, environment)


def _as_postgres(*command: str) -> str:
    return _run(("runuser", "-u", "postgres", "--", *command), dict(os.environ))


def _run(command: Sequence[str], environment: dict[str, str]) -> str:
    with Path("/dev/null").open("wb") as null:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=null, check=False, cwd="/"
        )
    return done.stdout.decode()
