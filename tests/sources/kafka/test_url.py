"""Addresses of Kafka: what they say, and what is said of those that are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.errors import UsageError
from logmlm.sources.kafka.url import KafkaUrl

NOW = 1_700_000_000.0


def parsed(rest):
    return KafkaUrl.parse(f"kafka://{rest}", NOW)


def test_servers_topic_and_times_are_read():
    found = parsed("a:1,b:2/app-logs?since=2023-11-14T00:00:00Z&until=-1h")
    assert found == KafkaUrl(("a:1", "b:2"), "app-logs", 1_699_920_000.0, NOW - 3600)
    assert found.section()["bootstrap_servers"] == ("a:1", "b:2")


def test_everything_but_the_topic_may_be_left_out():
    found = parsed("/t")
    assert found == KafkaUrl((), "t", None, None)
    assert "bootstrap_servers" not in found.section()


def test_an_offset_may_stand_as_it_is_or_quoted():
    plain = parsed("a:1/t?since=2023-11-14T01:00:00+01:00").since
    quoted = parsed("a:1/t?since=2023-11-14T01%3A00%3A00%2B01%3A00").since
    assert plain == quoted == 1_699_920_000.0


def test_nothing_is_older_than_1970():
    assert parsed("a:1/t?since=-100000d").since == 0.0


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("a:1", "should be kafka://HOST:PORT/TOPIC"),
        ("a:1/", "should be kafka://HOST:PORT/TOPIC"),
        ("a:1/t/0", "should be kafka://HOST:PORT/TOPIC"),
        ("a:1/t?from=-1h", "'from' of a Kafka address: give 'since' and 'until'"),
        ("a:1/t?since=-1h&since=-2h", "'since' of a Kafka address: .* each once"),
        ("a:1/t?since=yesterday", "'yesterday' is no time; write it like 2026-"),
        ("a:1/t?since=2023-11-14T00:00:00", "is no time"),
        ("a:1/t?since=", "'' is no time"),
        ("a:1/t?since=-1h&until=-2h", "'since' should lie before 'until'"),
        ("a:1/t?since=-1h&until=-1h", "'since' should lie before 'until'"),
    ],
)
def test_what_is_wrong_is_said(rest, said):
    with pytest.raises(UsageError, match=said):
        parsed(rest)


def test_a_password_is_refused_and_not_shown():
    with pytest.raises(UsageError, match="put 'sasl' into --kafka-config") as caught:
        parsed("alice:s3cret@a:1/t")
    assert "s3cret" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_refused(text):
    try:
        parsed(text)
    except UsageError:
        return
