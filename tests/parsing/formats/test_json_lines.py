"""JSON lines: which field is what, and objects that are out to do harm."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_parts import is_linear

from logmlm.config.training import CustomFormat, FormatConfig
from logmlm.errors import ConfigError, FormatError
from logmlm.parsing.formats import attribute, detect_format, get_format
from logmlm.records import Fields

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    (
        *("body", "message", "MESSAGE", "log", "time", "ts", "level", "PRIORITY"),
        *("severityNumber", "attributes", "resource", "stream", "host"),
    )
)


def parse(text: str, name: str = "json") -> Fields | None:
    return get_format(FormatConfig(name=name)).parse(text, 0.0)


def parsed(**record: object) -> Fields:
    fields = parse(json.dumps(record))
    assert fields is not None
    return fields


@pytest.mark.parametrize("key", ["body", "Body", "message", "MESSAGE", "msg", "log", "event"])
def test_the_message_has_many_names(key: str) -> None:
    assert parsed(**{key: " hello "}).message == "hello"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"level": "info"}',
        '{"message": 1.5e',
        '{"message": null}',
        '{"MESSAGE": [256]}',
        '{"level": "info", "msg": "", "time": 1710410400}',
        '{"message": [null, {}], "body": {}}',
        '{"n": ' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_object_with_a_message_does_not_match(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize("depth", [400, 100_000])
@pytest.mark.parametrize("opening", ['{"a":', "["])
def test_deep_nesting_raises_nothing(opening: str, depth: int) -> None:
    closing = "}" if opening != "[" else "]"
    text = '{"message": "m", "deep": ' + opening * depth + "1" + closing * depth + "}"
    fields = parse(text)
    assert fields is None or fields.message == "m"
    assert parse('{"body": ' + opening * depth) is None


def test_a_huge_object_is_read_whole() -> None:
    fields = parsed(**{f"k{number}": number for number in range(20_000)}, message="m")
    assert (fields.message, fields.attributes["k19999"]) == ("m", "19999")


@pytest.mark.parametrize("name", ["json", "docker"])
@settings(max_examples=40, deadline=None)
@given(record=st.dictionaries(KEYS, VALUES, max_size=5))
def test_no_object_makes_parse_raise(name: str, record: dict[str, object]) -> None:
    parse(json.dumps(record), name)


@pytest.mark.parametrize(
    ("record", "level"),
    [
        ({"level": "warn"}, "WARNING"),
        ({"log": {"level": "error"}}, "ERROR"),
        ({"log.level": "fatal"}, "FATAL"),
        ({"severityText": "Information"}, "INFO"),
        ({"severityText": "", "severityNumber": 21}, "FATAL"),
        ({"SeverityNumber": 5}, "DEBUG"),
        ({"PRIORITY": "4"}, "WARNING"),
        ({"level": 50}, "ERROR"),
        ({"level": True}, "TRUE"),
        ({}, ""),
    ],
)
def test_the_level_has_many_names(record: dict[str, object], level: str) -> None:
    assert parsed(message="m", **record).level == level


@pytest.mark.parametrize(
    ("record", "timestamp"),
    [
        ({"timeUnixNano": "0", "observedTimeUnixNano": "1710410400000000000"}, 1710410400.0),
        ({"ts": 1710410400.25}, 1710410400.25),
        ({"time": "2024-03-14T10:00:00Z"}, 1710410400.0),
        ({"@timestamp": "soon", "time": 1710410400}, 1710410400.0),
        ({"_SOURCE_REALTIME_TIMESTAMP": "1", "__REALTIME_TIMESTAMP": "2000000"}, 1.0),
        ({"time": 1e400}, None),
        ({}, None),
    ],
)
def test_the_time_has_many_names(record: dict[str, object], timestamp: float | None) -> None:
    assert parsed(message="m", **record).timestamp == timestamp


def test_only_the_field_that_is_the_message_is_left_out_of_the_attributes() -> None:
    fields = parsed(event="login", message=" \r\n  first\nsecond")
    assert (fields.message, fields.attributes) == ("first", {"event": "login"})


def test_a_structured_body_is_written_out_as_the_message() -> None:
    values = [{"key": "user", "value": {"stringValue": "ann"}}, {"key": "n", "value": 3}]
    assert parsed(body={"kind": "login", "who": values}).message == (
        "kind=login who.user=ann who.n=3"
    )


def test_resource_and_log_attributes_are_known_by_their_own_names() -> None:
    fields = parsed(
        body={"stringValue": "m"},
        resource={"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]},
        attributes={"http": {"request": {"method": "GET"}}, "service.name": "second"},
    )
    assert attribute(fields, "service") == "cart"
    assert attribute(fields, "method") == "GET"


def test_of_two_fields_of_one_meaning_the_first_one_stays() -> None:
    assert parsed(message="m", hostname="first", host="second").attributes == {"host.name": "first"}


def test_a_list_that_is_no_list_of_pairs_is_left_out() -> None:
    fields = parsed(message="m", tags=["a", {"key": 1, "value": 2}, {"key": "k"}], empty="")
    assert fields.attributes == {}


def test_docker_lines_need_their_three_fields() -> None:
    assert parse('{"log": "m\\n", "stream": "stdout"}', "docker") is None
    assert parse('{"log": 1, "stream": "stdout", "time": "x"}', "docker") is None
    fields = parse('{"log": " m\\nn", "stream": "stdout", "time": "x"}', "docker")
    assert fields == Fields(None, "", "m", {"log.iostream": "stdout"})


@pytest.mark.parametrize(("size", "partial"), [(16383, False), (16384, True)])
def test_docker_cuts_a_message_at_its_buffers_size(size: int, partial: bool) -> None:
    record = {"log": "x" * size, "stream": "stdout", "time": "2024-03-14T10:00:00Z"}
    fields = parse(json.dumps(record), "docker")
    assert fields is not None
    assert (attribute(fields, "logtag") == "P") is partial


NAMED = FormatConfig(
    name="json", message_field="event.text", time_field="event.at", level_field="event.grade"
)


def test_fields_that_the_user_names_go_before_the_usual_ones() -> None:
    record = {
        "msg": "usual",
        "time": "2024-03-14T10:00:00Z",
        "level": "info",
        "event": {"text": "own", "at": {"$date": "2024-03-14T10:00:05Z"}, "grade": "err"},
    }
    fields = get_format(NAMED).parse(json.dumps(record), 0.0)
    assert fields is not None
    assert (fields.timestamp, fields.level, fields.message) == (1710410405.0, "ERROR", "own")
    assert fields.attributes["msg"] == "usual"
    assert "event.text" not in fields.attributes


def test_a_line_without_the_named_fields_is_read_by_the_usual_ones() -> None:
    line = '{"msg": "usual", "time": "2024-03-14T10:00:00Z", "level": "info", "event": {"at": "x"}}'
    assert get_format(NAMED).parse(line, 0.0) == parse(line)
    assert get_format(NAMED).parse('{"level": "info"}', 0.0) is None


@pytest.mark.parametrize("name", ["cri", "docker"])
def test_named_fields_count_in_the_lines_of_containers_too(name: str) -> None:
    inner = json.dumps({"text": "own", "msg": "usual", "grade": "warn"})
    outer = {"log": inner + "\n", "stream": "stdout", "time": "2024-03-14T10:00:00Z"}
    line = json.dumps(outer) if name == "docker" else f"2024-03-14T10:00:00Z stdout F {inner}"
    config = FormatConfig(name=name, message_field="text", level_field="grade")
    fields = get_format(config).parse(line, 0.0)
    assert fields is not None
    assert (fields.level, fields.message, fields.timestamp) == ("WARNING", "own", 1710410400.0)


def test_with_named_fields_auto_takes_a_format_that_has_fields() -> None:
    own = CustomFormat(pattern="(?P<message>.*)")
    config = FormatConfig(message_field="text", custom={"own": own})
    assert detect_format(['{"text": "a"}'], config).format.name == "json"
    with pytest.raises(FormatError):
        detect_format(["2024-03-14T10:00:00Z INFO a"], config)


@pytest.mark.parametrize("name", ["syslog", "plain", "own"])
def test_fields_named_for_a_format_without_fields_are_refused(name: str) -> None:
    own = CustomFormat(pattern="(?P<message>.*)")
    config = FormatConfig(name=name, time_field="at", custom={"own": own})
    with pytest.raises(
        ConfigError, match=rf"which format '{name}' has not; take cri, docker, json"
    ):
        get_format(config)


HOSTILE = {
    "nested batches": lambda n: '{"records":[' * 200 + fields(n) + "]}" * 200,
    "many records": lambda n: '{"records":[' + ",".join(["{}"] * n) + "]," + fields(n)[1:],
    "many OTLP records": lambda n: (
        '{"resourceLogs":[{"resource":' + fields(n)
        + ',"scopeLogs":[{"logRecords":[' + ",".join(["{}"] * n) + "]}]}]}"
    ),
    "many holes": lambda n: json.dumps({"@mt": "{a}{b}{c:0}" * n, "a": "x" * n, "b": ["y"] * n}),
    "open holes": lambda n: json.dumps({"@mt": "{a" * n + "{" * n + "{a:" * n}),
    "holders": lambda n: '{"fields":{"record":{"payload":' + fields(n) + "}}}",
    "text in text": lambda n: json.dumps({"log": json.dumps({"log": json.dumps({"a": "x" * n})})}),
    "a long list": lambda n: json.dumps({"message": ["x"] * n, "time": [1] * n}),
    "deep objects": lambda n: '{"message":' + '{"a":' * 300 + fields(n) + "}" * 301,
    "no message": lambda n: f" {fields(n)}",
    "one long name": lambda n: json.dumps({"x" * n: {"y" * n: 1}}),
}  # fmt: skip


def fields(count: int) -> str:
    return json.dumps({f"k{number}": "v" for number in range(count)})


@pytest.mark.parametrize("name", ["json", "docker", "cri"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_an_object_that_is_out_to_do_harm_takes_linear_time_and_room(kind: str, name: str) -> None:
    make, longest = HOSTILE[kind], 0

    def work(text: str) -> None:
        nonlocal longest
        found = parse(text, name)
        longest = max(longest, len(found.message) if found else 0)

    def line(count: int) -> str:
        text = make(count)
        if name == "cri":
            return f"2024-03-14T10:00:00Z stdout F {text}"
        outer = {"log": text + "\n", "stream": "stdout", "time": "2024-03-14T10:00:00Z"}
        return json.dumps(outer) if name == "docker" else text

    assert is_linear(lambda unit: work(line(len(unit))), "x", long=8_000)
    assert longest <= 64 * 4_096 + 100 * 1024
