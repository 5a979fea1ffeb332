"""Logs full of poison: nothing crashes, and each line is in a window or counted as dropped."""

import math
import random
import tempfile
from pathlib import Path

from logmlm.config import FormatConfig, MultilineConfig, WindowConfig
from logmlm.formats import FORMATS, get_format
from logmlm.reader import EventReader
from logmlm.sourceconfig import FileSourceConfig
from logmlm.sources.checkpoints import Checkpoints
from logmlm.sources.file import FileSource
from logmlm.windows import Windower

MAX_LINE_BYTES = 300
GOOD = (
    b"2024-05-06T07:08:09Z INFO started",
    b"<34>Oct 11 22:14:15 web1 su[12]: failed",
    b'<165>1 2003-10-11T22:14:15.003Z h a 7 ID47 [x@1 y="\\"z"] text',
    b'{"MESSAGE": "hello", "PRIORITY": "6", "__REALTIME_TIMESTAMP": "1700000000000000"}',
    b'{"timestamp": 1e999, "message": "x", "level": 99999999999999999999}',
    b'{"time": -1e300, "msg": "x"}',
    b'{"ts": "99999-12-31T00:00:00Z", "msg": ["a", {"b": null}]}',
    b'{"message": ' + b'{"a":' * 50 + b"1" + b"}" * 51,
    b"[" * 290,
    b'{"timeUnixNano": ' + b"9" * 250 + b', "body": "x"}',
    b"Traceback (most recent call last):",
    b"    at app.handle(app.py:3)",
    b"081109 203615 148 INFO dfs.DataNode$PacketResponder: block",
    b"- 1117838570 2005.06.03 R02 2005-06-03-15.42.50.363779 R02 RAS KERNEL INFO x",
    b'127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326',
    b"2016-10-06T00:17:09.669794202Z stdout P part",
    b"0000-00-00T00:00:00Z zero",
    b"9999-12-31T23:59:59+23:59 late",
)
NOISES = (b"\0", b"\xff", b"\r", b"\x1b[31m", b"\xed\xa0\x80", b"\xe2\x80\xa8", b" ")
JUMPS = (0.0, 2.0, -1e6, 1e9, 7.5)
WINDOWS = (
    WindowConfig(kind="count", size=5),
    WindowConfig(kind="session", key="host", gap=5, size=5),
    WindowConfig(kind="session", key=r"(\w+)", gap=5, size=5, max_age=60),
    WindowConfig(kind="time", span=3, size=5),
)
MULTILINE = MultilineConfig(start_pattern=r"^\S", condition_pattern=r"^\s", mode="continue_through")


class Desk:
    """A log that is written, followed, read and windowed; the clock jumps as it is told."""

    def __init__(self, directory, form, window, multiline, max_line_bytes=MAX_LINE_BYTES):
        self.log = directory / "app.log"
        self.log.write_bytes(b"first\n")
        self.now = 1_700_000_000.0
        config = FileSourceConfig(
            include=str(self.log), start_at="beginning", max_line_bytes=max_line_bytes
        )
        self.source = FileSource(
            config, Checkpoints(directory / "c"), clock=lambda: self.now, wait=lambda _: None
        )
        chosen = get_format(FormatConfig(name=form))
        self.reader = EventReader(chosen, window.key, lambda message: message, multiline)
        self.windower = Windower(window)
        self.windows = []
        self.long = 0

    def write(self, lines):
        content = [line.removesuffix(b"\r") for line in lines]
        self.long += sum(len(line) > MAX_LINE_BYTES for line in content)
        with self.log.open("ab") as stream:
            stream.write(b"".join(line + b"\n" for line in lines))

    def turn(self):
        while lines := self.source.poll(0.0):
            self.windows += self.windower.add(self.reader.add(lines))
        self.windows += self.windower.add(self.reader.flush_due(self.now))
        self.windows += self.windower.close_due(self.now)

    def finish(self):
        self.now += 2.0
        self.turn()
        self.windows += self.windower.add(self.reader.flush()) + self.windower.close_all()
        self.source.close()
        return [event for window in self.windows for event in window.events]


def check(turns, form, window, multiline):
    with tempfile.TemporaryDirectory() as name:
        desk = Desk(Path(name), form, window, multiline)
        for lines, jump in turns:
            desk.write(lines)
            desk.now += jump
            desk.turn()
        events = desk.finish()
    written = 1 + sum(len(lines) for lines, _ in turns)
    in_windows = sum(event.line.text.count("\n") + 1 for event in events)
    assert in_windows + desk.reader.discarded.total() == written
    assert desk.source.discarded["cut"] == desk.long
    assert all(math.isfinite(event.timestamp) for event in events)


def spoilt(chance):
    """A line, most often good, with bytes of chance put in somewhere."""
    line = chance.choice(GOOD) if chance.random() < 0.7 else chance.randbytes(chance.randrange(90))
    for _ in range(chance.randrange(3)):
        place = chance.randrange(len(line) + 1)
        line = line[:place] + chance.choice(NOISES) * chance.choice((1, 1, 400)) + line[place:]
    return line.replace(b"\n", b"")


def fuzz(*, lines, seed=1, batch=100):
    """So many fuzzed lines, in logs of a few hundred, of every format and kind of window."""
    chance, done = random.Random(seed), 0  # noqa: S311  no secret
    while done < lines:
        turns = [([spoilt(chance) for _ in range(batch)], chance.choice(JUMPS)) for _ in range(50)]
        form, window = chance.choice(sorted(FORMATS)), chance.choice(WINDOWS)
        check(turns, form, window, chance.choice((None, MULTILINE)))
        done += 50 * batch
    return f"{done:,} fuzzed lines, 0 crashes, each one in a window or counted"
