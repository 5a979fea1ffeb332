"""A template's texts are filled after it was parsed: no log line can break or widen the JSON."""

import json
from pathlib import Path

import pytest
from http_parts import alert, served
from hypothesis import given
from hypothesis import strategies as st

from logmlm.alerting.notification import build_single
from logmlm.alerting.sinks.template import BodyTemplate
from logmlm.alerting.sinks.webhook import WebhookSink
from logmlm.config.sinks import WebhookConfig
from logmlm.errors import ConfigError
from logmlm.records import Notification

CONFIGS = Path(__file__).parents[3] / "configs"


def filled(tmp_path, document, notice=None, **secrets):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(document))
    return json.loads(BodyTemplate(path, secrets).render(notice or build_single(alert()), "r"))


def test_placeholders_are_filled_wherever_a_text_stands(tmp_path):
    document = {"a": ["${status} ${severity}", 5, None], "b": {"c": "${labels.model}|${labels.x}"}}
    expected = {"a": ["firing warning", 5, None], "b": {"c": "m|"}}
    assert filled(tmp_path, document) == expected


def test_values_are_cut_and_chosen(tmp_path):
    assert filled(tmp_path, "${summary|6}!") == "1 of 2!"
    choice = "${status:firing=trigger,resolved=resolve}"
    assert filled(tmp_path, choice) == "trigger"
    assert filled(tmp_path, "${severity:critical=error}") == "warning"
    assert filled(tmp_path, "${severity|3:warning=error}") == "err"


def test_every_name_has_a_value(tmp_path):
    names = [
        "receiver",
        "group_key",
        "dedup_key",
        "count",
        "description",
        "starts_at",
        "ends_at",
        "labels",
    ]
    found = filled(tmp_path, {name: f"${{{name}}}" for name in names})
    assert found.pop("dedup_key").isalnum()
    assert found == {
        "receiver": "r",
        "group_key": '{}:{alertname="LogAnomaly", model="m", severity="warning", source="file"}',
        "count": "1",
        "description": "long",
        "starts_at": "1970-01-01T00:16:40Z",
        "ends_at": "",
        "labels": "alertname=LogAnomaly  severity=warning  source=file  model=m",
    }


def test_the_worst_alert_speaks_for_all(tmp_path):
    alerts = (alert(value=1.0), alert("ODD fatal", level="FATAL"), alert("ODD b", value=9.0))
    notice = Notification("g", "firing", alerts)
    assert filled(tmp_path, "${severity} ${annotations.lines} ${count}", notice) == (
        "critical > ODD fatal 3"
    )


@given(st.text())
def test_whatever_a_line_holds_the_document_keeps_its_form(tmp_path_factory, text):
    tmp_path = tmp_path_factory.getbasetemp()
    found = filled(
        tmp_path, {"a": "<${annotations.lines}>", "b": 1}, build_single(alert("ODD " + text))
    )
    assert list(found) == ["a", "b"]
    assert found["a"].startswith("<> ODD")


def test_a_log_line_that_looks_like_a_placeholder_is_not_filled(tmp_path):
    notice = build_single(alert("ODD ${secret.key}"))
    assert "${secret.key}" in filled(tmp_path, "${summary}", notice, key="hunter2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ('{"a": "${nothing}"}', r"\$\{nothing\} is no placeholder"),
        ('["${labels}", "${labels."]', r"\$\{labels\. is no placeholder"),
        ('"${secret.x}"', "is no placeholder"),
        ('"${summary|x}"', "is no placeholder"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_a_template_that_can_not_work_is_a_config_error(tmp_path, text, message):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        BodyTemplate(path, {})


def test_a_template_that_is_not_there_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="can't read"):
        BodyTemplate(tmp_path / "none", {})


def test_pagerduty_gets_an_event_of_its_version_2(tmp_path):
    key = tmp_path / "key"
    key.write_text("R0UT1NG\n")
    with served() as (url, calls):
        config = WebhookConfig(
            url=url, template_file=CONFIGS / "pagerduty.json", template_secrets={"routing_key": key}
        )
        assert (
            WebhookSink(config, clock=lambda: 0.0).send(build_single(alert())).outcome == "accepted"
        )
    event = calls[0].json
    assert (event["routing_key"], event["event_action"]) == ("R0UT1NG", "trigger")
    assert event["payload"]["summary"] == "1 of 2 log lines are unusual: ODD"
    assert event["payload"]["severity"] in {"critical", "error", "warning", "info"}
    assert len(event["dedup_key"]) == 32


def test_slack_gets_plain_text_in_which_a_log_line_can_call_nobody():
    notice = build_single(alert("ODD <!channel>"))
    message = json.loads(BodyTemplate(CONFIGS / "slack.json", {}).render(notice, "slack"))
    assert "<!channel>" not in message["text"]
    blocks = message["blocks"]
    assert blocks[1]["text"] == {
        "type": "plain_text",
        "text": "1 of 1 log lines are unusual: ODD <!channel>",
    }
    texts = [part for block in blocks for part in (block.get("elements") or [block["text"]])]
    assert {part["type"] for part in texts} == {"plain_text"}
