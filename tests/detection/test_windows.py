from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_parts import event, summaries, undisturbed

from logmlm.config.training import WindowConfig
from logmlm.detection.windows import Windower
from logmlm.parsing.formats import attribute
from logmlm.parsing.keys import KeyExtractor
from logmlm.records import Checkpoint, Event, Fields, Window

SESSION = WindowConfig(kind="session", key="host", gap=10, size=4, max_age=100)
COUNT = WindowConfig(kind="count", size=3)
TIME = WindowConfig(kind="time", span=10, size=4)
TIME_BY_KEY = WindowConfig(kind="time", span=10, size=3, key="host")


def stream(*lines: tuple[str, float]) -> list[Event]:
    return [event(number, key, time) for number, (key, time) in enumerate(lines)]


def read_from(events: Sequence[Event], position: int) -> list[Event]:
    return [event for event in events if event.line.start >= position]


# Session windows


def test_a_session_is_idle_once_the_watermark_is_more_than_the_gap_past_its_newest_line() -> None:
    windower = Windower(SESSION)
    assert windower.add(stream(("a", 0), ("a", 5), ("b", 15))) == []
    (window,) = windower.add([event(3, "b", 16)])
    assert summaries([window]) == [("a", [0, 5], "idle", True)]
    assert (window.partition, window.first_position, window.last_position) == ("p", 0, 10)


def test_a_line_of_the_same_key_after_the_gap_starts_a_new_session() -> None:
    windows = undisturbed(SESSION, stream(("a", 0), ("a", 10), ("a", 21)))
    assert summaries(windows) == [("a", [0, 10], "idle", True), ("a", [21], "end", True)]


def test_a_session_is_cut_at_its_size_and_goes_on_in_the_next_window() -> None:
    windows = undisturbed(SESSION, stream(*(("a", time) for time in range(6))))
    assert summaries(windows) == [("a", [0, 1, 2, 3], "length", False), ("a", [4, 5], "end", True)]


def test_a_session_that_ends_right_after_a_cut_leaves_no_empty_window() -> None:
    windower = Windower(SESSION)
    assert len(windower.add(stream(*(("a", time) for time in range(4))))) == 1
    assert windower.open_windows == 0
    assert windower.add([event(4, "b", 50)]) == []
    assert summaries(windower.close_all()) == [("b", [50], "end", True)]


# A checksum of the key "a" is 0.909 of its range, that of "b" 0.444: they are cut at 90.9 and 44.4.


def test_a_session_is_cut_at_multiples_of_its_age_since_the_epoch_and_an_offset_by_key() -> None:
    windows = undisturbed(SESSION, stream(("a", 84), ("a", 90), ("b", 91), ("a", 92)))
    assert summaries(windows) == [
        ("a", [84, 90], "age", False),
        ("b", [91], "end", True),
        ("a", [92], "end", True),
    ]
    assert [window.begun for window in windows] == [True, True, False]


def test_keys_are_cut_at_times_of_their_own() -> None:
    lines = [(key, time) for time in range(200, 400, 5) for key in ("a", "b", "")]
    config = SESSION.model_copy(update={"size": 100})
    cuts = [window for window in undisturbed(config, stream(*lines)) if window.closed_by == "age"]
    assert [(cut.key, cut.end) for cut in cuts] == [
        *(("b", 240), ("a", 290), ("", 295)),
        *(("b", 340), ("a", 390)),
    ]


def test_a_session_that_no_line_continues_past_the_age_boundary_is_complete() -> None:
    windows = undisturbed(SESSION, stream(("a", 90), ("b", 96), ("b", 101)))
    assert summaries(windows)[0] == ("a", [90], "idle", True)
    assert all(window.begun for window in windows)


def test_what_follows_a_cut_by_length_or_age_has_not_begun_and_what_follows_a_pause_has() -> None:
    times = [80, 82, 84, 86, 88, 93, 95, 96, 97, 98, 120]
    windows = undisturbed(SESSION, stream(*(("a", time) for time in times)))
    assert [(w.closed_by, len(w.events), w.begun, w.complete) for w in windows] == [
        ("length", 4, True, False),
        ("age", 1, False, False),
        ("length", 4, False, False),
        ("idle", 1, False, True),
        ("end", 1, True, True),
    ]


def test_a_session_within_a_gap_of_the_first_line_that_was_read_may_have_begun_before() -> None:
    windower = Windower(SESSION)
    windower.resume("p", Checkpoint(10, 10, None))
    lines = [event(1, "a", 20), event(2, "b", 30), event(3, "c", 31), event(4, "b", 35)]
    windows = windower.add(lines) + windower.close_all()
    assert [(window.key, window.begun) for window in windows] == [
        *(("a", False), ("c", True), ("b", False)),
    ]


def test_a_replay_knows_of_a_cut_by_age_from_the_line_before_it() -> None:
    windower = Windower(SESSION)
    windower.add(stream(("a", 80), ("a", 90), ("c", 91), ("a", 92)))
    assert windower.checkpoint("p") == Checkpoint(safe=10, reached=40, watermark=90)


def test_sessions_closed_by_the_same_line_come_as_time_alone_would_have_closed_them() -> None:
    windows = undisturbed(SESSION, stream(("a", 0), ("b", 1), ("a", 2), ("c", 50), ("d", 60)))
    assert [window.key for window in windows] == ["b", "a", "c", "d"]


def test_sessions_due_at_once_come_in_the_order_of_their_first_lines() -> None:
    lines = (("a", 0), ("b", 1), ("c", 1), ("b", 2), ("a", 2), ("d", 50))
    windows = undisturbed(SESSION, stream(*lines))
    assert [window.key for window in windows] == ["c", "a", "b", "d"]


def test_windows_that_the_end_or_silence_closes_come_in_that_order_too() -> None:
    for config, keys in ((SESSION, "bac"), (TIME_BY_KEY, "abc")):
        windower = Windower(config)
        windower.add(stream(("a", 0), ("b", 1), ("c", 3), ("a", 3)))
        assert "".join(window.key for window in windower.close_due({"p": 1e9})) == keys
        windower.add(stream(("a", 0), ("b", 1), ("c", 3), ("a", 3)))
        windows = windower.close_all()
        assert [window.key for window in windows] == ["a", "b", "c"]  # late, so they count alike


def test_lines_without_a_key_make_one_session() -> None:
    assert summaries(undisturbed(SESSION, stream(("", 0), ("", 1)))) == [("", [0, 1], "end", True)]


def test_a_late_line_joins_the_open_session_of_its_key_in_the_order_of_lines() -> None:
    windows = undisturbed(SESSION, stream(("a", 50), ("b", 55), ("a", 30), ("a", 65)))
    assert summaries(windows) == [("b", [55], "end", True), ("a", [50, 30, 65], "end", True)]


def test_a_late_line_of_a_closed_session_opens_one_that_counts_from_the_watermark() -> None:
    windower = Windower(SESSION)
    late = stream(("a", 0), ("b", 50), ("a", 1), ("a", 2), ("b", 60))
    assert summaries(windower.add(late)) == [("a", [0], "idle", True)]
    assert summaries(windower.add([event(5, "b", 61)])) == [("a", [1, 2], "idle", True)]


def test_a_late_line_from_before_an_age_boundary_does_not_cut_the_session_past_it() -> None:
    windows = undisturbed(SESSION, stream(("a", 92), ("a", 90), ("a", 93)))
    assert summaries(windows) == [("a", [92, 90, 93], "end", True)]


# Count and time windows


def test_a_count_window_holds_every_size_lines_of_its_partition_whatever_their_keys() -> None:
    windower = Windower(COUNT)
    windows = windower.add(stream(("a", 0), ("b", 500), ("c", 1), ("a", 2)))
    assert summaries(windows) == [("", [0, 500, 1], "length", False)]
    assert windower.open_windows == 1
    assert summaries(windower.close_all()) == [("", [2], "end", False)]


def test_a_time_window_closes_when_the_watermark_reaches_the_end_of_its_span() -> None:
    windower = Windower(TIME)
    assert windower.add(stream(("a", 12), ("b", 19.5))) == []
    assert summaries(windower.add([event(2, "a", 20)])) == [("", [12, 19.5], "span", True)]
    assert summaries(windower.close_all()) == [("", [20], "end", False)]


def test_a_time_window_is_per_key_where_the_rule_has_a_key() -> None:
    windows = undisturbed(TIME_BY_KEY, stream(("a", 1), ("b", 2), ("a", 3), ("b", 30)))
    assert summaries(windows) == [
        ("a", [1, 3], "span", True),
        ("b", [2], "span", True),
        ("b", [30], "end", False),
    ]


def test_a_time_window_is_cut_at_the_size_that_the_model_takes() -> None:
    windows = undisturbed(TIME, stream(*(("a", time) for time in (1, 2, 3, 4, 5, 11))))
    assert summaries(windows) == [
        ("", [1, 2, 3, 4], "length", False),
        ("", [5], "span", True),
        ("", [11], "end", False),
    ]


def test_late_lines_of_a_closed_span_make_a_window_that_closes_with_the_open_span() -> None:
    windows = undisturbed(TIME, stream(("a", 1), ("a", 11), ("a", 2), ("a", 3), ("a", 21)))
    assert summaries(windows) == [
        ("", [1], "span", True),
        ("", [11], "span", True),
        ("", [2, 3], "span", True),
        ("", [21], "end", False),
    ]


# Quiet partitions


def test_a_partition_in_which_nothing_waits_for_gap_is_closed_and_a_busy_one_is_not() -> None:
    windower = Windower(SESSION)
    windower.add([event(0, "a", 0, "quiet"), event(0, "b", 8, "busy")])
    assert windower.close_due({"quiet": 10.0, "busy": 2.0, "unknown": 99.0}) == []
    (window,) = windower.close_due({"quiet": 10.5, "busy": 2.5})
    assert window.partition == "quiet"
    assert summaries([window]) == [("a", [0], "idle", True)]
    assert windower.close_due({"quiet": 10.5}) == []
    assert windower.open_windows == 1


def test_a_span_is_closed_where_nothing_waits_for_so_long() -> None:
    windower = Windower(TIME)
    windower.add(stream(("a", 5)))
    assert summaries(windower.close_due({"p": 10.5})) == [("", [5], "span", True)]


def test_a_count_window_has_no_time_and_waits_for_more_lines() -> None:
    windower = Windower(COUNT)
    windower.add(stream(("a", 0)))
    assert windower.close_due({"p": 1e9}) == []
    assert windower.open_windows == 1


@pytest.mark.parametrize(("config", "closed"), [(COUNT, 1), (SESSION, 0), (TIME, 0)])
def test_of_a_partition_that_ended_is_closed_what_no_time_closes(
    config: WindowConfig, closed: int
) -> None:
    windower = Windower(config)
    windower.add([event(0, "a", 0, "ended"), event(0, "a", 0, "other")])
    windows = windower.close_ended("ended")
    assert [(each.partition, each.closed_by) for each in windows] == [("ended", "end")] * closed
    assert windower.close_ended("ended") == windower.close_ended("unknown") == []


def test_a_partition_that_ended_before_it_was_read_again_is_closed_at_once() -> None:
    windower = Windower(SESSION)
    windower.resume("p", Checkpoint(0, 20, None))
    windower.add(stream(("a", 0)))
    assert summaries(windower.close_ended("p")) == [("a", [0], "end", True)]


def test_a_partition_that_is_being_read_again_is_not_quiet() -> None:
    windower = Windower(SESSION)
    windower.resume("p", Checkpoint(safe=0, reached=20, watermark=None))
    assert windower.close_due({"p": 1e9}) == []
    windower.add([event(0, "a", 0)])
    assert windower.close_due({"p": 1e9}) == []
    windower.add([event(1, "a", 1)])
    assert summaries(windower.close_due({"p": 1e9})) == [("a", [0, 1], "idle", True)]


# Partitions and checkpoints


def test_partitions_have_watermarks_of_their_own() -> None:
    windower = Windower(SESSION)
    assert windower.add([event(0, "a", 0, "p"), event(0, "a", 1000, "q")]) == []
    assert windower.partitions == ("p", "q")
    assert windower.open_windows == 2
    assert [window.partition for window in windower.close_all("q")] == ["q"]
    assert windower.close_all("unknown") == []
    assert [window.partition for window in windower.close_all()] == ["p"]


def test_a_dropped_partition_is_forgotten_with_its_open_windows() -> None:
    windower = Windower(SESSION)
    windower.add([event(0, "a", 0)])
    windower.drop("p")
    windower.drop("never seen")
    assert windower.partitions == ()
    assert windower.close_all() == []
    assert windower.checkpoint("p") is None


def test_there_is_no_checkpoint_before_anything_was_added() -> None:
    assert Windower(SESSION).checkpoint("p") is None


def test_a_resumed_partition_has_the_checkpoint_that_it_resumed_until_it_gets_a_line() -> None:
    windower = Windower(SESSION)
    checkpoint = Checkpoint(safe=30, reached=60, watermark=4.0)
    windower.resume("p", checkpoint)
    assert windower.checkpoint("p") == checkpoint


def test_the_safe_position_is_the_start_of_the_oldest_open_window() -> None:
    windower = Windower(SESSION)
    windower.add(stream(("a", 5), ("b", 6)))
    assert windower.checkpoint("p") == Checkpoint(safe=0, reached=20, watermark=None)
    windower.add([event(2, "b", 16)])
    assert windower.checkpoint("p") == Checkpoint(safe=10, reached=27, watermark=5)


def test_the_safe_position_is_the_position_reached_where_nothing_is_open() -> None:
    windower = Windower(SESSION)
    windower.add(stream(("a", 5), ("b", 3)))
    windower.close_due({"p": 100.0})
    assert windower.checkpoint("p") == Checkpoint(safe=20, reached=20, watermark=5)


def test_what_became_no_event_is_passed_and_never_gone_back_to() -> None:
    windower = Windower(COUNT)
    windower.advance("p", 5)
    assert windower.partitions == ()
    windower.resume("p", Checkpoint(0, 0, None))
    windower.advance("p", 40)
    windower.advance("p", 20)
    assert windower.checkpoint("p") == Checkpoint(40, 40, None)
    windower.add([event(4, "a", 3.0)])
    windower.advance("p", 90)
    assert windower.checkpoint("p") == Checkpoint(40, 90, None)


def test_a_session_cut_by_length_holds_the_safe_position_at_its_start_until_it_is_over() -> None:
    windower = Windower(SESSION)
    windower.add(stream(*(("a", time) for time in range(5))))
    assert windower.checkpoint("p") == Checkpoint(safe=0, reached=47, watermark=None)
    windower.add([event(5, "b", 15)])
    assert windower.checkpoint("p") == Checkpoint(safe=50, reached=60, watermark=4)


def test_a_count_window_cut_by_length_lets_the_safe_position_go() -> None:
    windower = Windower(COUNT)
    windower.add(stream(("a", 0), ("a", 1), ("a", 2)))
    assert windower.checkpoint("p") == Checkpoint(safe=27, reached=27, watermark=2)


def test_a_replay_drops_what_was_closed_before_and_keeps_what_spans_the_position_reached() -> None:
    events = stream(("a", 0), ("b", 5), ("b", 11), ("b", 12), ("b", 23))
    first = Windower(SESSION)
    assert summaries(first.add(events[:3])) == [("a", [0], "idle", True)]
    checkpoint = Checkpoint(safe=10, reached=27, watermark=0)
    assert first.checkpoint("p") == checkpoint
    second = Windower(SESSION)
    second.resume("p", checkpoint)
    assert summaries(second.add(events[1:])) == [("b", [5, 11, 12], "idle", True)]
    third = Windower(SESSION)
    third.resume("p", Checkpoint(safe=0, reached=27, watermark=None))
    assert summaries(third.add(events)) == [("b", [5, 11, 12], "idle", True)]


def test_a_replay_keeps_the_length_cuts_of_a_busy_session_beside_an_open_one() -> None:
    config = WindowConfig(kind="session", key="host", gap=10, size=3, max_age=100)
    events = stream(("a", 0), ("a", 1), ("b", 2), ("a", 3), ("a", 4), ("a", 5), ("a", 6))
    first = Windower(config)
    before = first.add(events[:5])
    checkpoint = first.checkpoint("p")
    assert checkpoint is not None
    second = Windower(config)
    second.resume("p", checkpoint)
    after = second.add(read_from(events, checkpoint.safe))
    assert [times for _, times, _, _ in summaries(before + after)] == [[0, 1, 3], [4, 5, 6]]


# Properties

rules = st.one_of(
    st.builds(
        WindowConfig,
        kind=st.just("session"),
        key=st.just("host"),
        gap=st.integers(3, 40),
        size=st.integers(2, 5),
        max_age=st.integers(20, 120),
        host_skew=st.sampled_from([0, 10]),
    ),
    st.builds(WindowConfig, kind=st.just("count"), size=st.integers(2, 5)),
    st.builds(
        WindowConfig,
        kind=st.just("time"),
        key=st.sampled_from([None, "host"]),
        span=st.integers(3, 60),
        size=st.integers(2, 5),
    ),
)


@st.composite
def streams(draw: st.DrawFn, min_step: int = -30, is_skewed: bool = True) -> list[Event]:
    """Lines of a few keys and hosts; each is later, or earlier, than the one before by its step.

    Some have times from the far future; where no step goes back, none has.
    """
    far = st.sampled_from([0, 0, 0, 0, 0, 0, 0, 70, 1e9] if is_skewed and min_step < 0 else [0])
    places = st.sampled_from(["", "x", "y"])
    step = st.tuples(st.sampled_from("abc"), st.integers(min_step, 25), places, far)
    lines = draw(st.lists(step, max_size=50))
    times = accumulate((1000 if not at else by for at, (_, by, *_) in enumerate(lines)))
    return [
        event(number, key, time + ahead, host=host)
        for number, ((key, _, host, ahead), time) in enumerate(zip(lines, times, strict=True))
    ]


@given(rules, streams())
def test_every_line_is_in_exactly_one_window_and_in_order(
    config: WindowConfig, events: list[Event]
) -> None:
    windows = undisturbed(config, events)
    seen = [event for window in windows for event in window.events]
    assert sorted(seen, key=lambda event: event.line.start) == events
    for window in windows:
        starts = [event.line.start for event in window.events]
        assert starts == sorted(starts)
        assert len(starts) <= config.size
        assert window.complete == (window.closed_by in _complete_endings(config))
        if config.key is not None:
            assert {event.key for event in window.events} == {window.key}


def _complete_endings(config: WindowConfig) -> set[str]:
    return {"session": {"idle", "end"}, "time": {"span"}, "count": set()}[config.kind]


@settings(max_examples=200, deadline=None)
@given(rules, streams(), st.lists(st.tuples(st.integers(1, 25), st.booleans()), max_size=8))
def test_crash_after_crash_the_windows_are_those_of_an_undisturbed_run(
    config: WindowConfig, events: list[Event], lives: list[tuple[int, bool]]
) -> None:
    """Each life reads some lines, commits, and crashes; the last one reads to the end.

    Now and then a life goes past what became no event before it commits.
    """
    windows: list[Window] = []
    windower, left = Windower(config), events
    for count, passes in lives:
        windows += windower.add(left[:count])
        if passes and left:
            windower.advance("p", left[:count][-1].line.start + 10)
        checkpoint = windower.checkpoint("p")
        if checkpoint is None:
            continue
        windower = Windower(config)
        windower.resume("p", checkpoint)
        left = read_from(events, checkpoint.safe)
    windows += windower.add(left) + windower.close_all()
    assert windows == undisturbed(config, events)


@settings(deadline=None)
@given(rules, streams(), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=5))
def test_windows_returned_after_the_last_commit_come_out_again_the_same(
    config: WindowConfig, events: list[Event], lives: list[tuple[int, int]]
) -> None:
    """Each life reads some lines, commits, reads more, and crashes."""
    windows: list[Window] = []
    windower, left = Windower(config), events
    for committed, lost in lives:
        windows += windower.add(left[:committed])
        checkpoint = windower.checkpoint("p") or Checkpoint(0, 0, None)
        windows += windower.add(left[committed : committed + lost])
        windower = Windower(config)
        windower.resume("p", checkpoint)
        left = read_from(events, checkpoint.safe)
    windows += windower.add(left) + windower.close_all()
    expected = undisturbed(config, events)
    assert [window for window in expected if window not in windows] == []
    assert [window for window in windows if window not in expected] == []


@settings(max_examples=200, deadline=None)
@given(rules, streams(), st.lists(st.integers(1, 25), max_size=5))
def test_what_began_in_the_midst_of_a_partition_comes_out_again_the_same(
    config: WindowConfig, events: list[Event], lives: list[int]
) -> None:
    begin = Checkpoint(5, 5, None)
    events = [line for line in events if line.line.start > 5]
    whole = Windower(config)
    whole.resume("p", begin)
    windows, left, checkpoint = [], events, begin
    windower = Windower(config)
    windower.resume("p", begin)
    for count in lives:
        windows += windower.add(left[:count])
        checkpoint = windower.checkpoint("p") or begin
        windower = Windower(config)
        windower.resume("p", checkpoint)
        left = read_from(events, checkpoint.safe)
    windows += windower.add(left)
    assert windows + windower.close_all() == whole.add(events) + whole.close_all()


@given(rules, streams())
def test_the_safe_position_never_goes_back_and_never_passes_an_open_window(
    config: WindowConfig, events: list[Event]
) -> None:
    windower, safe, closed = Windower(config), [], set()
    for count, line in enumerate(events, start=1):
        closed |= {event.line.start for window in windower.add([line]) for event in window.events}
        checkpoint = windower.checkpoint("p")
        assert checkpoint is not None
        unscored = {event.line.start for event in events[:count]} - closed
        assert checkpoint.safe <= min(unscored, default=line.line.end)
        assert checkpoint.reached <= line.line.end  # what comes after a doubtful line waits
        safe.append(checkpoint.safe)
    assert all(earlier <= later for earlier, later in pairwise(safe))


@given(rules, streams(is_skewed=False))
def test_max_age_and_gap_bound_how_far_back_a_session_is_read_again(
    config: WindowConfig, events: list[Event]
) -> None:
    windower = Windower(config)
    watermarks: dict[int, float] = {}
    for line in events:
        watermarks[line.line.start] = max([line.timestamp, *watermarks.values()])
        windower.add([line])
        checkpoint = windower.checkpoint("p")
        assert checkpoint is not None
        if config.kind == "session" and checkpoint.safe in watermarks:
            behind = watermarks[line.line.start] - watermarks[checkpoint.safe]
            assert behind < config.max_age + 2 * (config.gap + config.host_skew_s)


@given(rules, streams(min_step=0), st.data())
def test_closing_by_idleness_makes_the_windows_of_event_time_where_lines_come_in_time(
    config: WindowConfig, events: list[Event], data: st.DataObject
) -> None:
    lag = data.draw(st.integers(0, 100))
    events = [event(e.line.number, e.key, e.timestamp, lag=lag) for e in events]
    windower = Windower(config)
    windows: list[Window] = []
    for line, following in pairwise(events):
        windows += windower.add([line])
        until = following.line.received_at
        now = data.draw(st.floats(line.line.received_at, until))
        windows += windower.close_due({"p": now - line.line.received_at})
    windows += windower.add(events[-1:]) + windower.close_all()
    assert windows == undisturbed(config, events)


@given(rules, streams(), streams())
def test_partitions_read_together_make_the_windows_that_each_makes_alone(
    config: WindowConfig, one: list[Event], other: list[Event]
) -> None:
    other = [event(e.line.number, e.key, e.timestamp, "q") for e in other]
    mixed = sorted([*one, *other], key=lambda event: event.line.start)
    windows = undisturbed(config, mixed)
    assert [window for window in windows if window.partition == "p"] == undisturbed(config, one)
    assert [window for window in windows if window.partition == "q"] == undisturbed(config, other)


# Keys


@pytest.mark.parametrize(
    ("key", "message", "attributes", "expected"),
    [
        (None, "accepted", {"host": "web1"}, ""),
        ("host", "accepted", {"host": "web1"}, "web1"),
        ("host", "accepted", {}, ""),
        ("client.address", "accepted", {"client.address": "10.0.0.7"}, "10.0.0.7"),
        (r"(blk_-?\d+)", "Received blk_-16 of blk_17", {}, "blk_-16"),
        (r"blk_-?\d+", "Received blk_-16", {}, "blk_-16"),
        (r"req=(\w+)|id=(\w+)", "id=7", {}, ""),
        (r"(blk_-?\d+)", "no block here", {"blk_": "x"}, ""),
    ],
)
def test_a_key_is_an_attribute_by_name_or_the_first_group_of_an_expression(
    key: str | None, message: str, attributes: dict[str, str], expected: str
) -> None:
    fields = Fields(None, "", message, attributes)
    assert KeyExtractor(key)(fields, attribute) == expected


def test_time_that_passes_elsewhere_closes_windows_and_counts_for_late_lines() -> None:
    windower = Windower(WindowConfig(kind="session", key="host", gap=10.0))
    assert windower.advance_watermark("p", 100.0) == []
    assert windower.add([event(0, "a", 50.0)]) == []
    assert windower.advance_watermark("p", 110.0) == []  # the late line counted at 100, not at 50
    (closed,) = windower.advance_watermark("p", 110.5)
    assert (closed.closed_by, closed.complete) == ("idle", True)
    assert windower.open_windows == 0


# Seams of rotation


def test_sessions_open_at_the_end_of_a_rotated_log_are_cut_where_its_successor_goes_on() -> None:
    windower = Windower(SESSION)
    windower.join_partitions("old", None, 105.0)
    windower.join_partitions("new", 105.0, None)
    old = [("a", 96), ("c", 94), ("d", 101)]
    windower.add([event(n, key, time, "old") for n, (key, time) in enumerate(old)])
    windows = windower.close_all("old")
    assert [(window.key, window.complete) for window in windows] == [
        *(("a", False), ("c", False), ("d", False)),
    ]
    lines = [("e", 105), ("a", 115), ("f", 116)]
    windows = windower.add([event(n, key, time, "new") for n, (key, time) in enumerate(lines)])
    windows += windower.close_all("new")
    assert [(w.key, w.begun, w.complete) for w in windows] == [
        *(("e", False, True), ("a", False, True), ("f", True, True)),
    ]


def test_a_session_that_was_over_before_the_successor_begins_is_complete() -> None:
    windower = Windower(SESSION)
    windower.join_partitions("old", None, 105.0)
    windower.add([event(0, "a", 94, "old"), event(1, "b", 95, "old")])
    windows = windower.close_all("old")
    assert [(window.key, window.complete) for window in windows] == [("a", True), ("b", False)]


def test_a_followed_log_that_was_rotated_goes_on_in_its_successor() -> None:
    windower = Windower(SESSION)
    windower.add([event(0, "a", 96, "old"), event(1, "b", 97, "old")])
    windower.resume("new", Checkpoint(0, 0, None))
    windower.follow("new", "old")
    windows = windower.add([event(0, "a", 99, "new"), event(1, "c", 110, "new")])
    cut = windower.close_due({"old": 10.5})
    assert [(w.key, w.closed_by, w.complete) for w in cut] == [
        *(("a", "idle", False), ("b", "idle", False)),
    ]
    windows += windower.close_all()
    assert [(w.key, w.begun) for w in windows] == [("a", False), ("c", True)]


def test_a_replay_of_a_log_that_goes_on_knows_of_its_beginning() -> None:
    windower = Windower(SESSION)
    windower.resume("new", Checkpoint(0, 0, None))
    windower.follow("new", "old")
    windower.add([event(0, "a", 99, "new"), event(1, "b", 105, "new"), event(2, "b", 112, "new")])
    assert windower.checkpoint("new") == Checkpoint(safe=0, reached=27, watermark=None)


def test_count_and_time_windows_know_of_no_seams() -> None:
    for config in (COUNT, TIME):
        windower = Windower(config)
        windower.join_partitions("p", 0.0, 1.0)
        windower.add(stream(("a", 0)))
        (window,) = windower.close_all()
        assert window.begun
