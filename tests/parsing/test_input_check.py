"""Signs that lines are misread are told once they are many."""

import logging

import pytest

from logmlm.config.training import CustomFormat, FormatConfig
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import LogLine

TIMED = "2026-11-21T10:00:00Z INFO opened"


def lines(*texts, **known):
    return [LogLine(text, "a.log", i, i + 1, 1000.0, **known) for i, text in enumerate(texts)]


def read(config, given):
    reader = EventParser(get_format(config), None, lambda _: "", finished=True)
    reader.feed(given)
    reader.flush()
    return reader


def doubts(name, *texts, **known):
    return read(FormatConfig(name=name), lines(*texts, **known)).find_warnings()


def test_lines_as_they_should_be_raise_no_doubt():
    assert doubts("iso8601", *[TIMED] * 20) == []
    assert doubts("plain", "no", "times", "here") == []
    assert doubts("iso8601", TIMED, "  at a.b.C", "  at d.e.F", "  at g.h.I") == []


@pytest.mark.parametrize("few", [1, 2, 3])
def test_more_than_a_tenth_of_the_lines_without_a_time_is_told(few):
    timed = ['{"time": "2026-11-21T10:00:00Z", "message": "opened"}'] * (20 - few)
    found = doubts("json", *timed, *['{"message": "late"}'] * few)
    assert bool(found) == (few > 2)
    if found:
        assert f"reads no time in {few} of 20 lines, such as" in found[0]


def test_a_time_that_the_source_knows_is_enough():
    assert doubts("json", *['{"message": "late"}'] * 20, written_at=1000.0) == []


def test_a_timestamp_format_that_fits_no_line_is_told_in_every_path():
    own = CustomFormat(
        pattern=r"(?P<timestamp>\S+ \S+) (?P<message>.*)", timestamp_format="%d/%m/%Y %H:%M:%S"
    )
    config = FormatConfig(name="mine", custom={"mine": own})
    for count in (2, 50):  # line by line, and column by column
        found = read(config, lines(*["21.11.2026 10:00:00 opened"] * count)).find_warnings()
        assert f"format 'mine' reads no time in {count} of {count} lines" in found[0]
    good = ["21/11/2026 10:00:00 opened"] * 50
    assert read(config, lines(*good)).find_warnings() == []


def test_bytes_that_are_no_utf_8_are_told_and_a_backslash_is_not():
    found = doubts("iso8601", *[TIMED + r" caf\xe9"] * 5)
    assert "5 of 5 lines hold bytes that are no UTF-8" in found[0]
    assert "iconv" in found[0]
    assert doubts("iso8601", *[TIMED + r" C:\xampp\x1"] * 5) == []


def test_the_daemon_and_score_say_it_once_in_the_log(caplog):
    reader = read(FormatConfig(name="iso8601"), lines(*[TIMED + r" caf\xe9"] * 5))
    with caplog.at_level(logging.WARNING):
        reader.warn_of_misfits(least_lines=6)
        assert caplog.messages == []
        reader.warn_of_misfits()
        reader.warn_of_misfits()
    assert len(caplog.messages) == 1
    assert "no UTF-8" in caplog.messages[0]
