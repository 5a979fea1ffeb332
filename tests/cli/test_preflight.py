"""`check_config` says what is wrong before the daemon starts: config, then model, then machine."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from logmlm.cli.preflight import check_config
from logmlm.config.training import FormatConfig, WindowConfig
from logmlm.errors import ConfigError, ModelError


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        path = tmp_path / "c.yaml"
        path.write_text(text)
        return path

    return write


def check(path):
    return check_config(path, {"HOME": str(path.parent)}, lambda _: MODEL)


MODEL = SimpleNamespace(name="m", format=FormatConfig(name="iso8601"), window=WindowConfig())
RUN = "model: {path: model}\nsource: {file: {include: '*.log'}}\n"


def test_a_good_run_config_is_told_to_be_good_and_nothing_is_written(write, tmp_path):
    (tmp_path / "a.log").touch()
    assert check(write(RUN)) == [
        f"{tmp_path}/c.yaml is a right config for running",
        "model m in model is complete",
        "files can be read, secrets are there, and the state can be written",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "c.yaml"]


def test_logs_that_are_not_there_yet_are_noted_but_no_mistake(write):
    assert check(write(RUN))[2] == "note: no file matches *.log yet; it will be waited for"


def test_a_directory_is_no_file_to_follow(write, tmp_path):
    (tmp_path / "logs").mkdir()
    with pytest.raises(ConfigError, match=r"'source.file.include': logs/ is a directory; name the"):
        check(write(RUN.replace("*.log", "logs/")))


def test_standard_input_needs_no_files(write):
    assert len(check(write("model: {path: m}\nsource: {stdin: }\n"))) == 3


def test_a_mistake_in_the_config_comes_before_the_model(write):
    with pytest.raises(ConfigError, match="unknown key 'modle'"):
        check(write(RUN + "modle: 3\n"))


def test_the_model_is_checked_before_the_machine(write):
    with pytest.raises(ModelError, match=r"yaml: 'model.path': there is no model"):
        check_config(write(RUN + "state_dir: /proc/none\n"), {})


def test_secrets_have_to_be_there(write):
    for section in ("sinks: [webhook: {url_file: token}]\n", "http: {token_file: token}\n"):
        with pytest.raises(ConfigError, match="_file': can't read token"):
            check(write(RUN + section))
    with pytest.raises(ConfigError, match=r"'http.token_file': 'token_file': can't"):
        check(write(RUN + "http: {token_file: token}\n"))
    with pytest.raises(ConfigError, match=r"c.yaml: 'sinks': 'url_file': can't"):
        check(write(RUN + "sinks: [webhook: {url_file: token}]\n"))


def test_the_device_has_to_be_one(write):
    with pytest.raises(ConfigError, match=r"c.yaml: 'model.device': device 'gpu7' can't be used"):
        check(write(RUN.replace("model: {", "model: {device: gpu7, ")))


def test_the_state_has_to_be_writable(write, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"'state_dir': .*file is no directory that this user"):
        check(write(RUN + "state_dir: file/state\n"))
    with pytest.raises(ConfigError, match="'state_dir': /proc is no directory that this user"):
        check(write(RUN + "state_dir: /proc/none\n"))  # where root may write, for all it is told


def test_the_folder_of_an_alert_file_has_to_be_there(write, tmp_path):
    def sink(path):
        return write(RUN + f"sinks: [file: {{path: {path}}}]\n")

    assert check(sink("alerts.jsonl"))
    (tmp_path / "folder").mkdir()
    for wrong, why in (("none/alerts.jsonl", "can't be written"), ("folder", "is a directory")):
        with pytest.raises(ConfigError, match=rf"'sinks.file.path': {wrong} {why}"):
            check(sink(wrong))
    assert check(sink("folder/alerts.jsonl"))


def test_a_log_that_can_not_be_read_is_told(write, tmp_path, monkeypatch):
    (tmp_path / "a.log").touch()
    monkeypatch.setattr("os.access", lambda path, _: path.name != "a.log")
    with pytest.raises(ConfigError, match=r"'source.file.include': a.log can't be read"):
        check(write(RUN))


def test_what_would_not_be_followed_is_no_mistake(write, tmp_path):
    (tmp_path / "gone.log").symlink_to("nowhere")
    (tmp_path / "loop.log").symlink_to("loop.log")
    assert check(write(RUN))[2] == "note: no file matches *.log yet; it will be waited for"
    (tmp_path / "a.log").touch()
    assert len(check(write(RUN))) == 3
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "b.log").symlink_to("../nowhere")
    both = RUN.replace("'*.log'", "'**/*.log', exclude: [secret/*, go*, loop.log]")
    assert len(check(write(both))) == 3


def test_a_link_whose_target_is_in_a_closed_directory_is_told(write, tmp_path, monkeypatch):
    (tmp_path / "a.log").symlink_to("nowhere")
    stat = Path.stat

    def closed(path, **told):
        if path.name == "a.log":
            raise PermissionError(13, "Permission denied")
        return stat(path, **told)

    monkeypatch.setattr("pathlib.Path.stat", closed)
    with pytest.raises(ConfigError, match=r"'source.file.include': a.log can't be read by this"):
        check(write(RUN))


def test_a_log_that_is_excluded_need_not_be_readable(write, tmp_path, monkeypatch):
    for name in ("a.log", "b.log"):
        (tmp_path / name).touch()
    monkeypatch.setattr("os.access", lambda path, _, **__: Path(path).name != "b.log")
    assert len(check(write(RUN.replace("'*.log'", "'*.log', exclude: b.*")))) == 3


def test_a_good_training_config_is_told_to_be_good(write, tmp_path):
    (tmp_path / "a.log").write_text("2026-11-21T10:00:00Z INFO opened\n")
    (tmp_path / "labels.csv").write_text("key,label\na,1\n")
    found = check(write("logs: [a.log, '-']\nout: new/model\nlabels: labels.csv\n"))
    assert found[0].endswith("is a right config for training")
    assert not (tmp_path / "new").exists()
    assert check(write("logs: a.log\nout: m\nlabels: in-line\n"))[1].startswith("logs are there")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logs: none*\nout: m\n", "'logs': no file matches none\\*"),
        ("logs: c.yaml\nout: c.yaml/m\n", "'out': .*c.yaml is no directory"),
        ("logs: c.yaml\nout: m\nlabels: none\n", "'labels': can't read the labels none: No such"),
        ("logs: c.yaml\nout: m\nlabels: c.yaml\n", "'labels': c.yaml: no column of only"),
        ("logs: c.yaml\nout: .\n", "'out': .* exists and is no model directory"),
        ("logs: /dev/null\nout: m\nformat: {name: nop}\n", "'format': format 'nop' is unknown"),
        ("logs: c.yaml\nout: m\nformat: {timezone: Mars}\n", "'format': .*timezone 'Mars'"),
        (
            "logs: c.yaml\nout: m\nformat: {custom: {own: {pattern: '(?P<level>.*)'}}}\n",
            "'format': .*own.*message",
        ),
        ("logs: c.yaml\nout: m\ntemplates: {masks: [NOPE]}\n", "'templates': .*NOPE"),
        ("logs: c.yaml\nout: m\nmodel: {device: abacus}\n", "'model.device': device 'abacus'"),
        ("logs: [empty.log]\nout: m\n", "'logs': empty.log: empty"),
        ("logs: 'kafka://a:1/t?since=x'\nout: m\n", "'logs': 'x' is no time"),
    ],
)
def test_what_training_would_refuse_is_told(write, tmp_path, text, message):
    (tmp_path / "empty.log").touch()
    with pytest.raises(ConfigError, match=message):
        check(write(text))


def test_a_topic_is_no_file_to_look_for(write):
    assert check(write("logs: 'kafka://a:1/t?since=-1h'\nout: m\n"))


def test_a_check_before_training_loads_no_torch(write, tmp_path):
    (tmp_path / "a.log").write_text("2026-11-21T10:00:00Z INFO opened\n")
    path = write("logs: a.log\nout: m\n")
    code = (
        "import sys; from pathlib import Path; from logmlm.cli.preflight import check_config\n"
        "check_config(Path(sys.argv[1]), {}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)


def test_secrets_and_certificates_of_a_kafka_source_are_looked_for(write, tmp_path):
    kafka = "bootstrap_servers: a:1, topics: t, auto_offset_reset: latest"
    sasl = f"sasl: {{mechanism: PLAIN, username: u, password_file: {tmp_path}/secret}}"
    run = "model: {path: m}\nsource: {kafka: {%s}}\n"
    for more, lacking in ((sasl, "secret"), (f"tls: {{ca_file: {tmp_path}/ca}}", "ca")):
        with pytest.raises(ConfigError, match=f"'source.kafka': .*{tmp_path}/{lacking}"):
            check(write(run % f"{kafka}, {more}"))
    (tmp_path / "secret").write_text("hunter2")
    said = check(write(run % f"{kafka}, {sasl}"))
    assert said[-1].startswith("files can be read, secrets are there")
    assert "hunter2" not in str(said)


def test_secrets_of_kafka_are_looked_for(tmp_path):
    sasl = f"{{mechanism: PLAIN, username: u, password_file: {tmp_path}/none}}"
    path = tmp_path / "kafka.yaml"
    path.write_text(
        f"model: {{path: m}}\nstate_dir: {tmp_path}/s\nsource: {{stdin: {{}}}}\n"
        f"sinks: [{{kafka: {{bootstrap_servers: a:1, topic: t, sasl: {sasl}}}}}]\n"
    )
    with pytest.raises(ConfigError, match="can't read"):
        check_config(path, {}, lambda _: SimpleNamespace(name="m"))
    path.write_text(path.read_text().replace(f", sasl: {sasl}", ""))
    assert check_config(path, {}, lambda _: SimpleNamespace(name="m"))


TIMED = "2026-11-21T10:00:0{}Z INFO request {} accepted\n"


def test_lines_of_followed_files_that_the_model_misreads_are_noted(write, tmp_path):
    (tmp_path / "a.log").write_bytes(b"2026-11-21T10:00:00Z INFO caf\xe9 opened\n" * 20)
    (tmp_path / "b.log").write_text("no time here\n" * 20)
    (tmp_path / "c.log").write_text("".join(TIMED.format(i % 10, i) for i in range(20)))
    notes = [said for said in check(write(RUN)) if said.startswith("note: ")]
    assert len(notes) == 2
    assert "20 of 20 lines hold bytes that are no UTF-8" in notes[0]
    assert notes[0].endswith("(a.log)")
    assert notes[1] == "note: 20 of the first 20 lines are not of the line format (b.log)"


def test_a_training_config_whose_format_reads_no_time_is_noted(write, tmp_path):
    (tmp_path / "a.log").write_text("21.11.2026 10:00:00 opened\n" * 30)
    pattern = "(?P<timestamp>\\S+ \\S+) (?P<message>.*)"
    found = check(
        write(
            "logs: a.log\nout: m\nformat:\n  name: mine\n  custom:\n    mine:\n"
            f"      pattern: '{pattern}'\n      timestamp_format: '%d/%m/%Y %H:%M:%S'\n"
        )
    )
    (note,) = [said for said in found if said.startswith("note: ")]
    assert "format 'mine' reads no time in 30 of 30 lines" in note
    assert "21.11.2026 10:00:00 opened" in note


def test_a_training_config_whose_logs_fit_no_format_is_refused_as_train_refuses_it(write, tmp_path):
    (tmp_path / "a.log").write_text("just words\n" * 30)
    with pytest.raises(ConfigError, match=r"'format': no line format fits the first 30 lines"):
        check(write("logs: a.log\nout: m\n"))


def test_directories_where_rotations_move_files_are_looked_for(write, tmp_path):
    (tmp_path / "a.log").touch()

    def rotated(name):
        return write(RUN.replace("'*.log'", f"'*.log', rotated: [{name}]"))

    assert check(rotated("old"))[2] == "note: there is no directory old yet"
    (tmp_path / "old").mkdir()
    assert not any("there is no directory" in each for each in check(rotated("'ol*'")))
    with pytest.raises(ConfigError, match=r"'source.file.rotated': a.log is a file"):
        check(rotated("a.log"))


def test_a_named_pipe_to_follow_is_refused_with_what_to_do(write, tmp_path):
    os.mkfifo(tmp_path / "a.log")
    with pytest.raises(ConfigError, match=r"'source.file.include': a.log is a named pipe.*stdin"):
        check(write(RUN.replace("'*.log'", "a.log")))


def test_standard_input_is_not_followed_as_a_file(write, tmp_path):
    with pytest.raises(ConfigError, match=r"'source.file.include': - is standard input.*stdin"):
        check(write(RUN.replace("'*.log'", "'-'")))
    (tmp_path / "-").touch()
    check(write(RUN.replace("'*.log'", "./-")))


def test_a_file_to_follow_that_is_of_another_encoding_is_noted(write, tmp_path):
    (tmp_path / "a.log").write_text("INFO one\n" * 9, encoding="utf-16")
    assert check(write(RUN))[2].startswith("note: a.log is no text, and is not read: it is UTF-16")


def test_logs_and_out_may_be_left_to_the_command_line_and_the_rest_is_checked(write, tmp_path):
    text = "window: {kind: session, key: '(?:\\w+\\s?)+$'}\nlabels: in-line\n"
    said = check(write(text))
    assert said[1].startswith("note: 'logs' and 'out' are to be given on the command line: logmlm ")
    assert said[1].endswith("c.yaml LOG --out DIR")
    assert said[2].startswith("note: 'window.key': the pattern")
    (tmp_path / "a.log").write_text("2026-11-21T10:00:00Z INFO opened\n" * 30)
    said = check(write(text + "logs: a.log\n"))
    assert said[1].startswith("note: 'out' is to be given on the command line: ")
    assert any(each.startswith("format: ") for each in said)
    with pytest.raises(ConfigError, match="'labels': "):
        check(write(text.replace("in-line", "none.csv")))


def test_a_pattern_that_may_backtrack_is_noted_with_its_key(write, tmp_path):
    (tmp_path / "a.log").write_text("2026-11-21T10:00:00Z INFO opened\n" * 30)
    good = "logs: a.log\nout: m\nwindow: {kind: session, key: 'ord-(\\d+)'}\n"
    assert not [said for said in check(write(good)) if "may take long" in said]
    bad = good.replace("ord-(\\d+)", "(?:\\w+\\s?)+$")
    (note,) = [said for said in check(write(bad)) if "may take long" in said]
    assert note.startswith("note: 'window.key': the pattern '(?:\\w+\\s?)+$'")
    rules = "redact: {rules: [{name: x, pattern: '(a+)+'}]}\n"
    for text in (good + rules, RUN + rules):
        (note,) = [said for said in check(write(text)) if "may take long" in said]
        assert note.startswith("note: 'redact.rules x': the pattern '(a+)+' may take long")
        assert "replaces the whole text" in note
