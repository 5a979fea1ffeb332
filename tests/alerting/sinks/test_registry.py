"""Each kind of sink that a configuration may name can be made, under its name."""

import io

import pytest

from logmlm.alerting.sinks.registry import SINKS
from logmlm.config.sinks import SinkConfig

HTTP = {"url": "http://127.0.0.1:1"}
SECTIONS = {
    "stdout": {},
    "file": {"path": "alerts.jsonl"},
    "webhook": HTTP,
    "alertmanager": HTTP,
    "kafka": {"bootstrap_servers": "127.0.0.1:1", "topic": "alerts"},
}


def test_the_registry_has_the_kinds_of_the_configuration():
    assert set(SINKS) == set(SinkConfig.model_fields) == set(SECTIONS)


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_kind_of_sink_is_made_of_its_section(kind):
    config = SinkConfig.model_validate({kind: {**SECTIONS[kind], "name": "mine"}})
    sink = SINKS[config.kind](config.section, lambda: 0.0, io.StringIO())
    assert sink.name == "mine"
    assert type(sink).__module__ == f"logmlm.alerting.sinks.{kind}"
    sink.close()
