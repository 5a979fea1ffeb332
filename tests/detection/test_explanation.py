"""Explanations as people read them."""

from dataclasses import replace

from explanation_parts import score
from hypothesis import given
from hypothesis import strategies as st

from logmlm.detection.explanation import LINE_CHARACTERS, format_explanation, line_text, printable
from logmlm.records import Expectation, SurgeState


def expectations(found, odd):
    expected = (("usual <NUM>", 0.75), ("other", 0.125), ("(end of window)", 0.0625))
    return [
        Expectation(i, surprisal, i in odd, expected)
        for i, surprisal in enumerate(found.surprisals)
    ]


def test_an_odd_line_is_marked_and_what_was_expected_stands_below_it():
    found = score(["first", "second", "third"], complete=True)
    assert format_explanation(found, expectations(found, {1}), "abcd").splitlines() == [
        "window abcd, app.log req-7, 2024-05-06T07:08:09.250Z to 2024-05-06T07:08:11.250Z,"
        " value 2.500 (at least the threshold, 1), p 0.0012, pll -8.0 nats",
        "      41    0.50  first",
        ">     42    1.50  second",
        "                  expected  75.0%  usual <NUM>",
        "                  expected  12.5%  other",
        "                  expected   6.2%  (end of window)",
        "      43    2.50  third",
        "            3.50  (end of window)",
    ]


def test_a_window_that_alarms_with_those_before_it_says_so():
    found = replace(score(["first"]), surge=SurgeState(9.5, 1_714_979_200.5, 40, 12))
    assert format_explanation(found, expectations(found, {0})).splitlines()[1] == (
        "It alarms with those before it: 12 of 40 windows since 2024-05-06T07:06:40.500Z are a"
        " little unusual."
    )


def test_an_end_that_came_too_early_is_marked():
    found = score(["only"], complete=True)
    rows = format_explanation(found, expectations(found, {1})).splitlines()
    assert rows[0].startswith("window, app.log req-7, ")
    assert rows[2] == ">           1.50  (end of window)"


def test_a_window_below_the_threshold_says_so():
    found = score(["only"], value=0.25, key="")
    head = format_explanation(found, expectations(found, ())).splitlines()[0]
    assert "app.log, 2024" in head
    assert "value 0.250 (below the threshold, 1)" in head


def test_long_runs_of_ordinary_lines_are_folded():
    found = score([f"line {i}" for i in range(30)])
    rows = format_explanation(found, expectations(found, {10})).splitlines()[1:]
    texts = [row.split("  ")[-1] for row in rows if "expected" not in row]
    assert texts == [
        "line 0",
        "… 6 ordinary lines",
        *(f"line {i}" for i in range(7, 14)),
        "… 15 ordinary lines",
        "line 29",
    ]
    found = score([f"line {i}" for i in range(6)])
    rows = format_explanation(found, expectations(found, {5})).splitlines()[1:]
    assert rows[1] == "                  … 1 ordinary line"


def test_a_whole_window_is_shown_where_it_is_wanted():
    found = score([f"line {i}" for i in range(30)])
    rows = format_explanation(found, expectations(found, {10}), whole=True).splitlines()[1:]
    texts = [row.split("  ")[-1] for row in rows if "expected" not in row]
    assert texts == [f"line {i}" for i in range(30)]


def test_lines_that_came_from_no_file_are_counted_in_the_window():
    found = score(["a", "b"], numbered=False)
    rows = format_explanation(found, expectations(found, ())).splitlines()
    assert [row.split()[0] for row in rows[1:]] == ["1", "2"]


def test_colour_only_paints_and_is_asked_for():
    found = score(["a", "b", "c"])
    plain = format_explanation(found, expectations(found, {1}))
    painted = format_explanation(found, expectations(found, {1}), colour=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31m>     42    1.50  b\x1b[0m" in painted
    assert painted.count("\x1b[2m") == 3
    for code in ("\x1b[1;31m", "\x1b[2m", "\x1b[0m"):
        painted = painted.replace(code, "")
    assert painted == plain


def test_a_stack_trace_stands_on_one_row_and_a_terminal_is_not_written_to():
    found = score(["Error\n\tat x", "\x1b[2Jcleared\r", "x" * 500])
    assert line_text(found, 0) == "Error ⏎  at x"
    assert line_text(found, 1) == "�[2Jcleared�"
    assert line_text(found, 2) == "x" * LINE_CHARACTERS + "…"
    assert line_text(found, 3) == "(end of window)"


@given(st.text())
def test_any_text_becomes_one_printable_row(text):
    row = printable(text)
    assert row.isprintable()
    assert len(row) <= LINE_CHARACTERS + 1


@given(st.integers(1, 40), st.sets(st.integers(0, 40)), st.booleans())
def test_every_odd_line_is_shown_and_every_line_is_accounted_for(count, odd, complete):
    found = score([f"line {i}" for i in range(count)], complete)
    total = count + complete
    rows = format_explanation(found, expectations(found, odd)).splitlines()[1:]
    assert sum(row.startswith(">") for row in rows) == len({i for i in odd if i < total})
    folded = sum(int(row.split("… ")[1].split()[0]) for row in rows if "…" in row)
    assert folded + sum("expected" not in row and "…" not in row for row in rows) == total
