"""Record nginx's access and error log in front of a small real web shop."""

from __future__ import annotations

import re

from common import Operations, Plan, Tape, fresh, need, options, record
from ngx_clients import FAILURES, TRAFFIC
from ngx_faults import Faults
from ngx_operations import Keeper
from ngx_server import Server

PACKAGES = {"/usr/sbin/nginx": "nginx", "openssl": "openssl", "mount": "mount"}
ANY = re.compile(b"")  # every line is an entry of its own


def plan(server: Server) -> Plan:
    """Who does what to the server."""
    keeper = Keeper(server)
    operations = Operations(keeper.gentle(), keeper.disruptive(), (2.0, 5.0))
    access, error = server.work / "access.log", server.work / "error.log"
    tapes = {"": Tape(access, ANY), "-error": Tape(error, ANY)}
    return Plan(FAILURES, TRAFFIC, operations, Faults(server).all(), tapes)


def main() -> None:
    """Start both servers, let the visitors in, cause the faults, write the files."""
    need(PACKAGES)
    args = options("nginx")
    server = Server(fresh(args.work))
    server.create()
    server.start_backend()
    server.start()
    try:
        record(args, plan(server))
    finally:
        server.stop()
        fresh(args.work)


if __name__ == "__main__":
    main()
