"""Finished logs: every packing gives the same lines, and what is wrong with a file is said."""

import gzip
import io
import lzma
import os
import random
import sys
import tempfile
import threading
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from logmlm.errors import DataError, StorageError
from logmlm.sources import archive
from logmlm.sources.archive import expand, read_lines

LUCK = random.Random(4)  # noqa: S311  noise that does not pack, no secret
NOISE = b"".join(b"%d %x\n" % (i, LUCK.getrandbits(256)) for i in range(4000))
PACKERS = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}

UNPACKERS = {
    ".gz": lambda: zlib.decompressobj(wbits=31),
    ".xz": lzma.LZMADecompressor,
    ".zst": zstandard.ZstdDecompressor().decompressobj,
}


def lines_of(*paths, **options):
    return list(read_lines([str(path) for path in paths], now=9.0, **options))


@pytest.mark.parametrize("suffix", PACKERS)
def test_every_packing_gives_the_same_lines(tmp_path, suffix):
    path = tmp_path / f"app.log{suffix}"
    path.write_bytes(PACKERS[suffix](NOISE))
    lines = lines_of(path)
    assert "".join(f"{line.text}\n" for line in lines).encode() == NOISE
    assert [line.number for line in lines] == list(range(1, 4001))
    assert (lines[0].start, lines[-1].end) == (0, len(NOISE))
    assert all(a.end == b.start for a, b in pairwise(lines))
    assert {line.partition for line in lines} == {str(path)}
    assert {line.received_at for line in lines} == {path.stat().st_mtime}


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_packed_files_put_one_after_another_are_read_to_the_end(tmp_path, suffix):
    path = tmp_path / f"app.log{suffix}"
    path.write_bytes(PACKERS[suffix](b"a\nb\n") + PACKERS[suffix](b"c\n"))
    assert [line.text for line in lines_of(path)] == ["a", "b", "c"]


def test_zstandards_skippable_frames_are_skipped(tmp_path):
    path = tmp_path / "app.log.zst"
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"size"
    path.write_bytes(skipped + PACKERS[".zst"](b"a\n") + skipped)
    assert [line.text for line in lines_of(path)] == ["a"]


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_an_archive_cut_off_is_an_error_and_its_beginning_is_used_only_if_asked(tmp_path, suffix):
    path = tmp_path / f"app.log{suffix}"
    whole = PACKERS[suffix](NOISE)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"damaged after \d+ unpacked bytes .*--keep-going"):
        lines_of(path)
    warnings = []
    rest = tmp_path / "rest.log"
    rest.write_text("end\n")
    lines = lines_of(path, rest, keep_going=True, warn=warnings.append)
    assert lines[-1].text == "end"
    unpacked = UNPACKERS[suffix]().decompress(whole[: len(whole) // 2])
    assert NOISE.startswith(unpacked)
    assert len(lines) - 1 == unpacked.count(b"\n") > 1000
    assert unpacked.startswith("".join(f"{line.text}\n" for line in lines[:-1]).encode())
    assert [str(path) in warning for warning in warnings] == [True]
    assert len(lines_of(path, rest, keep_going=True)) == len(lines)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_what_only_looks_like_an_archive_is_damaged(tmp_path, suffix):
    path = tmp_path / f"app.log{suffix}"
    path.write_text("2024-05-06 plain text\n")
    with pytest.raises(DataError, match="damaged after 0 unpacked bytes"):
        lines_of(path)


def test_binary_files_are_refused(tmp_path):
    path = tmp_path / "core"
    path.write_bytes(b"\x7fELF\x02\x01\x01\x00\n")
    with pytest.raises(DataError, match="core is no text: its first line holds a NUL byte"):
        lines_of(path)
    path.write_bytes(b"first\nafter a crash \0\0\0\n")
    assert lines_of(path)[1].text == "after a crash \0\0\0"


def test_a_missing_file_is_found_before_anything_is_read(tmp_path):
    good = tmp_path / "good.log"
    good.write_text("a\n")
    lines = read_lines([str(good), str(tmp_path / "nope.log")], 0.0)
    with pytest.raises(StorageError, match=r"there is no file .*nope.log; check the path"):
        next(lines)
    with pytest.raises(StorageError, match=r"no file matches .*\*.txt"):
        lines_of(tmp_path / "*.txt")


def test_a_directory_is_refused_with_the_way_to_name_its_files(tmp_path):
    with pytest.raises(StorageError, match=r"is a directory; name the files in it: '.*/\*\.log'"):
        lines_of(tmp_path)


def test_a_path_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path / "file").write_text("a\n")
    with pytest.raises(StorageError, match=r"can't read .*Not a directory"):
        lines_of(tmp_path / "file" / "log")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_a_file_without_rights_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder) / "secret.log"
        secret.write_text("a\n")
        secret.chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(StorageError, match=r"can't read .*: this user has no right to"):
                lines_of(secret)
        finally:
            os.seteuid(0)


def test_a_file_that_can_not_be_read_to_its_end_is_said(tmp_path):
    path = tmp_path / "unreadable"
    good = tmp_path / "good.log"
    good.write_text("a\n")
    path.symlink_to("/proc/self/mem")  # nothing is mapped at its beginning
    with pytest.raises(StorageError, match=r"can't read .*unreadable past byte 0: Input/output"):
        lines_of(good, path)


def test_an_empty_file_is_refused_alone_and_passed_over_among_others(tmp_path):
    empty, full = tmp_path / "empty.log", tmp_path / "full.log"
    empty.touch()
    full.write_text("a\n")
    with pytest.raises(DataError, match=r"empty.log: empty; name a log that holds lines"):
        lines_of(empty)
    warnings = []
    assert [line.text for line in lines_of(empty, full, warn=warnings.append)] == ["a"]
    assert warnings == [f"{empty}: empty"]
    assert len(lines_of(empty, full)) == 1


def test_a_pipe_is_read_once_and_to_its_end(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("a\nb\n",))
    writer.start()
    assert [line.text for line in lines_of(pipe)] == ["a", "b"]
    writer.join()


def test_a_dash_is_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\r\nb")))
    lines = lines_of("-")
    assert [(line.text, line.start, line.end) for line in lines] == [("a", 0, 3), ("b", 3, 4)]
    assert {(line.partition, line.received_at) for line in lines} == {("-", 9.0)}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\0\n")))
    with pytest.raises(DataError, match="standard input is no text"):
        lines_of("-")


def test_a_very_long_line_is_cut_and_the_next_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_LINE_BYTES", 8)
    path = tmp_path / "long.log"
    path.write_bytes(b"0123456789abcdefghij\nnext\n12345678\n")
    lines = lines_of(path)
    assert [line.text for line in lines] == ["01234567", "next", "12345678"]
    assert [line.start for line in lines] == [0, 21, 26]
    assert lines[-1].end == 35


def test_globs_are_expanded_in_order_and_no_file_is_read_twice(tmp_path):
    for name in ("b.log", "a.log", "x[1].log", "x1.log"):
        (tmp_path / name).touch()
    a, b, bracket, one = (str(tmp_path / n) for n in ("a.log", "b.log", "x[1].log", "x1.log"))
    assert expand([b, f"{tmp_path}/?.log", "-"]) == (b, a, "-")
    assert expand([bracket]) == (bracket,)
    assert expand([f"{tmp_path}/x*"]) == (one, bracket)
    assert expand(["nothing*", "nowhere"]) == ("nothing*", "nowhere")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_loss_of_place(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.log"
        path.write_bytes(b"text\n" + content)
        lines = lines_of(path)
        assert lines[-1].end == len(content) + 5
        newlines = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
        assert len(lines) == 1 + newlines
        assert all("\n" not in line.text for line in lines)
        assert "".join(line.text for line in lines).encode()  # no half of a surrogate pair
