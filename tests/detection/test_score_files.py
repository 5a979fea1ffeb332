"""Scores as files: the same numbers in each, one row a line."""

import csv
import io
import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from explanation_parts import score

from logmlm.detection.score_files import (
    check_target,
    window_object,
    write_csv,
    write_json_lines,
    write_parquet,
)
from logmlm.errors import StorageError, UsageError

COMPLETE = score(['a "quoted", text\nwith\ttrace', "größe"], complete=True)
CUT = score(["x"], value=0.5, numbered=False)
SCORES = [COMPLETE, CUT]


def id_of(window):
    return f"id-{window.partition}"


def _said(found, index):
    """What a row says of a line beside its text and figures."""
    event = found.window.events[index]
    return {"template": event.template_id, "level": event.fields.level}


def test_an_object_holds_the_window_and_each_event():
    assert window_object(COMPLETE, "w1") == {
        "window": "w1",
        "partition": "app.log",
        "key": "req-7",
        "start": 1_714_979_289.25,
        "end": 1_714_979_290.25,
        "closed_by": "idle",
        "value": 2.5,
        "p_value": 0.00123,
        "anomaly": True,
        "surge": False,
        "exact": True,
        "pll": -4.5,
        "events": [
            {"line": 41, "text": 'a "quoted", text\nwith\ttrace'}
            | {"surprisal": 0.5, "bag_surprisal": 0.5}
            | _said(COMPLETE, 0),
            {"line": 42, "text": "größe", "surprisal": 1.5, "bag_surprisal": 1.5}
            | _said(COMPLETE, 1),
            {"line": None, "text": "(end of window)", "surprisal": 2.5, "bag_surprisal": 2.5}
            | {"template": None, "level": None},
        ],
    }


def test_what_was_not_scored_exactly_says_so():
    for rung, exact in (("screened", False), ("exact", True), ("checked", False), ("missed", True)):
        assert window_object(replace(CUT, stage=rung), "w")["exact"] is exact


def test_json_lines_are_one_window_each():
    out = io.StringIO()
    write_json_lines(SCORES, id_of, out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    assert rows == [window_object(each, id_of(each.window)) for each in SCORES]
    assert rows[1]["events"] == [
        {"line": 0, "text": "x", "surprisal": 0.5, "bag_surprisal": 0.5} | _said(CUT, 0)
    ]
    assert "größe" in out.getvalue()


def test_csv_has_a_header_and_a_row_a_line():
    out = io.StringIO()
    write_csv(SCORES, id_of, out)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [row["line"] for row in rows] == ["41", "42", "", "0"]  # a topic's record has its offset
    assert rows[0]["text"] == 'a "quoted", text\nwith\ttrace'
    assert {row["window"] for row in rows} == {"id-app.log", "id-t/0"}
    assert [float(row["surprisal"]) for row in rows] == [0.5, 1.5, 2.5, 0.5]
    assert [row["anomaly"] for row in rows] == ["True", "True", "True", "False"]
    assert "\r" not in out.getvalue()


def test_a_csv_without_windows_has_its_header():
    out = io.StringIO()
    write_csv([], id_of, out)
    assert out.getvalue().startswith("window,partition,key,start,end,closed_by,value,p_value,")
    assert out.getvalue().count("\n") == 1


HOSTILE = {
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "+1+2": "'+1+2",
    "-2+3": "'-2+3",
    "@SUM(A1)": "'@SUM(A1)",
    "  =1+1": "'  =1+1",
    "\t=1": "'\t=1",
    "\n=1": "'\n=1",
    "\r=1": "\ufffd=1",
    "\uff1d1": "'\uff1d1",
    "a=b -c @d +e": "a=b -c @d +e",
    "\x1b[2Jgone \x00 \x9b31m \u202etxt.exe\u2066": "�[2Jgone � �31m �txt.exe�",
}


@pytest.mark.parametrize(("text", "cell"), HOSTILE.items())
def test_no_cell_of_a_csv_is_a_formula_or_steers_a_terminal(text, cell):
    hostile = score([text], key=text)
    out = io.StringIO(newline="")
    write_csv([replace(hostile, surprisals=(-2.5,))], lambda _: text, out)
    (row,) = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
    assert (row["text"], row["window"]) == (cell, cell)
    assert row["surprisal"] == "-2.5"  # a number stays one


def test_json_lines_say_the_same_with_nothing_in_them_that_steers():
    text = "".join(HOSTILE) + "größe 日本 \x7f \U000e0041"
    out = io.StringIO()
    write_json_lines([score([text])], id_of, out)
    (row,) = map(json.loads, out.getvalue().splitlines())
    assert row["events"][0]["text"] == text
    shown = out.getvalue().removesuffix("\n")
    assert shown.isprintable()
    assert "größe 日本" in shown


def test_parquet_keeps_each_character(tmp_path):
    write_parquet([score([text]) for text in HOSTILE], id_of, tmp_path / "s.parquet")
    assert [row["text"] for row in pq.read_table(tmp_path / "s.parquet").to_pylist()] == [*HOSTILE]


def test_parquet_holds_what_csv_does_with_types(tmp_path):
    path = tmp_path / "scores.parquet"
    write_parquet(SCORES, id_of, path)
    out = io.StringIO()
    write_csv(SCORES, id_of, out)
    table = pq.read_table(path).to_pylist()
    as_text = [{k: "" if v is None else str(v) for k, v in row.items()} for row in table]
    assert as_text == list(csv.DictReader(io.StringIO(out.getvalue())))
    assert table[0]["line"] == 41
    assert table[0]["anomaly"] is True
    assert table[2]["line"] is None


def test_parquet_is_written_in_groups_of_rows(tmp_path):
    path = tmp_path / "scores.parquet"
    long = score([f"line {i}" for i in range(500)])
    write_parquet((long for _ in range(50)), id_of, path)
    assert pq.ParquetFile(path).metadata.num_row_groups == 2
    assert pq.read_table(path).num_rows == 25_000
    write_parquet([], id_of, path)
    assert pq.read_table(path).num_rows == 0


def test_parquet_is_whole_or_what_it_was(tmp_path):
    path = tmp_path / "scores.parquet"
    write_parquet(SCORES, id_of, path)
    before = path.read_bytes()

    def ends_early():
        yield COMPLETE
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left on device"):
        write_parquet(ends_early(), id_of, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["scores.parquet"]


def test_parquet_needs_a_file(tmp_path):
    with pytest.raises(UsageError, match="name a file with --out"):
        check_target("parquet", None)
    check_target("parquet", tmp_path / "x")
    check_target("csv", None)
