"""Shards: the windows are those of one process, however files are cut and events are scattered."""

import gzip
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config.training import FormatConfig, MultilineConfig, WindowConfig
from logmlm.detection.windows import Windower
from logmlm.distributed.shards import (
    Shard,
    ShardLines,
    shard_contexts,
    shuffle_map,
    shuffle_reduce,
    split_at_events,
    split_at_lines,
    summarize,
)
from logmlm.errors import DataError, StorageError
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.sources.archive.reader import read_lines

BEGIN = datetime(2024, 5, 6, 7, 59, 30, tzinfo=UTC)
WINDOWS = (
    WindowConfig(kind="session", key="thread", gap=5.0, size=4, max_age=60.0),
    WindowConfig(kind="session", key=r"(k\d)", gap=2.0, size=100),
    WindowConfig(kind="session", key=r"(k\d)", gap=2.0, size=9, host_skew=3.0),
    WindowConfig(kind="session", key=r"(k\d)", gap=40_000.0, size=9, host_skew=30_000.0),
    WindowConfig(kind="time", span=7.0, host_skew=3.0),
    WindowConfig(kind="count", size=3),
    WindowConfig(kind="time", span=7.0, size=5),
    WindowConfig(kind="time", span=7.0, key=r"(k\d)"),
)


def lines_of(luck, count):
    """A log with late lines, stack traces, blank and foreign lines, and lines without a time."""
    moment = BEGIN
    for _ in range(count):
        moment += timedelta(milliseconds=luck.choice((0, 10, 400, 3000, 9000)))
        late = timedelta(seconds=luck.choice((0, 0, 0, 1, 20)))
        if luck.random() < 0.03:
            moment += timedelta(seconds=luck.choice((50, 70, 600, 86_400)))
        if luck.random() < 0.05:
            late = -timedelta(seconds=luck.choice((50, 70, 600, 86_400, 1e9)))
        stamp = (moment - late).isoformat(timespec="milliseconds").removesuffix("+00:00")
        kind = luck.random()
        if kind < 0.7:
            yield f"{stamp}Z INFO did {luck.randrange(3)} of k{luck.randrange(5)}"
        elif kind < 0.8:
            yield f"2024-13-99T99:99:99Z INFO no time k{luck.randrange(5)}"
        else:
            yield luck.choice(("  at frame", "", "Caused by: x", "\tmore"))


def partial_lines(luck, count):
    """Kubernetes' format, in which a line's rest may follow in the next."""
    moment = BEGIN
    for _ in range(count):
        moment += timedelta(milliseconds=luck.choice((0, 10, 400, 3000)))
        stamp = moment.isoformat(timespec="milliseconds").removesuffix("+00:00")
        stream, tag = luck.choice(("stdout", "stderr")), luck.choice("PFF")
        yield f"{stamp}Z {stream} {tag} part {luck.randrange(3)} k{luck.randrange(4)}"


def yearless_lines(luck, count):
    """Syslog of some days, months or a year; `in_one` and shards guess its years by the file's."""
    moment = datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=luck.randrange(300))
    hours = luck.choice((1, 30, 200))
    for _ in range(count):
        moment += timedelta(hours=luck.random() * hours)
        if luck.random() < 0.02:
            yield f"Jan  1 00:00:03 host app: booted k{luck.randrange(5)}"
        late = moment - timedelta(seconds=luck.choice((0, 0, 20, 90_000)))
        host = f"h{luck.randrange(3)}"
        yield f"{late:%b} {late.day:2} {late:%H:%M:%S} {host} app: did k{luck.randrange(5)}"


def reading(line_format, window, multiline=None):
    return lambda: EventParser(
        line_format, window.key, lambda message: message[-2:], multiline, finished=True
    )


def told(window):
    events = [(each.line, each.timestamp, each.key, each.template_id) for each in window.events]
    return repr((window.partition, window.key, window.closed_by, window.complete, events))


def in_one(paths, read, config):
    """As `Detector.windows` does it."""
    reader, windower, found, partition = read(), Windower(config), [], None
    for line in read_lines(paths, 0.0):
        if partition not in (None, line.partition):
            found += windower.add(reader.flush()) + windower.close_all()
        partition = line.partition
        found += windower.add(reader.feed([line]))
    found += windower.add(reader.flush()) + windower.close_all()
    return list(map(told, found)), reader.unmatched


def in_shards(shards, read, config, buckets, luck):
    summaries = [summarize(shard, read, config) for shard in shards]
    parts = {}
    for shard, carry in zip(shards, shard_contexts(shards, summaries, read, config), strict=True):
        for bucket, part in shuffle_map(shard, carry, read, config, buckets):
            parts.setdefault(bucket, []).append(part)
    found = []
    for bucket in parts.values():
        luck.shuffle(bucket)
        found += shuffle_reduce(bucket, config)
    files = [shard.path for shard in shards]
    found.sort(key=lambda each: (files.index(each[1].partition), each[0]))
    misfits = tuple(map(sum, zip(*(summary.misfits for summary in summaries), strict=True)))
    return [told(window) for _, window in found], misfits


MADE = (
    ("iso8601", lines_of),
    ("cri", partial_lines),
    ("plain", lines_of),
    ("syslog", yearless_lines),
)
END = datetime(2027, 12, 31, tzinfo=UTC)


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32),
    window=st.sampled_from(WINDOWS),
    make=st.sampled_from(MADE),
    shard_bytes=st.integers(30, 3000),
    buckets=st.integers(1, 9),
)
def test_the_windows_are_those_of_one_process_and_in_its_order_by_their_turns(
    seed, window, make, shard_bytes, buckets
):
    luck = random.Random(seed)  # noqa: S311  a log, no secret
    name, lines = make
    line_format = get_format(FormatConfig(name=name))
    with TemporaryDirectory() as folder:
        paths = [f"{folder}/{i}.log" for i in range(luck.randrange(1, 4))]
        for path in paths:
            Path(path).write_text("\n".join(lines(luck, luck.randrange(1, 90))))
            os.utime(path, (0, END.timestamp() - luck.randrange(730) * 86_400))
        shards = [
            shard for path in paths for shard in split_at_events(path, shard_bytes, line_format)
        ]
        read = reading(line_format, window)
        assert in_shards(shards, read, window, buckets, luck) == in_one(paths, read, window)


def test_a_file_is_cut_near_where_it_was_asked(tmp_path):
    path = tmp_path / "a.log"
    stamped = [f"2024-05-06T07:00:{i:02}Z INFO did {i}" for i in range(60)]
    path.write_text("\n".join(stamped))
    line_format = get_format(FormatConfig(name="iso8601"))
    shards = split_at_events(str(path), 500, line_format)
    size = path.stat().st_size
    assert len(shards) == 1 + size // 500
    assert (shards[0].start, shards[-1].end) == (0, size)
    assert [a.end for a in shards[:-1]] == [b.start for b in shards[1:]]
    text = path.read_text()
    assert all(text[each.start :].startswith("2024-05-06T") for each in shards)


def test_where_lines_cannot_be_told_apart_there_is_one_shard(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("no time\n" * 3000)
    size = path.stat().st_size
    assert split_at_events(str(path), 100, get_format(FormatConfig(name="plain"))) == [
        Shard(str(path), 0, size)
    ]
    assert split_at_events(str(path), 100, None) == [Shard(str(path), 0, size)]


def test_messages_of_several_lines_are_joined_in_a_shard_of_the_whole_file(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("start 1\n more\nstart 2\n more\n")
    multiline = MultilineConfig(
        start_pattern="^start", condition_pattern="^ ", mode="continue_through"
    )
    window = WindowConfig(kind="count", size=2)
    read = reading(get_format(FormatConfig(name="plain")), window, multiline)
    luck = random.Random(0)  # noqa: S311  an order, no secret
    found = in_shards(split_at_events(str(path), 10, None), read, window, 3, luck)
    assert found == in_one([str(path)], read, window)
    assert r"start 1\n more" in found[0][0]


def test_a_packed_file_is_one_shard_and_a_damaged_one_is_said(tmp_path):
    path = tmp_path / "a.log.gz"
    luck = random.Random(3)  # noqa: S311  a log, no secret
    whole = gzip.compress("\n".join(lines_of(luck, 3000)).encode())
    path.write_bytes(whole)
    window = WINDOWS[0]
    read = reading(get_format(FormatConfig(name="iso8601")), window)
    shards = split_at_events(str(path), 100, get_format(FormatConfig(name="iso8601")))
    assert shards == [Shard(str(path))]
    assert in_shards(shards, read, window, 4, luck) == in_one([str(path)], read, window)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        summarize(shards[0], read, window)
    kept = summarize(shards[0], read, window, keep_going=True)
    assert (kept.lines > 100, "is damaged" in kept.warning) == (True, True)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(StorageError, match=r"can't read .*none\.log: No such file"):
        split_at_events(str(tmp_path / "none.log"), 10, None)


@pytest.mark.parametrize("shard_bytes", [1, 7, 100, 1000])
def test_files_cut_anywhere_hold_each_line_once(tmp_path, shard_bytes):
    texts = ["", "a" * 50, "b", "", "", "c" * 400, "d"]
    path = tmp_path / "a.log"
    path.write_text("\n".join(texts))
    shards = split_at_lines(str(path), shard_bytes)
    parts = [[line.text for line in ShardLines(shard, keep_going=False)] for shard in shards]
    assert [text for part in parts for text in part] == texts
    assert all(parts)
    assert (len(shards) == 1) == (shard_bytes == 1000)


def test_a_packed_file_is_one_shard_and_so_is_an_empty_one(tmp_path):
    for name in ("a.log", "a.log.gz"):
        (tmp_path / name).touch()
        assert len(split_at_lines(str(tmp_path / name), 1)) == 1
