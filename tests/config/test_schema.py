import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from logmlm.config.schema import SCHEMAS, write_schemas

CONFIGS = Path(__file__).parents[2] / "configs"
FIRST_LINE = "# yaml-language-server: $schema="
EXAMPLES = sorted(
    path for path in CONFIGS.glob("*.yaml") if path.read_text("utf-8").startswith(FIRST_LINE)
)


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((CONFIGS / f"{name}.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def run_config(section: str) -> Any:
    return {"model": {"path": "m"}, "source": {"stdin": None}} | yaml.safe_load(section)


def test_the_files_are_what_the_sections_give(tmp_path: Path) -> None:
    write_schemas(tmp_path)
    for name in SCHEMAS:
        written = (CONFIGS / name).read_text("utf-8")
        assert written == (tmp_path / name).read_text("utf-8"), f"{name} is old: run make schemas"


def test_every_example_config_names_its_schema() -> None:
    every = {path.name for path in CONFIGS.glob("*.yaml")} - {"prometheus-rules.yaml"}
    assert {path.name for path in EXAMPLES} == every


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_config_is_valid(path: Path) -> None:
    text = path.read_text("utf-8")
    name = text.splitlines()[0].removeprefix(FIRST_LINE).removesuffix(".schema.json")
    validator(name).validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "section",
    [
        "alerting: {group_wait: 5m, group_interval: 300, repeat_interval: 1.5h, group_by: service}",
        "source: {stdin: {max_line_bytes: 64KiB}}",
        "source: {stdin: {max_line_bytes: 65536}}",
        "source: {file: {include: /var/log/app.log}}",
        "source: {journald: {max_priority: 4}}",
        "source: {syslog: {udp: 5514, tcp: '127.0.0.1:5514', unix_mode: '0660'}}",
        "source: {kafka: {bootstrap_servers: 'k:9092', topics: t, auto_offset_reset: latest}}",
        "sinks: [{stdout: }, {file: {path: a.json, max_retries: '${RETRIES}'}}]",
        "http: {listen: off}",
        "http: {listen: 'off'}",
        "http: {listen: '127.0.0.1:9464'}",
        "http: {listen: 9464}",
        "http: {listen: '${LISTEN}'}",
        "alerting: {group_wait: '${WAIT}'}",
        "log: {level: '${LEVEL}'}",
    ],
)
def test_values_are_valid_as_users_write_them(section: str) -> None:
    validator("run").validate(run_config(section))


@pytest.mark.parametrize(
    "section",
    [
        "alerts: {}",
        "alerting: {group_wiat: 5m}",
        "alerting: {group_wait: 5 minutes}",
        "alerting: {group_wait: -1}",
        "alerting: {resolve_after: 0}",
        "source: {}",
        "source: {stdin: {}, journald: {}}",
        "source: {stdin: {max_line_bytes: 64KB}}",
        "source: {file: {include: []}}",
        "source: {fiel: {include: [a]}}",
        "sinks: [{stdout: {}, file: {path: a}}]",
        "sinks: [{stdout: {formt: json}}]",
        "http: {listen: 99999}",
        "log: {level: loud}",
    ],
)
def test_a_misspelt_key_or_a_wrong_value_is_not_valid(section: str) -> None:
    assert not validator("run").is_valid(run_config(section))


@pytest.mark.parametrize(
    "config",
    [
        {"window": {"spam": "10s"}},
        {"windows": {}},
        {"window": {"size": 1}},
        {"window": {"host_skew": "often"}},
        {"format": {"custom": {"x": {"patern": "a"}}}},
    ],
)
def test_a_misspelt_key_of_training_is_not_valid(config: Any) -> None:
    assert not validator("train").is_valid(config)


@pytest.mark.parametrize("skew", ["auto", "5s", 5, 0])
def test_logs_and_out_may_be_left_to_the_command_line(skew: object) -> None:
    validator("train").validate({"window": {"host_skew": skew}})
