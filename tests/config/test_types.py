"""Sections refuse what can't work, and durations and sizes are read as people write them."""

import pytest
from pydantic import TypeAdapter, ValidationError

from logmlm.config.sources import FileSourceConfig
from logmlm.config.training import CustomFormat, ThresholdConfig, TrainingConfig, WindowConfig
from logmlm.config.types import Duration, Size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("250ms", 0.25), ("1.5h", 5400), ("1 d", 86400), ("5m", 300), ("7", 7), (2, 2)],
)
def test_a_duration_is_read_in_seconds(text, seconds):
    assert TypeAdapter(Duration).validate_python(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("512B", 512), ("64KiB", 65536), ("10 MiB", 10485760), ("3", 3), (4, 4)]
)
def test_a_size_is_read_in_bytes(text, size):
    assert TypeAdapter(Size).validate_python(text) == size


@pytest.mark.parametrize("text", ["", "s", "-1s", "0s", "1w", "1:30", "x"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


@pytest.mark.parametrize("text", ["1kb", "1.5MiB", "0", "-4"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Size).validate_python(text)


def test_a_regular_expression_is_checked_when_it_is_read():
    assert CustomFormat(pattern="(?P<message>.*)").continuation == "join"
    with pytest.raises(ValidationError, match="no regular expression"):
        CustomFormat(pattern="(")


def test_a_window_key_is_a_name_or_a_regular_expression():
    assert WindowConfig(kind="session", key="request_id").key == "request_id"
    assert WindowConfig(key=r"(blk_-?\d+)").key == r"(blk_-?\d+)"
    with pytest.raises(ValidationError, match="no regular expression"):
        WindowConfig(key="(")
    with pytest.raises(ValidationError, match="needs a 'key'"):
        WindowConfig(kind="session")


def test_only_one_promise_about_false_alarms_can_be_given():
    assert ThresholdConfig(false_alarm_rate=0.01).alerts_per_day is None
    with pytest.raises(ValidationError, match="not both"):
        ThresholdConfig(false_alarm_rate=0.01, alerts_per_day=1)


def test_one_word_stands_for_a_list_of_one():
    assert TrainingConfig(logs="a.log", out="m").logs == ("a.log",)
    assert FileSourceConfig(include="a.log").include == ("a.log",)


@pytest.mark.parametrize("empty", [(), "", [""]])
def test_an_empty_list_of_logs_is_refused(empty):
    with pytest.raises(ValidationError):
        TrainingConfig(logs=empty, out="m")


def test_sections_can_not_be_changed():
    config = TrainingConfig(logs="a", out="m")
    with pytest.raises(ValidationError, match="frozen"):
        config.name = "x"
