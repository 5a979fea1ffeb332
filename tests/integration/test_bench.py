"""The benchmarks are programs; at least all that they import is there."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "bench"
IMPORTS = """
import importlib, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
for name in sys.argv[3:]:
    importlib.import_module(name)
    print(name)
"""


def test_every_benchmark_can_be_imported():
    found = sorted(BENCH.rglob("*.py"))
    names = [".".join(path.relative_to(BENCH).with_suffix("").parts) for path in found]
    command = [sys.executable, "-c", IMPORTS, str(BENCH), str(BENCH.parent), *names]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stdout.split() == names, done.stderr
