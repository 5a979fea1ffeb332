"""Logs are rotated while the process that follows them is killed again and again."""

import random
import subprocess
import sys
import time
from collections import Counter

import rotation_parts
from daemon_parts import noted


def rotate(directory, *, files, lines, kills, seed=1):
    """So many lines in each file, which is renamed at 256 KiB; every line in just one window."""
    chance = random.Random(seed)  # noqa: S311  no secret
    writer = _program(directory, "write", files, lines)
    try:
        for _ in range(kills):
            reader = _program(directory, "read")
            _wait_for_notes(directory, chance.randrange(10_000, 60_000))
            reader.kill()
            reader.wait()
        assert writer.wait(60 + lines / 200) == 0, "the writer failed"
    finally:
        for one in (reader, writer):
            one.kill()
            one.wait()
    rotated = len(list(directory.glob("app*.log.*")))
    assert rotated >= files * 2, f"only {rotated} rotations"
    assert _program(directory, "read", 40).wait(60 + lines / 100) == 0, "the reader failed"
    windows = noted(directory / "windows.jsonl").values()
    counted = Counter(line.strip() for window in windows for line in window)
    expected = {f"{file} {line}" for file in range(files) for line in range(lines)}
    lost, twice = len(expected - set(counted)), len(counted - Counter(expected))
    assert (lost, twice) == (0, 0), f"{lost} lines lost, {twice} in two windows or unknown"
    return f"{files} x {lines:,} lines, {rotated} rotations, {kills} kills: 0 lost, 0 twice"


def _program(directory, *words):
    command = [sys.executable, rotation_parts.__file__, str(directory), *map(str, words)]
    return subprocess.Popen(command)


def _wait_for_notes(directory, more):
    """Wait until so many bytes of notes were added."""
    notes, deadline = directory / "windows.jsonl", time.monotonic() + 60
    before = notes.stat().st_size if notes.exists() else 0
    while not notes.exists() or notes.stat().st_size - before < more:
        assert time.monotonic() < deadline, "the reader does not come on"
        time.sleep(0.01)
