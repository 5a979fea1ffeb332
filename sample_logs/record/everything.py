"""Record all three programs at the same time, then check the recordings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = ("postgresql", "nginx", "redis")


def main() -> int:
    """Run the recorders side by side; options are handed on to each."""
    started = [
        subprocess.Popen([sys.executable, str(HERE / f"{name}.py"), *sys.argv[1:]])
        for name in PROGRAMS
    ]
    failed = [process.wait() for process in started]
    checked = subprocess.run([sys.executable, str(HERE / "check.py")], check=False)
    return int(any(failed) or checked.returncode)


if __name__ == "__main__":
    sys.exit(main())
