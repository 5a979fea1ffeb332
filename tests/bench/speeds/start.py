"""From start to ready, and how much memory it takes.

The yardstick is a bare process that opens the same model directory with transformers and says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from speeds.figure import ROUNDS, Figure, Options, spread
from speeds.trained import LOGMLM, environment, recorded, trained

READY = b"ready"
BARE = """
import sys
from transformers import AutoModelForMaskedLM, AutoTokenizer
AutoModelForMaskedLM.from_pretrained(sys.argv[1]).eval()
AutoTokenizer.from_pretrained(sys.argv[1])
print("ready", file=sys.stderr, flush=True)
sys.stdin.read()
"""
CONFIG = """\
model: {{path: {model}, device: cpu}}
state_dir: {work}/state
source: {{file: {{include: '{work}/app.log', start_at: beginning}}}}
"""


@dataclass(frozen=True)
class Run:
    """`ready_s` by the clock; `cpu_s` and `peak_mib` of the whole run."""

    ready_s: float
    cpu_s: float
    peak_mib: float


def measure(_options: Options) -> Figure:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = trained(work / "model")
        (work / "run.yaml").write_text(CONFIG.format(model=model, work=work))
        (work / "app.log").touch()
        bare = [sys.executable, "-c", BARE, str(model)]
        daemon = [*LOGMLM, "run", "--config", str(work / "run.yaml")]
        pairs = [(_run(bare), _run(daemon)) for _ in range(ROUNDS)]
        (work / "app.log").write_text("".join(f"{line}\n" for line in recorded("later")))
        at_work = _run([*daemon, "--stop-when-idle", "3"], stop=False)
    return Figure.of(
        [theirs.ready_s / ours.ready_s for theirs, ours in pairs],
        "start to ready by the clock: a bare process that opens the model with transformers,"
        " over the daemon",
        {
            **_rows("daemon", [ours for _, ours in pairs]),
            **_rows("transformers", [one for one, _ in pairs]),
            "daemon_peak_mib_after_the_recorded_log": round(at_work.peak_mib),
        },
    )


def _run(command: list[str], *, stop: bool = True) -> Run:
    """Run until it says that it is ready (or, without `stop`, until it ends by itself)."""
    began = time.perf_counter()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment(), **pipes) as child:
        assert child.stderr is not None
        peak = Peak(child.pid)
        while READY not in (said := child.stderr.readline()):
            assert said, "it did not start"
        ready_s = time.perf_counter() - began
        peak.read()
        if stop:
            child.terminate()
        child.stderr.read()
        peak.close()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return Run(ready_s, used.ru_utime + used.ru_stime, peak.mib)


class Peak:
    """The peak of a process's resident memory, read from outside while it runs.

    `ru_maxrss` of a child is no measure: it counts what the parent held when it forked. `VmHWM` in
    /proc/PID/status (proc_pid_status(5)) belongs to the program alone, and never falls.
    """

    EVERY_S = 0.02

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._status = Path(f"/proc/{pid}/status")
        self._is_over = threading.Event()
        self._reader = threading.Thread(target=self._follow)
        self._reader.start()

    def read(self) -> None:
        """Read it now; of a program that has ended nothing is there."""
        rows = self._status.read_text().splitlines()
        found = [row.split()[1] for row in rows if row.startswith("VmHWM:")]
        self.mib = max([self.mib, *(int(each) / 1024 for each in found)])

    def close(self) -> None:
        self._is_over.set()
        self._reader.join()

    def _follow(self) -> None:
        while not self._is_over.wait(self.EVERY_S):
            self.read()


def _rows(who: str, runs: list[Run]) -> dict[str, str]:
    return {
        f"{who}_ready_s_by_the_clock": spread([run.ready_s for run in runs]),
        f"{who}_cpu_s_of_the_run": spread([run.cpu_s for run in runs]),
        f"{who}_peak_mib": spread([run.peak_mib for run in runs], 0),
    }
