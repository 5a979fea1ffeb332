"""Runs of empty lines are dealt with at once, and nothing else is read of them than one by one."""

import gzip
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from offline_parts import logmlm, write_log

from logmlm.config.training import FormatConfig, MultilineConfig
from logmlm.distributed import shards
from logmlm.distributed.shards import Shard, ShardLines
from logmlm.parsing.batches import ParserSpec
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.parsing.parallel import ParallelParser
from logmlm.records import BlankCrlfLines, BlankLines, LogLine, line_count, one_by_one
from logmlm.sources.archive import blocks
from logmlm.sources.archive.blocks import log_lines
from logmlm.sources.archive.reader import read_lines, read_range
from logmlm.sources.base import decode_line
from logmlm.sources.file.gzip_tail import open_tail
from logmlm.sources.lines import LEAST_RUN, MARK, Splitter, pieces
from logmlm.training.train import choose_format, first_lines

MOST = 3_000
"""Empty lines that are more than an event holds."""
LENGTHS = st.sampled_from((1, 2, 15, 16, 17, 18, 40, 600, MOST))
RUNS = st.builds(lambda end, length: end * length, st.sampled_from((b"\n", b"\r\n")), LENGTHS)
LINES = st.sampled_from(
    (
        *(b"2024-01-01T00:00:00Z INFO up\n", b"  at frame\n", b"{}\n", b'{"message": "up"}\n'),
        *(b"end;\n", b"\r", b"\0\n", b"\0", b" \n", b"x\r\r\n", b"\xef\xbb\xbf", b"\xff\n"),
    )
)
CONTENT = st.lists(st.one_of(RUNS, LINES), max_size=8).map(b"".join)
CUSTOM = {"own": {"pattern": r"(?P<message>.*)", "continuation": "discard"}}
MODES = ("continue_through", "continue_past", "halt_before", "halt_with")
MULTILINE = st.one_of(
    st.none(),
    st.builds(
        MultilineConfig,
        start_pattern=st.sampled_from(("^2024", "^$", "up")),
        condition_pattern=st.sampled_from(("^2024", r"^\s", "^$", ";$")),
        mode=st.sampled_from(MODES),
    ),
)
FORMATS = st.sampled_from(("iso8601", "json", "plain", "own", "syslog", "mysql_slow"))


def single(content, start=0):
    """The lines of content, each by itself, as text, start and end."""
    found = []
    for raw in content.split(b"\n"):
        end = start + len(raw) + 1
        found.append((start, end))
        start = end
    return found[:-1]


def places(lines):
    return [(line.start, line.end) for line in lines]


def of(content):
    """The lines as an archive's reader gives them."""
    return log_lines((content, len(content)), "p", 0, 7.0, 1) if content else []


def whole(content):
    return content if content.endswith(b"\n") else content + b"\n"


@given(CONTENT, st.booleans())
def test_pieces_are_the_content_and_runs_are_empty_lines(content, is_line_start):
    found = list(pieces(content, is_line_start))
    assert b"".join(piece for piece, _ in found) == content
    begins = is_line_start
    for piece, line_bytes in found:
        if line_bytes:
            assert begins
            assert piece == (b"\n" if line_bytes == 1 else b"\r\n") * (len(piece) // line_bytes)
            assert len(piece) // line_bytes >= LEAST_RUN
        begins = piece.endswith(b"\n")


@given(CONTENT.map(whole))
def test_a_block_has_the_lines_that_it_has_without_runs(content):
    expected = blocks._lines((content, len(content)), "p", 0, 7.0, 1)
    assert list(one_by_one(of(content))) == expected
    assert line_count(of(content)) == len(expected)


@settings(deadline=None)
@given(CONTENT.map(whole), st.lists(st.integers(1, 50), max_size=20))
def test_a_stream_in_pieces_has_the_same_lines(content, sizes):
    splitter, stream, found = Splitter(64), io.BytesIO(content), []
    for size in [*sizes, len(content)]:
        found += [line.log_line("p", 7.0) for line in splitter.add(stream.read(size))]
    assert places(one_by_one(found)) == single(content)
    texts = [decode_line(content[start:end], 64) for start, end in single(content)]
    texts[0] = texts[0].removeprefix(MARK)
    assert [line.text for line in one_by_one(found)] == texts


@settings(deadline=None)
@given(CONTENT.map(whole), st.booleans())
def test_a_followed_file_has_the_same_lines(content, is_packed):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.log"
        path.write_bytes(gzip.compress(content) if is_packed else content)
        tail = open_tail(path, 64)
        try:
            raw = [tail.read() for _ in range(4)]
        finally:
            tail.close()
    found = [line.log_line("p", 7.0) for lines in raw for line in lines]
    assert places(one_by_one(found)) == single(content)
    assert tail.position == len(content)


def outcome(reader, lines, size):
    """All that a reader says of lines that are added so many at once."""
    events = [
        event for at in range(0, len(lines), size) for event in reader.feed(lines[at : at + size])
    ]
    events += reader.flush()
    counted = reader.discarded, reader.joined, reader.lines, reader.unmatched, reader.foreign
    return events, *counted, reader.find_warnings()


def config_of(name, multiline):
    return FormatConfig(name=name, custom=CUSTOM, multiline=multiline)


@settings(deadline=None, max_examples=200)
@given(CONTENT.map(whole), FORMATS, MULTILINE, st.sampled_from((1, 3, 10_000)))
def test_a_reader_makes_the_same_events_of_runs(content, name, multiline, size):
    def reader():
        line_format = get_format(config_of(name, multiline))
        return EventParser(line_format, None, str, multiline, finished=True)

    singles = list(one_by_one(of(content)))
    assert outcome(reader(), of(content), size) == outcome(reader(), singles, size)


@settings(deadline=None)
@given(CONTENT.map(whole), FORMATS, MULTILINE)
def test_batches_of_runs_make_the_same_events_and_counts(content, name, multiline):
    def parsed(lines):
        line_format = get_format(config_of(name, multiline))
        reader = EventParser(line_format, None, str, multiline, finished=True)
        parsing = ParserSpec(config_of(name, multiline), None, ())
        events = []
        for batch, found in ParallelParser(parsing, workers=0).read(lines):
            events += reader.feed_batch(batch, found)
        counted = reader.discarded, reader.joined, reader.lines, reader.unmatched
        return events + reader.flush(), *counted, reader.find_warnings()

    assert parsed(of(content)) == parsed(list(one_by_one(of(content))))


@given(CONTENT.map(whole), st.sampled_from((1, 20, 700)))
def test_the_first_lines_are_as_many_as_asked_for(content, most):
    singles = list(one_by_one(of(content)))
    first, rest = first_lines(of(content), most)
    assert first == singles[:most]
    assert list(one_by_one(rest)) == singles[most:]
    assert {type(line) for line in first} <= {LogLine}


@settings(deadline=None)
@given(CONTENT.map(whole), st.lists(st.integers(0, 700), min_size=2, max_size=2))
def test_a_part_of_a_file_ends_within_a_run_where_it_is_asked_to(content, cuts):
    begins = [start for start, _ in single(content)]
    start, end = sorted(begins[cut % len(begins)] for cut in cuts)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "a.log"
        path.write_bytes(content.replace(b"\0", b"0"))
        lines = list(read_range(str(path), start, end))
        shard = ShardLines(Shard(str(path), start, end), keep_going=False)
        assert list(shard) == lines
    assert places(one_by_one(lines)) == [
        place for place in single(content) if start <= place[0] < end
    ]
    assert (shard.count, shard.size) == (
        line_count(lines),
        sum(each.end - each.start for each in lines),
    )


@pytest.mark.parametrize(("end", "kind"), [(b"\n", BlankLines), (b"\r\n", BlankCrlfLines)])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_mebibyte_of_empty_lines_is_few_runs_for_whoever_reads_it(tmp_path, end, kind, suffix):
    count = 1 << 20
    path = tmp_path / f"a.log{suffix}"
    path.write_bytes(gzip.compress(end * count) if suffix else end * count)
    lines = list(read_lines([str(path)], 7.0))
    assert (line_count(lines), lines[-1].end) == (count, count * len(end))
    assert {type(line) for line in lines} <= {kind, LogLine}
    assert len(lines) < 100
    tail, raw = open_tail(path, 1 << 20), []
    while batch := tail.read():
        raw += batch
    tail.close()
    assert sum(line.lines for line in raw) == count
    assert len(raw) < 200


class Counting:
    """A line format that counts the lines it is asked to parse."""

    def __init__(self, line_format):
        self.calls = 0
        self.name, self.continuation = line_format.name, line_format.continuation
        self._parse = line_format.parse

    def parse(self, text, now):
        self.calls += 1
        return self._parse(text, now)


@pytest.mark.parametrize("name", ["iso8601", "json", "plain"])
def test_few_lines_are_handed_to_the_parser_of_many_empty_ones(tmp_path, name):
    path = tmp_path / "a.log"
    path.write_bytes(b"2024-01-01T00:00:00Z INFO up\n" + b"\n" * (1 << 20))
    line_format = Counting(get_format(FormatConfig(name=name)))
    reader = EventParser(line_format, None, str, finished=True)
    events = reader.feed(read_lines([str(path)], 7.0)) + reader.flush()
    assert reader.lines == (1 << 20) + 1
    assert line_format.calls < 100
    assert sum(event.line.text.count("\n") for event in events) == reader.joined["continuation"]


def test_a_choice_of_format_goes_through_many_empty_lines_as_runs():
    lines = list(of(b"\n" * (1 << 20))) + list(of(b"2024-01-01T00:00:00Z INFO up\n"))
    _, again = choose_format(FormatConfig(name="json"), lines, print)
    assert len(list(again)) < 1_200


def test_parse_tells_and_counts_the_same_of_runs_as_of_single_lines(tmp_path, monkeypatch):
    texts = ["lost", "2024-01-01T00:00:00Z INFO up", *[""] * 700, "2024-01-01T00:00:01Z INFO on"]
    path = write_log(tmp_path / "a.log", [*texts, *[""] * 900])
    runs = logmlm("parse", path, "--format", "iso8601")
    monkeypatch.setattr(blocks, "pieces", lambda content: [(content, 0)])
    singles = logmlm("parse", path, "--format", "iso8601")
    assert (runs.out, runs.err) == (singles.out, singles.err)
    assert f"{path}:1: orphan_continuation" in runs.err
    assert "too_long" not in runs.err
    assert "warning: 602 lines left out: blank" in runs.err


@pytest.mark.parametrize(
    "multiline",
    [None, MultilineConfig(start_pattern="up$", mode="halt_before", condition_pattern="on$")],
)
@pytest.mark.parametrize("blank", ["", "  "])
def test_empty_lines_that_no_event_has_room_for_are_no_misfits(tmp_path, multiline, blank):
    texts = ["2024-01-01T00:00:00Z INFO up", *[blank] * 5_000, "2024-01-01T00:00:01Z INFO on"]
    path = write_log(tmp_path / "a.log", texts)
    line_format = get_format(FormatConfig(name="iso8601"))
    reader = EventParser(line_format, None, str, multiline, finished=True)
    events = reader.feed(read_lines([str(path)], 7.0)) + reader.flush()
    assert len(events) == 2
    assert reader.discarded == {"blank": 5_000 - 499}
    assert reader.unmatched == (0, 501)


def test_a_border_of_shards_is_where_it_is_without_runs(tmp_path, monkeypatch):
    line = "2024-01-01T00:00:0{}Z INFO up"
    texts = [row for i in range(8) for row in (line.format(i), line.format(i), *[""] * 300)]
    log = write_log(tmp_path / "a.log", texts)
    path, size = str(log), log.stat().st_size // 5
    line_format = get_format(FormatConfig(name="iso8601"))
    found = shards.split_at_events(path, size, line_format)
    monkeypatch.setattr(blocks, "pieces", lambda content: [(content, 0)])
    assert found == shards.split_at_events(path, size, line_format)
    assert len(found) > 2
