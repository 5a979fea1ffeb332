"""Alerts pushed to a real Prometheus Alertmanager, and to a server that shows what came."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import closing
from dataclasses import replace

import pytest
from http_parts import alert, served

from logmlm.alerting.notification import build_single
from logmlm.alerting.sinks.alertmanager import AlertmanagerSink
from logmlm.alerting.sinks.webhook import WebhookSink
from logmlm.config.sinks import AlertmanagerConfig, WebhookConfig
from logmlm.records import DeliveryResult, Notification

NOW = 1_700_000_000.0
PROGRAM = "prometheus-alertmanager"


def test_an_alert_that_fires_ends_unless_it_is_sent_again():
    with served() as (url, calls):
        config = AlertmanagerConfig(url=url + "/", resend_interval="30s")
        sink = AlertmanagerSink(config, clock=lambda: NOW)
        made = alert()
        assert sink.send(build_single(made)) == DeliveryResult("accepted")
        assert sink.send(Notification("g", "resolved", (replace(made, ends_at=NOW),)))
        ahead = replace(made, starts_at=NOW + 99999)
        assert sink.send(build_single(ahead))
    assert calls[0].path == "/hook/api/v2/alerts"
    expected = {
        "labels": made.labels,
        "annotations": made.annotations,
        "startsAt": "1970-01-01T00:16:40Z",
        "endsAt": "2023-11-14T22:15:50Z",
    }
    assert calls[0].json == [expected]
    assert calls[1].json == [{**expected, "endsAt": "2023-11-14T22:13:20Z"}]
    assert calls[2].json[0]["startsAt"] == calls[2].json[0]["endsAt"]


class Alertmanager:
    """A real one, that sends what it gets to a webhook."""

    def __init__(self, directory, webhook):
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        config = directory / "alertmanager.yml"
        config.write_text(
            "route: {receiver: hook, group_wait: 0s, group_interval: 1s}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{webhook}'}}]}}]\n"
        )
        words = (f"--config.file={config}", f"--storage.path={directory}/am")
        words += (f"--web.listen-address={self.url[7:]}", "--cluster.listen-address=")
        self.process = subprocess.Popen([PROGRAM, *words], stderr=subprocess.DEVNULL)

    def alerts(self):
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as response:  # noqa: S310
            return json.load(response)

    def wait(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                return self.alerts()
            except OSError:
                time.sleep(0.05)
        raise AssertionError("Alertmanager does not come")


@pytest.mark.skipif(
    not shutil.which(PROGRAM), reason=f"needs {PROGRAM} (Debian: prometheus-alertmanager)"
)
def test_a_real_alertmanager_takes_an_alert_and_its_end_and_knows_it_by_our_fingerprint(tmp_path):
    with served() as (hook, calls):
        manager = Alertmanager(tmp_path, hook)
        try:
            manager.wait()
            sink = AlertmanagerSink(AlertmanagerConfig(url=manager.url), clock=time.time)
            made = replace(alert("ODD ${x} \x00 ö"), starts_at=time.time() - 5)
            assert sink.send(build_single(made)) == DeliveryResult("accepted")
            (known,) = manager.alerts()
            assert known["fingerprint"] == made.fingerprint
            assert known["labels"] == made.labels
            ended = replace(made, ends_at=time.time())
            assert sink.send(Notification("g", "resolved", (ended,))) == DeliveryResult("accepted")
            deadline = time.monotonic() + 20
            while not calls and time.monotonic() < deadline:
                time.sleep(0.05)
            theirs = calls[0].json
        finally:
            manager.process.terminate()
            manager.process.wait()
        ours = WebhookSink(WebhookConfig(url=hook), clock=time.time)
        assert ours.send(build_single(made)) == DeliveryResult("accepted")
    assert theirs.keys() == calls[-1].json.keys()
    assert theirs["alerts"][0].keys() == calls[-1].json["alerts"][0].keys()
    assert theirs["version"] == calls[-1].json["version"]
