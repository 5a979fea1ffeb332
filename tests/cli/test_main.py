"""The command line as a whole: what it imports, how it ends, what it says."""

import json
import os
import pty
import select
import subprocess
import sys
from contextlib import redirect_stdout
from unittest.mock import patch

import click
import offline_parts
import pytest
from offline_parts import logmlm

from logmlm import errors
from logmlm.cli import main as cli
from logmlm.cli.main import COMMANDS

HEAVY = ("torch", "kafka", "pydantic", "pandas", "sklearn", "transformers", "numpy", "matplotlib")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return offline_parts.trained(tmp_path_factory)


def program(*words, stdout=subprocess.PIPE, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from logmlm.cli.main import main; main()", *map(str, words)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        check=False,
        text=True,
    )


def test_help_lists_every_command_in_the_order_of_use():
    outcome = logmlm("--help")
    listed = [line.split()[0] for line in outcome.out.split("Commands:\n")[1].splitlines()]
    assert (outcome.code, outcome.err) == (0, "")
    assert listed == list(COMMANDS)
    assert listed[:4] == ["train", "evaluate", "score", "explain"]
    assert listed[4:] == [
        "parse",
        "templates",
        "run",
        "status",
        "validate",
        "alerts",
        "silence",
        "feedback",
        "audit",
        "version",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_of_its_own(command):
    outcome = logmlm(command, "-h")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: logmlm {command} ")


def test_help_takes_under_three_tenths_of_a_second_of_cpu():
    fastest = 10.0
    for _ in range(3):
        before = os.times()
        alone = {name: value for name, value in os.environ.items() if "COV" not in name}
        words = [sys.executable, "-c", "from logmlm.cli.main import main; main()", "--help"]
        subprocess.run(words, env=alone, stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        spent = after.children_user - before.children_user
        spent += after.children_system - before.children_system
        fastest = min(fastest, spent)
    assert fastest < 0.3


def test_help_of_any_command_imports_nothing_heavy():
    ended = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys\n"
            "from logmlm.cli.main import COMMANDS, logmlm\n"
            "for words in ([], *([name] for name in COMMANDS)):\n"
            "    logmlm.main([*words, '--help'], standalone_mode=False)\n"
            f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == "[]\n"


def without_torch(*words):
    """Run a command that can't import torch: a refusal that comes before it is not disturbed."""
    code = "import sys; sys.modules['torch'] = None; from logmlm.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_refusals_come_before_torch_is_imported(tmp_path, trained):
    log, missing, model = trained.log, tmp_path / "nope.log", tmp_path / "model"
    few = offline_parts.write_log(tmp_path / "few.log", offline_parts.service_log(sessions=2))
    alien = offline_parts.write_log(tmp_path / "alien.log", ["no time", "and no format"])
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {{path: {model}}}\nsource: {{file: {{include: '{log}'}}}}\n")
    refused = {
        ("train", missing, "--out", model): "there is no file",
        ("train", few, "--out", model): "20 are needed to train",
        ("train", alien, "--out", model): "no line format fits",
        ("train", log, "--out", model, "--size", "9999"): "--size",
        ("train", log, "--out", tmp_path): "is no model directory",
        ("score", model, log): "there is no",
        ("score", trained.model, missing): "there is no file",
        ("explain", model, log): "there is no",
        ("evaluate", model, log, "--labels", trained.labels): "there is no",
        ("evaluate", trained.model, log, "--labels", missing): "can't read the labels",
        ("run", "--model", model, "--follow", log, "--state-dir", tmp_path / "s"): "there is no",
        ("run", "--config", config): "there is no",
        ("train", log, "--out", model, "--device", "gpu"): "known are cpu, cuda",
        ("score", trained.model, log, "--device", "gpu"): "known are cpu, cuda",
        ("score", trained.model, alien): "none of the 2 lines is of the format",
        ("explain", trained.model, alien): "none of the 2 lines is of the format",
        ("score", trained.model, log, "--out", tmp_path / "no" / "x"): "there is no directory",
    }
    for words, said in refused.items():
        ended = without_torch(*words)
        assert ended.returncode in (64, 65, 74), (words, ended.stderr)
        assert said in ended.stderr, words
        assert "internal error" not in ended.stderr


def test_the_option_version_shows_the_version_alone():
    assert logmlm("--version").out == "logmlm 0.1.0\n"


def test_version_names_itself_and_what_it_stands_on():
    rows = dict(line.split() for line in logmlm("version").out.splitlines())
    assert set(rows) == {
        *("logmlm", "torch", "transformers", "drain3", "kafka-python", "scikit-learn")
    }
    assert rows["logmlm"] == "0.1.0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "there is no command 'frobnicate'; the commands are train, evaluate"),
        (["trian", "x"], "did you mean 'train'?"),
        (["score"], "Missing argument 'MODEL'"),
        (["score", "m"], "Missing argument 'LOGS"),
        (["score", "m", "l", "--output", "xml"], "'xml' is not one of 'json', 'csv', 'parquet'"),
        (["evaluate", "m", "l"], "Missing option '--labels'"),
        (["train", "--seed", "many", "l"], "'many' is not a valid integer"),
    ],
)
def test_wrong_words_end_with_64_and_say_what_is_wrong(words, said):
    outcome = logmlm(*words)
    assert outcome.code == 64
    assert said in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.LogmlmError("a worker died"), 70, "logmlm: a worker died\n"),
        (errors.UsageError("no"), 64, "logmlm: no\n"),
        (errors.DataError("no"), 65, "logmlm: no\n"),
        (errors.ModelError("no"), 65, "logmlm: no\n"),
        (errors.UnreachableError("no"), 69, "logmlm: no\n"),
        (errors.StorageError("no"), 74, "logmlm: no\n"),
        (errors.ConfigError("no"), 78, "logmlm: no\n"),
        (OSError(28, "No space left", "f"), 74, "can't read or write: [Errno 28] No space left"),
        (KeyError("x"), 70, "internal error, please report it: KeyError: 'x' (LOGMLM_DEBUG=1"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_every_error_ends_with_its_exit_code_and_a_sentence(error, code, said, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr(click.Command, "invoke", lambda *_: fail())
    outcome = logmlm("version")
    assert outcome.code == code
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    monkeypatch.setenv("LOGMLM_DEBUG", "1")
    traced = logmlm("version")
    assert traced.code == code
    assert ("Traceback" in traced.err) == (code not in (130, 141))


def test_a_reader_that_goes_away_ends_the_program_as_sigpipe_would(trained):
    command = f"'{sys.executable}' -c 'from logmlm.cli.main import main; main()'"
    ended = subprocess.run(
        ["bash", "-c", f"{command} version | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    assert ended.stdout in ("141\n", "0\n")  # 0 where all was written before the reader went
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as broken:
        ended = program("templates", trained.model, stdout=broken)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_full_disk_behind_standard_output_is_said_once():
    with open("/dev/full", "w") as full:  # noqa: PTH123  as a shell would redirect
        ended = program("version", stdout=full)
    assert ended.returncode == 74
    assert ended.stderr == "logmlm: can't read or write: [Errno 28] No space left on device\n"


def test_what_a_full_disk_did_not_take_is_let_go(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["logmlm", "version"])
    with (
        open("/dev/full", "w") as full,  # noqa: PTH123  as above
        redirect_stdout(full),
        pytest.raises(SystemExit, match="74"),
    ):
        cli.main()
    assert "No space left on device" in capsys.readouterr().err


def test_explain_shows_colour_on_a_terminal_only(trained):
    ours, theirs = pty.openpty()
    shown = b""
    with (
        os.fdopen(theirs, "w", buffering=1) as terminal,
        patch.object(sys, "argv", ["logmlm", "explain", str(trained.model), str(trained.odd_log)]),
    ):
        with redirect_stdout(terminal):
            cli.main()
        while select.select([ours], [], [], 0.2)[0]:
            shown += os.read(ours, 1 << 16)
    os.close(ours)
    assert b"\x1b[1;31m> " in shown
    assert b"\x1b[2m" in shown
    assert "\x1b" not in logmlm("explain", trained.model, trained.odd_log).out


def test_data_goes_to_standard_output_and_nothing_else_does(trained):
    outcome = logmlm("score", trained.model, trained.odd_log)
    assert len([json.loads(line) for line in outcome.out.splitlines()]) == 30
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["train", "", "--out", "o"], "one of LOGS"),
        (["train", "a.log", "--out", ""], "--out"),
        (["run", "--model", "m", "--follow", "a.log", "--follow="], "--follow"),
        (["score", "m", "a.log", ""], "one of LOGS"),
        (["explain", "", "a.log"], "MODEL"),
        (["evaluate", "m", "a.log", "--labels", ""], "--labels"),
        (["evaluate", "m", "a.log", "--labels", "l.csv", "--report", ""], "--report"),
        (["templates", ""], "MODEL"),
        (["validate", ""], "FILE"),
    ],
)
def test_an_empty_word_as_of_a_variable_that_is_not_set_is_named(words, named):
    outcome = logmlm(*words)
    assert outcome.code == 64
    said = f"logmlm: {named} is empty; give it a value (is a shell variable not set?)\n"
    assert outcome.err == said
