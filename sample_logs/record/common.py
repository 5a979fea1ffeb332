"""What the three recorders share: clock, threads, incidents, cutting a log."""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

NEW_LINES = "new-lines"
ORDINARY = "order-number-absence"
Traffic = tuple[Callable[[], None], int, tuple[float, float]]  # what, threads, pause
QUIET_SECONDS = 31.5  # ordinary running between two faults
LEAD_SECONDS = 62.0  # ordinary running before the first fault


def stamp() -> str:
    """The present moment, ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Fault:
    """A fault to be caused; `act` returns when its effects are over."""

    kind: str
    shows: str
    act: Callable[[], None]

    @property
    def what(self) -> str:
        """What was done: the description of `act`."""
        return " ".join((self.act.__doc__ or "").split())


@dataclass
class Crew:
    """Threads that repeat some work until told to stop."""

    expected: tuple[type[BaseException], ...] = (OSError,)
    stopped: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def loop(self, work: Callable[[], object], pause: tuple[float, float]) -> None:
        """Repeat `work` in a thread of its own, with a random pause between."""

        def body() -> None:
            while not self.stopped.is_set():
                self.attempt(work)
                self.stopped.wait(random.uniform(*pause))

        thread = threading.Thread(target=body, daemon=True)
        self.threads.append(thread)
        thread.start()

    def attempt(self, work: Callable[[], object]) -> None:
        """Run `work` once; a failed client gives up and waits a moment."""
        try:
            work()
        except self.expected:
            self.stopped.wait(random.uniform(0.2, 0.8))
        except Exception as error:  # a mistake in a script must not end its thread
            say(f"unexpected: {error!r}")

    def stop(self) -> None:
        """Tell all threads to end and wait for them."""
        self.stopped.set()
        for thread in self.threads:
            thread.join(timeout=10)


def for_seconds(
    work: Callable[[], object],
    seconds: float,
    crews: int,
    expected: tuple[type[BaseException], ...] = (OSError,),
    pause: tuple[float, float] = (0.0, 0.05),
) -> None:
    """Repeat `work` in `crews` threads for some seconds."""
    crew = Crew(expected)
    for _ in range(crews):
        crew.loop(work, pause)
    time.sleep(seconds)
    crew.stop()


@dataclass
class Operations:
    """Everyday operations, one after another in an order drawn anew each round."""

    gentle: Sequence[Callable[[], object]]
    disruptive: Sequence[Callable[[], object]]  # restarts and the like
    rest: tuple[float, float]
    fault_active: threading.Event = field(default_factory=threading.Event)
    waiting: list[Callable[[], object]] = field(default_factory=list)
    busy: threading.Lock = field(default_factory=threading.Lock)

    def one(self) -> None:
        """Run the next operation; a restart is put off while a fault lasts."""
        if not self.waiting:
            self.waiting = [*self.gentle, *self.disruptive]
            random.shuffle(self.waiting)
        work = self.waiting.pop()
        if work not in self.disruptive:
            work()
            return
        with self.busy:
            if self.fault_active.is_set():
                self.waiting.insert(0, work)
            else:
                work()

    def start(self, crew: Crew) -> None:
        """Run operations until the crew stops."""
        crew.loop(self.one, self.rest)


@dataclass
class Timeline:
    """Causes the faults one by one and notes when each began and ended."""

    operations: Operations
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)

    @contextlib.contextmanager
    def _marked(self, fault: Fault) -> Iterator[None]:
        with self.operations.busy:
            self.operations.fault_active.set()
        begin = stamp()
        yield
        self.rows.append((begin, stamp(), fault.kind, fault.shows, fault.what))
        self.operations.fault_active.clear()

    def run(self, faults: Sequence[Fault]) -> None:
        """Quiet, fault, quiet, fault, ... quiet."""
        time.sleep(LEAD_SECONDS)
        for fault in faults:
            say(f"fault {fault.kind}")
            with self._marked(fault):
                try:
                    fault.act()
                except OSError as error:  # what was recorded so far is kept
                    say(f"unexpected: {error!r}")
                time.sleep(1.0)
            time.sleep(QUIET_SECONDS)
        time.sleep(5.0)

    def write(self, path: Path) -> None:
        """Write incidents.csv."""
        with path.open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(("start", "end", "kind", "shows", "what"))
            writer.writerows(self.rows)


@dataclass
class Tape:
    """One log file that the program writes, cut in two at a moment."""

    log: Path
    entry: re.Pattern[bytes]  # how the first line of an entry begins
    at: int = 0

    def cut(self) -> None:
        """What comes from here on is the later stretch."""
        self.at = self.log.stat().st_size

    def save(self, normal: Path, later: Path) -> None:
        """Write both stretches, cut between two whole entries."""
        lines = self.log.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        first, size = 0, 0
        while first < len(lines) and (size < self.at or not self.entry.match(lines[first])):
            size += len(lines[first])
            first += 1
        pack(b"".join(lines[:first]), normal)
        pack(b"".join(lines[first:]), later)


def pack(data: bytes, path: Path) -> None:
    """Compress as `gzip -9 -n` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out:
        subprocess.run(["gzip", "-9", "-n", "-c"], input=data, stdout=out, check=True)


def say(text: str) -> None:
    """Tell the person at the terminal how far the recording is."""
    print(f"{stamp()} {text}", flush=True)


def need(paths: dict[str, str]) -> None:
    """Stop with the list of Debian packages that are missing."""
    missing = [package for path, package in paths.items() if not _present(path)]
    if missing:
        raise SystemExit("missing: apt-get install -y " + " ".join(sorted(set(missing))))
    if os.geteuid() != 0:
        raise SystemExit("run as root: a tmpfs is mounted and server users are used")


def _present(path: str) -> bool:
    return shutil.which(path) is not None or Path(path).exists()


def quietly(*command: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command whose own output is not wanted and whose failure may be."""
    return subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, cwd="/"
    )


def mount_small(path: Path, size: str) -> None:
    """A small file system that can be filled."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(path)], check=True
    )


def fill(path: Path) -> None:
    """Write a file until its file system has no byte left."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as handle:
        while True:
            handle.write(b"\0" * 4096)


def fresh(path: Path) -> Path:
    """An empty working folder, rid of what an earlier run left."""
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        if mount.split()[1].startswith(f"{path}/"):
            quietly("umount", "-l", mount.split()[1])
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    path.chmod(0o755)
    return path


def options(name: str) -> argparse.Namespace:
    """The command line that the three recorders share."""
    parser = argparse.ArgumentParser(description=f"Record {name} logs.")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / name)
    parser.add_argument("--work", type=Path, default=Path("/tmp/sample_logs") / name)
    parser.add_argument("--normal-seconds", type=float, default=800.0)
    os.environ.update(TZ="UTC", LC_ALL="C")
    os.umask(0o022)
    os.nice(5)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end in good order then too
    return parser.parse_args()


@dataclass
class Plan:
    """What one recorder brings along."""

    failures: tuple[type[BaseException], ...]  # what a client may meet in a fault
    traffic: Sequence[Traffic]
    operations: Operations
    faults: Sequence[Fault]
    tapes: dict[str, Tape]  # by the suffix of the files' names

    def start(self, crew: Crew) -> None:
        """Let the clients and the everyday operations begin."""
        for work, threads, pause in self.traffic:
            for _ in range(threads):
                crew.loop(work, pause)
        self.operations.start(crew)


def record(args: argparse.Namespace, plan: Plan) -> None:
    """The whole recording: the normal stretch, the faults, the files."""
    crew = Crew(plan.failures)
    plan.start(crew)
    say("normal stretch begins")
    time.sleep(args.normal_seconds)
    for tape in plan.tapes.values():
        tape.cut()
    say("later stretch begins")
    timeline = Timeline(plan.operations)
    timeline.run(plan.faults)
    for suffix, tape in plan.tapes.items():
        tape.save(args.out / f"normal{suffix}.log.gz", args.out / f"later{suffix}.log.gz")
    timeline.write(args.out / "incidents.csv")
    say("recorded")
    crew.stop()
