"""Timestamps: years guessed, zones, times written and read back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from logmlm.config.training import CustomFormat, FormatConfig
from logmlm.errors import ConfigError
from logmlm.parsing.formats import get_format
from logmlm.parsing.formats.timestamps import DAY_S, nearest_year, read_field, read_iso, read_number

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def parsed(name: str, line: str, now: float = 0.0, zone: str = "UTC") -> float | None:
    fields = get_format(FormatConfig(name=name, timezone=zone)).parse(line, now)
    assert fields is not None
    return fields.timestamp


def custom(pattern: str, timestamp_format: str, line: str, now: float = 0.0) -> float | None:
    own = CustomFormat(pattern=pattern, timestamp_format=timestamp_format)
    fields = get_format(FormatConfig(name="own", custom={"own": own})).parse(line, now)
    assert fields is not None
    return fields.timestamp


@pytest.mark.parametrize(
    ("stamp", "now", "expected"),
    [
        ("Mar 14 10:00:00", "2024-03-15T00:00:00", "2024-03-14T10:00:00"),
        ("Dec 31 23:59:59", "2024-01-01T00:00:05", "2023-12-31T23:59:59"),
        ("Jan  1 00:00:05", "2023-12-31T23:59:59", "2024-01-01T00:00:05"),
        ("Jan  2 00:00:00", "2024-01-01T00:00:00", "2024-01-02T00:00:00"),
        ("Jan  2 00:00:01", "2024-01-01T00:00:00", "2023-01-02T00:00:01"),
        ("Mar 16 00:00:01", "2024-03-15T00:00:00", "2023-03-16T00:00:01"),
        ("Feb 29 12:00:00", "2024-03-01T00:00:00", "2024-02-29T12:00:00"),
        ("Feb 29 12:00:00", "2024-02-28T11:00:00", "2020-02-29T12:00:00"),
        ("Feb 29 12:00:00", "2023-06-01T00:00:00", "2020-02-29T12:00:00"),
        ("Feb 29 12:00:00", "2104-01-01T00:00:00", "2096-02-29T12:00:00"),
        ("Mar 14 2019 10:00:00", "2024-03-15T00:00:00", "2019-03-14T10:00:00"),
    ],
)
def test_a_missing_year_is_the_nearest_at_most_one_day_ahead(
    stamp: str, now: str, expected: str
) -> None:
    assert parsed("syslog", f"{stamp} h a: b", epoch(now)) == epoch(expected)


def test_a_year_is_guessed_in_the_zone_of_the_line() -> None:
    now = datetime(2023, 12, 31, 23, 30, tzinfo=UTC).timestamp()  # 00:30 on 1 January in Berlin
    expected = datetime(2024, 1, 1, 0, 29, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert parsed("syslog", "Jan  1 00:29:00 h a: b", now, "Europe/Berlin") == expected


@settings(max_examples=40, deadline=None)
@given(
    now=st.datetimes(datetime(1971, 1, 1), datetime(2990, 1, 1)),
    back=st.timedeltas(timedelta(days=-1), timedelta(days=363)),
)
def test_a_time_of_the_last_year_or_the_next_day_gets_its_own_year(
    now: datetime, back: timedelta
) -> None:
    reference = now.replace(tzinfo=UTC)
    written = (reference - back).replace(microsecond=0)
    assume((written - reference).total_seconds() <= DAY_S)
    guessed = nearest_year(written.replace(year=2000), reference.timestamp())
    assert guessed == written


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -1e18, 1e18, 253402300799.0])
def test_a_reference_that_is_no_time_leaves_the_line_without_a_timestamp(now: float) -> None:
    assert parsed("syslog", "Mar 14 10:00:00 h a: b", now) is None


def test_no_year_at_all_will_do_before_the_first_one() -> None:
    with pytest.raises(ValueError, match="no year puts 29 February"):
        nearest_year(datetime(2000, 2, 29, tzinfo=UTC), epoch("0001-06-01"))


WRITERS = {
    "syslog": lambda t: f"{MONTHS[t.month - 1]} {t.day:2} {t:%H:%M:%S} h a: b",
    "hdfs": lambda t: f"{t:%y%m%d %H%M%S} 1 INFO a: b",
    "spark": lambda t: f"{t:%y/%m/%d %H:%M:%S} INFO a: b",
    "apache": lambda t: f"[{DAYS[t.weekday()]} {MONTHS[t.month - 1]} {t:%d %H:%M:%S %Y}] [error] b",
    "nginx": lambda t: f"{t:%Y/%m/%d %H:%M:%S} [error] 1#1: b",
    "redis": lambda t: f"1:M {t:%d} {MONTHS[t.month - 1]} {t:%Y %H:%M:%S}.000 * b",
    "bgl": lambda t: f"- {t.timestamp():.0f} 2005.06.03 R 2005-06-03-15.42.50.675872 R A B INFO b",
    "iso8601": lambda t: f"{t.isoformat()} b",
    "json": lambda t: f'{{"ts": {t.timestamp()}, "msg": "b"}}',
}
"""Formats that can be written back, by whole seconds."""


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=40, deadline=None)
@given(moment=st.datetimes(datetime(2002, 1, 1), datetime(2068, 1, 1)))
def test_a_timestamp_that_is_written_is_read_back(name: str, moment: datetime) -> None:
    written = moment.replace(microsecond=0, tzinfo=UTC)
    assert parsed(name, WRITERS[name](written), written.timestamp()) == written.timestamp()


@settings(max_examples=40, deadline=None)
@given(
    moment=st.datetimes(datetime(1971, 1, 1), datetime(2990, 1, 1)),
    offset_min=st.integers(-14 * 60, 14 * 60),
)
def test_an_offset_in_the_line_counts_and_not_the_configured_zone(
    moment: datetime, offset_min: int
) -> None:
    zone = timezone(timedelta(minutes=offset_min))
    local = moment.replace(tzinfo=zone, microsecond=0)
    clf = f"{local:%d}/{MONTHS[local.month - 1]}/{local.year}:{local:%H:%M:%S %z}"
    access = f'1.2.3.4 - - [{clf}] "GET / HTTP/1.1" 200 1'
    for name, line in (("access", access), ("iso8601", f"{local.isoformat()} b")):
        assert parsed(name, line, zone="Asia/Tokyo") == local.timestamp()


def test_times_without_a_zone_are_read_in_the_configured_one() -> None:
    summer = "2024-07-01 12:00:00"
    assert parsed("iso8601", f"{summer} b", zone="Europe/Berlin") == epoch("2024-07-01T10:00:00")
    assert parsed("postgresql", f"{summer} CEST [1] LOG:  b", zone="Europe/Berlin") == epoch(
        "2024-07-01T10:00:00"
    )
    for zone in ("UTC", "GMT"):
        line = f"{summer} {zone} [1] LOG:  b"
        assert parsed("postgresql", line, zone="Europe/Berlin") == epoch("2024-07-01T12:00:00")


def test_an_offset_of_a_day_or_more_is_no_zone() -> None:
    line = '1.2.3.4 - - [10/Oct/2023:13:55:36 +9900] "GET / HTTP/1.1" 200 1'
    assert parsed("access", line) is None


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6, 1e9])
def test_the_unit_of_a_number_follows_from_its_size(scale: float) -> None:
    assert read_number(1710410400.0 * scale) == pytest.approx(1710410400.0)


@pytest.mark.parametrize("number", [-1.0, 1e21, float("nan"), float("inf")])
def test_a_number_that_is_no_time_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="no time since 1970"):
        read_number(number)


def test_a_field_may_hold_digits_a_date_or_neither() -> None:
    assert read_field("1712121512345", UTC) == pytest.approx(1712121512.345)
    assert read_field("2024-03-14T10:00:00Z", UTC) == epoch("2024-03-14T10:00:00")
    assert read_field("2024-03-14T10:00:00", timezone(timedelta(hours=2))) == epoch(
        "2024-03-14T08:00:00"
    )
    assert [read_field(text, UTC) for text in ("", "soon", "2024-99", "9" * 5000)] == [None] * 4


LINE = r"(?P<timestamp>[^|]*)\|(?P<message>.*)"


@pytest.mark.parametrize(
    ("timestamp_format", "stamp", "expected"),
    [
        ("iso8601", "2024-03-14T10:00:00+02:00", "2024-03-14T08:00:00"),
        ("epoch", "1710410400", "2024-03-14T10:00:00"),
        ("epoch_ms", "1710410400000", "2024-03-14T10:00:00"),
        ("%d.%m.%Y %H:%M:%S", "14.03.2024 10:00:00", "2024-03-14T10:00:00"),
        ("%d/%m/%y %H:%M %z", "14/03/24 10:00 +0100", "2024-03-14T09:00:00"),
        ("%d %b %H:%M:%S", "31 Dec 23:59:59", "2023-12-31T23:59:59"),
        ("%d %b %H:%M:%S", "29 Feb 23:59:59", "2020-02-29T23:59:59"),
        ("%d %b %H:%M %z", "31 Dec 23:59 +0100", "2023-12-31T22:59:00"),
    ],
)
def test_a_custom_format_reads_its_own_timestamps(
    timestamp_format: str, stamp: str, expected: str
) -> None:
    now = epoch("2024-01-01T00:00:05") if "%b" in timestamp_format else 0.0
    assert custom(LINE, timestamp_format, f"{stamp}|b", now) == epoch(expected)


@pytest.mark.parametrize(
    ("timestamp_format", "stamp"),
    [
        ("epoch", "inf"),
        ("epoch", "nan"),
        ("epoch_ms", "-1e300"),
        ("epoch", "soon"),
        ("iso8601", "soon"),
        ("%d %b %H:%M", "30 Feb 10:00"),
        ("iso8601", ""),
    ],
)
def test_a_custom_timestamp_that_is_none_leaves_the_line_without_one(
    timestamp_format: str, stamp: str
) -> None:
    assert custom(LINE, timestamp_format, f"{stamp}|b") is None


def test_a_custom_format_without_a_timestamp_has_none() -> None:
    assert custom("(?P<message>.*)", "iso8601", "anything") is None


def test_groups_of_a_custom_format_become_attributes_and_fields() -> None:
    own = CustomFormat(
        pattern=r"(?P<label>\S+) (?P<level>\w+) (?P<host>\S+) (?P<request_id>\S+) (?P<message>.*)",
        continuation="discard",
    )
    line_format = get_format(FormatConfig(name="own", custom={"own": own}))
    fields = line_format.parse("- warn web1 r7 it is late", 0.0)
    assert fields is not None
    assert (fields.label, fields.level, fields.message) == ("-", "WARNING", "it is late")
    assert fields.attributes == {"host.name": "web1", "request_id": "r7"}
    assert (line_format.name, line_format.continuation) == ("own", "discard")


@pytest.mark.parametrize(
    ("pattern", "timestamp_format", "says"),
    [
        (r"(?P<text>.*)", "iso8601", r"format\.custom\.own\.pattern has no group"),
        (LINE, "%d %b %Q", r"timestamp_format: 'Q' is a bad directive"),
        (LINE, "%d %b %", r"timestamp_format: stray %"),
        (LINE, "%d %d %b", r"has a directive twice"),
        (LINE, "%H:%M:%S", r"names no day; add the date"),
    ],
)
def test_custom_formats_that_can_not_work_are_refused_with_their_key(
    pattern: str, timestamp_format: str, says: str
) -> None:
    own = CustomFormat(pattern=pattern, timestamp_format=timestamp_format)
    with pytest.raises(ConfigError, match=says):
        get_format(FormatConfig(name="own", custom={"own": own}))


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
    st.integers(0, 6),
    st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns")]),
)
def test_a_remembered_minute_gives_the_time_that_datetime_gives(moment, digits, zone) -> None:
    fraction = f"{moment.microsecond:06}"[:digits]
    text = f"{moment:%Y-%m-%d %H:%M:%S}" + (f",{fraction}" if digits else "")
    expected = datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()
    assert read_iso(text, zone) == expected


@pytest.mark.parametrize(
    "text", ["2024-01-01 10:00:60", "2024-01-01 10:00:5e1", "2024-13-01 10:00:00"]
)
def test_what_is_no_time_is_refused_by_the_short_way_too(text) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  datetime's own words
        read_iso(text, UTC)
