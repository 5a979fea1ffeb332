"""Labels: every form of file, what they say of windows, and every refusal."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.errors import DataError, StorageError
from logmlm.evaluation.labels import Interval, Labels
from logmlm.records import Event, Fields, LogLine, Window

MAY_6 = 1714953600.0  # 2024-05-06T00:00:00Z


def a_window(start: float, end: float, key: str = "", label: str | None = None) -> Window:
    events = tuple(
        Event(LogLine("x", "p", 0, 2, at), Fields(at, "", "x", {}, label), at, key, "t")
        for at in (start, end)
    )
    return Window("p", key, events, "end", complete=True)


def a_file(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    path = a_file(folder, text)
    with pytest.raises(DataError) as caught:
        Labels.read(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    "times",
    [
        "2024-05-06T00:00:00Z,2024-05-06T00:01:00Z",
        "2024-05-06 00:00:00,2024-05-06 00:01:00",
        "2024-05-06T02:00:00+02:00,2024-05-06T02:01:00+02:00",
        "1714953600,1714953660.0",
        " 2024-05-06 , 1714953660",
    ],
)
def test_a_time_is_iso_8601_or_epoch_seconds_and_utc_where_it_has_no_zone(
    tmp_path: Path, times: str
) -> None:
    labels = Labels.read(a_file(tmp_path, f"Start,End\n{times}\n"))
    assert labels.intervals == (Interval(MAY_6, MAY_6 + 60, "interval 1"),)
    assert labels.keys is None


@pytest.fixture
def _in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_in_tokyo")
def test_a_time_without_a_zone_is_utc_on_a_machine_elsewhere_too(tmp_path: Path) -> None:
    labels = Labels.read(a_file(tmp_path, "start,end\n2024-05-06,2024-05-06 00:01\n"))
    assert labels.intervals[0].start == MAY_6


def test_an_interval_is_named_by_the_column_name_else_by_the_first_other_column(
    tmp_path: Path,
) -> None:
    named = Labels.read(a_file(tmp_path, "start,kind,name,end\n5,disk,B,6\n1,net,A,2\n\n7,x,,8\n"))
    assert [i.name for i in named.intervals] == ["A", "B", "interval 3"]
    other = Labels.read(a_file(tmp_path, 'start,end,kind,what\n1,2,net,"a, b"\n'))
    assert [i.name for i in other.intervals] == ["net"]


def test_a_window_is_anomalous_if_it_overlaps_an_interval_and_the_ends_count(
    tmp_path: Path,
) -> None:
    labels = Labels.read(a_file(tmp_path, "start,end\n100,200\n120,130\n300,300\n"))
    spans = {(0, 99.9): 0, (0, 100): 1, (150, 160): 1, (200, 250): 1, (201, 299): 0, (250, 400): 1}
    for (start, end), expected in spans.items():
        assert labels.is_anomaly(a_window(start, end)) == bool(expected), (start, end)


def test_a_time_without_a_fraction_stands_for_its_whole_second(tmp_path: Path) -> None:
    labels = Labels.read(a_file(tmp_path, "start,end\n100.634,102.5\n"))
    spans = {(99, 100): 1, (99, 100.1): 0, (99.5, 100): 0, (102, 102): 1, (103, 104): 0}
    for (start, end), expected in spans.items():
        window = a_window(start, end)
        assert labels.is_anomaly(window) == bool(expected), (start, end)
        assert len(labels.matched_intervals([window])) == expected


spans = st.tuples(st.integers(0, 50), st.integers(0, 10)).map(lambda s: (s[0], s[0] + s[1]))


@given(st.lists(spans, min_size=1, max_size=8), st.lists(spans, min_size=1, max_size=8))
def test_overlaps_are_those_of_a_comparison_of_every_pair(
    intervals: list[tuple[int, int]], windows: list[tuple[int, int]]
) -> None:
    labels = Labels("x", tuple(Interval(a, b, "") for a, b in sorted(intervals)))
    made = [a_window(a, b) for a, b in windows]
    assert [labels.is_anomaly(w) for w in made] == [
        any(a <= d and c <= b for a, b in intervals) for c, d in windows
    ]
    assert [(i.start, i.end) for i in labels.matched_intervals(made)] == [
        (a, b) for a, b in sorted(intervals) if any(a <= d and c <= b for c, d in windows)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "block_id,anomaly\na,0\nb,1\n",
        "BlockId,Label\na,Normal\nb,Anomaly\n",
        "id,note,hit\na,hm,false\nb,1,true\n",
        "id,zero,Label\r\na,0,0\r\nb,0,1\r\nb,0,1\r\n",
        "\ufeffid,label\na,0\n,\nb,1\n",
    ],
)
def test_a_key_has_the_verdict_of_its_column(tmp_path: Path, text: str) -> None:
    labels = Labels.read(a_file(tmp_path, text))
    assert labels.keys == {"a": False, "b": True}
    assert not labels.intervals
    verdicts = [labels.is_anomaly(a_window(0, 1, key)) for key in ("a", "b", "c")]
    assert verdicts == [False, True, False]


def test_gzipped_labels_read_as_plain_ones_do(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv.gz"
    path.write_bytes(gzip.compress(b"id,label\na,1\n"))
    assert Labels.read(path).keys == {"a": True}
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged gzip file"):
        Labels.read(path)


def test_in_line_labels_are_anomalous_where_any_event_has_one_that_is_not_a_dash() -> None:
    labels = Labels.in_line()
    mixed = a_window(0, 1, label="-")
    mixed = Window("p", "", (*mixed.events, a_window(2, 3, label="KERN").events[0]), "end", False)
    assert labels.is_anomaly(mixed)
    assert not labels.is_anomaly(a_window(0, 1, label="-"))
    assert not labels.is_anomaly(a_window(0, 1, label=None))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ": no labels in it; it needs a header and at least one row"),
        ("start,end\n", ": no labels in it; it needs a header and at least one row"),
        ("1,2\n3,4\n", ":1: the first line is data; it must name the columns"),
        ("start,end\n1,2\n\n3\n", ":4: 1 cells, but the header names 2"),
        ("start,end\n5,4\n", ":2: end 4 is before start 5"),
        ("start,end\n1,2\n1,soon\n", ":3: end 'soon' is no time; write it like"),
        ("start,end\n1,1714953660000\n", ":2: end 1714953660000 is past year 9999"),
        ("start,end\n1,nan\n", ":2: end nan is past year 9999"),
        ("id,label\na,1\na,0\n", ":3: key 'a' had the other label further up"),
        ("id,label\na,1\nb,maybe\n", ":3: column 'label' holds 'maybe', which is none of 0, 1"),
        ("id,note\na,hm\n", ": no column of only 0 and 1 after the key 'id' (columns: id, note)"),
        ("id,p,q\na,0,1\n", ": several columns of only 0 and 1 after the key 'id'"),
        ('id,label\n"a,1\n', ":2: no CSV: "),
    ],
)
def test_a_file_without_usable_labels_is_refused_with_line_and_reason(
    tmp_path: Path, text: str, complaint: str
) -> None:
    assert refusal(tmp_path, text).startswith(complaint)


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(b"id,label\na,1\n\xff,0\n")
    with pytest.raises(DataError, match=r"labels\.csv:3: not UTF-8"):
        Labels.read(path)


def test_a_file_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"can't read the labels .*No such file"):
        Labels.read(tmp_path / "none.csv")


@given(st.text(alphabet="01a,\n\"'-. TZ\r\x00é", max_size=60))
@settings(max_examples=50)
def test_any_text_gives_labels_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, text: str):
    folder = tmp_path_factory.getbasetemp()
    for header in ("", "start,end\n", "id,label\n"):
        try:
            labels = Labels.read(a_file(folder, header + text))
        except DataError:
            continue
        assert labels.intervals or labels.keys


def test_labels_that_belong_to_the_windows_pass_the_check(tmp_path: Path) -> None:
    Labels.read(a_file(tmp_path, "start,end\n1,2\n")).check([a_window(5, 6), a_window(2, 3)])
    Labels.read(a_file(tmp_path, "id,label\na,0\n")).check([a_window(5, 6, "a")])
    Labels.in_line().check([a_window(5, 6, label="-")])


def test_intervals_that_match_no_window_show_both_ranges_of_time(tmp_path: Path) -> None:
    labels = Labels.read(a_file(tmp_path, "start,end\n2024-05-06,2024-05-07\n0,60\n"))
    with pytest.raises(DataError) as caught:
        labels.check([a_window(90_000, 90_010), a_window(100_000, 100_000)])
    text = str(caught.value)
    assert "none of the 2 intervals" in text
    assert "(1970-01-01 00:00:00+00:00 to 2024-05-07 00:00:00+00:00)" in text
    assert "(1970-01-02 01:00:00+00:00 to 1970-01-02 03:46:40+00:00)" in text
    assert "read as UTC" in text


def test_keys_that_match_no_window_show_examples_of_both(tmp_path: Path) -> None:
    labels = Labels.read(a_file(tmp_path, "id,label\na,0\nb,1\nc,0\nd,0\n"))
    with pytest.raises(DataError) as caught:
        labels.check([a_window(0, 1, "web1"), a_window(0, 1, "web2"), a_window(0, 1, "web1")])
    assert "none of the 4 keys" in str(caught.value)
    assert "('a', 'b', 'c', …)" in str(caught.value)
    assert "('web1', 'web2')" in str(caught.value)


def test_a_log_without_a_label_column_has_no_labels_in_line() -> None:
    with pytest.raises(DataError, match="no line has a label column"):
        Labels.in_line().check([a_window(0, 1)])


def test_without_windows_there_is_nothing_to_label() -> None:
    with pytest.raises(DataError, match="no windows to label"):
        Labels.in_line().check([])
