"""What would come back to logmlm is refused, with its place and a sentence."""

import pytest

from logmlm.config.loader import read_run_config
from logmlm.errors import ConfigError

FILES = """\
model: {path: m}
source: {file: {include: [logs/*.log, /var/**/*.txt], exclude: [logs/mine.*]}}
sinks:
- stdout:
- file:
    path: %s
"""
KAFKA = """\
model: {path: m}
source:
  kafka: {bootstrap_servers: ['a:1', 'b:1'], auto_offset_reset: latest, %s}
sinks:
- kafka:
    bootstrap_servers: %s
    topic: %s
"""


def read(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    return read_run_config(tmp_path / "c.yaml", {})


def refused(tmp_path, text):
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)
    return str(raised.value).removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    "path", ["logs/alerts.log", "logs/x/../alerts.log", "/var/a.txt", "/var/b/c/a.txt"]
)
def test_alerts_are_not_written_where_they_would_be_read(tmp_path, path):
    said = refused(tmp_path, FILES % path)
    assert said.startswith(f"c.yaml:6: 'sinks[1].file.path': {path} is followed by 'source.file'")


@pytest.mark.parametrize(
    "path", ["alerts.log", "logs/x/alerts.log", "logs/.a.log", "logs/mine.log", "/var/log/a.log"]
)
def test_they_may_be_written_where_they_would_not(tmp_path, path):
    assert read(tmp_path, FILES % path)


def test_two_sinks_do_not_write_into_one_file(tmp_path):
    said = refused(tmp_path, FILES % "a" + "- file: {name: b, path: ./a}\n")
    assert (
        said == "c.yaml:7: 'sinks[2].file.path': a is the file of another sink; give each its own"
    )


@pytest.mark.parametrize("read_", ["topics: [t, alerts]", "pattern: al.*"])
def test_alerts_are_not_sent_to_a_topic_that_is_read(tmp_path, read_):
    said = refused(tmp_path, KAFKA % (read_, "b:1", "alerts"))
    assert said.startswith("c.yaml:7: 'sinks[0].kafka.topic': 'alerts' is read by 'source.kafka'")


@pytest.mark.parametrize(
    "told",
    [
        ("topics: t", "a:1", "alerts"),
        ("topics: alerts", "c:1", "alerts"),
        ("pattern: al", "a:1", "alerts"),
        ("pattern: .*, dead_letter_topic: dead", "c:1", "alerts"),
    ],
)
def test_topics_that_are_not_read_are_good(tmp_path, told):
    assert read(tmp_path, KAFKA % told)


def test_dead_letters_are_not_read_again(tmp_path):
    told = "topics: [t, dead], dead_letter_topic: dead"
    said = refused(tmp_path, KAFKA % (told, "c:1", "alerts"))
    assert said == (
        "c.yaml:3: 'source.kafka.dead_letter_topic': 'dead' is one of the 'topics' that are read;"
        " name another"
    )
