"""What a configuration says of Kafka is checked before anything is reached."""

import re

import pytest
from pydantic import ValidationError

from logmlm.config.kafka import (
    KafkaConnection,
    KafkaSaslConfig,
    KafkaSinkConfig,
    KafkaSourceConfig,
    KafkaTlsConfig,
)
from logmlm.config.sinks import SinkConfig
from logmlm.config.sources import SourceConfig


def source(**told):
    least = {"bootstrap_servers": "kafka:9092", "auto_offset_reset": "earliest"}
    return KafkaSourceConfig(**(least | told))


def test_one_topic_may_stand_alone_and_the_rest_has_defaults():
    config = source(topics="app")
    assert config.topics == ("app",)
    assert config.bootstrap_servers == ("kafka:9092",)
    assert (config.group, config.value, config.max_dead_letter_share) == (None, "text", 0.05)
    assert config.dead_letter_topic_of("app") == "app.logmlm.dlq"
    assert source(topics="a", dead_letter_topic="dead").dead_letter_topic_of("a") == "dead"


def test_kafka_is_a_kind_of_source_and_of_sink():
    told = {"bootstrap_servers": ["a:1", "[::1]:2"], "topics": "t", "auto_offset_reset": "latest"}
    assert SourceConfig(kafka=told).kafka.auto_offset_reset == "latest"
    assert SinkConfig(kafka={"bootstrap_servers": "a:1", "topic": "t"}).name == "kafka"


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({}, "either 'topics' or 'pattern'"),
        ({"topics": "a", "pattern": "b"}, "either 'topics' or 'pattern'"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": "(?i)logs"}, "can't stand in a longer one"),
        ({"topics": "no topic!"}, "match pattern"),
        ({"topics": "t", "bootstrap_servers": "kafka"}, "should be host:port"),
        ({"topics": "t", "auto_offset_reset": "none"}, "'earliest' or 'latest'"),
        ({"topics": "t", "message_field": "log"}, "'value: json' only"),
        ({"topics": "t", "attributes": {"host": "field:h"}}, "'value: json' only"),
        ({"topics": "t", "attributes": {"host": "somewhere"}}, "header:NAME or field:NAME"),
        ({"topics": "t", "group_instance_id": "a b"}, "match pattern"),
    ],
)
def test_what_can_not_work_is_refused_in_words(told, complaint):
    with pytest.raises(ValidationError, match=complaint):
        source(**told)


def test_where_to_begin_has_to_be_chosen():
    with pytest.raises(ValidationError, match="auto_offset_reset"):
        KafkaSourceConfig(bootstrap_servers="a:1", topics="t")


def test_a_pattern_matches_whole_names_and_never_our_own_dead_letters():
    config = source(pattern="logs-.*|app", dead_letter_topic="logs-dead")
    names = ["logs-a", "app", "apple", "my-app", "logs-a.logmlm.dlq", "logs-dead", "logs-deadly"]
    found = [name for name in names if re.compile(config.subscription).match(name)]
    assert found == ["logs-a", "app", "logs-deadly"]
    assert source(topics="t").subscription is None


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        ({"mechanism": "PLAIN"}, "needs 'username' and 'password_file'"),
        ({"mechanism": "PLAIN", "username": "u"}, "needs 'username' and 'password_file'"),
        (
            {"mechanism": "PLAIN", "username": "u", "password_file": "p", "token_file": "t"},
            "PLAIN needs",
        ),
        ({"mechanism": "OAUTHBEARER"}, "either 'token_file' or 'token_endpoint'"),
        ({"mechanism": "OAUTHBEARER", "username": "u", "token_file": "t"}, "OAUTHBEARER needs"),
        ({"mechanism": "GSSAPI"}, "Input should be"),
    ],
)
def test_a_mechanism_takes_the_credentials_that_it_needs(told, complaint):
    with pytest.raises(ValidationError, match=complaint):
        KafkaSaslConfig(**told)


def test_right_credentials_are_taken_and_hold_no_secret():
    KafkaSaslConfig(mechanism="SCRAM-SHA-512", username="u", password_file="p")  # noqa: S106
    endpoint = {"url": "https://sso/token", "client_id": "c", "client_secret_file": "s"}
    KafkaSaslConfig(mechanism="OAUTHBEARER", token_endpoint=endpoint)


def test_a_key_needs_its_certificate():
    with pytest.raises(ValidationError, match="give 'cert_file' too"):
        KafkaTlsConfig(key_file="k")
    assert KafkaConnection(bootstrap_servers="a:1", tls={}).tls == KafkaTlsConfig()


def test_a_sinks_topic_has_a_name_that_kafka_takes():
    with pytest.raises(ValidationError, match="match pattern"):
        KafkaSinkConfig(bootstrap_servers="a:1", topic="no topic!")
