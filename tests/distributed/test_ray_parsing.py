"""Lines read and parsed in shards: all is as one process has it, whatever is cut where."""

import gzip
import pickle
from collections import Counter

import pytest
from offline_parts import KEY, service_log, write_log

from logmlm.config.training import FormatConfig, MultilineConfig, TemplateConfig
from logmlm.distributed import ray_parsing as clusterparsing
from logmlm.distributed.ray_parsing import ParseJob
from logmlm.errors import DataError, StorageError
from logmlm.parsing import batches as parsing
from logmlm.parsing.batches import ParserSpec
from logmlm.parsing.masking import LogMasker
from logmlm.parsing.parallel import ParallelParser
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import one_by_one
from logmlm.sources.archive.reader import read_lines

MASKS = TemplateMiner(TemplateConfig()).masks
TRACE = MultilineConfig(
    start_pattern="^2024", mode="halt_before", condition_pattern="^2024", timeout_ms=1000
)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(parsing, "BATCH_LINES", 30)


@pytest.fixture
def logs(tmp_path):
    traced = [row for line in service_log(12) for row in (line, "  at frame", "")]
    plain = write_log(tmp_path / "plain.log", [*traced, *[""] * 90, *traced, *["  at frame"] * 700])
    with plain.open("a") as stream:
        stream.write("2024-05-06T09:00:00Z INFO no line end")
    empty = write_log(tmp_path / "empty.log", [])
    packed = tmp_path / "packed.log.gz"
    packed.write_bytes(gzip.compress("\n".join(service_log(9, seed=3, first=70)).encode()))
    one = write_log(tmp_path / "one.log", service_log(1))
    return tuple(map(str, (plain, empty, packed, one)))


def work_of(logs, multiline=None, **settings):
    how = ParserSpec(FormatConfig(name="iso8601", multiline=multiline), KEY, MASKS)
    return ParseJob(logs, how, **settings)


def in_shards(work, warn=print):
    """What `parsed` gives, with the rows made here rather than on Ray."""
    named = [pair for log in work.logs for pair in clusterparsing._cut(log, work)]
    shards = [shard for _, shard in named]
    rows = (row for n in range(len(shards)) for row in clusterparsing._parse(shards, work, n_(n)))
    logs = [log for log, _ in named]
    found = clusterparsing._with_ends(clusterparsing._unpacked(rows, logs, work, warn))
    return told(found), len(shards)


def n_(number):
    return {"id": number}


def told(found):
    """The lines, each with what was found in it; where logs end; how many lines were read."""
    lines, ends, read, discarded = [], [], 0, Counter()
    for batch, fields in found:
        read, discarded = read + batch.read, discarded + batch.discarded
        for place, line in enumerate(batch.lines):
            one = fields.at(place, line)
            what = None if one is None else (one.timestamp, one.fields)
            lines += [(each, what) for each in one_by_one([line])]
        if batch.last:
            ends.append(len(lines))
    return lines, ends, read, discarded


@pytest.mark.parametrize("multiline", [None, TRACE])
@pytest.mark.parametrize("shard_bytes", [1, 300, 5_000, 1 << 20])
def test_lines_and_what_was_found_are_those_of_one_process(logs, shard_bytes, multiline):
    work = work_of(logs, multiline, shard_bytes=shard_bytes)
    found, shards = in_shards(work)
    assert found == told(ParallelParser(work.parsing, workers=0).read(read_lines(logs, 0.0)))
    assert len(found[1]) == 3
    assert bool(found[3]) == (multiline is not None)
    assert (shards == 4) == (multiline is not None or shard_bytes == 1 << 20)


def test_a_line_has_its_key_and_its_mask_with_it(logs):
    work = work_of(logs, shard_bytes=300)
    shard = clusterparsing._cut(logs[0], work)[0][1]
    rows = [pickle.loads(row["outcome"]) for row in clusterparsing._parse([shard], work, n_(0))]  # noqa: S301  our own
    _, keys, masked, odd, _ = rows[0].packed
    message = rows[0].texts[0].partition(" INFO ")[2]
    assert (keys[0], message[:8], odd.get(0, "not odd")) == ("req-1000", keys[0], "not odd")
    assert masked[0] == LogMasker(MASKS).mask_message(message)


def test_damage_ends_it_or_is_warned_of_and_what_came_before_is_used(logs, tmp_path):
    whole = gzip.compress("\n".join(service_log(400)).encode())
    damaged = tmp_path / "damaged.log.gz"
    damaged.write_bytes(whole[: len(whole) // 2])
    given, warnings = (logs[0], str(damaged), logs[3]), []
    with pytest.raises(DataError, match=r"damaged\.log\.gz is damaged .*fetch it again"):
        in_shards(work_of(given, shard_bytes=300))
    work = work_of(given, shard_bytes=300, keep_going=True)
    found, _ = in_shards(work, warnings.append)
    assert found == told(
        ParallelParser(work.parsing, workers=0).read(read_lines(given, 0.0, keep_going=True))
    )
    assert len(found[1]) == 3
    assert [f"{damaged} is damaged after" in sentence for sentence in warnings] == [True]


def test_a_log_that_is_no_text_or_not_there_any_more_is_said(logs, tmp_path):
    binary = write_log(tmp_path / "binary.log", ["no \x00 text"])
    work = work_of((logs[0], str(binary)), shard_bytes=300)
    with pytest.raises(DataError, match="its first line holds a NUL byte"):
        in_shards(work)
    with pytest.raises(StorageError, match="gone"):
        in_shards(work_of((logs[0], str(tmp_path / "gone.log"))))


def test_a_relative_path_names_the_log_but_workers_read_it_wherever_they_are(
    logs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    work = work_of(("plain.log",), shard_bytes=300)
    (log, shard), *_ = clusterparsing._cut("plain.log", work)
    assert (log, shard.path) == ("plain.log", logs[0])
    found, _ = in_shards(work)
    assert {line.partition for line, _ in found[0]} == {"plain.log"}
