"""Checkpoints: a flipped bit is found, and the version before is gone on from."""

import json
import random
import shutil
import zlib
from pathlib import Path

import pytest

from logmlm.errors import StorageError
from logmlm.records import Checkpoint
from logmlm.sources.file.checkpoints import CheckpointStore, TrackedFile
from logmlm.sources.fingerprint import FileId, Fingerprint, TailChecksum, partition_name


def known(number, reached=50):
    return TrackedFile(
        f"p{number}",
        f"/var/log/{number}",
        FileId(1, number),
        Fingerprint.of(b"head"),
        Checkpoint(10, reached, 3.5),
        0.0,
    )


@pytest.fixture
def path(tmp_path):
    """Saved twice: p1 first, then p2 too."""
    path = tmp_path / "checkpoints.json"
    checkpoints = CheckpointStore(path)
    for number in (1, 2):
        checkpoints.put(known(number))
        checkpoints.save()
    return path


def test_what_was_saved_is_there_again(path):
    assert list(CheckpointStore(path)) == [known(1), known(2)]


def test_what_is_saved_again_and_again_makes_no_new_paths(path, monkeypatch):
    """Pathlib interns each new name: Python's table of them would be rebuilt, larger, at last."""
    checkpoints, made = CheckpointStore(path), []
    checkpoints.put(known(3))
    checkpoints.save()
    for name in ("with_name", "with_suffix", "__truediv__"):
        real = getattr(Path, name)
        spy = lambda self, *given, real=real: made.append(given) or real(self, *given)  # noqa: E731
        monkeypatch.setattr(Path, name, spy)
    for number in range(4, 9):
        checkpoints.put(known(number))
        checkpoints.save()
    assert made == []
    assert len(list(CheckpointStore(path))) == 8


@pytest.mark.parametrize("text", ["", "{", '{"version": 2, "checksum": 0, "files": []}'])
def test_a_damaged_file_gives_way_to_the_one_before_which_scores_again(path, text, caplog):
    path.write_text(text)
    assert list(CheckpointStore(path)) == [known(1, reached=10)]
    assert f"{path} is damaged" in caplog.text
    assert "going on from checkpoints.json.1" in caplog.text


def test_a_file_that_is_gone_is_told_where_the_one_before_is_there(path, caplog):
    path.unlink()
    assert list(CheckpointStore(path)) == []
    assert f"{path} is gone, though {path}.1 is there; beginning anew" in caplog.text


def test_if_both_are_damaged_that_is_an_error_which_says_what_to_do(path):
    path.write_text("{")
    path.with_name("checkpoints.json.1").write_text("{")
    with pytest.raises(StorageError, match=r"is damaged .*; move .* away to begin anew"):
        CheckpointStore(path)


def test_a_first_version_without_a_checksum_is_read(path):
    stored = json.loads(path.read_text())
    del stored["checksum"]
    path.write_text(json.dumps({**stored, "version": 1}))
    assert list(CheckpointStore(path)) == [known(1), known(2)]


def test_what_the_former_version_wrote_is_read(path):
    """It knew neither marks nor first paths."""
    files = json.loads(path.read_text())["files"]
    for each in files:
        del each["mark"], each["met_at"]
    checksum = zlib.crc32(json.dumps(files, sort_keys=True).encode())
    path.write_text(json.dumps({"version": 2, "checksum": checksum, "files": files}))
    assert list(CheckpointStore(path)) == [known(1), known(2)]


def test_a_mark_is_kept_until_there_is_one_of_more(path):
    checkpoints = CheckpointStore(path)
    for end, kept in ((5, 5), (9, 9), (7, 9)):
        checkpoints.remember("p1", TailChecksum.of(end, b"bytes"))
        checkpoints.save()
        assert CheckpointStore(path)["p1"].mark == TailChecksum.of(kept, b"bytes")
    checkpoints.remember("p1", None)
    assert checkpoints["p1"].mark == TailChecksum.of(9, b"bytes")


def test_cut_anywhere_or_with_a_bit_flipped_they_are_never_silently_wrong(path):
    luck = random.Random(3)  # noqa: S311  reproducible damage
    whole = path.read_bytes()
    for number in range(100):
        raw = bytearray(whole)
        if number % 2:
            raw = raw[: luck.randrange(len(raw))]
        else:
            raw[luck.randrange(len(raw))] ^= 1 << luck.randrange(8)
        path.write_bytes(raw)
        try:
            found = list(CheckpointStore(path))
        except StorageError as error:
            assert "newer logmlm" in str(error)  # noqa: PT017  either end is right
            continue
        assert found in ([known(1), known(2)], [known(1, reached=10)])


def test_a_place_that_can_not_be_written_is_a_storage_error(path):
    checkpoints = CheckpointStore(path)
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    path.mkdir()
    checkpoints.put(known(3))
    with pytest.raises(StorageError, match="can't write"):
        checkpoints.save()


def test_a_partition_is_named_after_the_first_line_however_much_there_is(path):
    assert partition_name(b"one\n") == partition_name(b"one\ntwo\n") == partition_name(b"one")
    assert partition_name(b"one\n") != partition_name(b"two\n")
    checkpoints = CheckpointStore(path)
    name = checkpoints.name(b"one\ntwo")
    assert name == partition_name(b"one\n")
