"""Programs for the trial of rotation: one that writes and rotates logs, one that makes windows."""

import sys
import time
from pathlib import Path

from daemon_parts import FakeDetector, Notes, PlainReader

from logmlm.config.sources import FileSourceConfig
from logmlm.daemon.pipeline import Pipeline
from logmlm.daemon.signals import ShutdownSignal
from logmlm.detection.surges import SurgeMonitor
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.source import FileSource

ROTATE_BYTES = 256 * 1024
FILLER = "x" * 160


def write(directory, files, lines):
    """Write so many lines to each log, in turn, each rotated by rename when it is large."""
    rotated = dict.fromkeys(range(files), 0)
    for start in range(0, lines, 50):
        for number in range(files):
            log = directory / f"app{number}.log"
            if log.exists() and log.stat().st_size >= ROTATE_BYTES:
                rotated[number] += 1
                log.rename(directory / f"app{number}.log.{rotated[number]}")
            with log.open("a") as stream:
                for line in range(start, min(start + 50, lines)):
                    stream.write(f"{number} {line} {FILLER}\n")
        time.sleep(0.04)


class Noting:
    """In place of alerting: each window is noted in a file before anything is committed."""

    def __init__(self, path):
        self._notes = Notes(path, short=lambda text: text.removesuffix(FILLER))

    def update(self, scores, _now):
        self._notes.add([score.window for score in scores])
        return []

    def deliver(self, _now):
        """Nobody is told."""

    def is_settled(self, _alert_id):
        return True

    def is_behind(self, _now):
        return False


def read(directory, idle):
    detector = FakeDetector(size=7)
    with ShutdownSignal() as stop:
        source = FileSource(
            FileSourceConfig(include=str(directory / "app*.log*"), start_at="beginning"),
            CheckpointStore(directory / "checkpoints.json"),
            clock=lambda: time.time() * 20,  # commits come 20 times as often
            wait=lambda seconds: stop.wait(seconds / 20),
            monotonic=lambda: time.monotonic() * 20,
        )
        notes = Noting(directory / "windows.jsonl")
        parts = detector.windower(), SurgeMonitor(detector.score), notes, lambda: time.time() * 20
        faster = {"monotonic": lambda: time.monotonic() * 20}
        Pipeline(source, PlainReader(), *parts, **faster).run(stop.is_set, idle)


if __name__ == "__main__":
    place, what, *numbers = sys.argv[1:]
    if what == "write":
        write(Path(place), *map(int, numbers))
    else:
        read(Path(place), float(numbers[0]) if numbers else None)
