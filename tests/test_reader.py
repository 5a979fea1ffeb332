"""From raw lines to events: format, continuation lines, key and template together."""

from logmlm.config import FormatConfig
from logmlm.formats import get_format
from logmlm.reader import EventReader
from logmlm.records import LogLine

TEXTS = (
    "2024-05-06T07:08:09Z ERROR req-1 failed",
    "    at app.handle(app.py:3)",
    "2024-05-06T07:08:10Z INFO started",
)


def reader(key=r"(req-\d+)"):
    seen = []

    def template_of(message):
        seen.append(message)
        return f"t{len(seen)}"

    return EventReader(get_format(FormatConfig(name="iso8601")), key, template_of), seen


def lines(texts=TEXTS, partition="p"):
    position = 0
    for number, text in enumerate(texts, start=1):
        yield LogLine(text, partition, position, position + len(text) + 1, 50.0, number)
        position += len(text) + 1


def test_a_trace_is_one_event_that_waits_for_the_next_line():
    source, seen = reader()
    (event,) = source.add(lines())
    assert event.line.text == "\n".join(TEXTS[:2])
    assert (event.line.start, event.line.end) == (0, len("\n".join(TEXTS[:2])) + 1)
    assert event.timestamp == event.fields.timestamp == 1_714_979_289.0
    assert (event.key, event.template_id, event.fields.level) == ("req-1", "t1", "ERROR")
    assert seen == ["req-1 failed"]
    (last,) = source.flush()
    assert (last.key, last.template_id, last.line.number) == ("", "t2", 3)
    assert source.flush() == []


def test_what_is_held_back_is_given_out_when_its_partition_is_quiet():
    source, _ = reader()
    source.add(lines())
    assert source.flush_due(50.5) == []
    assert [event.fields.message for event in source.flush_due(60.0)] == ["started"]


def test_a_key_can_be_a_field_and_lines_left_out_are_counted():
    texts = ['{"message": "a", "host": "h1"}', "no json", '{"message": "b"}']
    source = EventReader(get_format(FormatConfig(name="json")), "host", str.upper)
    events = source.add(lines(texts)) + source.flush()
    assert [(event.key, event.template_id) for event in events] == [("h1", "A"), ("", "B")]
    assert sum(source.discarded.values()) == 1


def test_many_lines_of_another_format_are_warned_of_once(caplog):
    source = EventReader(get_format(FormatConfig(name="json")), None, str.upper)
    source.add(lines(["", '{"message": "a"}', "no json"]))
    assert source.misfits == (1, 2)
    source.warn_of_misfits(least_lines=3)
    assert caplog.text == ""
    source.warn_of_misfits()
    source.warn_of_misfits()
    assert caplog.text.count("1 of 2 lines are not of the model's line format 'json'") == 1


def test_a_few_lines_of_another_format_are_no_sign(caplog):
    source = EventReader(get_format(FormatConfig(name="json")), None, str.upper)
    source.add(lines(['{"message": "a"}'] * 9 + ["no json"]))
    source.warn_of_misfits()
    assert caplog.text == ""


def test_what_is_held_back_of_a_dropped_partition_joins_nothing_that_comes_later():
    events, _ = reader()
    assert events.add([*lines(TEXTS[:1], "lost"), *lines(TEXTS[2:], "kept")]) == []
    events.drop("lost")
    events.drop("never seen")
    assert [event.line.partition for event in events.flush()] == ["kept"]
