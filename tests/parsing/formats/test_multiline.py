"""Lines become messages as Vector's four modes say it, and positions stay those of the lines."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from logmlm.config.training import FormatConfig, MultilineConfig, TemplateConfig, WindowConfig
from logmlm.detection.windows import Windower
from logmlm.parsing.batches import ParserSpec
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import MultilineJoiner, get_format, join_all
from logmlm.parsing.parallel import ParallelParser
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import LogLine
from logmlm.training.corpus_builder import CorpusBuilder
from logmlm.training.train import choose_format

TRACE = ["usual", "first", "  second", "  last", "other", "  its part"]
CONTINUED = ["first \\", "second \\", "last", "other"]
HEADED = ["INFO one", "two", "three", "INFO four", "INFO five", "six"]
ENDED = ["select 1", "from x;", "select 2;", "select 3"]


def config(mode, start, condition, **more):
    return MultilineConfig(start_pattern=start, condition_pattern=condition, mode=mode, **more)


THROUGH = config("continue_through", r"^[^\s]", r"^\s")
PAST = config("continue_past", r"\\$", r"\\$")
BEFORE = config("halt_before", "^INFO", "^INFO")
WITH = config("halt_with", "^select", ";$")


def lines(texts, partition="p", at=50.0):
    position = 0
    for number, text in enumerate(texts, start=1):
        end = position + len(text) + 1
        yield LogLine(text, partition, position, end, at + number, number)
        position = end


@pytest.mark.parametrize(
    ("how", "texts", "expected"),
    [
        (THROUGH, TRACE, ["usual", "first\n  second\n  last", "other\n  its part"]),
        (PAST, CONTINUED, ["first \\\nsecond \\\nlast", "other"]),
        (BEFORE, HEADED, ["INFO one\ntwo\nthree", "INFO four", "INFO five\nsix"]),
        (WITH, ENDED, ["select 1\nfrom x;", "select 2;\nselect 3"]),
        (BEFORE, ["stray", *HEADED[:2]], ["stray", "INFO one\ntwo"]),
    ],
)
def test_the_four_modes_mean_what_vector_means(how, texts, expected):
    assert [line.text for line in join_all(lines(texts), how)] == expected


def test_without_patterns_every_line_stands_for_itself():
    assert [line.text for line in join_all(lines(TRACE), None)] == TRACE


def test_a_message_begins_where_its_first_line_does_and_ends_with_its_last():
    message = join_all(lines(TRACE), THROUGH)[1]
    assert (message.start, message.end, message.number) == (6, 28, 2)
    assert message.received_at == 54.0


def test_partitions_are_joined_by_themselves():
    joiner = MultilineJoiner(BEFORE)
    mixed = [x for pair in zip(lines(HEADED, "a"), lines(HEADED, "b"), strict=True) for x in pair]
    found = joiner.add(mixed) + joiner.flush()
    for name in "ab":
        own = [line.text for line in found if line.partition == name]
        assert own == ["INFO one\ntwo\nthree", "INFO four", "INFO five\nsix"]


def test_a_message_is_taken_as_it_is_when_no_line_came_for_so_long():
    joiner = MultilineJoiner(config("halt_before", "^INFO", "^INFO", timeout_ms=2500))
    assert joiner.add(lines(HEADED[:2], at=100.0)) == []
    assert joiner.held() == ["p"]
    assert joiner.flush_due({"p": 2.4, "q": 9.0}) == joiner.flush_due({}) == []
    assert [line.text for line in joiner.flush_due({"p": 2.5})] == ["INFO one\ntwo"]
    assert joiner.flush_due({"p": 200.0}) == joiner.flush() == joiner.held() == []


def test_what_is_over_the_limits_is_counted_and_passed():
    joiner = MultilineJoiner(BEFORE, max_lines=2, max_chars=20)
    texts = ["INFO one", "two", "three", "INFO" + "x" * 50, "y", "INFO 5", "z" * 30]
    found = joiner.add(lines(texts)) + joiner.flush()
    assert [line.text for line in found] == ["INFO one\ntwo", "INFO" + "x" * 50, "INFO 5"]
    assert joiner.discarded == {"too_long": 3}
    assert all(one.end == two.start for one, two in pairwise(found))


@pytest.mark.parametrize(
    "wrong", [{"mode": "never"}, {"start_pattern": "("}, {"timeout_ms": 0}, {"more": 1}]
)
def test_wrong_settings_are_refused(wrong):
    right = {"start_pattern": "a", "condition_pattern": "b", "mode": "halt_with"}
    with pytest.raises(ValidationError):
        FormatConfig(multiline=right | wrong)


TEXTS = st.lists(st.sampled_from(["INFO a", "b", " c", "d \\", "select;", "e;"]), max_size=30)


@settings(deadline=None)
@given(TEXTS, st.sampled_from([THROUGH, PAST, BEFORE, WITH]), st.integers(1, 7))
def test_no_line_is_lost_or_moved_however_they_come(texts, how, batch):
    joiner, every = MultilineJoiner(how), list(lines(texts))
    found = []
    for start in range(0, len(every), batch):
        found += joiner.add(every[start : start + batch])
    found += joiner.flush()
    assert found == join_all(every, how)
    assert "\n".join(line.text for line in found) == "\n".join(texts)
    assert all(one.end == two.start for one, two in pairwise(found))


@settings(deadline=None)
@given(TEXTS, st.sampled_from([THROUGH, PAST, BEFORE, WITH]), st.integers(0, 30))
def test_windows_are_the_same_after_a_stop_within_a_message(texts, how, stop):
    """A line that is held back is no part of a checkpoint, so it is read again."""
    every = list(lines(texts))

    def read(windower, given):
        reader = EventParser(get_format(FormatConfig(name="plain")), None, str.upper, how)
        return windower.add(reader.feed(given)), reader, windower

    whole, reader, windower = read(_windower(), every)
    whole += windower.add(reader.flush()) + windower.close_all()
    before, _, windower = read(_windower(), every[:stop])
    checkpoint = windower.checkpoint("p")
    resumed = _windower()
    if checkpoint is not None:
        resumed.resume("p", checkpoint)
    safe = checkpoint.safe if checkpoint is not None else 0
    after, reader, windower = read(resumed, [line for line in every if line.start >= safe])
    after += windower.add(reader.flush()) + windower.close_all()
    assert before + after == whole


def _windower():
    return Windower(WindowConfig(kind="count", size=2))


def test_the_reader_counts_what_was_left_out_of_long_messages():
    reader = EventParser(get_format(FormatConfig(name="plain")), None, str.upper, BEFORE)
    assert reader.feed(lines(["INFO", *["x"] * 600])) == []
    (event,) = reader.flush()
    assert event.line.text.count("\n") == 499
    assert reader.discarded == {"too_long": 101}
    reader.feed(lines(["INFO 1", "b"], at=100.0))
    assert [event.line.text for event in reader.flush_due({"p": 200.0})] == ["INFO 1\nb"]


def test_training_learns_messages_and_detects_the_format_by_them(tmp_path):
    texts = ["2024-05-06T07:08:09Z INFO asked", "Select a", "From b;"] * 40
    how = config("halt_with", "^2024", ";$")
    chosen, again = choose_format(FormatConfig(multiline=how), lines(texts), lambda _: None)
    window = WindowConfig(kind="count", size=2)
    templates = TemplateMiner(TemplateConfig())
    learner = CorpusBuilder(chosen, window, templates, None, tmp_path)
    named = FormatConfig(name="iso8601", multiline=how)
    learner.learn(ParallelParser(ParserSpec(named, None, templates.masks), workers=0).read(again))
    lesson = learner.training_data(1)
    assert len(lesson.templates) == 1
    assert len(lesson.corpus) == 20
    assert lesson.discarded.total() == 0


def test_what_is_held_back_of_a_dropped_partition_joins_nothing_that_comes_later():
    reader = EventParser(get_format(FormatConfig(name="plain")), None, str.upper, THROUGH)
    held = [*lines(["lost"], "p"), *lines(["kept"], "q")]
    assert reader.feed(held) == []
    assert [reader.has_pending(name) for name in ("p", "q", "never seen")] == [True, True, False]
    for partition in ("p", "never seen"):
        reader.drop(partition)
        assert not reader.has_pending(partition)
    (stray,) = reader.feed(lines(["  of another"], "p"))
    assert stray.line.text == "  of another"
    assert [event.line.text for event in reader.flush()] == ["kept"]
