"""A small archive that unpacks to a great one takes bounded memory, and what is good is read."""

import gzip
import lzma
import subprocess
import sys
from functools import partial

import pytest
import zstandard

GREAT = 400 << 20
READ = """
import sys
from logmlm.sources.archive.reader import read_lines
texts = [line.text[:40] for line in read_lines([sys.argv[1]], 0.0) if line.text]
rows = open("/proc/self/status").read().splitlines()
peak = next(int(row.split()[1]) for row in rows if row.startswith("VmHWM:"))
print(peak // 1024, len(texts), texts[-1])
"""
"""VmHWM is the program's own peak; `ru_maxrss` counts what its parent held when it forked."""
OPENED = {
    "gz": partial(gzip.open, mode="wb", compresslevel=1),
    "xz": partial(lzma.open, mode="wb", preset=0),
    "zst": partial(zstandard.open, mode="wb"),
}


@pytest.mark.parametrize("kind", OPENED)
@pytest.mark.parametrize("repeated", [b"a", b'{"a":', b"\0"])
def test_one_line_without_an_end_takes_bounded_memory(tmp_path, kind, repeated):
    path = tmp_path / f"great.{kind}"
    piece = (repeated * (1 << 20))[: 1 << 20]
    with OPENED[kind](path) as stream:
        stream.write(b"first\n")
        for _ in range(GREAT >> 20):
            stream.write(piece)
        stream.write(b"\nlast\n")
    assert path.stat().st_size < 4 << 20
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
    )
    peak, lines, last = done.stdout.split()
    assert int(peak) < 150
    assert (int(lines), last) in ((3, "last"), (2, "last"))  # NULs before a line are no text
