"""Kafka records as lines, positions as metadata, dead letters, the cap and the watchdog."""

import json
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from logmlm.config.kafka import KafkaSourceConfig
from logmlm.config.training import FormatConfig
from logmlm.errors import DataError
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import Checkpoint, SurgeState
from logmlm.sources.kafka.dead_letters import (
    MAX_EXTRA_BYTES,
    MAX_LETTER_BYTES,
    DeadLetterLimit,
    dead_letter_record,
)
from logmlm.sources.kafka.offsets import MOST_IDS, CommittedOffset, decode, delivered, encode
from logmlm.sources.kafka.records import RecordDecoder
from logmlm.sources.kafka.stall_detection import StallDetector


def record(value, *, key=None, headers=(), timestamp=1_500, offset=7):
    return SimpleNamespace(
        topic="t",
        partition=2,
        offset=offset,
        timestamp=timestamp,
        key=key,
        value=value.encode() if isinstance(value, str) else value,
        headers=list(headers),
    )


def reader(counted=None, **told):
    least = {"bootstrap_servers": "a:1", "topics": "t", "auto_offset_reset": "earliest"}
    return RecordDecoder(
        KafkaSourceConfig(**(least | told)), Counter() if counted is None else counted
    )


def test_a_text_record_is_a_line_at_its_offset():
    line = reader().line(record("hello\r\n"), "t/2", 9.0)
    assert (line.text, line.partition, line.start, line.end) == ("hello", "t/2", 7, 8)
    assert (line.received_at, line.written_at, line.attributes) == (9.0, 1.5, {})
    assert reader().line(record("a", timestamp=-1), "t/2", 9.0).written_at is None


def test_bytes_that_are_no_utf_8_are_shown_and_long_lines_cut_and_counted():
    counted = Counter()
    found = reader(counted, max_line_bytes=4)
    assert found.line(record(b"a\xff"), "t/2", 0.0).text == "a\\xff"
    assert (found.line(record("abcd\n"), "t/2", 0.0).text, counted["cut"]) == ("abcd", 0)
    assert (found.line(record("abcde"), "t/2", 0.0).text, counted["cut"]) == ("abcd", 1)


def test_the_line_may_be_a_field_and_attributes_come_from_key_headers_and_fields():
    found = reader(
        value="json",
        message_field="log.text",
        attributes={
            "host": "key",
            "service": "header:app",
            "unit": "field:k8s.pod",
            "up": "field:up",
            "n": "field:n",
            "dotted": "field:a.b",
            "none": "header:none",
            "deep": "field:log.text.more",
        },
    )
    value = {"log": {"text": "hello"}, "k8s": {"pod": "p1"}, "up": True, "n": 4, "a.b": "x"}
    headers = [("app", b"shop"), ("app", b"other"), ("x", None)]
    line = found.line(record(json.dumps(value), key=b"h1", headers=headers), "t/2", 0.0)
    assert line.text == "hello"
    assert line.attributes == {
        "host": "h1",
        "service": "shop",
        "unit": "p1",
        "up": "true",
        "n": "4",
        "dotted": "x",
    }


def test_half_of_a_character_in_a_record_is_a_question_mark_wherever_it_stands():
    told = {"host": "key", "service": "header:app", "unit": "field:pod"}
    found = reader(value="json", message_field="m", attributes=told)
    value = '{"m": "a\\ud800b", "pod": "p\\udfff1"}'
    line = found.line(record(value, key=b"h\xed\xa0\x80", headers=[("app", b"s\xff")]), "t/2", 0.0)
    assert line.text == "a?b"
    assert line.attributes == {"host": "h\\xed\\xa0\\x80", "service": "s\\xff", "unit": "p?1"}


def test_a_json_line_without_a_message_field_is_the_whole_object():
    assert reader(value="json").line(record('{"a": 1}'), "t/2", 0.0).text == '{"a": 1}'


@pytest.mark.parametrize(
    ("value", "told", "reason"),
    [
        ("x" * 11, {"max_record_bytes": 10}, "over max_record_bytes"),
        ("{", {"value": "json"}, "no JSON"),
        (b"\xff", {"value": "json"}, "no JSON"),
        ("[" * 100_000, {"value": "json"}, "no JSON"),
        ("1" * 5_000, {"value": "json"}, "no JSON"),
        ("[]", {"value": "json"}, "no JSON object"),
        ("{}", {"value": "json", "message_field": "m"}, "no text in message_field"),
        ('{"m": null}', {"value": "json", "message_field": "m"}, "no text in message_field"),
        ('{"m": [{}, []]}', {"value": "json", "message_field": "m"}, "no text in message_field"),
        ('{"error": "x"}', {"value": "json", "message_field": "m"}, "no text in message_field"),
    ],
)
def test_what_can_not_be_read_has_a_reason_that_shows_nothing_of_it(value, told, reason):
    with pytest.raises(DataError) as caught:
        reader(**told).line(record(value), "t/2", 0.0)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"m": {"text": "refused", "code": 5}}, "text=refused code=5"),
        ({"m": ["payment", "refused"]}, "payment refused"),
        ({"m": None, "error": "refused"}, "refused"),
        ({"m": None, "error": {"message": "re\nfused"}}, "re fused"),
        ({"m": 1}, "1"),
        ({"m": False}, "false"),
        ({"m": ""}, ""),
    ],
)
def test_a_message_that_is_no_string_is_a_line_and_no_dead_letter(value, text):
    found = reader(value="json", message_field="m")
    lines, letters = found.read([record(json.dumps(value))], "t/2", 0.0)
    assert ([line.text for line in lines], letters) == ([text], [])


@given(st.binary(max_size=300))
def test_any_bytes_are_a_line_or_have_a_reason(value):
    reader(max_line_bytes=50).line(record(value), "t/2", 0.0)
    with suppress(DataError):
        reader(value="json", message_field="m").line(record(value), "t/2", 0.0)


def event(line, key):
    events = EventParser(get_format(FormatConfig(name="plain")), key, str)
    return [*events.feed([line]), *events.flush()][0]


@pytest.mark.parametrize("key", ["host", "host.name"])
@pytest.mark.parametrize("name", ["host", "host.name"])
def test_a_models_key_finds_the_records_attribute_by_either_name(key, name):
    line = reader(attributes={name: "header:h"}).line(
        record("m", headers=[("h", b"db1")]), "t/2", 0.0
    )
    assert event(line, key).key == "db1"


def test_a_line_without_a_time_has_its_records_time():
    assert event(reader().line(record("m"), "t/2", 99.0), None).timestamp == 1.5


def test_a_checkpoint_comes_back_as_it_was_committed():
    at = Checkpoint(5, 9, 1234.5678)
    assert decode("t/0", encode(at, "m" * 64), "m" * 64) == at
    nothing = Checkpoint(0, 0, None)
    assert decode("t/0", encode(nothing, "m"), "m") == nothing
    rising = Checkpoint(2**62, 2**62, 1e300 / 3, SurgeState(9.1 / 3, 1e10 / 3, 2**40, 2**40))
    assert decode("t/0", encode(rising, "m"), "m") == rising
    assert len(encode(rising, "m" * 64).metadata) < 200


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.none() | st.floats(allow_nan=False))
def test_every_checkpoint_comes_back(safe, more, watermark):
    if watermark is not None and abs(watermark) == float("inf"):
        watermark = 0.0
    at = Checkpoint(safe, safe + more, watermark)
    assert decode("t/0", encode(at, "m"), "m") == at


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "{",
        "null",
        "[]",
        '{"v":2,"reached":9,"watermark":null}',
        '{"v":1,"reached":"9","watermark":null}',
        '{"v":1,"reached":9}',
        '{"v":1,"reached":9,"watermark":"x"}',
        '{"v":1,"reached":9,"watermark":NaN}',
        '{"v":1,"reached":9,"watermark":null,"rise":[NaN,1.0,2,2]}',
        '{"v":1,"reached":9,"watermark":null,"rise":"up"}',
    ],
)
def test_metadata_that_says_nothing_makes_windows_anew_and_is_logged(metadata, caplog):
    assert decode("t/0", CommittedOffset(5, metadata), "m") == Checkpoint(5, 5, None)
    assert "t/0: can't read what is committed beside offset 5" in caplog.text


def test_another_models_windows_are_made_anew_and_an_offset_moved_by_hand_counts():
    at = encode(Checkpoint(5, 9, 1.0), "one")
    assert decode("t/0", at, "other") == Checkpoint(5, 5, 1.0)
    assert decode("t/0", CommittedOffset(20, at.metadata), "one") == Checkpoint(20, 20, 1.0)
    before = CommittedOffset(at.offset, at.metadata.replace(',"rules":2', ""))
    assert decode("t/0", before, "one") == Checkpoint(5, 5, 1.0)


def test_a_dead_letter_says_where_it_stood_and_why():
    found = dead_letter_record(record("x", key=b"k", headers=[("a", b"b")]), "no JSON")
    assert (found["key"], found["value"]) == (b"k", b"x")
    assert found["headers"] == [
        ("logmlm.error", b"no JSON"),
        ("logmlm.topic", b"t"),
        ("logmlm.partition", b"2"),
        ("logmlm.offset", b"7"),
        ("a", b"b"),
    ]
    assert dead_letter_record(record(None, key=b"k"), "no value")["value"] is None
    assert dead_letter_record(record(None), "no value")["value"] == b""


def test_a_dead_letter_is_never_too_large_for_a_broker():
    huge = record("x" * (MAX_LETTER_BYTES + 1), key=b"k" * 10**6, headers=[("a", b"b" * 10**6)])
    found = dead_letter_record(huge, "over max_record_bytes")
    assert len(found["value"]) == MAX_LETTER_BYTES
    assert len(found["key"]) == MAX_EXTRA_BYTES
    assert ("logmlm.cut", b"524288 of 524289 bytes") in found["headers"]
    assert "a" not in dict(found["headers"])


def letters(count, reason="no JSON"):
    return [(record("x"), reason)] * count


def test_too_large_a_share_of_unreadable_records_is_an_error_that_says_so():
    cap = DeadLetterLimit(0.05, 100)
    cap.add(0, letters(99))  # too few to say anything
    with pytest.raises(DataError) as caught:
        cap.add(0, letters(1, "no value"))
    assert "100 of the last 100 Kafka records" in str(caught.value)
    assert "(no JSON: 99, no value: 1)" in str(caught.value)
    assert caught.value.exit_code == 65


def test_the_share_is_of_the_latest_records():
    cap = DeadLetterLimit(0.05, 100)
    for _ in range(1000):
        cap.add(96, letters(4))
    cap.add(0, letters(1))
    with pytest.raises(DataError):
        cap.add(0, letters(20))


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


P, Q = TopicPartition("t", 0), TopicPartition("t", 1)


def looks(watchdog, clock, *, after, polls=3):
    clock.now += after
    return [watchdog.is_due() for _ in range(polls)][-1]


def test_a_consumer_has_stalled_if_records_lay_there_since_the_last_look():
    clock = Clock()
    watchdog = StallDetector(60.0, clock)
    assert not looks(watchdog, clock, after=59)
    assert looks(watchdog, clock, after=2)
    assert watchdog.stalled({P: (5, 9), Q: (3, 3)}) == []
    assert not looks(watchdog, clock, after=1)
    assert looks(watchdog, clock, after=60)
    assert watchdog.stalled({P: (5, 9), Q: (3, 8)}) == [P]


def test_records_that_just_came_and_positions_that_move_are_no_stall():
    clock = Clock()
    watchdog = StallDetector(60.0, clock)
    assert looks(watchdog, clock, after=61)
    watchdog.stalled({P: (5, 5), Q: (1, 9)})
    assert looks(watchdog, clock, after=61)
    assert watchdog.stalled({P: (5, 9), Q: (2, 9)}) == []


def test_one_slow_round_without_an_empty_poll_is_no_stall():
    clock = Clock()
    watchdog = StallDetector(60.0, clock)
    clock.now += 1000
    assert not watchdog.is_due()
    watchdog.rest()
    assert not looks(watchdog, clock, after=59)


def test_a_clock_set_back_does_not_put_the_watchdog_to_sleep():
    clock = Clock()
    watchdog = StallDetector(60.0, clock)
    assert not looks(watchdog, clock, after=-10_000)
    assert looks(watchdog, clock, after=61)


def test_a_record_without_a_value_is_no_line_and_no_letter():
    counted = Counter()
    lines, letters = reader(counted).read([record("a"), record(None), record("b")], "t/2", 1.0)
    assert ([line.text for line in lines], letters, counted) == (["a", "b"], [], {"tombstone": 1})


@given(st.lists(st.binary(min_size=8, max_size=8).map(bytes.hex), max_size=400))
def test_ids_of_delivered_alerts_stand_in_metadata_that_a_broker_takes(ids):
    written = encode(Checkpoint(3, 5, 7.25, SurgeState(1e300, 1e9, 10**9, 10**12)), "model", ids)
    assert len(written.metadata) < 4096
    assert delivered(written, "model") == set(ids[:MOST_IDS])
    assert delivered(written, "another") == set()
    assert decode("t/0", written, "model").reached == 5


@pytest.mark.parametrize("metadata", ["", "{}", '{"model": "m", "delivered": 3}', "[]"])
def test_metadata_without_ids_names_none(metadata):
    assert delivered(CommittedOffset(3, metadata), "m") == set()
