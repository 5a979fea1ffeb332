"""More files than descriptors, and many that nothing is written to."""

import resource
import subprocess
import sys

import offline_parts
import pytest

from logmlm.config.sources import FileSourceConfig
from logmlm.sources.file import source as file_source
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.source import FileSource

LINE = "2024-05-06T07:00:00.{:03}Z INFO req-{} GET /files/1 from 10.0.0.1\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.trained(tmp_path_factory)


def follow(directory, model, files, limits):
    """Run the daemon on so many files of one line, under these limits of descriptors."""
    logs = directory / "logs"
    logs.mkdir()
    for i in range(files):
        (logs / f"a{i}.log").write_text(LINE.format(i % 1000, i))
    command = [sys.executable, "-m", "logmlm", "run", "--model", model, "--device", "cpu"]
    command += ["--follow", logs / "*.log", "--state-dir", directory / "state"]
    command += ["--from-beginning", "--stop-when-idle", "3", "--output", "json"]
    return subprocess.run(
        list(map(str, command)),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits),
        capture_output=True,
        text=True,
        check=False,
    )


def test_more_files_than_the_soft_limit_are_all_read(tmp_path, trained):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 1_800:
        pytest.skip("the hard limit of descriptors is too low here")
    done = follow(tmp_path, trained.model, 1_500, (1_024, hard))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("from byte 0 on") == 1_500
    assert "limit of descriptors" not in done.stderr


def test_more_files_than_the_hard_limit_are_read_by_turns_and_it_is_said(tmp_path, trained):
    done = follow(tmp_path, trained.model, 250, (228, 228))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("from byte 0 on") == 250
    assert done.stderr.count("following ") == 250, "a file was opened twice, in place of another"
    assert done.stderr.count("100 files are open, as many as the limit of descriptors") == 1


def test_with_room_for_a_few_files_all_are_read_in_as_many_turns_as_that_takes(tmp_path):
    for i in range(12):
        (tmp_path / f"a{i}.log").write_text(f"line of {i}\n")
    now = [1000.0]
    source = FileSource(
        FileSourceConfig(include=(f"{tmp_path}/*.log",), start_at="beginning"),
        CheckpointStore(tmp_path / "c.json"),
        clock=lambda: now[0],
        wait=lambda seconds: now.__setitem__(0, now[0] + seconds),
        monotonic=lambda: now[0],
        open_limit=lambda: 3,
    )
    lines = []
    while len(lines) < 12:
        lines += source.poll(1.0)
        assert now[0] < 1012, "files that were read keep others from being opened"
    assert source.is_idle()
    source.close()


def test_looking_at_many_idle_files_is_done_less_often(tmp_path, monkeypatch):
    monkeypatch.setattr(file_source, "SCANS_SHARE", 1e-9)
    for i in range(20):
        (tmp_path / f"a{i}.log").write_text(f"line of {i}\n")
    now = [1000.0]

    def wait(seconds):
        now[0] += max(seconds, 0.5)

    source = FileSource(
        FileSourceConfig(include=(f"{tmp_path}/*.log",), start_at="beginning"),
        CheckpointStore(tmp_path / "c.json"),
        clock=lambda: now[0],
        wait=wait,
        monotonic=lambda: now[0],
    )
    assert len(source.poll(0.5)) == 20
    (tmp_path / "new.log").write_text("new line\n")
    began = now[0]
    while not source.poll(0.5):
        assert now[0] - began < 60
    assert 8 < now[0] - began <= 12  # MOST_SCAN_S, though each look is far too dear
    with (tmp_path / "a3.log").open("a") as log:
        log.write("more\n")
    lines = source.poll(0.5) or source.poll(0.5)
    assert [line.text for line in lines] == ["more"]
    source.close()
