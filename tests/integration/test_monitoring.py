"""The shipped dashboard and rules ask for metrics that there are, in words Prometheus takes."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from metrics_parts import series, worked

from logmlm.daemon.metrics import DaemonMetrics

CONFIGS = Path(__file__).parents[2] / "configs"
RULES = CONFIGS / "prometheus-rules.yaml"
DASHBOARD = CONFIGS / "grafana-dashboard.json"
needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool (apt install prometheus)"
)


def rules():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads(DASHBOARD.read_text())


def queries():
    """All that the dashboard asks, with its variables filled in."""
    return [
        target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    ]


def recorded():
    return {rule["record"] for rule in rules() if "record" in rule}


@pytest.fixture
def known():
    """Names of all series, with the names of their labels."""
    found = {}
    for name, *labels in series(worked(DaemonMetrics("1"))):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


@pytest.mark.parametrize("expression", [rule["expr"] for rule in rules()] + queries())
def test_every_metric_that_is_asked_for_is_there_with_its_labels(expression, known):
    for name in recorded():
        expression = expression.replace(name, "recorded")
    asked = set(re.findall(r"\b(?:logmlm|process)_[a-z_]+", expression))
    assert asked <= set(known)
    assert asked or "recorded" in expression or "up{" in expression
    for name, labels in re.findall(r"\b((?:logmlm|process)_[a-z_]+)\{([^}]*)\}", expression):
        used = set(re.findall(r"(\w+)\s*[=!]", labels))
        assert used <= known[name] | {"instance", "job"}


def test_what_is_recorded_is_named_by_level_metric_and_operation():
    for name in recorded():
        assert re.fullmatch(r"instance:[a-z_]+:[a-z_]+\d+m", name)


def test_every_alert_says_what_is_wrong_and_how_bad_it_is():
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) > 5
    for alert in alerts:
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert set(alert["annotations"]) == {"summary", "description"}


def test_the_dashboard_shows_every_metric_but_two(known):
    shown = " ".join(queries())
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in known if "logmlm" in name}
    assert {name for name in ours if name not in shown} == {
        "logmlm_config_last_reload_success_timestamp_seconds",
        "logmlm_windows_scored_total",  # the histogram of their values counts them too
    }


def test_panels_lie_beside_each_other_and_have_a_number_each():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken
        taken |= cells


@needs_promtool
def test_promtool_takes_the_rules_and_all_that_the_dashboard_asks(tmp_path):
    asked = [{"record": f"query:{i}", "expr": query} for i, query in enumerate(queries())]
    from_dashboard = tmp_path / "dashboard.yaml"
    from_dashboard.write_text(yaml.safe_dump({"groups": [{"name": "d", "rules": asked}]}))
    for path in (RULES, from_dashboard):
        told = subprocess.run(
            ["promtool", "check", "rules", path], capture_output=True, text=True, check=False
        )
        assert told.returncode == 0, told.stderr + told.stdout


SCENARIO = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: logmlm_notifications_total{{receiver="a",instance="i"}}
        values: 0+10x60
      - series: logmlm_notifications_failed_total{{receiver="a",reason="timeout",instance="i"}}
        values: 0+10x60
      - series: logmlm_notifications_total{{receiver="b",instance="i"}}
        values: 0+10x60
      - series: logmlm_notifications_failed_total{{receiver="b",reason="timeout",instance="i"}}
        values: 0+1x60
      - series: logmlm_source_lag{{source="file",instance="i"}}
        values: 0+1000x90
      - series: logmlm_source_lag{{source="kafka",instance="i"}}
        values: 5000-10x90
      - series: logmlm_alerts_waiting{{receiver="a",instance="i"}}
        values: 3x180
      - series: logmlm_alerts_waiting{{receiver="b",instance="i"}}
        values: 3x180
      - series: logmlm_dead_letters{{receiver="old",instance="i"}}
        values: 7x40 9x200
      - series: logmlm_dead_letters{{receiver="none",instance="i"}}
        values: 0x240
      - series: logmlm_config_last_reload_successful{{instance="i"}}
        values: 1 1 0x90
      - series: logmlm_alerts_dropped_total{{receiver="full",instance="i"}}
        values: 0x10 5x200
      - series: logmlm_alerts_dropped_total{{receiver="none",instance="i"}}
        values: 0x200
      - series: logmlm_lines_clock_skew_total{{instance="i"}}
        values: 0x20 1x160
      - series: logmlm_lines_clock_skew_total{{instance="steady"}}
        values: 5x180
    promql_expr_test:
      - expr: count by (instance) (ALERTS{{alertname="LogmlmClockSkew",alertstate="firing"}})
        eval_time: 10m
        exp_samples: []
      - expr: count by (instance) (ALERTS{{alertname="LogmlmClockSkew",alertstate="firing"}})
        eval_time: 30m
        exp_samples: [{{labels: '{{instance="i"}}', value: 1}}]
      - expr: count by (instance) (ALERTS{{alertname="LogmlmClockSkew",alertstate="firing"}})
        eval_time: 120m
        exp_samples: []
      - expr: count by (receiver) (ALERTS{{alertname=~".*Fail",alertstate="firing"}})
        eval_time: 50m
        exp_samples: [{{labels: '{{receiver="a"}}', value: 1}}]
      - expr: count by (source) (ALERTS{{alertname="LogmlmFallsBehind",alertstate="firing"}})
        eval_time: 60m
        exp_samples: [{{labels: '{{source="file"}}', value: 1}}]
      - expr: count by (receiver) (ALERTS{{alertname="LogmlmAlertsWait",alertstate="firing"}})
        eval_time: 50m
        exp_samples: [{{labels: '{{receiver="a"}}', value: 1}}]
      - expr: count by (receiver) (ALERTS{{alertname="LogmlmDeadLetters",alertstate="firing"}})
        eval_time: 90m
        exp_samples: [{{labels: '{{receiver="old"}}', value: 1}}]
      - expr: count by (receiver) (ALERTS{{alertname="LogmlmDeadLetters",alertstate="firing"}})
        eval_time: 110m
        exp_samples: []
      - expr: count by (receiver) (ALERTS{{alertname="LogmlmAlertsDropped",alertstate="firing"}})
        eval_time: 15m
        exp_samples: [{{labels: '{{receiver="full"}}', value: 1}}]
      - expr: count by (receiver) (ALERTS{{alertname="LogmlmAlertsDropped",alertstate="firing"}})
        eval_time: 100m
        exp_samples: []
      - expr: count(ALERTS{{alertname="LogmlmReloadRefused",alertstate="firing"}})
        eval_time: 1m
        exp_samples: []
      - expr: count(ALERTS{{alertname="LogmlmReloadRefused",alertstate="firing"}})
        eval_time: 3m
        exp_samples: [{{labels: '{{}}', value: 1}}]
"""


@needs_promtool
def test_the_rules_fire_where_they_should_and_nowhere_else(tmp_path):
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO.format(rules=RULES))
    told = subprocess.run(
        ["promtool", "test", "rules", scenario], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr + told.stdout
