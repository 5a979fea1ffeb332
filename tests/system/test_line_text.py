"""Control sequences and NULs are no text, wherever lines come from."""

import io
import os
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.sources.archive import blocks
from logmlm.sources.archive.reader import read_lines
from logmlm.sources.file.tail import FileTail
from logmlm.sources.lines import Splitter
from logmlm.system.line_text import strip_controls, strip_controls_of_lines

LINE = b"2026-11-21 10:00:02,000 INFO request 5 accepted"
NOW = datetime.fromisoformat("2026-12-01T00:00:00Z").timestamp()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[32mINFO\x1b[0m a \x1b[1;38;5;196mb\x1b[m", "INFO a b"),
        ("\x1b[38:2::255:0:0mred\x1b[K", "red"),
        ("\x1b]8;;https://shop.example/\x1b\\link\x1b]8;;\x1b\\ text", "link text"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b(B\x1b[mreset", "reset"),
        ("app[1]: #033[31mfailed#033[0m", "app[1]: failed"),
        ("\0\0\0a\0b", "a\0b"),
        ("\x1b[0m\0\0a", "a"),
        ("a\n\0\0b\n\0", "a\n\0\0b\n\0"),
        ("\x1b[", "\x1b["),
        ("\x1b]8;;no end", "\x1b]8;;no end"),
        ("issue #033 [a]", "issue #033 [a]"),
        ("", ""),
    ],
)
def test_what_a_terminal_or_a_crash_adds_is_left_out(text, plain):
    assert strip_controls(text) == plain


@given(st.lists(st.text(alphabet="a\0\x1b[]0;m\\\x07 "), max_size=6))
def test_lines_cleaned_together_are_those_cleaned_one_by_one(lines):
    assert strip_controls_of_lines("\n".join(lines)) == "\n".join(map(strip_controls, lines))


@pytest.mark.parametrize("unit", ["\x1b", "\x1b[", "\x1b]", "\x1b[0", "\x1b]8;;", "#033[", "\0"])
def test_hostile_text_takes_linear_time(unit):
    assert len(strip_controls(unit * 100_000)) >= 0  # quadratic matching would take minutes


def test_a_hole_longer_than_a_line_may_be_hides_no_line(monkeypatch, tmp_path):
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 64)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 32)
    content = LINE + b"\n" + b"\0" * 1000 + LINE + b"\n" + LINE + b"\n"
    found, position = [], 0
    for block in blocks.blocks(io.BytesIO(content)):
        found += blocks.log_lines(block, "p", position, 0.0, 1)
        position = found[-1].end
    assert [line.text for line in found] == [LINE.decode()] * 3
    assert [line.end for line in found] == [48, 48 + 1048, len(content)]

    splitter = Splitter(64)
    raw = [
        line for at in range(0, len(content), 10) for line in splitter.add(content[at : at + 10])
    ]
    assert [(line.text, line.end, line.cut) for line in raw] == [
        (line.text, line.end, False) for line in found
    ]

    path = tmp_path / "app.log"
    path.write_bytes(content)
    tail = FileTail(os.open(path, os.O_RDONLY), 64)
    read = []
    while not tail.at_end:
        read += tail.read()
    tail.close()
    assert [(line.text, line.end, line.cut) for line in read] == [
        (line.text, line.end, False) for line in found
    ]


def test_a_followed_line_behind_a_hole_of_a_mebibyte_is_read(tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(LINE + b"\n" + b"\0" * (1 << 20) + LINE + b"\n")
    tail = FileTail(os.open(path, os.O_RDONLY), 1024)
    read = []
    while not tail.at_end:
        read += tail.read()
    tail.close()
    assert [(line.text, line.cut) for line in read] == [(LINE.decode(), False)] * 2


def test_a_file_that_begins_with_a_hole_is_text(tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"\0" * 100_000 + LINE + b"\n")
    (line,) = read_lines([str(path)], NOW)
    assert (line.text, line.start, line.end) == (LINE.decode(), 0, 100_000 + len(LINE) + 1)
