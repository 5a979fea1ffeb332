"""Process pool for independent trainings, one process per CPU at a time.

Small models gain nothing from a second thread, but the folds of cross-fitting are independent.
Each process has its own random state, so the weights do not depend on the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, TypeVar

import torch

from logmlm.errors import LogmlmError
from logmlm.mlm.model import resolve_device
from logmlm.mlm.process_group import DistributedContext
from logmlm.system.processes import available_cpus, interrupts_ignored

T = TypeVar("T")
R = TypeVar("R")
ProgressCallback = Callable[[Any], None]


def max_parallel(device: str, count: int) -> int:
    """Return how many of `count` trainings run at once: one per CPU; 1 on a GPU or with ranks."""
    if resolve_device(device).type != "cpu" or DistributedContext.here().count > 1:
        return 1
    return min(count, available_cpus())


def run_in_processes(
    function: Callable[[T, ProgressCallback], R],
    requests: Sequence[T],
    report: ProgressCallback,
    workers: int,
) -> list[R]:
    """Run `function(request, report)` per request in processes; return results in that order.

    `function`, its arguments, reports and result must be picklable. Reports reach `report` in this
    process. With one worker, or one request, everything runs in this process.

    Raises:
        LogmlmError: a function raised it, or a process died.
    """
    if workers < 2 or len(requests) < 2:
        return [function(request, report) for request in requests]
    results: dict[int, R] = {}
    with _running() as running:
        for index in _started(running, function, requests, workers):
            _listen(running, index, results, report)
    return [results[index] for index in range(len(requests))]


_Running = dict[Connection, tuple[int, SpawnProcess]]


@contextmanager
def _running() -> Iterator[_Running]:
    running: _Running = {}
    try:
        yield running
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _started(
    running: _Running,
    function: Callable[[T, ProgressCallback], R],
    requests: Sequence[T],
    workers: int,
) -> Iterator[Connection]:
    """Keep `workers` processes running, and yield each connection that is ready to be read."""
    context = get_context("spawn")
    waiting = list(enumerate(requests))
    while waiting or running:
        while waiting and len(running) < workers:
            index, request = waiting.pop(0)
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(function, request, theirs), daemon=True)
            with interrupts_ignored():
                process.start()
            theirs.close()
            running[ours] = index, process
        for connection in wait(list(running)):
            assert isinstance(connection, Connection)  # noqa: S101  `wait` gives back what it was given
            yield connection


def _listen(
    running: _Running, connection: Connection, results: dict[int, R], report: ProgressCallback
) -> None:
    index, process = running[connection]
    try:
        kind, content = connection.recv()
    except (EOFError, OSError) as error:  # OSError: it died in the middle of a message
        process.join()
        raise LogmlmError(
            f"a training process died (exit code {process.exitcode}); if memory ran out, use a"
            " smaller --preset or fewer --folds; start again to go on from the last epoch"
        ) from error
    if kind == "report":
        report(content)
        return
    del running[connection]
    process.join()
    if kind == "error":
        raise content
    results[index] = content


def _work(function: Callable[[T, ProgressCallback], R], request: T, connection: Connection) -> None:
    """Run in the child process: send reports, then the result or the `LogmlmError`.

    The child exits when its parent does, however that ends: a restarted training must not find
    another process at work in its directory.
    """
    Thread(target=_end_with, args=(parent_process(),), daemon=True).start()
    torch.set_num_threads(1)  # the processes share the CPUs as it is
    with suppress(BrokenPipeError, KeyboardInterrupt):
        try:
            result = function(request, lambda content: connection.send(("report", content)))
        except LogmlmError as error:
            connection.send(("error", error))
        else:
            connection.send(("result", result))


def _end_with(parent: BaseProcess | None) -> None:
    if parent is not None:
        parent.join()
        os._exit(1)
