"""Sinks become receivers with the grouping that the configuration gives them."""

import io

import pytest
from http_parts import alert

from logmlm.alerting.notification import build_single
from logmlm.alerting.receivers import build_receivers
from logmlm.config.alerting import DEFAULT_GROUP_BY
from logmlm.config.run import RunConfig
from logmlm.errors import ConfigError, StorageError
from logmlm.records import DeliveryResult


def made(*sinks, out=None, **alerting):
    config = RunConfig(model={"path": "m"}, source={"stdin": {}}, sinks=sinks, alerting=alerting)
    return build_receivers(config, out or io.StringIO(), lambda: 0.0)


def test_records_are_kept_of_each_alert_and_receivers_are_told_of_groups(tmp_path):
    hook = {"url": "http://127.0.0.1:9/"}
    stdout, file, webhook, alone, manager = made(
        {"stdout": {}},
        {"file": {"path": tmp_path / "a"}},
        {"webhook": hook},
        {"webhook": {**hook, "name": "alone", "grouped": False, "max_retries": 3}},
        {"alertmanager": {**hook, "resend_interval": "30s"}},
        group_wait="5s",
        group_interval=0,
        group_by="model",
    )
    assert stdout.grouping is file.grouping is alone.grouping is None
    assert (alone.name, alone.max_retries) == ("alone", 3)
    assert (webhook.grouping.by, webhook.grouping.group_wait) == (("model",), 5.0)
    assert (webhook.grouping.group_interval, webhook.grouping.resolved_for) == (0.0, 0.0)
    theirs = manager.grouping
    assert (theirs.by, theirs.group_wait, theirs.repeat_interval) == (("...",), 0.0, 30.0)
    assert theirs.resolved_for == 300.0
    for one in (stdout, file, webhook, alone, manager):
        one.close()


def test_alerts_go_where_their_sink_says(tmp_path):
    out = io.StringIO()
    for receiver in made({"stdout": {}}, {"file": {"path": tmp_path / "a"}}, out=out):
        assert receiver.send(build_single(alert())).outcome == "accepted"
    assert out.getvalue() == (tmp_path / "a").read_text()


class Closed(io.StringIO):
    def flush(self):
        raise BrokenPipeError(32, "Broken pipe")


def test_a_closed_standard_output_holds_up_no_other_and_ends_who_has_no_other(tmp_path):
    notice, gone = build_single(alert()), "can't write to standard output: Broken pipe"
    (only,) = made({"stdout": {}}, out=Closed())
    with pytest.raises(StorageError, match=gone):
        only.send(notice)
    out, file = made({"stdout": {}}, {"file": {"path": tmp_path / "a"}}, out=Closed())
    assert out.send(notice) == DeliveryResult("later", gone)
    assert file.send(notice).outcome == "accepted"


def test_the_timers_are_alertmanagers_unless_told():
    (stdout,) = made({"stdout": {"grouped": True}})
    grouping = stdout.grouping
    assert grouping.by == DEFAULT_GROUP_BY
    assert (grouping.group_wait, grouping.group_interval) == (30.0, 300.0)
    assert (grouping.repeat_interval, grouping.resolve_after) == (14400.0, 300.0)


def test_what_a_sink_lacks_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="can't read"):
        made({"webhook": {"url": "http://h", "hmac_secret_file": tmp_path / "none"}})


def test_kafka_is_a_receiver_whose_broker_is_not_called_before_the_first_alert(tmp_path):
    topic = {"bootstrap_servers": "127.0.0.1:1", "topic": "alerts"}
    (kafka,) = made({"kafka": topic})
    assert (kafka.name, kafka.grouping.by) == ("kafka", DEFAULT_GROUP_BY)
    kafka.close()
    (each,) = made({"kafka": {**topic, "name": "each", "grouped": False}})
    assert (each.name, each.grouping) == ("each", None)
    sasl = {"mechanism": "PLAIN", "username": "u", "password_file": tmp_path / "none"}
    with pytest.raises(ConfigError, match="can't read"):
        made({"kafka": {**topic, "sasl": sasl}})
