"""Finished logs: every packing gives the same lines, and what is wrong with a file is said."""

import bz2
import gzip
import io
import lzma
import os
import random
import re
import socket
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
from logmlm.sources.archive import blocks
from logmlm.sources.archive.reader import expand, read_lines, read_range, verify_archives

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
    (warning,) = warnings
    assert re.fullmatch(rf"{path} is damaged after \d+ .*; what came before is used", warning)
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


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"a line\n"), r"packed by gzip; unpack it, or name it \*\.gz"),
        (lzma.compress(b"a line\n"), r"packed by xz; unpack it, or name it \*\.xz"),
        (zstandard.compress(b"a line\n"), r"packed by zstd; unpack it, or name it \*\.zst"),
        (bz2.compress(b"a line\n"), "packed by bzip2, which is not read"),
        (b"PK\x03\x04\x14\0", "packed by zip, which is not read"),
        ("a line\n".encode("utf-16"), "it is UTF-16"),
    ],
    ids=["gzip", "xz", "zstd", "bzip2", "zip", "utf-16"],  # packed bytes hold the time
)
def test_what_is_taken_for_text_is_told_what_it_is(tmp_path, content, said):
    path = tmp_path / "app.log"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"app.log is no text: .*{said}"):
        lines_of(path)


CONTROLS = bytes(range(1, 32))


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize(
    "content",
    [
        LUCK.randbytes(20_000),
        b"\x89PNG\r\n\x1a\n" + LUCK.randbytes(500),
        lzma.compress(NOISE).replace(b"\0", b""),
        b"a line of text\n" + LUCK.randbytes(5000),
    ],
)
def test_noise_is_refused_before_a_line_of_it_is_used(tmp_path, suffix, content):
    path, good = tmp_path / f"noise{suffix}", tmp_path / "good.log"
    good.write_text("a\n")
    path.write_bytes(PACKERS[suffix](content.replace(b"\0", b"x")))
    with pytest.raises(DataError, match="is no text: its beginning is full of control characters"):
        lines_of(path)
    warnings = []
    lines = lines_of(path, good, keep_going=True, warn=warnings.append)
    assert [line.text for line in lines] == ["a"]
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "line",
    [
        "Zugriff für Müßiggänger verweigert".encode("latin-1"),
        "отказано в доступе: пользователь не найден".encode("koi8-r"),
        "ログイン失敗".encode("shift-jis"),
        "zażółć gęślą jaźń ☃".encode(),
        b"8=FIX.4.2\x019=178\x0135=8\x0149=A\x0156=B\x0152=20071123-05:30:00.000",
        b"\x1b[31mERROR\x1b[0m red\tand\x08 blue",
        b"a client sent " + CONTROLS + b" and then " + b"much " * 300,
        b"\x02framed\x1e\x1f\x03",
    ],
)
def test_logs_in_any_encoding_and_with_some_control_characters_are_text(tmp_path, line):
    path = tmp_path / "app.log"
    path.write_bytes((line.replace(b"\n", b"") + b"\n") * 500)
    assert len(lines_of(path)) == 500


def test_what_a_flipped_bit_makes_of_an_archive_is_called_damaged(tmp_path):
    """Only the checksum at its end knows of it."""
    path = tmp_path / "app.log.gz"
    packed = bytearray(gzip.compress(b"ab\n" * 20_000))
    packed[-8] ^= 1
    path.write_bytes(packed)
    with pytest.raises(
        DataError, match=r"damaged after \d+ unpacked bytes \(CRC.*; fetch it again$"
    ):
        verify_archives([str(tmp_path / "other.log"), str(path)])
    noise = bytearray(gzip.compress(LUCK.randbytes(9000).replace(b"\0", b"x")))
    noise[-8] ^= 1
    path.write_bytes(noise)
    with pytest.raises(DataError, match=r"damaged after 0 unpacked bytes \(CRC"):
        lines_of(path)
    path.write_bytes(noise[:5000])  # cut within what shows that it is no text
    assert lines_of(path, tmp_path / "app.log.gz", keep_going=True) == []


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
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 8)
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


TEXT = b"a line\n" * 1000
"""So much that 300 bytes of anything are still a log's."""


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_loss_of_place(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.log"
        path.write_bytes(TEXT + content)
        lines = lines_of(path)
        assert lines[-1].end == len(TEXT) + len(content)
        newlines = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
        assert len(lines) == 1000 + newlines
        assert all("\n" not in line.text for line in lines)
        assert "".join(line.text for line in lines).encode()  # no half of a surrogate pair


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    path = tmp_path / "marked.log"
    path.write_bytes("\ufeffone\n\ufefftwo\n".encode())
    assert [(line.text, line.start) for line in lines_of(path)] == [("one", 0), ("\ufefftwo", 7)]
    assert [line.text for line in read_range(str(path), 7)] == ["\ufefftwo"]


def test_plain_text_with_the_name_of_an_archive_is_told(tmp_path):
    path = tmp_path / "plain.log.gz"
    path.write_text("2024 one\n")
    with pytest.raises(DataError, match=r"if it is plain text, name it without \.gz"):
        lines_of(path)


def test_a_socket_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        with pytest.raises(StorageError, match=r"is a socket, which is no file; send .* to '-'"):
            list(read_lines([str(path)], 0.0))


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [
        ("utf-16", r"it is UTF-16; .*iconv -f UTF-16 -t UTF-8"),
        ("utf-32", r"it is UTF-32; .*iconv -f UTF-32 -t UTF-8"),
        ("utf-16-le", r"it looks like UTF-16; .*iconv -f UTF-16LE -t UTF-8"),
        ("utf-16-be", r"it looks like UTF-16|its first line holds a NUL byte"),
    ],
)
def test_other_encodings_are_told_with_what_to_do(tmp_path, encoding, reason):
    path = tmp_path / "log"
    path.write_bytes(("2026-11-21 10:00:00 INFO session opened\n" * 60).encode(encoding))
    with pytest.raises(DataError, match=reason):
        list(read_lines([str(path)], 0.0))
