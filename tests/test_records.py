"""Records: what they say of themselves, and that nobody changes them."""

from dataclasses import FrozenInstanceError, replace

import pytest

from logmlm.records import Checkpoint, Event, Fields, LogLine, Score, Window, window_id


def event(start, timestamp):
    line = LogLine(f"line {start}", "p", start, start + 10, 0.0)
    return Event(line, Fields(timestamp, "INFO", "m"), timestamp, "k", "t")


WINDOW = Window("p", "k", (event(20, 7.0), event(0, 9.0), event(10, 8.0)), "idle", complete=True)


def test_a_window_knows_its_ends_whatever_the_order_of_its_events():
    assert (WINDOW.start, WINDOW.end) == (7.0, 9.0)
    assert (WINDOW.first_position, WINDOW.last_position) == (0, 20)


GOLDEN = "1005f5b6707eb2df"
"""`printf '%s\\0%s\\0%s\\0%s\\0%s' d p k 0 20 | sha256sum`"""


def test_a_windows_id_is_a_hash_of_model_place_and_key():
    assert window_id("d", WINDOW) == GOLDEN
    changed = [
        window_id("e", WINDOW),
        window_id("d", replace(WINDOW, partition="q")),
        window_id("d", replace(WINDOW, key="l")),
        window_id("d", replace(WINDOW, events=WINDOW.events[1:])),
        window_id("d", replace(WINDOW, events=WINDOW.events[:1])),
        window_id("d\0p", replace(WINDOW, partition="k", key="")),
    ]
    assert len({window_id("d", WINDOW), *changed}) == 7
    assert window_id("d", replace(WINDOW, closed_by="age", complete=False)) == GOLDEN


def test_a_key_that_is_no_unicode_has_an_id_too():
    assert len(window_id("d", replace(WINDOW, key="\udcff"))) == 16


def test_pll_is_minus_the_sum_of_the_surprisals_and_1_is_the_threshold():
    score = Score(WINDOW, (1.5, 0.25, 2.0, 0.5), (9.0,) * 4, 1.0, 0.5)
    assert score.pll == -4.25
    assert score.is_anomaly
    assert not replace(score, value=0.9999).is_anomaly


def test_records_that_are_not_one_a_line_or_window_are_frozen():
    checkpoint = Checkpoint(5, 9, None)
    with pytest.raises(FrozenInstanceError):
        checkpoint.safe = 9
