"""Clocks that are wrong: what is scored, and when, is as it is without them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_parts import event, summaries, undisturbed

from logmlm.config.training import WindowConfig
from logmlm.detection.watermark import (
    LOOKAHEAD_EVENTS,
    ClockOutliers,
    host_of,
    tolerance_of,
    with_watermarks,
)
from logmlm.detection.windows import Windower
from logmlm.records import Checkpoint, Event, Window

SESSION = WindowConfig(kind="session", key="host", gap=5, max_age=1e9)
Y2100 = 4.1e9
BEGIN = 1.7e9
Line = tuple[float, str, str]
"""True time, key, host."""


def written(lines: Sequence[Line], lead: float = 0.0, host: str = "") -> list[Event]:
    """Lines in the order in which they were written; the clock of `host` is ahead by `lead`."""
    return [
        event(number, key, time + lead * (name == host), host=name)
        for number, (time, key, name) in enumerate(sorted(lines))
    ]


def busy(sessions: int, seed: int = 1, every_s: float = 1.0) -> list[Line]:
    """Lines of sessions that overlap, each on one of ten hosts, with pauses under four seconds."""
    luck, lines = random.Random(seed), list[Line]()  # noqa: S311  a log, no secret
    began = BEGIN
    for number in range(sessions):
        began += luck.expovariate(1 / every_s)
        time, host = began, f"h{luck.randrange(10)}"
        for _ in range(luck.randint(3, 12)):
            lines.append((time, f"s{number}", host))
            time += luck.random() * 4
    return lines


def by_key(windows: Sequence[Window]) -> list[tuple[str, list[str], bool]]:
    """What is scored: key, lines and whether it is complete."""
    found = [
        (window.key, [each.line.text.split()[0] for each in window.events], window.complete)
        for window in windows
    ]
    return sorted(found)


def put_in(events: Sequence[Event], wrong: dict[int, Sequence[Event]]) -> list[Event]:
    """The events with others before those at some places, all with new positions."""
    mixed = [each for place, own in enumerate(events) for each in (*wrong.get(place, ()), own)]
    return [event(n, e.key, e.timestamp, host=host_of(e)) for n, e in enumerate(mixed)]


def received(one: Event, at: float) -> Event:
    """The same event, read at another time."""
    return one._replace(line=one.line._replace(received_at=at))


# One line from the future


def test_a_line_of_2100_in_a_busy_file_leaves_all_other_windows_as_they_are() -> None:
    right = written(busy(1513))
    wrong = put_in(right, {500: [event(0, "future", Y2100)]})
    windower = Windower(SESSION)
    windows, most = [], 0
    for place in range(0, len(wrong), 50):
        windows += windower.add(wrong[place : place + 50])
        most = max(most, windower.open_windows)
        at = windower.checkpoint("p")
        assert at is not None
        assert wrong[place].line.start - at.safe < 300 * 10  # it goes on
    windows += windower.close_all()
    assert by_key([w for w in windows if w.key != "future"]) == by_key(undisturbed(SESSION, right))
    assert len(windows) == 1514
    assert most < 50
    assert windower.outliers.count == 1
    assert windower.outliers.last is not None
    assert windower.outliers.last.key == "future"


def test_it_is_scored_in_the_session_that_it_stands_in() -> None:
    lines = [(BEGIN + n / 2, "ab"[n % 2], "") for n in range(20)]
    events = put_in(written(lines), {7: [event(0, "a", Y2100)]})
    (one, other) = undisturbed(SESSION, events)
    assert (len(one.events), len(other.events)) == (11, 10)
    assert Y2100 in [each.timestamp for each in one.events]


@pytest.mark.parametrize("count", [1, 2, 3, LOOKAHEAD_EVENTS])
def test_several_lines_from_the_future_in_a_row_are_the_same(count: int) -> None:
    right = written(busy(100))
    future = [event(0, f"future{n}", Y2100 + n * 1000) for n in range(count)]
    windows = undisturbed(SESSION, put_in(right, {200: future}))
    rest = [window for window in windows if "future" not in window.key]
    assert by_key(rest) == by_key(undisturbed(SESSION, right))


@pytest.mark.parametrize("count", [1, LOOKAHEAD_EVENTS, LOOKAHEAD_EVENTS + 1, 100])
def test_lines_from_after_their_receipt_are_counted_however_many_come_in_a_row(count: int) -> None:
    """That changes no window: a replay is received later."""
    right = written(busy(100))
    future = [event(0, f"future{n}", Y2100 + n * 1000) for n in range(count)]
    events = [received(each, 2e9) for each in put_in(right, {200: future})]
    windower = Windower(SESSION)
    windows = windower.add(events) + windower.close_all()
    assert windower.outliers.count == count
    assert windower.outliers.last is not None
    assert windower.outliers.last.timestamp >= Y2100
    replayed = undisturbed(SESSION, [received(each, 2 * Y2100) for each in events])
    assert summaries(replayed) == summaries(windows)


def test_a_log_of_another_time_zone_is_counted_and_one_that_is_a_little_ahead_is_not() -> None:
    for ahead, expected in ((7200.0, 5), (50.0, 0), (-7200.0, 0)):
        windower = Windower(SESSION)
        windower.add([event(n, "a", BEGIN + n, lag=-ahead) for n in range(5)])
        assert windower.outliers.count == expected


def test_after_a_pause_of_the_whole_log_time_goes_on() -> None:
    before = [(BEGIN + n, "a", "") for n in range(5)]
    after = [(BEGIN + 9000 + n, "a", "") for n in range(2 + LOOKAHEAD_EVENTS)]
    windower = Windower(SESSION)
    events = written([*before, *after])
    assert windower.add(events[:-2]) == []  # not enough is known
    (window,) = windower.add(events[-2:])
    assert [each.timestamp - BEGIN for each in window.events] == [0, 1, 2, 3, 4]
    assert window.closed_by == "idle"
    assert windower.outliers.count == 0


def test_a_line_of_2100_right_after_a_pause_is_wrong_too() -> None:
    before = [(BEGIN + n, "a", "") for n in range(5)]
    after = [(BEGIN + 9000 + n, "b", "") for n in range(30)]
    right = written([*before, *after])
    windows = undisturbed(SESSION, put_in(right, {5: [event(0, "future", Y2100)]}))
    rest = [window for window in windows if window.key != "future"]
    assert by_key(rest) == by_key(undisturbed(SESSION, right))


def test_a_first_line_of_2100_is_told_by_when_it_was_received() -> None:
    right = written(busy(100))
    first = event(0, "future", Y2100)
    first = first._replace(line=first.line._replace(received_at=BEGIN))
    events = [first, *(put_in(right, {0: [first]})[1:])]
    windows = undisturbed(SESSION, events)
    rest = [window for window in windows if window.key != "future"]
    assert by_key(rest) == by_key(undisturbed(SESSION, right))


def test_a_log_that_is_ahead_as_a_whole_makes_the_windows_of_one_that_is_not() -> None:
    right = written(busy(100))
    ahead = [
        each._replace(line=each.line._replace(received_at=each.timestamp - 7200)) for each in right
    ]
    assert by_key(undisturbed(SESSION, ahead)) == by_key(undisturbed(SESSION, right))


def test_alone_at_the_end_it_is_told_by_when_it_was_received() -> None:
    last = event(5, "a", Y2100)
    last = last._replace(line=last.line._replace(received_at=BEGIN + 6))
    events = [*written([(BEGIN + n, "a", "") for n in range(5)]), last]
    (window,) = undisturbed(SESSION, events)
    assert len(window.events) == 6
    windower = Windower(SESSION)
    assert windower.add(events) == []
    (window,) = windower.close_due({"p": 6.0})
    assert len(window.events) == 6
    assert windower.checkpoint("p") == Checkpoint(60, 60, BEGIN + 4)


def test_a_partition_of_one_line_of_2100_does_not_stop_those_that_follow() -> None:
    first = event(0, "a", Y2100)
    first = first._replace(line=first.line._replace(received_at=BEGIN))
    windower = Windower(SESSION)
    windower.add([first])
    assert len(windower.close_due({"p": 6.0})) == 1
    rest = written([(BEGIN + 10 + n, "b", "") for n in range(3)] + [(BEGIN + 30, "c", "")])
    rest = [event(1 + n, each.key, each.timestamp) for n, each in enumerate(rest)]
    (window,) = windower.add(rest)
    assert window.key == "b"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_future_lines_are_put_in_all_other_windows_stay(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["session", "time"]))
    config = WindowConfig(kind=kind, key="host", gap=5, span=20)  # type: ignore[arg-type]
    right = written(busy(30, seed=data.draw(st.integers(0, 1000))))
    ahead = st.sampled_from([70.0, 3600.0, 1e6, 1e9])
    places = st.integers(1, len(right) - 1)
    wrong = {
        place: [event(0, f"future{place}", right[place].timestamp + far)]
        for place, far in data.draw(st.dictionaries(places, ahead, max_size=12)).items()
    }
    windows = undisturbed(config, put_in(right, wrong))
    rest = [window for window in windows if "future" not in window.key]
    assert [by_key([w]) for w in sorted(rest, key=_place)] == [
        by_key([w]) for w in sorted(undisturbed(config, right), key=_place)
    ]


def _place(window: Window) -> tuple[str, float]:
    return window.key, window.start


@given(st.lists(st.tuples(st.floats(-100, 100), st.sampled_from([0, 0, 0, 0, 500])), max_size=40))
def test_what_is_told_of_a_part_is_what_a_windower_finds(steps: list[tuple[float, int]]) -> None:
    time, events = BEGIN, []
    for number, (step, ahead) in enumerate(steps):
        time += step
        events.append(event(number, "k", time + ahead))
    tolerance = tolerance_of(SESSION)
    for place in range(len(events)):
        told = list(with_watermarks(events[:place], None, tolerance, events[place:]))
        last = told[-1][1] if told else None
        told += list(with_watermarks(events[place:], last, tolerance))
        assert told == list(with_watermarks(events, None, tolerance))
        assert all(one <= two for (_, one), (_, two) in pairwise(told))


def test_an_outlier_is_counted_and_what_may_be_a_pause_is_not() -> None:
    outliers = ClockOutliers(SESSION)
    lines = [(BEGIN + n, "a", "") for n in range(30)]
    right = written(lines)
    assert outliers.watermark_after(right, None, is_last=False) == BEGIN
    wrong = event(0, "a", BEGIN + 3600)
    assert outliers.watermark_after([wrong], BEGIN, is_last=False) is None
    assert outliers.count == 0
    assert outliers.watermark_after([wrong, *right], BEGIN, is_last=False) == BEGIN
    assert (outliers.count, outliers.last) == (1, wrong)


# One host ahead of the others

AHEAD = WindowConfig(kind="session", key="host", gap=5, host_skew=10, max_age=1e9)


@pytest.mark.parametrize("every_s", [0.5, 3.0, 9.0])
def test_a_host_six_seconds_ahead_makes_no_other_windows(every_s: float) -> None:
    lines = busy(4000, every_s=every_s)
    right, skewed = written(lines), written(lines, 6.0, "h3")
    wanted = by_key(undisturbed(AHEAD, right))
    assert len(wanted) == 4000
    assert by_key(undisturbed(AHEAD, skewed)) == wanted
    # Without an allowance for it there are others, or the test tells nothing.
    assert by_key(undisturbed(SESSION, right)) == wanted
    assert by_key(undisturbed(SESSION, skewed)) != wanted


def test_a_pause_in_a_session_of_one_host_is_told_by_its_own_clock() -> None:
    lines = [(BEGIN + t, "a", "h1") for t in (0, 4, 10)]
    lines += [(BEGIN + t / 10, "b", "h2") for t in range(120)]
    for lead in (0.0, 6.0):
        windows = undisturbed(AHEAD, written(lines, lead, "h2"))
        found = [len(window.events) for window in windows if window.key == "a"]
        assert found == [2, 1]


def test_a_session_of_two_hosts_is_one_whichever_is_ahead() -> None:
    lines = [(BEGIN + t, "a", "h1" if t % 2 else "h2") for t in range(12)]
    for host in ("h1", "h2"):
        assert len(undisturbed(AHEAD, written(lines, 6.0, host))) == 1


def test_a_span_closes_once_every_host_has_passed_it() -> None:
    config = WindowConfig(kind="time", span=20, host_skew=10)
    base = BEGIN // 20 * 20
    lines = [(base + t / 2, "a", f"h{t % 5}") for t in range(200)]
    right = undisturbed(config, written(lines))
    skewed = undisturbed(config, written(lines, 6.0, "h3"))
    honest = [[e.timestamp for e in w.events if host_of(e) != "h3"] for w in skewed]
    wanted = [[e.timestamp for e in w.events if host_of(e) != "h3"] for w in right]
    assert [times for times in honest if times] == wanted


def test_windows_of_hosts_are_summarised_in_full() -> None:
    lines = [(BEGIN + t, "a", "h1") for t in (0, 6, 7, 20)]
    assert [times for _, times, *_ in summaries(undisturbed(AHEAD, written(lines)))] == [
        [BEGIN],
        [BEGIN + 6, BEGIN + 7],
        [BEGIN + 20],
    ]
