"""Logs full of poison: nothing crashes, and each line is in a window or counted as dropped."""

import math
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.config.sources import FileSourceConfig
from logmlm.config.training import FormatConfig, MultilineConfig, TemplateConfig, WindowConfig
from logmlm.detection.windows import Windower
from logmlm.parsing.event_parser import EventParser, MaskedTemplateLookup
from logmlm.parsing.formats import FORMATS, get_format
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.source import FileSource
from logmlm.sources.kafka.records import RecordDecoder

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


@lru_cache(maxsize=1)
def templates():
    """What the good lines teach, with the default masks; the daemon learns nothing more."""
    learned = TemplateMiner(TemplateConfig())
    for line in GOOD:
        learned.learn(line.decode(errors="backslashreplace"))
    return learned


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
            config,
            CheckpointStore(directory / "c"),
            clock=lambda: self.now,
            wait=lambda _: None,
            monotonic=lambda: self.now,
        )
        chosen = get_format(FormatConfig(name=form))
        known = templates()
        by_mask = MaskedTemplateLookup(known.match_masked, known.masking)
        self.reader = EventParser(chosen, window.key, known.match, multiline, by_mask=by_mask)
        self.windower = Windower(window)
        self.windows = []
        self.limit, self.long = max_line_bytes, 0

    def write(self, lines):
        content = [line.removesuffix(b"\r") for line in lines]
        self.long += sum(len(line.lstrip(b"\0")) > self.limit for line in content)
        with self.log.open("ab") as stream:
            stream.write(b"".join(line + b"\n" for line in lines))

    def turn(self):
        while lines := self.source.poll(0.0):
            self.windows += self.windower.add(self.reader.feed(lines))
        idle = self.source.idle({*self.windower.open_partitions, *self.reader.held()})
        self.windows += self.windower.add(self.reader.flush_due(idle))
        self.windows += self.windower.close_due(idle)

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


BOMBS = (
    lambda size: b"[" * size,
    lambda size: b'{"message":' * (size // 11),
    lambda size: b'{"message": ' + b"[" * (size // 2) + b"]" * (size // 2 - 20) + b"}",
    lambda size: b'{"message": "x", "ts": ' + b"9" * (size - 30) + b"}",
    lambda size: b'{"message": "x", "time": 1e' + b"9" * (size - 40) + b"}",
    lambda size: b'{"message": "x", "level": -0.' + b"3" * (size - 40) + b"}",
    lambda size: b'{"' + b"k" * (size - 30) + b'": 1, "message": "x"}',
    lambda size: b'{"message": "x"' + b', "a": 1' * (size // 8 - 4) + b"}",
    lambda size: b'{"message": "' + b"\\u0000" * (size // 6 - 4) + b'"}',
    lambda size: b'{"message": "' + b"\\ud800" * (size // 6 - 4) + b'"}',
    lambda size: b'{"message": "' + b"x" * (size - 20) + b'"}',
    lambda size: b'{"message": "x", "k": [' + b"{}," * (size // 3 - 20) + b"{}]}",
    lambda size: b"\0" * size,
    lambda size: b"\xff" * size,
)
"""JSON that is deep, long, or huge, and what is none, in about so many bytes."""
LINE_BYTES = 100 * 1024
"""What a line may have, where nothing else is told: such a bomb is read whole."""
WHOLE = (LINE_BYTES - 4096, LINE_BYTES)
LONG = 10 * 2**20
BATCH = 2**15


def bombs(*, rounds, seed=2):
    """Each bomb as a whole line and as one of 10 MiB, in a log of every format."""
    chance, done = random.Random(seed), 0  # noqa: S311  no secret
    for turn in range(rounds):
        form = sorted(FORMATS)[turn % len(FORMATS)]
        # The long ones are dear: one a round, another each time.
        long = BOMBS[turn % len(BOMBS)](LONG)
        lines = [bomb(chance.randrange(*WHOLE)) for bomb in BOMBS] + [long]
        chance.shuffle(lines)
        with tempfile.TemporaryDirectory() as name:
            _check_bombs(Path(name), form, lines, chance)
        done += len(lines)
    return f"{done:,} bombs as lines, {rounds} of them of 10 MiB"


def _check_bombs(directory, form, lines, chance):
    window, multiline = chance.choice(WINDOWS), chance.choice((None, MULTILINE))
    desk = Desk(directory, form, window, multiline, LINE_BYTES)
    for line in lines:
        desk.write([line])
        for _ in range(1 + len(line) // BATCH):  # nothing comes before the end of the line
            desk.turn()
    events = desk.finish()
    in_windows = sum(event.line.text.count("\n") + 1 for event in events)
    assert in_windows + desk.reader.discarded.total() == 1 + len(lines)
    # A hole of NULs is no text, however long it is.
    assert (
        desk.source.discarded["cut"]
        == desk.long
        == sum(len(line.lstrip(b"\0")) > LINE_BYTES for line in lines)
    )
    assert all(math.isfinite(event.timestamp) for event in events)


class Parcel(NamedTuple):
    """A record as kafka-python gives it."""

    value: bytes | None
    offset: int
    timestamp: int
    topic: str = "t"
    partition: int = 0
    key: bytes | None = b"\xff\0"
    headers: Sequence[tuple[str, bytes | None]] = (("h", None), ("h", b"\xed\xa0\x80"))


RECORDS = (
    {},
    {"value": "json", "message_field": "message"},
    {"value": "json", "message_field": "a.b", "attributes": {"host": "field:h.i", "unit": "key"}},
    {"value": "json", "message_field": "message", "attributes": {"host": "header:h"}},
)

OTHERS = (b"", None, b"[1]", b'{"a": {"b": "x"}, "h": {"i": 1e400}, "message": {"a": 1}}')
LETTERS = {"no JSON", "no JSON object", "no text in message_field"}
LETTERS |= {"over max_record_bytes"}


def records(*, number, seed=3):
    """Fuzzed values and bombs as Kafka's records: each is a line, or a dead letter with a cause."""
    chance, letters, lines = random.Random(seed), Counter(), 0  # noqa: S311  no secret
    for turn, told in enumerate(RECORDS):
        source = {"bootstrap_servers": "h:9", "topics": "t", "group": "g"}
        config = KafkaSourceConfig(**source, auto_offset_reset="earliest", **told)
        values = [bomb(size) for bomb in BOMBS for size in (WHOLE[0], config.max_record_bytes - 9)]
        values += [
            BOMBS[turn](LONG),
            *OTHERS,
            *(spoilt(chance) for _ in range(number // len(RECORDS))),
        ]
        found = _read_records(config, values, letters, chance)
        lines += found
        assert found > 0, f"no record is a line: {told}"
    assert set(letters) == LETTERS, letters
    return f"{lines + letters.total():,} records, {lines:,} lines, the others dead letters"


def _read_records(config, values, letters, chance):
    """Read records, and what becomes a line by every format; how many did."""
    cut, lines, before = Counter(), [], letters.total()
    reader = RecordDecoder(config, cut)
    for offset, value in enumerate(values):
        parcel = Parcel(value, offset, chance.choice((-1, 0, 10**18, 1_700_000_000_000)))
        read, unread = reader.read([parcel], "t/0", 1.0)
        lines += read
        letters.update(reason for _, reason in unread)
    assert len(lines) + letters.total() - before + cut["tombstone"] == len(values)
    assert all(len(line.text) <= 4 * config.max_line_bytes for line in lines)
    for form in sorted(FORMATS):
        events = EventParser(get_format(FormatConfig(name=form)), "host", lambda message: message)
        found = events.feed(lines) + events.flush()
        held = sum(event.line.text.count("\n") + 1 for event in found)
        assert held + events.discarded.total() == len(lines), form
        assert all(math.isfinite(event.timestamp) for event in found)
    return len(lines)


def fuzz(*, lines, seed=1, batch=100):
    """So many fuzzed lines, in logs of a few hundred, of every format and kind of window."""
    chance, done = random.Random(seed), 0  # noqa: S311  no secret
    while done < lines:
        turns = [([spoilt(chance) for _ in range(batch)], chance.choice(JUMPS)) for _ in range(50)]
        form, window = chance.choice(sorted(FORMATS)), chance.choice(WINDOWS)
        check(turns, form, window, chance.choice((None, MULTILINE)))
        done += 50 * batch
    return f"{done:,} fuzzed lines, 0 crashes, each one in a window or counted"
