"""Whatever stands in a log, nothing crashes, and each line is in a window or counted as dropped."""

import math
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
NOISE = st.sampled_from(NOISES)
JUMPS = (0.0, 2.0, -1e6, 1e9, 7.5)


@st.composite
def poisoned(draw):
    """A line, good or not, with noise put in somewhere."""
    line = draw(st.one_of(st.sampled_from(GOOD), st.binary(max_size=60)))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(line)))
        line = line[:place] + draw(NOISE) * draw(st.sampled_from([1, 1, 400])) + line[place:]
    return line.replace(b"\n", b"")


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


TURNS = st.lists(
    st.tuples(st.lists(poisoned(), max_size=12), st.sampled_from(JUMPS)),
    max_size=6,
)


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


SETTINGS = (
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from(WINDOWS),
    st.sampled_from([None, MULTILINE]),
)


@settings(max_examples=50, deadline=None)
@given(TURNS, *SETTINGS)
def test_each_line_is_in_a_window_or_counted_with_its_reason(turns, form, window, multiline):
    check(turns, form, window, multiline)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), *SETTINGS)
def test_so_are_those_of_a_long_log(seed, form, window, multiline):
    """500 lines an example, 20,000 in all."""
    chance = random.Random(seed)  # noqa: S311  no secret
    turns = [([spoilt(chance) for _ in range(100)], chance.choice(JUMPS)) for _ in range(5)]
    check(turns, form, window, multiline)


def spoilt(chance):
    """A line, most often good, with bytes of chance put in somewhere."""
    line = chance.choice(GOOD) if chance.random() < 0.7 else chance.randbytes(chance.randrange(90))
    for _ in range(chance.randrange(3)):
        place = chance.randrange(len(line) + 1)
        line = line[:place] + chance.choice(NOISES) * chance.choice((1, 1, 400)) + line[place:]
    return line.replace(b"\n", b"")


@pytest.mark.parametrize("content", [b"x", b"\0", b"\xff", b"[", b'{"a":'])
def test_a_line_of_ten_mebibytes_is_cut_and_the_next_one_is_whole(tmp_path, content):
    limit = 100 * 1024
    desk = Desk(tmp_path, "plain", WINDOWS[0], None, limit)
    with desk.log.open("ab") as stream:
        stream.write(content * (10 * 1024 * 1024 // len(content)))
        stream.write(b"\nnext\n")
    for _ in range(60):  # a batch is bounded, and nothing comes before the newline
        desk.turn()
    texts = [event.line.text for event in desk.finish()]
    assert texts[0] == "first"
    assert texts[-1] == "next"
    assert len(texts[1].encode()) <= 4 * limit
    assert desk.source.discarded["cut"] == 1
