"""Files that are either the old one or the new one."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from logmlm.errors import StorageError
from logmlm.system.atomic_files import ORDINARY, atomic_path, sync, write_json, write_text

FULL_DISK = """
import resource, sys
from pathlib import Path
from logmlm.errors import StorageError
from logmlm.system.atomic_files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_text(Path(sys.argv[1]), "x" * 100_000)
except StorageError as error:
    print(error)
"""


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_that_is_replaced_again_and_again_makes_one_temporary_name(tmp_path):
    names = []
    for text in ("one", "two", "three"):
        with atomic_path(tmp_path / "a.json") as temporary:
            temporary.write_text(text)
            names.append(temporary)
    assert len(set(map(id, names))) == 1  # pathlib interns each new one
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "three"


def test_what_is_written_takes_the_old_files_place(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_text(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert temporary.parent == tmp_path
        assert path.read_text(encoding="utf-8") == "old"
    assert path.read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["state.json"]


def test_a_link_stays_one_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    link.symlink_to("there/target")
    for text in ("first", "second"):
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert [each.name for each in target.parent.iterdir()] == ["target"]
    round_and_round = tmp_path / "loop"
    round_and_round.symlink_to("loop")
    write_text(round_and_round, "text")
    assert round_and_round.read_text() == "text"


def test_a_pipe_or_a_device_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StorageError, match="pipe: it is no regular file"):
        write_text(pipe, "text")
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_who_has_the_old_file_open_reads_the_old_file_to_its_end(tmp_path: Path) -> None:
    write_text(tmp_path / "state.json", "old")
    with (tmp_path / "state.json").open(encoding="utf-8") as file:
        write_text(tmp_path / "state.json", "new")
        assert file.read() == "old"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_on_any_error_the_old_file_stays_and_nothing_is_left_beside_it(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "state.json"
    write_text(path, "old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n", encoding="utf-8")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["state.json"]


def test_a_disk_that_is_full_costs_nothing_that_was_good(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_text(path, "old")
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"can't write {path}: File too large\n"
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["state.json"]


@pytest.mark.parametrize("name", ["missing/state.json", "file/state.json", "n" * 250])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("a file, and no directory", encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        write_text(tmp_path / name, "new")
    assert f"can't write {tmp_path / name}: " in str(caught.value)
    assert "Errno" not in str(caught.value)


def test_a_directory_in_the_files_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        write_text(tmp_path / "state.json", "new")
    assert names(tmp_path) == ["state.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_file_is_the_umasks_choice_or_its_owners(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "table.md", "asked for", ORDINARY)
        write_text(tmp_path / "state.json", "kept")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "table.md").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("value", [{"ü": [1, 2.5, None]}, {"lone": "\udc80\ud800"}, "\u2028"])
def test_json_reads_back_as_it_was(tmp_path: Path, value: object) -> None:
    write_json(tmp_path / "state.json", value)
    text = (tmp_path / "state.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("\n")


def test_json_that_no_other_reader_takes_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "state.json", float("nan"))
    assert names(tmp_path) == []


def test_only_what_is_there_can_be_synced(tmp_path: Path) -> None:
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "missing")
