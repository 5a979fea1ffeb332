"""Standard input is read to its end, a line at a time, in bounded memory."""

import os
from contextlib import suppress

import pytest

from logmlm.config.sources import StdinSourceConfig
from logmlm.errors import DataError, StorageError
from logmlm.records import Checkpoint
from logmlm.sources.stdin import StdinSource


@pytest.fixture
def pipe():
    read_end, write_end = os.pipe()
    yield read_end, write_end
    for descriptor in (read_end, write_end):
        with suppress(OSError):  # the test may have closed it
            os.close(descriptor)


def source(descriptor, **config):
    return StdinSource(StdinSourceConfig(**config), descriptor, clock=lambda: 7.5)


def test_lines_come_with_their_positions_and_the_last_needs_no_newline(pipe):
    read_end, write_end = pipe
    stdin = source(read_end)
    assert stdin.poll(0.0) == []
    os.write(write_end, "öne\r\ntw".encode())
    (line,) = stdin.poll(1.0)
    assert (line.text, line.start, line.end, line.received_at) == ("öne", 0, 6, 7.5)
    os.write(write_end, b"o\n\nend")
    assert [line.text for line in stdin.poll(1.0)] == ["two", ""]
    assert not stdin.exhausted
    os.close(write_end)
    (last,) = stdin.poll(1.0)
    assert (last.text, last.start, last.end) == ("end", 11, 14)
    assert stdin.exhausted
    assert stdin.poll(0.0) == []


def test_a_long_line_is_cut_and_counted_and_not_kept(pipe):
    read_end, write_end = pipe
    stdin = source(read_end, max_line_bytes=10)
    for _ in range(10):
        os.write(write_end, b"x" * 10_000)
        assert stdin.poll(1.0) == []
    assert stdin._splitter.held_bytes < 20
    os.write(write_end, b"\nshort\n")
    lines = stdin.poll(1.0)
    assert [line.text for line in lines] == ["x" * 10, "short"]
    assert lines[1].start == 100_001
    assert stdin.discarded == {"cut": 1}


def test_another_run_has_another_partition_and_nothing_is_committed(pipe):
    stdin = source(pipe[0])
    (partition,) = stdin.checkpoints()
    stdin.commit({partition: Checkpoint(5, 5, None)})
    assert stdin.checkpoints() == {"stdin/7.500000": Checkpoint(0, 0, None)}
    assert stdin.describe(partition) == "standard input"
    stdin.close()


def test_a_closed_descriptor_is_a_storage_error(pipe):
    os.close(pipe[0])
    with pytest.raises(StorageError, match="can't read standard input"):
        source(pipe[0]).poll(0.0)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_another_encoding_is_refused_with_what_to_do(pipe, encoding):
    read_end, write_end = pipe
    os.write(write_end, ("2026-11-21 10:00:00 INFO session opened\n" * 3).encode(encoding))
    with pytest.raises(DataError, match=r"standard input is no text: it .* \(iconv -f UTF-"):
        source(read_end).poll(1.0)
