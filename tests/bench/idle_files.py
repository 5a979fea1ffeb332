"""How much of a core the daemon's file source takes while nothing is written.

python tests/bench/idle_files.py [FILES] [SECONDS]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from logmlm.sourceconfig import FileSourceConfig
from logmlm.sources.checkpoints import Checkpoints
from logmlm.sources.file import FileSource

LINE = "2026-11-21T10:00:00Z INFO file {}\n"


def main(files: int, seconds: float) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as name:
        for i in range(files):
            (Path(name) / f"a{i}.log").write_text(LINE.format(i))
        config = FileSourceConfig(include=(f"{name}/*.log",), start_at="beginning")
        known = Checkpoints(Path(name) / "checkpoints.json")
        source = FileSource(config, known, clock=time.time, wait=time.sleep)
        while source.poll(0.1):
            pass
        cpu, began = time.process_time(), time.monotonic()
        while time.monotonic() - began < seconds:
            source.poll(0.5)
        share = (time.process_time() - cpu) / (time.monotonic() - began)
        source.close()
    print(f"{files:,} idle files: {share:.2%} of a core over {seconds:g} s")


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    main(int(given[0]) if given else 5_000, given[1] if len(given) > 1 else 60.0)
