"""Each key of `source` opens its kind, and `check_config` says beforehand what would not work."""

import json
import re
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
from journal_parts import Journal, needs_journal
from pydantic import ValidationError

from logmlm.cli.preflight import check_config
from logmlm.config.loader import read_run_config, read_training_config
from logmlm.config.sources import SourceConfig
from logmlm.config.types import split_host_port
from logmlm.errors import ConfigError
from logmlm.sources.registry import (
    SOURCE_FACTORIES,
    ModelInfo,
    SourceContext,
    create_source,
    own_systemd_units,
)

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def around(tmp_path):
    return SourceContext(tmp_path, lambda: 1000.0, lambda _: None, 0, ModelInfo("m", "d"))


@pytest.fixture
def check(tmp_path):
    def check(config):
        path = tmp_path / "c.yaml"
        path.write_text(f"model: {{path: m}}\nsource: {json.dumps(config, default=str)}\n")
        environment = {"HOME": str(tmp_path)}
        return check_config(path, environment, lambda _: SimpleNamespace(name="m"))[2:-1]

    return check


@pytest.mark.parametrize(
    "config", [{"file": {"include": "none"}}, {"syslog": {"udp": 0}}, {"stdin": None}]
)
def test_each_key_opens_its_kind(around, config):
    source = create_source(SourceConfig.model_validate(config), around)
    assert source.name == next(iter(config))
    assert source.discarded.total() == 0
    assert source.lag() == {}
    source.close()


def test_every_kind_that_can_be_asked_for_can_be_opened():
    assert set(SOURCE_FACTORIES) >= {"file", "journald", "syslog", "stdin"}
    assert set(SOURCE_FACTORIES) == set(SourceConfig.model_fields)


@needs_journal
def test_the_journal_is_opened_and_looked_at(around, tmp_path, check):
    journal = Journal(tmp_path / "journal")
    journal.count(1)
    config = {"journald": {"directory": journal.directory}}
    assert check(config) == ["the journal can be read"]
    source = create_source(SourceConfig.model_validate(config), around)
    assert source.name == "journald"
    assert (tmp_path / "journal.json").exists()
    source.close()


@needs_journal
def test_a_journal_that_is_not_there_is_told(tmp_path, check):
    with pytest.raises(ConfigError, match=r"c.yaml: 'source.journald': .*No such file"):
        check({"journald": {"directory": tmp_path / "none"}})


def test_an_address_that_can_not_be_had_is_told(tmp_path, check):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=r"'source.syslog': .*Address already in use"):
            check({"syslog": {"udp": port}})
    path = tmp_path / "log"
    assert check({"syslog": {"udp": port, "unix": path}}) == []
    assert not path.exists()


def test_our_units_are_those_of_our_control_group():
    assert own_systemd_units("0::/system.slice/system-logmlm.slice/logmlm@a.service\n") == [
        "logmlm@a.service"
    ]
    old = "9:name=systemd:/system.slice/l.service\n4:memory:/x/other.service\n1:cpu:/\n"
    assert own_systemd_units(old) == ["l.service"]
    assert own_systemd_units("0::/user.slice/user-0.slice/session-1.scope\n") == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"syslog": {}}, "give one or more of 'udp', 'tcp', 'unix' and 'unix_stream'"),
        ({"syslog": {"udp": "host:514"}}, "'host:514' is no address"),
        ({"syslog": {"udp": 70000}}, "'70000' is no address"),
        ({"syslog": {"udp": 1, "unix_mode": "abc"}}, "unix_mode"),
        ({"journald": {"directory": "a", "files": ["b"]}}, "'directory' or 'files', not both"),
        ({"journald": {"max_priority": "loud"}}, "should be 'emerg'"),
        ({"journald": {"max_priority": 8}}, "should be 'emerg'"),
    ],
)
def test_mistakes_in_the_config_are_named(config, message):
    with pytest.raises(ValidationError, match=message):
        SourceConfig.model_validate(config)


def test_a_port_alone_is_one_of_this_machine():
    assert split_host_port("514") == ("127.0.0.1", 514)
    assert split_host_port("192.0.2.1:514") == ("192.0.2.1", 514)
    assert split_host_port("[::1]:514") == ("::1", 514)
    config = SourceConfig.model_validate({"journald": {"max_priority": 3}})
    assert config.journald.max_priority == "err"


def uncommented(block):
    return re.sub("^  # ", "  ", block, flags=re.M)


@pytest.mark.parametrize("kind", ["journald", "syslog", "stdin"])
def test_the_commented_sources_of_the_example_are_right_and_show_every_key(tmp_path, kind):
    text = (CONFIGS / "run.yaml").read_text()
    text, rest = text[: text.index("  file:")], text[text.index(f"  # {kind}:") :]
    block = uncommented(re.match(r"  # \w+:.*\n(  #   .*\n)*", rest)[0])
    path = tmp_path / "run.yaml"
    path.write_text(text + re.sub(r" +files: .*\n", "", block))
    source = getattr(read_run_config(path, {}).source, kind)
    assert set(type(source).model_fields) == set(re.findall(r"^ {4}(\w+):", block, re.M))


def test_the_commented_multiline_of_the_example_is_right_and_shows_every_key(tmp_path):
    text = (CONFIGS / "train.yaml").read_text()
    block = re.search(r"  # multiline:.*\n(  #   \w.*\n)*", text)[0]
    path = tmp_path / "train.yaml"
    path.write_text(text.replace(block, uncommented(block)))
    multiline = read_training_config(path, {}).format.multiline
    assert set(type(multiline).model_fields) == set(re.findall(r"^  #   (\w+):", block, re.M))
