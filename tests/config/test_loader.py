"""Config files are read with their lines, and every mistake is named with file, line and key."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logmlm.config.alerting import AlertingConfig
from logmlm.config.kafka import KafkaSourceConfig
from logmlm.config.loader import read_config, read_run_config, read_training_config
from logmlm.config.run import RunConfig
from logmlm.config.training import TrainingConfig
from logmlm.errors import ConfigError

RUN = """\
model:
  path: models/m
source:
  file:
    include: [a.log]
"""
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "c.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path, read=read_run_config, **environment):
    with pytest.raises(ConfigError) as caught:
        read(path, environment)
    assert caught.value.exit_code == 78
    return str(caught.value)


def test_the_smallest_run_config_gets_the_defaults(write):
    config = read_run_config(write(RUN))
    assert config.source.file.include == ("a.log",)
    assert config.source.file.start_at == "end"
    assert config.source.stdin is None
    assert config.model.device == "auto"
    assert [sink.name for sink in config.sinks] == ["stdout"]
    assert config.sinks[0].stdout.format == "json"
    assert config.state_dir is None


def test_the_commented_examples_are_right_and_show_the_true_defaults():
    training = read_training_config(CONFIGS / "train.yaml", {})
    assert training == TrainingConfig(
        logs=("/var/log/myapp/*.log",), out=Path("models/myapp"), threshold={"alerts_per_day": 1}
    )
    run = read_run_config(CONFIGS / "run.yaml", {})
    assert run == RunConfig(
        model={"path": "models/myapp"},
        source={"file": {"include": "/var/log/myapp/*.log*"}},
        labels={"service": "myapp"},
    )


def test_a_wrong_entry_is_one_mistake_and_not_a_list_that_is_too_short_as_well(write):
    with pytest.raises(ConfigError) as raised:
        read_run_config(write(RUN + "sinks:\n- webhok: {url: x}\n"))
    (line,) = str(raised.value).splitlines()
    assert "unknown key 'webhok' in 'sinks[0]'; did you mean 'webhook'?" in line


def test_the_commented_out_source_of_kafka_is_right_and_shows_the_true_defaults(write):
    text = (CONFIGS / "run.yaml").read_text()
    lines = text[text.index("  # kafka:") : text.index("\nsinks:")].splitlines()
    block = "\n".join(line.replace("  # ", "  ", 1) for line in lines)
    kafka = read_run_config(write(f"model: {{path: m}}\nsource:\n{block}\n")).source.kafka
    assert kafka.sasl.mechanism == "SCRAM-SHA-512"
    assert kafka.attributes == {"host": "key", "service": "header:app"}
    least = {"bootstrap_servers": "a:1", "topics": "t", "auto_offset_reset": "latest"}
    defaults = KafkaSourceConfig(**least)
    for name in ("session_timeout", "metadata_max_age", "value", "max_line_bytes", "stall_timeout"):
        assert getattr(kafka, name) == getattr(defaults, name)
    for name in ("max_record_bytes", "max_dead_letter_share", "dead_letter_minimum"):
        assert getattr(kafka, name) == getattr(defaults, name)


def test_commented_out_lines_of_the_examples_are_right_too(write):
    text = (CONFIGS / "run.yaml").read_text()
    source, mark, sinks = text.partition("\nsinks:")
    sinks = sinks.replace("  # - ", "  - ").replace("# alerting:", "alerting:")
    sinks = sinks.replace("\n#   ", "\n  ").replace("  #     ", "      ")
    text = source + mark + sinks.replace("# state_dir:", "state_dir:")
    config = read_run_config(write(text.replace("  # host:", "  host:")), {"HOSTNAME": "h1"})
    assert config.labels == {"service": "myapp", "host": "h1"}
    assert config.state_dir == Path("/var/lib/logmlm")
    kinds = ["stdout", "webhook", "alertmanager", "file", "kafka"]
    assert [sink.kind for sink in config.sinks] == kinds
    assert config.sinks[1].name == "on-call"
    assert config.alerting.model_fields_set == set(type(config.alerting).model_fields)
    assert config.alerting == AlertingConfig()
    text = (CONFIGS / "train.yaml").read_text()
    for commented in ("name:", "labels:", "custom:", "myapp:", "  pattern:", "  timestamp_format:"):
        text = text.replace(f"# {commented}", commented)
    text = text.replace("  #   myapp", "    myapp").replace("  #     ", "      ")
    training = read_training_config(
        write(text.replace("  # extra", "  extra").replace("#   -", "-"))
    )
    assert set(training.format.custom) == {"myapp"}
    assert training.templates.extra_masks[0].name == "ORDER"


def test_a_config_says_by_its_keys_which_kind_it_is(write):
    assert isinstance(read_config(CONFIGS / "train.yaml", {}), TrainingConfig)
    assert isinstance(read_config(CONFIGS / "run.yaml", {}), RunConfig)
    assert "can't tell" in refused(write("model: {path: x}"), read_config)


def test_a_misspelt_key_is_told_although_the_kind_is_not_clear(write):
    said = refused(write("# mine\nmodell: {path: x}"), read_config)
    assert said.endswith(":2: unknown key 'modell'; did you mean 'model'?")


def test_a_config_of_the_other_kind_is_named_as_such(write):
    training = CONFIGS / "train.yaml"
    assert "is for training; use it with logmlm train" in refused(training)
    assert "for running; use it with logmlm run" in refused(write(RUN), read_training_config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RUN.replace("include", "inculde"), ":4: 'source.file' needs key 'include'"),
        (
            RUN.replace("include", "inculde"),
            ":5: unknown key 'inculde' in 'source.file'; did you mean 'include'?",
        ),
        (RUN + "qqq: 1\n", ":6: unknown key 'qqq'; known: model, source, sinks, state_dir, labels"),
        (RUN + "    start_at: middle\n", ":6: 'source.file.start_at' should be 'beginning' or"),
        (RUN + "    start_at: middle\n", "not 'middle'"),
        (RUN + "    rotate_wait: soon\n", ":6: 'source.file.rotate_wait': 'soon' is no duration"),
        (RUN + "    rotate_wait: -3\n", ":6: 'source.file.rotate_wait' should be greater than 0, "),
        (RUN + "    max_line_bytes: 1kb\n", "'1kb' is no size; write it like 64KiB"),
        (RUN + "    include: b\n", ":6: key 'include' is already given in line 5"),
        (RUN + "  stdin:\n", ":3: 'source': give exactly one of file, "),
        (RUN + "sinks:\n- stdout: 3\n", ":7: 'sinks[0].stdout' should be a section"),
        (RUN + "sinks:\n- stdout:\n- stdout:\n", ":6: 'sinks': 2 sinks are named 'stdout'"),
        (
            RUN + "sinks: [5]\n",
            ":6: 'sinks[0]' should be a section: a key,",
        ),
        (RUN + "labels: {a: ${HOME}}\n", "or [ ], write '${VAR}' in quotes"),
        (RUN + "sinks: []\n", ":6: 'sinks' needs an entry at least"),
        (
            RUN + "sinks:\n- webhook:\n    url: ftp://x\n",
            ":8: 'sinks[0].webhook.url': should be an",
        ),
        (RUN + "sinks:\n- webhook:\n", ":7: 'sinks[0].webhook': give either 'url' or 'url_file'"),
        (RUN + "labels: {severity: x}\n", ":6: 'labels': label 'severity' is set by logmlm itself"),
        (RUN + "labels: {a-b: x}\n", ":6: 'labels': 'a-b' is no label's name"),
        (RUN + "labels:\n  a: ${NOT_SET}\n", ":7: environment variable NOT_SET is not set"),
        (RUN + "labels:\n  a: !x y\n", ":7: 'y' is no valid value"),
        (RUN + "labels:\n  a: 2020-99-99\n", ":7: '2020-99-99' is no valid value"),
        (RUN + "? [a]\n: 1\n", ":6: a key should be one word"),
        (RUN + "labels: &a {b: *a}\n", ":6: aliases (*x) are not supported"),
        (RUN + 'labels: {a: "\\ud800"}\n', ":6: this value is no valid Unicode text"),
        (RUN + "sinks: {a: 1}\n", ":6: 'sinks' should be a list"),
        (RUN + "state_dir: 5\n", ":6: 'state_dir' should be a path"),
        (
            RUN.replace("path: models/m\n", "path: m\n  exact: maybe\n"),
            ":3: 'model.exact' should be true or false",
        ),
        (
            "model: {path: m}\nsource: {syslog: {unix: s, unix_mode: '999'}}\n",
            ":2: 'source.syslog.unix_mode': '999' is no mode such as '660'",
        ),
        ("a: [\n", ":2: this is no valid YAML"),
        ("a: \x07", "this is no valid YAML"),
        ("", "holds no keys"),
        ("- a", "holds no keys"),
        ("a: " + "[" * 500 + "]" * 500, "nested too deeply"),
        ("labels: {}\n", ":1: needs key 'model'\n"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(write, text, expected):
    path = write(text)
    message = refused(path)
    assert expected in message
    assert all(line.startswith(str(path)) for line in message.splitlines())


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(write):
    message = refused(
        write("logs: 5\nwindow: {kind: x}\nmodel:\n  seed: -1\n"), read_training_config
    )
    assert [line.split(":")[1] for line in message.splitlines()] == ["1", "1", "2", "4"]


def test_a_key_that_may_be_two_things_gets_one_complaint(write):
    text = "logs: a\nout: b\nthreshold:\n  folds: many\n"
    (line,) = refused(write(text), read_training_config).splitlines()
    assert ":4: 'threshold.folds' should be 'auto', not 'many' or should be a valid integer" in line


def test_a_session_window_without_key_names_its_section(write):
    text = "logs: a\nout: b\nwindow:\n  kind: session\n"
    assert ":3: 'window': window kind 'session' needs a 'key'" in refused(
        write(text), read_training_config
    )


def test_variables_are_filled_in_values_only_and_can_not_add_keys(write):
    path = write(RUN + "labels:\n  service: ${S}-x\n  host: $${S}\n")
    config = read_run_config(path, {"S": "a: {b: c}\nmodel: evil"})
    assert config.labels == {"service": "a: {b: c}\nmodel: evil-x", "host": "${S}"}
    assert "unknown key '${S}'" in refused(write(RUN + "${S}: 1\n"), S="labels")


def test_a_variable_can_be_a_number(write):
    text = "logs: a\nout: b\nmodel:\n  epochs: ${EPOCHS}\n"
    assert read_training_config(write(text), {"EPOCHS": "7"}).model.epochs == 7


def test_the_process_environment_is_the_default(write, monkeypatch):
    monkeypatch.setenv("LOGMLM_TEST_S", "s")
    text = RUN + "labels: {service: '${LOGMLM_TEST_S}'}\n"
    assert read_run_config(write(text)).labels == {"service": "s"}


def test_secrets_are_never_shown(write):
    sink = "sinks:\n- webhook:\n    url: http://h/hunter2\n    headers: {X: hunter2}\n"
    assert "hunter2" not in repr(read_run_config(write(RUN + sink)))
    for bad in ("url: hunter2", "headers: {X: [hunter2]}", 'headers: {X: "hunter2\\n"}'):
        text = "sinks:\n- webhook:\n    url_file: x\n    " + bad + "\n"
        assert "hunter2" not in refused(write(RUN + text))


def test_a_header_name_has_no_blanks(write):
    sink = "sinks:\n- webhook:\n    url: http://h/\n    headers: {'a b': c}\n"
    assert "'a b' is no header's name" in refused(write(RUN + sink))


def test_a_missing_file_and_a_file_of_bytes_are_config_errors(tmp_path, write):
    assert "No such file" in refused(tmp_path / "none.yaml")
    path = write("")
    path.write_bytes(b"model: \xff\n")
    assert "byte 7 is no UTF-8" in refused(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(RUN.split())).map(" ".join)))
def test_any_text_is_read_or_refused_but_never_crashes(tmp_path, text):
    path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigError):
        read_config(path, {})


def test_what_is_empty_is_said_to_be_so(write):
    said = refused(write("logs: ['']\nout: ''\nlabels: ''\n"), read_training_config)
    assert [line.partition(".yaml:")[2] for line in said.splitlines()] == [
        "1: 'logs[0]' is empty; give it a value",
        "2: 'out': the path is empty; give one",
        "3: 'labels': the path is empty; give one",
    ]


def test_a_cross_fit_of_one_part_is_refused(write):
    said = refused(write("logs: a\nout: b\nthreshold:\n  folds: 1\n"), read_training_config)
    assert ":3: 'threshold': folds 1 leaves nothing to train on" in said
