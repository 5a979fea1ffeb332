"""Record Redis's log under the traffic of a small shop, with a replica."""

from __future__ import annotations

import re

from common import Operations, Plan, Tape, fresh, need, options, record
from rds_clients import TRAFFIC
from rds_faults import Faults
from rds_operations import Keeper
from rds_server import Server

PACKAGES = {
    "/usr/bin/redis-server": "redis-server",
    "/usr/bin/redis-cli": "redis-tools",
    "mount": "mount",
}
STARTS = re.compile(rb"\d+:[A-Z] \d\d \w{3} \d{4} ")


def plan(server: Server) -> Plan:
    """Who does what to the server."""
    keeper = Keeper(server)
    operations = Operations(keeper.gentle(), keeper.disruptive(), (2.0, 5.0))
    tape = Tape(server.log, STARTS)
    return Plan((OSError,), TRAFFIC, operations, Faults(server).all(), {"": tape})


def main() -> None:
    """Start both servers, let the clients run, cause the faults, write the files."""
    need(PACKAGES)
    args = options("redis")
    server = Server(fresh(args.work))
    server.create()
    server.start("master")
    server.start("replica")
    try:
        record(args, plan(server))
    finally:
        server.stop()
        fresh(args.work)


if __name__ == "__main__":
    main()
