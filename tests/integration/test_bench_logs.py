"""How the benchmarks on logs cut them, and what they ask for: sides, shares, continuations."""

import gzip
import sys
from pathlib import Path

import pytest
from offline_parts import service_log

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import hdfs
import samples

from logmlm.evaluation.labels import Labels


def hdfs_line(second, block, text="Receiving block"):
    return f"081109 2035{second:02d} 148 INFO dfs.DataNode: {text} blk_{block}\n"


LINES = [
    *(hdfs_line(second, block) for second, block in ((0, 1), (10, -2), (29, 3), (31, 4))),
    hdfs_line(40, 3, "Deleting block"),
    hdfs_line(50, 4, "Deleting block"),
]


@pytest.fixture
def sides(tmp_path):
    log = tmp_path / "log.gz"
    log.write_bytes(gzip.compress("".join(LINES).encode()))
    hdfs._split(log, tmp_path)
    return tmp_path


def test_a_block_is_whole_on_the_side_where_it_begins(sides):
    assert (sides / "train.log").read_text() == "".join([*LINES[:3], LINES[4]])
    assert (sides / "test.log").read_text() == "".join([LINES[3], LINES[5]])


def test_the_share_of_anomalies_is_that_of_the_blocks_of_the_training_part(sides):
    file = sides / "labels.csv"
    file.write_text("block,anomaly\nblk_1,0\nblk_-2,1\nblk_3,0\nblk_4,1\n")
    assert hdfs._anomalous(sides / "train.log", Labels.read(file)) == pytest.approx(1 / 3)
    assert hdfs._anomalous(sides / "test.log", Labels.read(file)) == 1.0


def test_the_later_windows_begin_in_the_later_log_and_continue_the_first(
    detector, tmp_path, monkeypatch
):
    lines = [f"{line}\n" for line in service_log(sessions=40)]
    cut = len(lines) // 2
    (tmp_path / "shop").mkdir()
    for name, part in (("normal", lines[:cut]), ("later", lines[cut:])):
        (tmp_path / "shop" / f"{name}.log.gz").write_bytes(gzip.compress("".join(part).encode()))
    monkeypatch.setattr(samples, "SAMPLES", tmp_path)

    found = samples.later_windows(detector, "shop")
    first = {key: place for place, key in reversed(list(enumerate(map(key_of, lines))))}
    assert {window.key for window in found} == {key for key, at in first.items() if at >= cut}
    assert sum(len(window.events) for window in found) == sum(
        first[key] >= cut for key in map(key_of, lines)
    )
    assert 0 < len(found) < len(first) - 15  # the session that the cut went through is none


def key_of(line):
    return next(word for word in line.split() if word.startswith("req-"))
