"""Deciding a log's format from its first lines."""

from __future__ import annotations

import pytest

from logmlm.config.training import CustomFormat, FormatConfig
from logmlm.errors import ConfigError, FormatError
from logmlm.parsing.formats import detect_format

HADOOP = "2015-10-18 18:01:47,978 INFO [main] org.apache.Foo: Created {}"
JAVA_TRACE = [
    "java.lang.IllegalStateException: queue is full",
    "\tat com.example.Queue.put(Queue.java:17)",
    "\tat com.example.Main.main(Main.java:3)",
    "Caused by: java.io.IOException: disk",
    "\t... 12 more",
]
PYTHON_TRACE = [
    "Traceback (most recent call last):",
    '  File "/srv/app.py", line 3, in <module>',
    "    run()",
    "ValueError: bad",
]


def hadoop(count: int) -> list[str]:
    return [HADOOP.format(number) for number in range(count)]


def test_the_share_and_the_number_of_lines_are_told() -> None:
    found = detect_format([*hadoop(19), "what is this"], FormatConfig())
    assert (found.format.name, found.share, found.lines) == ("hadoop", 0.95, 20)


def test_exactly_nine_in_ten_lines_fit_well_and_fewer_do_not() -> None:
    assert detect_format([*hadoop(9), "odd"], FormatConfig()).share == 0.9
    with pytest.raises(FormatError):
        detect_format([*hadoop(89), *["odd"] * 11], FormatConfig())


@pytest.mark.parametrize("trace", [JAVA_TRACE, PYTHON_TRACE], ids=["java", "python"])
def test_stack_traces_do_not_make_it_refuse(trace: list[str]) -> None:
    lines = [*hadoop(2), *trace, "", *hadoop(1), *trace]
    found = detect_format(lines, FormatConfig())
    assert (found.format.name, found.share, found.lines) == ("hadoop", 1.0, 3)


def test_an_exceptions_own_text_is_part_of_its_trace() -> None:
    trace = ["com.example.Failure$1: the order", "could not be placed", *JAVA_TRACE[1:]]
    assert detect_format([*hadoop(2), *trace, *hadoop(1)], FormatConfig()).share == 1.0


def test_a_block_is_a_trace_if_half_of_its_lines_look_like_one_and_not_below() -> None:
    half = ["text of an error", "and more of it", "\tat a.B", "\tat a.C"]
    assert detect_format([*hadoop(2), *half], FormatConfig()).share == 1.0
    with pytest.raises(FormatError, match="hadoop 40%"):
        detect_format([*hadoop(2), *half[:3], "and more"], FormatConfig())


def test_a_log_that_begins_inside_a_trace_is_decided_by_what_follows() -> None:
    assert detect_format([*JAVA_TRACE[1:], *hadoop(2)], FormatConfig()).share == 1.0


def test_one_line_that_matches_among_many_that_do_not_is_not_enough() -> None:
    lines = [*hadoop(1), *["some free text", "more of it", "  indented"] * 30]
    with pytest.raises(FormatError, match="hadoop 2%"):
        detect_format(lines, FormatConfig())


def test_the_refusal_names_the_best_and_says_what_to_do() -> None:
    lines = [*hadoop(2), *["Mar 14 10:00:00 h a: b"] * 3, *["free text"] * 5]
    with pytest.raises(FormatError) as refusal:
        detect_format(lines, FormatConfig())
    text = str(refusal.value)
    assert "no line format fits the first 10 lines well" in text
    assert "syslog 30%, hadoop 20%, iso8601 20%." in text
    assert "--format plain" in text
    assert "format.custom" in text


@pytest.mark.parametrize("lines", [[], ["", "  "], ["free text"]])
def test_plain_is_never_chosen(lines: list[str]) -> None:
    with pytest.raises(FormatError, match="the best are none at all"):
        detect_format(lines, FormatConfig())


def test_the_strictest_format_that_fits_wins_over_a_looser_one_that_fits_more() -> None:
    lines = [*hadoop(19), "2015-10-18 18:01:47,978 INFO no logger in this one"]
    assert detect_format(lines, FormatConfig()).format.name == "hadoop"


def test_custom_formats_take_part_and_come_first() -> None:
    own = CustomFormat(pattern=r"(?P<timestamp>\S+ \S+) INFO (?P<message>.*)")
    config = FormatConfig(custom={"mine": own})
    assert detect_format(hadoop(3), config).format.name == "mine"
    assert detect_format(["Mar 14 10:00:00 h a: b"], config).format.name == "syslog"


def test_a_custom_format_may_take_the_name_of_a_built_in_one() -> None:
    own = CustomFormat(pattern=r"# (?P<message>.*)")
    config = FormatConfig(custom={"json": own, "plain": own})
    assert detect_format(["# a"], config).format.name == "json"
    with pytest.raises(FormatError):
        detect_format(['{"msg": "a"}'], config)


def test_a_custom_format_that_can_not_work_is_an_error_in_the_config() -> None:
    with pytest.raises(ConfigError, match="mine"):
        detect_format(hadoop(1), FormatConfig(custom={"mine": CustomFormat(pattern="x")}))
