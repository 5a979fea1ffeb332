"""The benchmark of the start measures the memory of the program that it starts, not its own."""

import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[1] / "bench"
MEASURE = """
import sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from speeds.start import _run
ballast = b"x" * (400 << 20)
small = [sys.executable, "-c", "import sys; print('ready', file=sys.stderr); sys.stdin.read()"]
print(_run(small).peak_mib)
"""


def test_the_peak_is_the_childs_own_though_the_parent_holds_more():
    command = [sys.executable, "-c", MEASURE, str(BENCH), str(BENCH.parent)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 3 < float(done.stdout) < 100
