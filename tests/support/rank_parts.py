"""Processes that train together on this machine, started as `torchrun` would, but lighter."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def together(words: Sequence[object], count: int = 2) -> Iterator[list[subprocess.Popen[str]]]:
    """`count` processes of a Python program; those still there at the end are killed."""
    port = str(free_port())
    processes = []
    try:
        for rank in range(count):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
            processes.append(
                subprocess.Popen(
                    [sys.executable, *map(str, words)],
                    env=os.environ | place | meeting,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()
