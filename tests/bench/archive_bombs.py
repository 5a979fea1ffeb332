"""Print how long small archives that unpack to much take to read, and the peak of memory.

python tests/bench/archive_bombs.py [GIB]

Each archive holds a line, then one line of GIB GiB (4 by default) or 256 MiB of newlines, then a
line. `logmlm parse` reads it, in a process of its own, and must show what stands around it. Time
is that of the whole command, the peak is the resident memory that Linux says (VmHWM).
"""

from __future__ import annotations

import gzip
import json
import lzma
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import zstandard

MIB = 1 << 20
NEWLINES_MIB = 256
LOOK_EVERY_S = 0.02
WRITERS: Mapping[str, Callable[[Path], Any]] = MappingProxyType(
    {
        "gz": partial(gzip.open, mode="wb", compresslevel=1),
        "xz": partial(lzma.open, mode="wb", preset=0),
        "zst": partial(zstandard.open, mode="wb"),
    }
)
WHAT: Mapping[str, bytes] = MappingProxyType(
    {"one line": b"a", "deep JSON": b'{"a":', "newlines": b"\n"}
)


def main(gib: float) -> None:
    print("| archive | unpacked | packed | seconds | peak, MiB | events |")
    print("|---|---|---|---|---|---|")
    for what, unit in WHAT.items():
        mib = NEWLINES_MIB if what == "newlines" else round(gib * 1024)
        for kind, opened in WRITERS.items():
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / f"bomb.{kind}"
                _write(path, opened, unit, mib)
                packed = path.stat().st_size / MIB
                seconds, peak, events = _parsed(path)
            size = f"{mib:,} MiB | {packed:.1f} MiB"
            print(f"| {what}, .{kind} | {size} | {seconds:.1f} | {peak} | {events} |", flush=True)


def _write(path: Path, opened: Callable[[Path], Any], unit: bytes, mib: int) -> None:
    piece = (unit * (MIB // len(unit) + 1))[:MIB]
    with opened(path) as stream:
        stream.write(b'{"message": "first"}\n')
        for _ in range(mib):
            stream.write(piece)
        stream.write(b'\n{"message": "last"}\n')


def _parsed(path: Path) -> tuple[float, int, int]:
    """Seconds that `logmlm parse` takes, its peak of memory in MiB, and how many events it shows.

    The events before and behind must be among them.
    """
    command = [sys.executable, "-m", "logmlm", "parse", str(path), "--format", "json"]
    with tempfile.TemporaryFile("w+") as out:
        began, peak = time.monotonic(), 0
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        while child.poll() is None:
            peak = max(peak, _peak_kib(child.pid))
            time.sleep(LOOK_EVERY_S)
        seconds = time.monotonic() - began
        out.seek(0)
        messages = [json.loads(line)["message"] for line in out]
    if child.returncode != 0 or messages[0] != "first" or messages[-1] != "last":
        raise SystemExit(f"{path.name}: exit code {child.returncode}, {len(messages)} events")
    return seconds, peak >> 10, len(messages)


def _peak_kib(pid: int) -> int:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(row.split()[1]) for row in rows if row.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
