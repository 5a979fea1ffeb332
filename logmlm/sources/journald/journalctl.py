"""journalctl as a child: what it is told, what it says, and how it ends.

What journalctl(1) does not say, seen with systemd 252:

- `--follow` leaves out what was logged before the last boot, whatever `--boot` says; with
  `--merge` it does not. `--merge` takes in other machines' journals, so ours is named.
- `--after-cursor` leaves out one entry if the cursor's own is gone; `--cursor` begins at the
  next one then.
- Without `--all`, fields over 4096 bytes are null.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast

from logmlm.config.sources import JournaldSourceConfig
from logmlm.errors import StorageError
from logmlm.sources.lines import CHUNK_BYTES, RawLine, Splitter

PROGRAM = "journalctl"
BATCH_CHUNKS = 4
MAX_COMPLAINT_BYTES = 2048
ANSWER_WITHIN_S = 30.0
END_WITHIN_S = 2.0
MACHINE_ID = Path("/etc/machine-id")
_OPTIONS = ("--output=json", "--all", "--merge", "--no-pager")
_ENVIRONMENT = MappingProxyType({"LC_ALL": "C.UTF-8", "PATH": os.defpath})

logger = logging.getLogger(__name__)


def journal_options(config: JournaldSourceConfig, machine_id: Path = MACHINE_ID) -> list[str]:
    """Options that say which journal is meant; without any in `config`, this machine's."""
    found = [f"--file={path}" for path in config.files]
    if config.directory is not None:
        found.append(f"--directory={config.directory}")
    machine = machine_id.read_text().strip() if machine_id.exists() else ""
    if not found and re.fullmatch("[0-9a-f]{32}", machine):  # a container may have no true one
        found.append(f"_MACHINE_ID={machine}")
    return found


def match_options(config: JournaldSourceConfig) -> list[str]:
    """Options that say which of its entries are meant."""
    found = [f"--unit={unit}" for unit in config.units]
    priority = config.max_priority
    return found if priority is None else [*found, f"--priority={priority}"]


def first_entry(program: str, options: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """Return the first entry that journalctl finds, None if there is none, and its complaints.

    Raises:
        StorageError: it can't be run, does not answer, or fails.

    """
    command = [find_journalctl(program), *_OPTIONS, "--lines=1", *options]
    try:
        answer = subprocess.run(  # noqa: S603  the program and each option are our own
            command, capture_output=True, check=False, env=_ENVIRONMENT, timeout=ANSWER_WITHIN_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StorageError(f"can't ask {program} about the journal: {error}") from error
    complaints = answer.stderr.decode(errors="replace").strip()
    first, _, _ = answer.stdout.partition(b"\n")
    if answer.returncode and not first:
        raise StorageError(f"{program} can't read the journal: {complaints}")
    try:
        entry = json.loads(first) if first.strip() else None
    except ValueError as error:
        raise StorageError(f"{program} answers with something else than JSON") from error
    return entry, complaints


def find_journalctl(program: str) -> str:
    """Path of the program.

    Raises:
        StorageError: there is none.

    """
    path = shutil.which(program)
    if path is None:
        raise StorageError(f"there is no {program} here; install systemd, or read files instead")
    return path


def check_access(config: JournaldSourceConfig, program: str = PROGRAM) -> list[str]:
    """Say, before the start, what is found: whether the journal can be read, and all of it.

    Raises:
        StorageError: it can't be read.

    """
    newest, complaints = first_entry(program, journal_options(config))
    if newest is None:
        return ["note: the journal holds nothing that this user can read"]
    if complaints:
        return [f"note: journalctl says: {complaints.splitlines()[0]}"]
    return ["the journal can be read"]


class Journalctl:
    """A running `journalctl --follow`; lines over `max_bytes` come `cut`.

    What it does not hand over waits in its pipe, so that it waits too. It ends itself when the
    pipe's other end is gone.
    """

    def __init__(self, program: str, options: Sequence[str], max_bytes: int) -> None:
        self.ended: str | None = None
        """How it ended; None while it runs."""
        command = [find_journalctl(program), *_OPTIONS, "--follow", "--no-tail", *options]
        try:
            child = subprocess.Popen(  # noqa: S603  the program and each option are our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=_ENVIRONMENT,
            )
        except OSError as error:
            raise StorageError(f"can't run {program}: {error.strerror}") from error
        self._splitter = Splitter(max_bytes)
        self._streams = cast("tuple[IO[bytes], IO[bytes]]", (child.stdout, child.stderr))
        self._lines, self._complaints = (stream.fileno() for stream in self._streams)
        self._child = child
        self._complains = True

    def read(self, timeout: float) -> list[RawLine]:
        """Lines that are there, a few chunks at most; if none is, wait `timeout` seconds."""
        lines: list[RawLine] = []
        for _ in range(BATCH_CHUNKS):
            if not self._is_ready(0.0 if lines else timeout):
                break
            chunk = os.read(self._lines, CHUNK_BYTES)
            if not chunk:
                self._end()
                break
            lines += self._splitter.add(chunk)
        return lines

    def close(self) -> None:
        """End it."""
        if self.ended is None:
            self._child.terminate()
            self._end()

    def _is_ready(self, timeout: float) -> bool:
        """Whether there is something to read; what the child complains of is logged."""
        watched = [self._lines, *([self._complaints] if self._complains else [])]
        ready = select.select(watched, [], [], timeout)[0]
        if self._complaints in ready:
            self._log_complaint()
        return self._lines in ready

    def _log_complaint(self) -> None:
        complaint = os.read(self._complaints, MAX_COMPLAINT_BYTES)
        self._complains = bool(complaint)
        for line in complaint.decode(errors="replace").splitlines():
            logger.warning("journalctl says: %s", line)

    def _end(self) -> None:
        """Wait for the child; one that does not end is killed."""
        try:
            code = self._child.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            code = self._child.wait()
        self.ended = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
        while (
            self._complains and self._complaints in select.select([self._complaints], [], [], 0)[0]
        ):
            self._log_complaint()
        for stream in self._streams:
            stream.close()
