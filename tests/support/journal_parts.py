"""Real journal files, written by systemd-journal-remote from the export format."""

import json
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from logmlm.config.sources import JournaldSourceConfig
from logmlm.records import Checkpoint
from logmlm.sources.journald.source import JournaldSource

REMOTE = shutil.which("systemd-journal-remote", path="/usr/lib/systemd:/lib/systemd")
LACKING = "needs journalctl and systemd-journal-remote (apt install systemd-journal-remote)"


def is_missing():
    return REMOTE is None or shutil.which("journalctl") is None


needs_journal = pytest.mark.skipif(is_missing(), reason=LACKING)
BOOT = "1" * 32
STARTED_US = 1_700_000_000_000_000


class Journal:
    """A directory of journal files; entries are numbered, a millisecond apart."""

    def __init__(self, directory):
        self.directory = directory
        self.written = self.rotated = 0
        directory.mkdir(exist_ok=True)

    @property
    def active(self):
        return self.directory / "system.journal"

    def write(self, *messages, **fields):
        """Add an entry for each message; other fields are theirs all."""
        export = b"".join(self._entry(message, fields) for message in messages)
        subprocess.run(
            [REMOTE, f"--output={self.active}", "-"], input=export, check=True, capture_output=True
        )

    def count(self, number, **fields):
        """Add so many entries with a number each."""
        self.write(*(f"entry {self.written + i}" for i in range(number)), **fields)

    def rotate(self):
        """Archive the active file, as journald names it."""
        self.rotated += 1
        self.active.rename(self.directory / f"system@{self.rotated:032x}-1-1.journal")

    def vacuum(self):
        """Remove all archived files."""
        for path in self.directory.glob("system@*.journal"):
            path.unlink()

    def _entry(self, message, fields):
        at = STARTED_US + self.written * 1000
        self.written += 1
        every = {
            "__REALTIME_TIMESTAMP": at,
            "__MONOTONIC_TIMESTAMP": at - STARTED_US + 1,
            "_BOOT_ID": BOOT,
            "_MACHINE_ID": "2" * 32,
            "_HOSTNAME": "web1",
            "_SYSTEMD_UNIT": "app.service",
            "SYSLOG_IDENTIFIER": "app",
            "PRIORITY": 6,
            **fields,
        }
        lines = [f"{name}={value}\n".encode() for name, value in every.items()]
        several = message if isinstance(message, list) else [message]
        return b"".join(lines + [_field("MESSAGE", each) for each in several] + [b"\n"])


def _field(name, value):
    """A field of any bytes (systemd.io/JOURNAL_EXPORT_FORMATS)."""
    raw = value if isinstance(value, bytes) else value.encode()
    return f"{name}\n".encode() + struct.pack("<Q", len(raw)) + raw + b"\n"


def script(path: Path, *lines: str) -> str:
    """A program that stands in for journalctl."""
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return str(path)


class Desk:
    """A journal, a clock, and the source that follows it."""

    def __init__(self, directory):
        self.journal = Journal(directory / "journal")
        self.state = directory / "journal.json"
        self.config = {"directory": self.journal.directory, "start_at": "beginning"}
        self.parts = {}
        self.now = 1000.0
        self.source = None

    def start(self):
        self.stop()
        self.source = JournaldSource(
            JournaldSourceConfig(**self.config),
            self.state,
            clock=lambda: self.now,
            wait=self.wait,
            **self.parts,
        )
        return self.source

    def stop(self):
        if self.source is not None:
            self.source.close()

    def wait(self, seconds):
        self.now += seconds

    def read(self, count, within=10.0):
        """Read so many lines, and see that no more come."""
        lines, deadline = [], time.monotonic() + within
        while len(lines) < count and time.monotonic() < deadline:
            lines += self.source.poll(0.05)
        return lines + self.source.poll(0.05)

    def messages(self, count):
        return [message_of(line) for line in self.read(count)]

    def commit(self, lines, open_lines=0):
        """Commit all lines but the last few, which are in an open window."""
        positions = {}
        for line in lines:
            positions.setdefault(line.partition, []).append(line)
        self.source.commit(
            {
                name: Checkpoint(
                    found[-open_lines].start if open_lines else found[-1].end, found[-1].end, 5.0
                )
                for name, found in positions.items()
            }
        )


def message_of(line):
    return json.loads(line.text)["MESSAGE"]


def entries(first, last):
    return [f"entry {i}" for i in range(first, last)]
