"""Trainings side by side, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from worker_parts import work

from logmlm.errors import DataError, LogmlmError
from logmlm.mlm.training_pool import run_in_processes
from logmlm.system.processes import available_cpus


def squares(count: int) -> list[tuple[str, int]]:
    return [("square", value) for value in range(count)]


def test_with_one_worker_all_is_done_here_in_order() -> None:
    reports: list[tuple[int, int]] = []
    assert run_in_processes(work, squares(3), reports.append, workers=1) == [0, 1, 4]
    assert reports == [(value, os.getpid()) for value in range(3)]


def test_one_request_needs_no_process() -> None:
    reports: list[tuple[int, int]] = []
    assert run_in_processes(work, squares(1), reports.append, workers=4) == [0]
    assert reports == [(0, os.getpid())]
    assert run_in_processes(work, [], reports.append, workers=4) == []


def test_several_processes_give_results_in_order_whichever_is_done_first() -> None:
    reports: list[tuple[float, int]] = []
    requests = [("wait", 1.0), ("square", 3)]
    assert run_in_processes(work, requests, reports.append, workers=2) == [1.0, 9]
    assert sorted(value for value, _ in reports) == [1.0, 3]
    assert len({os.getpid(), *(pid for _, pid in reports)}) == 3


@pytest.mark.parametrize(
    ("fault", "error", "sentence"),
    [
        (("refuse", "the logs"), DataError, "no window in the logs"),
        (("kill", 0), LogmlmError, r"died \(exit code -9\); if memory ran out, use a smaller"),
    ],
)
def test_what_goes_wrong_in_a_process_arrives_and_ends_the_others(
    fault: tuple[str, Any], error: type[LogmlmError], sentence: str
) -> None:
    began = time.monotonic()
    reports: list[tuple[Any, int]] = []
    with pytest.raises(error, match=sentence):
        run_in_processes(work, [fault, ("wait", 300.0)], reports.append, workers=2)
    assert time.monotonic() - began < 100
    assert os.getpid() not in [pid for _, pid in reports]
    for _, pid in reports:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


MAIN = """
from worker_parts import work
from logmlm.mlm.training_pool import run_in_processes

if __name__ == "__main__":
    run_in_processes(work, [("wait", 300.0)] * 2, lambda x: print(x[1], flush=True), workers=2)
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_processes_end_at_once_with_the_main_one(end: signal.Signals, tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(MAIN)
    path = os.pathsep.join([str(Path(__file__).parents[1] / "support"), *sys.path])
    command = [sys.executable, str(program)]
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as main:
        assert main.stdout is not None
        workers = [int(main.stdout.readline()) for _ in range(2)]
        main.send_signal(end)
    deadline = time.monotonic() + 30
    while running := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, running
        time.sleep(0.05)


def test_this_process_may_use_a_cpu() -> None:
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
