"""From raw lines to events: format, continuation lines, key and template together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config.training import FormatConfig, TemplateConfig
from logmlm.errors import FormatError
from logmlm.parsing.event_parser import EventParser, MaskedTemplateLookup
from logmlm.parsing.formats import get_format
from logmlm.parsing.template_miner import TemplateMiner
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

    return EventParser(get_format(FormatConfig(name="iso8601")), key, template_of), seen


def lines(texts=TEXTS, partition="p"):
    position = 0
    for number, text in enumerate(texts, start=1):
        yield LogLine(text, partition, position, position + len(text) + 1, 50.0, number)
        position += len(text) + 1


def test_a_trace_is_one_event_that_waits_for_the_next_line():
    source, seen = reader()
    (event,) = source.feed(lines())
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
    source.feed(lines())
    assert source.held() == ["p"]
    assert source.flush_due({"p": 0.5}) == []
    assert [event.fields.message for event in source.flush_due({"p": 60.0})] == ["started"]


def test_a_key_can_be_a_field_and_lines_left_out_are_counted():
    texts = ['{"message": "a", "host": "h1"}', "no json", '{"message": "b"}']
    source = EventParser(get_format(FormatConfig(name="json")), "host", str.upper)
    events = source.feed(lines(texts)) + source.flush()
    assert [(event.key, event.template_id) for event in events] == [("h1", "A"), ("", "B")]
    assert sum(source.discarded.values()) == 1


def test_many_lines_of_another_format_are_warned_of_once(caplog):
    source = EventParser(get_format(FormatConfig(name="json")), None, str.upper)
    source.feed(lines(["", '{"message": "a"}', "no json"]))
    assert source.unmatched == (1, 2)
    source.warn_of_misfits(least_lines=3)
    assert caplog.text == ""
    source.warn_of_misfits()
    source.warn_of_misfits()
    assert caplog.text.count("1 of 2 lines are not of the model's line format 'json'") == 1


def test_a_few_lines_of_another_format_are_no_sign(caplog):
    source = EventParser(get_format(FormatConfig(name="json")), None, str.upper)
    source.feed(lines(['{"time": "2026-11-21T10:00:00Z", "message": "a"}'] * 9 + ["no json"]))
    source.warn_of_misfits()
    assert caplog.text == ""


def test_what_is_held_back_of_a_dropped_partition_joins_nothing_that_comes_later():
    events, _ = reader()
    assert events.feed([*lines(TEXTS[:1], "lost"), *lines(TEXTS[2:], "kept")]) == []
    events.drop("lost")
    events.drop("never seen")
    assert [event.line.partition for event in events.flush()] == ["kept"]


MIXED = {
    "postgresql": [
        "2026-11-21 14:57:3{n}.129 UTC [1{n}] LOG:  took {n} ms",
        "2026-11-21 14:57:3{n}.129 UTC [1{n}] a@b ERROR:  took {n}0 ms",
        "2026-11-21 14:57:3{n} UTC [1{n}] LOG:  took {n} ms",
        "\tat a.b({n})",
        "",
    ],
    "cri": [
        "2026-11-21T07:00:0{n}Z stdout F req-{n}",
        "2026-11-21T07:00:0{n}Z stdout P a{n} ",
        "2026-11-21T07:00:0{n}Z stderr P b{n} ",
        "no {n}",
    ],
    "syslog": ["Nov 2{n} 04:05:0{n} h app[{n}]: a {n}", "Feb 3{n} 04:05:06 h b: {n}", "x{n}"],
    "plain": ["a {n}", "b {n} c"],
}
GIVEN = st.lists(
    st.tuples(
        *(st.integers(0, 4), st.integers(0, 9), st.sampled_from("ppppq")),
        *(st.sampled_from([{}] * 8 + [{"host": "h1"}]), st.integers(0, 9)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("name", MIXED)
@settings(deadline=None)
@given(given_lines=GIVEN)
def test_events_of_many_lines_at_once_are_those_of_one_line_at_a_time(name, finished, given_lines):
    templates = TemplateMiner(TemplateConfig())
    for text in MIXED[name]:
        templates.learn(text.format(n=1))
    lines = [
        LogLine(MIXED[name][kind % len(MIXED[name])].format(n=n), where, i, i + 1, 1e9 + now // 9,
                is_whole=where == "q", written_at=5.0 if now == 3 else None, attributes=known)
        for i, (kind, n, where, known, now) in enumerate(given_lines)
    ]  # fmt: skip
    at_once, one_by_one = (
        EventParser(
            *(get_format(FormatConfig(name=name)), r"(\d+)", templates.match),
            finished=finished,
            by_mask=by_mask,
        )
        for by_mask in (MaskedTemplateLookup(templates.match_masked, templates.masking), None)
    )
    expected = [event for line in lines for event in one_by_one.feed([line])] + one_by_one.flush()
    found = at_once.feed(lines) + at_once.flush()
    assert (found, at_once.discarded) == (expected, one_by_one.discarded)
    assert [event.fields for event in found] == [event.fields for event in expected]
    assert [event.parsed for event in found].count(None) == 0


def test_logs_whose_lines_all_have_dates_and_none_the_models_format_are_refused():
    config = FormatConfig(name="postgresql")
    reader = EventParser(get_format(config), None, str)
    texts = [f"2026-11-21 10:00:0{second} INFO of another program" for second in range(5)]
    found = [LogLine(text, "p", at, at + 1, 0.0) for at, text in enumerate(texts)]
    assert len(reader.feed(found) + reader.flush()) == 5
    assert reader.unmatched == (5, 5)
    with pytest.raises(FormatError, match="none of the 5 lines"):
        reader.refuse_foreign()
