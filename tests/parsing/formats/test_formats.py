"""Golden lines of every program whose format is built in."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.config.training import FormatConfig
from logmlm.errors import ConfigError
from logmlm.parsing.formats import ALIASES, FORMATS, attribute, detect_format, get_format
from logmlm.parsing.formats.levels import level_name, numeric_level, otel_level, syslog_level
from logmlm.records import Fields

NOW = datetime(2024, 3, 15, 12, tzinfo=UTC).timestamp()


class Golden(NamedTuple):
    """A line, and what its format must find in it."""

    format: str
    line: str
    time: str | None = None
    level: str = ""
    message: str = ""
    attributes: Mapping[str, str] = MappingProxyType({})
    label: str | None = None


GOLDEN = [
    Golden(**case)
    for case in yaml.safe_load(
        (Path(__file__).parents[2] / "data/formats_golden.yaml").read_text(encoding="utf-8")
    )
]


def parse(name: str, line: str, now: float = NOW) -> Fields | None:
    return get_format(FormatConfig(name=name)).parse(line, now)


@pytest.mark.parametrize("golden", GOLDEN, ids=[f"{one.format}-{one.message}" for one in GOLDEN])
def test_a_real_line_of_each_program_is_split_as_a_reader_would(golden: Golden) -> None:
    fields = parse(golden.format, golden.line)
    assert fields is not None
    expected = None if golden.time is None else datetime.fromisoformat(golden.time).timestamp()
    assert fields.timestamp == (expected if expected is None else pytest.approx(expected, abs=1e-5))
    assert (fields.level, fields.message) == (golden.level, golden.message)
    assert fields.attributes == golden.attributes
    assert fields.label == golden.label


def test_every_format_has_a_golden_line() -> None:
    assert {one.format for one in GOLDEN} == set(FORMATS)


@pytest.mark.parametrize("golden", [one for one in GOLDEN if one.format != "plain"])
def test_auto_takes_the_format_of_each_golden_line_and_no_looser_one(golden: Golden) -> None:
    assert detect_format(golden.line.split("\n"), FormatConfig()).format.name == golden.format


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(text=st.text())
def test_no_text_makes_a_format_raise(name: str, text: str) -> None:
    parse(name, text)


@settings(max_examples=40, deadline=None)
@given(golden=st.sampled_from(GOLDEN), data=st.data(), junk=st.text(max_size=5), now=st.floats())
def test_no_damage_to_a_real_line_makes_its_format_raise(
    golden: Golden, data: st.DataObject, junk: str, now: float
) -> None:
    at = data.draw(st.integers(0, len(golden.line)))
    until = data.draw(st.integers(at, len(golden.line)))
    fields = parse(golden.format, golden.line[:at] + junk + golden.line[until:], now)
    assert fields is None or "\n" not in fields.message


@pytest.mark.parametrize("golden", GOLDEN, ids=[one.format for one in GOLDEN])
def test_a_joined_event_parses_as_its_first_line_did(golden: Golden) -> None:
    if golden.format not in ("json", "docker", "mysql_slow"):  # never joined so
        joined = parse(golden.format, f"{golden.line}\n\tat com.example.Main(Main.java:7)")
        assert joined == parse(golden.format, golden.line)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", ["", "   ", "\n\n", "\tat com.example.Main.run(Main.java:7)"])
def test_blank_lines_and_stack_traces_match_no_format_but_plain(name: str, text: str) -> None:
    fields = parse(name, text)
    assert fields is None or (name == "plain" and fields.message == text.strip())


def test_bytes_that_are_not_utf8_stay_in_the_message() -> None:
    line = b"Mar 14 23:59:58 web1 app: caf\xe9".decode(errors="surrogateescape")
    fields = parse("syslog", line)
    assert fields is not None
    assert fields.message == "caf\udce9"


@pytest.mark.parametrize(
    "line",
    [
        "2024-13-14T10:00:00Z something",
        "2024-02-30 10:00:00 something",
        "9999-12-31T23:59:59-14:00 something",
    ],
)
def test_a_line_whose_date_does_not_exist_is_kept_without_a_timestamp(line: str) -> None:
    fields = parse("iso8601", line)
    assert fields is not None
    assert (fields.timestamp, fields.message) == (None, "something")


def test_a_level_word_after_a_date_is_no_host_of_syslog() -> None:
    assert parse("syslog", "2024-03-14T10:00:00Z INFO main: started") is None
    assert parse("syslog", "2024-03-14T10:00:00Z web1 nothing that looks like a tag") is None


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("access", '1.2.3.4 - - [10/Oct/2023:13:55:36 +0000] "' + "\\" * 30_000),
        ("rfc5424", "<1>1 - a b c d " + "[a" * 30_000),
        ("nginx", "2023/10/11 14:32:52 [error] 1#1: x, client: " + "a" * 60_000),
        ("zookeeper", "2015-07-29 17:41:44,747 - INFO  [" + ":a" * 30_000),
        ("thunderbird", "- 1131566461 2005.11.09 d Nov 9 12:01:01 d/d " + "[1" * 30_000),
        ("kafka", "[2020-01-01 00:00:00,123] INFO " + " (a" * 20_000),
        ("syslog", "Mar 14 23:59:58 " + "a" * 60_000),
        ("postgresql", "2024-03-14 10:00:00 UTC [1] " + "LOG " * 15_000),
    ],
)
def test_a_hostile_line_takes_no_more_than_linear_time(name: str, prefix: str) -> None:
    started = time.process_time()
    parse(name, prefix)
    assert time.process_time() - started < 2.0  # quadratic matching would take minutes


def test_attributes_are_found_by_full_name_and_by_alias() -> None:
    fields = Fields(None, "", "m", {"host.name": "web1", "status": "own", "request_id": "r7"})
    assert attribute(fields, "host") == attribute(fields, "host.name") == "web1"
    assert attribute(fields, "status") == "own"
    assert attribute(fields, "request_id") == "r7"
    assert attribute(fields, "thread") is None
    assert attribute(fields, "nothing") is None


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("warn", "WARNING"),
        ("Err", "ERROR"),
        ("crit", "CRITICAL"),
        ("emerg", "EMERGENCY"),
        ("I", "INFO"),
        (" info ", "INFO"),
        ("", ""),
        ("LOG", "LOG"),
    ],
)
def test_levels_have_one_spelling(word: str, name: str) -> None:
    assert level_name(word) == name


def test_numbered_levels_have_names_and_others_have_none() -> None:
    assert [syslog_level(str(number)) for number in (0, 4, 7, 8)] == [
        "EMERGENCY",
        "WARNING",
        "DEBUG",
        "",
    ]
    assert [otel_level(str(number)) for number in (0, 1, 4, 9, 13, 24, 25)] == [
        "",
        "TRACE",
        "TRACE",
        "INFO",
        "WARNING",
        "FATAL",
        "",
    ]
    assert [otel_level(text) for text in ("", "x", "²", "999")] == [""] * 4
    assert [numeric_level(text) for text in ("30", "31")] == ["INFO", ""]


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match=r"'sysolg' is unknown; did you mean 'syslog'\?"):
        get_format(FormatConfig(name="sysolg"))
    with pytest.raises(ConfigError, match=r"'§' is unknown; known are auto, rfc5424, "):
        get_format(FormatConfig(name="§"))


def test_auto_is_decided_by_lines_and_can_not_be_got_by_name() -> None:
    with pytest.raises(ConfigError, match="lines have to decide"):
        get_format(FormatConfig(name="auto"))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "Europe", ""])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ConfigError, match=r"format\.timezone"):
        get_format(FormatConfig(name="spark", timezone=zone))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.line[:40])
def test_an_attribute_asked_for_alone_is_the_one_that_all_hold(golden: Golden) -> None:
    def fields() -> Fields:
        found = parse(golden.format, golden.line)
        assert found is not None
        return found

    every = dict(fields().attributes)
    names = [*ALIASES, *ALIASES.values(), *every, "app", "message", "level", "nothing"]
    assert {name: fields().attributes.get(name) for name in names} == {
        name: every.get(name) for name in names
    }
