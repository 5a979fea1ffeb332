"""A detector without a model, for tests of what stands around it; as a program, the daemon."""

import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import session_parts

from logmlm.config.loader import read_run_config
from logmlm.config.training import FormatConfig, WindowConfig
from logmlm.daemon import app as daemon
from logmlm.daemon.log_setup import logging_configured
from logmlm.detection.surges import SurgeMonitor
from logmlm.detection.windows import Windower
from logmlm.errors import LogmlmError
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import Event, Expectation, Fields, LogLine, Score, Window


def event(text, start=0, partition="p", level="INFO", at=1000.0):
    line = LogLine(text, partition, start, start + len(text) + 1, at)
    return Event(line, Fields(None, level, text), at, "k", "t1")


def score(*texts, value=3.0, level="INFO", complete=True, partition="p", first=0):
    events, position = [], first
    for text in texts:
        events.append(event(text, position, partition, level, 1000.0 + len(events)))
        position = events[-1].line.end
    window = Window(partition, "k", tuple(events), "length", complete)
    surprisals = (1.0,) * (len(events) + complete)
    return Score(window, surprisals, surprisals, value, 0.001)


def explain(found):
    """Every line that shouts is odd; the first is, where none does."""
    texts = [each.line.text for each in found.window.events]
    odd = [i for i, text in enumerate(texts) if "ODD" in text] or [0]
    return [
        Expectation(i, 1.0, i in odd, (("usual <NUM>", 0.75), ("other", 0.125)))
        for i in range(len(found.surprisals))
    ]


class PlainReader:
    """Every line is an event at once, at the time it came, with what its source says beside it."""

    def feed(self, lines):
        return [
            Event(line, Fields(None, "", line.text, line.attributes), line.received_at, "k", "t1")
            for line in lines
        ]

    def flush_due(self, _idle):
        return []

    def is_inside(self, _partition, _position):
        return False

    def adopt(self, _before):
        """Reading can begin anywhere."""

    def held(self):
        return []

    def flush(self):
        return []

    def has_pending(self, _partition):
        return False

    def drop(self, _partition):
        """Nothing is held back."""

    def warn_of_misfits(self, _least_lines):
        """Every line fits."""


class Notes:
    """A file to which each scored window's lines are noted before anything is committed."""

    def __init__(self, path, short=lambda text: text):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._short = short

    def add(self, windows):
        notes = [self._note(window) for window in windows]
        if notes:  # the first newline ends what a kill cut short
            os.write(self._file, b"\n" + "\n".join(map(json.dumps, notes)).encode() + b"\n")

    def _note(self, window):
        where = [window.partition, window.first_position, window.last_position]
        return [where, [self._short(each.line.text) for each in window.events]]


def noted(path):
    """The lines of each window that was noted, by partition, first and last position."""
    found = {}
    for line in path.read_text().splitlines():
        try:
            where, lines = json.loads(line)
        except ValueError:  # cut short by a kill, or the empty line before
            continue
        assert found.setdefault(tuple(where), lines) == lines, f"another window at {where}"
    return found


class FakeDetector:
    """Windows of two lines; those that hold ODD are anomalies, a line STUCK takes a minute."""

    manifest = SimpleNamespace(name="fake")
    templates = ("t1",)

    def __init__(self, size=2, notes=None, digest="d1"):
        self.size = size
        self.notes = notes
        self.digest = digest

    def event_parser(self):
        return PlainReader()

    def windower(self):
        return Windower(WindowConfig(kind="count", size=self.size))

    def surge_monitor(self, score=None):
        return SurgeMonitor(score or self.score)

    def score(self, windows):
        if self.notes is not None:
            self.notes.add(windows)
        if any("STUCK" in each.line.text for window in windows for each in window.events):
            time.sleep(60)
        return [
            Score(
                window,
                (1.0,) * len(window.events),
                (1.0,) * len(window.events),
                3.0 if any("ODD" in each.line.text for each in window.events) else 0.5,
                0.01,
            )
            for window in windows
        ]

    def explain(self, found):
        return explain(found)


class SessionDetector(FakeDetector):
    """Windows of the lines that session_parts.py makes, read as the daemon reads any."""

    def __init__(self, size, notes=None):
        super().__init__(size, notes, f"s{size}")

    def event_parser(self):
        return EventParser(get_format(FormatConfig(name="iso8601")), session_parts.KEY, _template)

    def windower(self):
        return Windower(session_parts.windows(self.size))


def _template(_message, _masked=None):
    return "t1"


def load(model):
    """A real model, or a name that says how many lines make a window, or that it is slow or broken.

    After an `s` it is those of a session. The environment's SCORED_WINDOWS may name a file that
    every scored window is noted in.
    """
    if (model.path / "manifest.json").exists():
        return daemon._load(model)
    name, told = model.path.name, os.environ.get("SCORED_WINDOWS")
    if name == "broken":
        raise RuntimeError("CUDA out of memory")
    if name == "slow":
        time.sleep(60)
    notes = None if told is None else Notes(told, lambda text: text.rpartition(" ")[2])
    if name[0] == "s" and name[1:].isdigit():
        return SessionDetector(int(name[1:]), notes)
    detector = FakeDetector(notes=notes)
    if name.isdigit():
        detector.size, detector.digest = int(name), f"d{name}"
    return detector


if __name__ == "__main__":
    grace_s = float(os.environ.get("GRACE_S", "4"))
    speed = float(os.environ.get("DAEMON_PARTS_SPEED", "100"))
    faster = daemon.DaemonContext(
        clock=lambda: time.time() * speed,
        monotonic=lambda: time.monotonic() * speed,
        grace_s=grace_s,
    )
    read = partial(read_run_config, Path(sys.argv[1]), os.environ)
    config = read()
    with logging_configured(sys.stderr, config.log):
        try:
            daemon.run_daemon(config, out=sys.stdout, load=load, world=faster, reread=read)
        except LogmlmError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(error.exit_code)
