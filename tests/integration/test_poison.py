"""Whatever stands in a log, nothing crashes, and each line is in a window or counted as dropped."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trials import poison
from trials.poison import GOOD, JUMPS, MULTILINE, NOISES, WINDOWS, Desk, check, spoilt

from logmlm.parsing.formats import FORMATS

NOISE = st.sampled_from(NOISES)


@st.composite
def poisoned(draw):
    """A line, good or not, with noise put in somewhere."""
    line = draw(st.one_of(st.sampled_from(GOOD), st.binary(max_size=60)))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(line)))
        line = line[:place] + draw(NOISE) * draw(st.sampled_from([1, 1, 400])) + line[place:]
    return line.replace(b"\n", b"")


TURNS = st.lists(
    st.tuples(st.lists(poisoned(), max_size=12), st.sampled_from(JUMPS)),
    max_size=6,
)


SETTINGS = (
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from(WINDOWS),
    st.sampled_from([None, MULTILINE]),
)


@settings(max_examples=50, deadline=None)
@given(TURNS, *SETTINGS)
def test_each_line_is_in_a_window_or_counted_with_its_reason(turns, form, window, multiline):
    check(turns, form, window, multiline)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), *SETTINGS)
def test_so_are_those_of_a_long_log(seed, form, window, multiline):
    """500 lines an example, 20,000 in all."""
    chance = random.Random(seed)  # noqa: S311  no secret
    turns = [([spoilt(chance) for _ in range(100)], chance.choice(JUMPS)) for _ in range(5)]
    check(turns, form, window, multiline)


def test_bombs_that_are_read_whole_and_those_of_ten_mebibytes_are_too():
    assert "4 of them of 10 MiB" in poison.bombs(rounds=4)


def test_as_kafkas_records_they_are_lines_or_dead_letters():
    assert "the others dead letters" in poison.records(number=2_000)


@pytest.mark.parametrize("content", [b"x", b"\0", b"\xff", b"[", b'{"a":'])
def test_a_line_of_ten_mebibytes_is_cut_and_the_next_one_is_whole(tmp_path, content):
    limit = 100 * 1024
    desk = Desk(tmp_path, "plain", WINDOWS[0], None, limit)
    with desk.log.open("ab") as stream:
        stream.write(content * (10 * 1024 * 1024 // len(content)))
        stream.write(b"\nnext\n")
    for _ in range(200):  # a batch is bounded, and nothing comes before the newline
        desk.turn()
    texts = [event.line.text for event in desk.finish()]
    assert texts[0] == "first"
    assert texts[-1] == "next"
    assert len(texts[1].encode()) <= 4 * limit
    assert desk.source.discarded["cut"] == (content != b"\0")  # NULs before a line are no text
