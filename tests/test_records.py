"""Records: what they say of themselves, and that nobody changes them."""

from dataclasses import FrozenInstanceError, replace

import pytest

from logmlm.records import Checkpoint, Event, Fields, LogLine, Score, Window


def event(start, timestamp):
    line = LogLine(f"line {start}", "p", start, start + 10, 0.0)
    return Event(line, Fields(timestamp, "INFO", "m"), timestamp, "k", "t")


WINDOW = Window("p", "k", (event(20, 7.0), event(0, 9.0), event(10, 8.0)), "idle", complete=True)


def test_a_window_knows_its_ends_whatever_the_order_of_its_events():
    assert (WINDOW.start, WINDOW.end) == (7.0, 9.0)
    assert (WINDOW.first_position, WINDOW.last_position) == (0, 20)


def test_pll_is_minus_the_sum_of_the_surprisals_and_1_is_the_threshold():
    score = Score(WINDOW, (1.5, 0.25, 2.0, 0.5), (9.0,) * 4, 1.0, 0.5)
    assert score.pll == -4.25
    assert score.is_anomaly
    assert not replace(score, value=0.9999).is_anomaly


def test_records_that_are_not_one_a_line_or_window_are_frozen():
    checkpoint = Checkpoint(5, 9, None)
    with pytest.raises(FrozenInstanceError):
        checkpoint.safe = 9
