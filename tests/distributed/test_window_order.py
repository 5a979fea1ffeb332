"""Turns: windows that are found apart come in the order of one process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, count

from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config.training import WindowConfig
from logmlm.detection.watermark import tolerance_of, with_watermarks
from logmlm.detection.window_policies import rule_of
from logmlm.detection.windows import Windower
from logmlm.distributed.window_order import WindowOrder, WindowOrderTracker
from logmlm.records import Event, Fields, LogLine, Window

SESSION = WindowConfig(kind="session", key="host", gap=10, size=3, max_age=100)
COUNT = WindowConfig(kind="count", size=2)
TIME = WindowConfig(kind="time", span=10, size=3, key="host")
Found = list[tuple[WindowOrder, Window]]

rules = st.one_of(
    st.builds(
        WindowConfig,
        kind=st.just("session"),
        key=st.just("host"),
        gap=st.sampled_from([3, 7.3, 10, 40]),
        size=st.integers(2, 5),
        max_age=st.sampled_from([20, 33.3, 50, 120]),
        host_skew=st.sampled_from([0, 10]),
    ),
    st.builds(WindowConfig, kind=st.just("count"), size=st.integers(2, 5)),
    st.builds(
        WindowConfig,
        kind=st.just("time"),
        key=st.sampled_from([None, "host"]),
        span=st.sampled_from([3, 7.3, 10, 60]),
        size=st.integers(2, 5),
    ),
)


def stream(*lines: tuple[str, float]) -> list[Event]:
    """Lines of these keys and times, ten bytes each."""
    return [
        Event(LogLine(key, "p", 10 * i, 10 * i + 10, time), Fields(time, "", key), time, key, "t")
        for i, (key, time) in enumerate(lines)
    ]


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Lines of a few keys; many share a time, some are late, some come after a long silence."""
    steps = st.sampled_from([0, 0, 0, 0.1, 1, 3, 7.3, 10, 25, 70, -1, -8, -30, 1e9, -1e9])
    lines = draw(st.lists(st.tuples(st.sampled_from("abcdef"), steps), max_size=70))
    times = accumulate((step for _, step in lines), initial=draw(st.sampled_from([-15, 0, 1.7e9])))
    return stream(*zip((key for key, _ in lines), times, strict=False))


def in_one(config: WindowConfig, events: Sequence[Event]) -> list[Window]:
    windower = Windower(config)
    return windower.add(events) + windower.close_all()


def apart(config: WindowConfig, events: Sequence[Event], buckets: int) -> list[Found]:
    """The windows of each bucket, with their turns; which units are in which hangs on chance."""
    unit_of, place = rule_of(config).shard_key, count()
    bucket_of: dict[tuple[str, float], int] = defaultdict(lambda: next(place) % buckets)
    parts: list[list[tuple[Event, float]]] = [[] for _ in range(buckets)]
    final = 0.0
    for index, (event, final) in enumerate(with_watermarks(events, None, tolerance_of(config))):
        parts[bucket_of[unit_of(event, index)]].append((event, final))
    return [_of_part(config, part, final) for part in parts]


def _of_part(config: WindowConfig, part: list[tuple[Event, float]], final: float) -> Found:
    windower, turns, found = Windower(config, is_part=True), WindowOrderTracker(config), []
    for event, watermark in part:
        found += turns.flush(windower.advance_watermark("p", watermark))
        turns.count(event, watermark)
        found += turns.cut(windower.add([event]), event)
    return [*found, *turns.flush(windower.advance_watermark("p", final) + windower.close_all())]


@settings(max_examples=600, deadline=None)
@given(rules, streams())
def test_a_windower_returns_windows_in_the_order_of_their_turns(
    config: WindowConfig, events: list[Event]
) -> None:
    (found,) = apart(config, events, buckets=1)
    assert [window for _, window in found] == in_one(config, events)
    turns = [turn for turn, _ in found]
    assert turns == sorted(set(turns))


@settings(max_examples=600, deadline=None)
@given(rules, streams(), st.integers(2, 6))
def test_windows_found_apart_are_in_that_order_once_they_are_sorted(
    config: WindowConfig, events: list[Event], buckets: int
) -> None:
    found = sorted(each for part in apart(config, events, buckets) for each in part)
    assert [window for _, window in found] == in_one(config, events)


def turns_of(config: WindowConfig, *lines: tuple[str, float]) -> list[tuple[str, WindowOrder]]:
    (found,) = apart(config, stream(*lines), buckets=1)
    return [(window.closed_by, turn) for turn, window in found]


def test_a_session_is_due_a_gap_after_its_newest_line_and_a_cut_comes_with_a_line() -> None:
    lines = (("a", 134), ("b", 139), ("a", 94), ("b", 145), ("c", 145), ("c", 145), ("c", 145))
    assert turns_of(SESSION, *lines) == [
        ("age", WindowOrder(145, False, 30)),
        ("length", WindowOrder(145, False, 60)),
        ("end", WindowOrder(149, True, 0)),
        ("end", WindowOrder(155, True, 30)),
    ]


def test_a_span_is_due_with_its_number_and_counted_windows_at_the_end_with_nothing() -> None:
    assert turns_of(TIME, ("a", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 12)) == [
        ("length", WindowOrder(0, False, 30)),
        ("span", WindowOrder(0, True, 20)),
        ("end", WindowOrder(1, True, 40)),
    ]
    assert turns_of(COUNT, ("a", 9), ("b", 3), ("a", 4)) == [
        ("length", WindowOrder(9, False, 10)),
        ("end", WindowOrder(float("inf"), True, 20)),
    ]
