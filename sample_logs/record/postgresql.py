"""Record PostgreSQL's log under the traffic of a small shop and pgbench."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common import Operations, Plan, Tape, fresh, need, options, record

if TYPE_CHECKING:  # needs psycopg2, whose presence is checked first
    from pg_server import Server

PACKAGES = {
    "/usr/lib/postgresql/15/bin/postgres": "postgresql-15",
    "/usr/lib/postgresql/15/bin/pgbench": "postgresql-15",
    "/usr/lib/postgresql/15/bin/pg_dump": "postgresql-client-15",
    "/usr/lib/python3/dist-packages/psycopg2": "python3-psycopg2",
    "runuser": "util-linux",
    "mount": "mount",
}
STARTS = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC \[\d+\] ")


def plan(server: Server) -> Plan:
    """Who does what to the server."""
    import psycopg2
    from pg_clients import TRAFFIC
    from pg_faults import Faults
    from pg_operations import Keeper

    keeper = Keeper(server)
    operations = Operations(keeper.gentle(), [keeper.restart, keeper.reload], (2.5, 6.0))
    tape = Tape(server.log, STARTS)
    return Plan((OSError, psycopg2.Error), TRAFFIC, operations, Faults(server).all(), {"": tape})


def main() -> None:
    """Start the server, let the clients run, cause the faults, write the files."""
    need(PACKAGES)
    from pg_server import Server

    args = options("postgresql")
    server = Server(fresh(args.work))
    server.create()
    server.control("start")
    try:
        record(args, plan(server))
    finally:
        server.control("stop")
        fresh(args.work)


if __name__ == "__main__":
    main()
