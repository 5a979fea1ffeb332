"""Patterns of paths: the same as glob finds, each directory once."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from logmlm.config.globs import matches
from logmlm.sources.archive.reader import expand
from logmlm.sources.file.discovery import FileDiscovery

LOOKED_FOR_S = 60


def tree(root: Path) -> None:
    for name in ("a.log", "d/b.log", "d/e/c.log", "d/.hidden/h.log", ".top/t.log", "f[1]/g.log"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("line\n")


@pytest.mark.parametrize(
    "pattern",
    [
        "*.log",
        "**/*.log",
        "**/**/*.log",
        "d/**/*.log",
        "d/**/c.log",
        "**/e/*.log",
        "**/d/**/*.log",
        "*/*.log",
        "?/**/*.log",
        "none/**/*.log",
        "**/.hidden/*.log",
        "d/b.log",
        "missing.log",
        "**/f[[]1]/*.log",
    ],
)
def test_without_links_it_finds_what_glob_finds(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert matches(pattern) == sorted(set(glob.glob(pattern, recursive=True)))  # noqa: PTH207
    absolute = f"{glob.escape(str(tmp_path))}/{pattern}"
    assert matches(absolute) == sorted(set(glob.glob(absolute, recursive=True)))  # noqa: PTH207


def test_all_files_are_found_below_a_pattern_that_ends_so(tmp_path: Path) -> None:
    tree(tmp_path)
    found = {path for path in matches(f"{tmp_path}/d/**") if Path(path).is_file()}
    assert found == {f"{tmp_path}/d/b.log", f"{tmp_path}/d/e/c.log"}


def test_links_that_form_a_loop_end_the_search(tmp_path: Path) -> None:
    """In a process of its own: without an end to it, this would never return."""
    tree(tmp_path)
    for name in ("a", "b", "d/up"):
        (tmp_path / name).symlink_to(tmp_path)
    search = "import sys; from logmlm.config.globs import matches; print(*matches(sys.argv[1]))"
    found = subprocess.run(
        [sys.executable, "-c", search, f"{tmp_path}/**/*.log"],
        capture_output=True,
        text=True,
        timeout=LOOKED_FOR_S,
        check=True,
    ).stdout.split()
    names = ("a.log", "d/b.log", "d/e/c.log", "f[1]/g.log")
    assert found == [f"{tmp_path}/{name}" for name in names]


def test_a_link_to_a_directory_beside_it_finds_no_file_twice(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "a").symlink_to(tmp_path / "d")  # its name comes before that of the directory
    (tmp_path / "loop").symlink_to(".")
    found = expand([f"{tmp_path}/**/*.log"])
    assert Counter(map(os.path.realpath, found)).most_common(1)[0][1] == 1
    assert f"{tmp_path}/d/b.log" in found
    files = FileDiscovery([f"{tmp_path}/**/*.log"], []).files()
    assert sorted(str(path) for path in files.values()) == sorted(found)


def test_a_link_out_of_the_tree_is_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    tree(outside)
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    assert f"{inside}/link/d/b.log" in matches(f"{inside}/**/*.log")
