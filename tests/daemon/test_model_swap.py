"""A change of the model loses no line, and scores none twice unless the process dies soon after."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config.training import CustomFormat, FormatConfig, WindowConfig
from logmlm.daemon.model_swap import swap_model
from logmlm.detection.windows import Windower
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import Checkpoint, LogLine

PATTERN = r"(?P<timestamp>\d+) (?P<message>.*)"
RULES = st.one_of(
    st.builds(WindowConfig, kind=st.just("count"), size=st.integers(2, 5)),
    st.builds(
        WindowConfig,
        kind=st.just("session"),
        key=st.just(r"(k\d)"),
        gap=st.integers(1, 20),
        max_age=st.integers(20, 60),
        size=st.integers(2, 5),
    ),
    st.builds(WindowConfig, kind=st.just("time"), span=st.integers(5, 30), size=st.integers(2, 5)),
)
STEP = 10
"""Bytes from the start of one line to that of the next."""


def reader(continuation="join"):
    custom = CustomFormat(pattern=PATTERN, timestamp_format="epoch", continuation=continuation)
    config = FormatConfig(name="t", custom={"t": custom})
    return EventParser(get_format(config), r"(k\d)", str.upper)


@st.composite
def logs(draw):
    """Lines of two partitions, mostly in order, some going on with the one before them."""
    lines, now = [], 1000
    ends = {"p": 0, "q": 0}
    slow = draw(st.integers(1, 8))
    for number in range(draw(st.integers(0, 40))):
        now += draw(st.integers(-2, slow))
        partition = draw(st.sampled_from(["p", "p", "p", "q"]))
        goes_on = ends[partition] and draw(st.integers(0, 4)) == 0
        text = f"more #{number}" if goes_on else f"{now} k{draw(st.integers(0, 2))} #{number}"
        start = ends[partition]
        ends[partition] = start + STEP
        lines.append(LogLine(text, partition, start, start + STEP, float(now)))
    return lines


def numbers(windows):
    found = Counter()
    for window in windows:
        for event in window.events:
            found.update(text.partition("#")[2] for text in event.line.text.split("\n"))
    return found


def finish(reader, windower, lines):
    windows = windower.add(reader.feed(lines))
    return windows + windower.add(reader.flush()) + windower.close_all()


@settings(deadline=None)
@given(logs(), RULES, RULES, st.data())
def test_every_line_is_scored_once_across_a_change_of_rules(lines, old_rule, rule, data):
    swap = data.draw(st.integers(0, len(lines)))
    old_reader, old = reader(), Windower(old_rule)
    windows = old.add(old_reader.feed(lines[:swap]))
    new_reader, new = reader(), Windower(rule)
    windows += swap_model(old_reader, old, new_reader, new)
    windows += finish(new_reader, new, lines[swap:])
    assert numbers(windows) == Counter(str(number) for number in range(len(lines)))


@settings(deadline=None, max_examples=300)
@given(logs(), RULES, RULES, st.data())
def test_a_crash_after_it_loses_no_line_either(lines, old_rule, rule, data):
    swap = data.draw(st.integers(0, len(lines)))
    crash = data.draw(st.integers(swap, len(lines)))
    old_reader, old = reader(), Windower(old_rule)
    windows = old.add(old_reader.feed(lines[:swap]))
    new_reader, new = reader(), Windower(rule)
    windows += swap_model(old_reader, old, new_reader, new)
    windows += new.add(new_reader.feed(lines[swap:crash]))
    committed = {name: new.checkpoint(name) for name in new.partitions}
    again = Windower(rule)
    for name, checkpoint in committed.items():
        again.resume(name, checkpoint)
    start = {name: checkpoint.safe for name, checkpoint in committed.items()}
    rest = [line for line in lines if line.start >= start.get(line.partition, 0)]
    windows += finish(reader(), again, rest)
    assert set(numbers(windows)) == {str(number) for number in range(len(lines))}


def test_a_partition_that_is_still_read_again_is_taken_over_with_nothing_left_out():
    """The old rule dropped what it had scored before the restart; the new one can't know that."""
    old, new = (Windower(WindowConfig(kind="count", size=size)) for size in (2, 3))
    old.resume("p", Checkpoint(0, 5 * STEP, None))
    first = LogLine("1000 k1 #0", "p", 0, STEP, 1000.0)
    plain = reader("discard")
    assert old.add(plain.feed([first])) == []
    assert swap_model(plain, old, reader("discard"), new) == []
    assert new.checkpoint("p") == Checkpoint(0, 0, None)
    rest = [LogLine(f"1000 k1 #{i}", "p", i * STEP, (i + 1) * STEP, 1000.0) for i in (1, 2)]
    assert numbers(new.add(reader("discard").feed(rest))) == Counter("012")


def test_positions_are_trusted_again_once_all_of_the_old_windows_are_past():
    old, new = (Windower(WindowConfig(kind="count", size=size)) for size in (4, 2))
    plain = reader("discard")
    lines = [LogLine(f"1000 k #{i}", "p", i * STEP, (i + 1) * STEP, 1000.0) for i in range(5)]
    old.add(plain.feed(lines[:3]))
    assert len(swap_model(plain, old, plain, new)) == 1
    assert new.checkpoint("p") == Checkpoint(2 * STEP, 2 * STEP, 1000.0)
    new.add(plain.feed(lines[3:]))
    assert new.checkpoint("p") == Checkpoint(4 * STEP, 5 * STEP, 1000.0)
