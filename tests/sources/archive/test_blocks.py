"""A stream is cut into blocks of whole lines, whatever pieces it comes in."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.sources.archive import blocks
from logmlm.sources.archive.blocks import log_lines
from logmlm.system.line_text import strip_controls

LINES = st.lists(st.binary(max_size=30), max_size=12)


class Pieces(io.BufferedIOBase):
    """Gives out bytes in pieces of these sizes, and then fails, if it has an error."""

    def __init__(self, content, sizes, error=None):
        self._content, self._sizes, self._error = io.BytesIO(content), iter(sizes), error

    def read1(self, size=-1, /):
        piece = self._content.read(min(size, next(self._sizes, size)))
        if not piece and self._error is not None:
            raise self._error
        return piece


def read(stream):
    position, number = 100, 1
    for block in blocks.blocks(stream):
        lines = log_lines(block, "p", position, 7.0, number)
        yield from lines
        position, number = position + block[1], number + len(lines)


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 16)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 8)
    monkeypatch.setattr(blocks, "_READ_BYTES", 4)


@pytest.mark.usefixtures("_small")
@given(LINES, st.lists(st.integers(1, 40)), st.booleans())
def test_lines_are_those_of_the_whole_content_each_cut_to_the_longest(given_lines, sizes, ends):
    content = b"\n".join(given_lines) + (b"\n" if ends else b"")
    raw = content.split(b"\n")[: -1 if content.endswith(b"\n") or not content else None]
    expected, position = [], 100
    for number, line in enumerate(raw, start=1):
        end = min(position + len(line) + 1, 100 + len(content))
        text = strip_controls(line.lstrip(b"\0")[:16].decode("utf-8", "backslashreplace"))
        text = text.rstrip("\r")
        expected.append((text, "p", position, end, 7.0, number, None, {}, False))
        position = end
    assert list(read(Pieces(content, sizes))) == expected


@pytest.mark.usefixtures("_small")
@given(LINES, st.lists(st.integers(1, 40)))
def test_what_was_read_before_an_error_comes_before_it(given_lines, sizes):
    content = b"".join(line.replace(b"\n", b"") + b"\n" for line in given_lines)
    lines = []
    with pytest.raises(OSError, match="broken"):
        lines.extend(read(Pieces(content + b"half", sizes, OSError("broken"))))
    assert len(lines) == len(given_lines)


def test_a_pipe_is_not_waited_for_longer_than_there_is_a_line():
    source = Pieces(b"one\ntwo\n", [4, 4], AssertionError("asked again before it was needed"))
    assert next(read(source)).text == "one"
