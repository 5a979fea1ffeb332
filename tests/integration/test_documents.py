"""What the documents name is there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from logmlm import errors
from logmlm.cli.main import COMMANDS, logmlm

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
EXAMPLES = re.findall(r"^ {4}.*\b(logmlm \w.*)$", README, re.MULTILINE)


def command_of(words):
    """The command that these words call, and the words after its name."""
    found = logmlm
    while isinstance(found, click.Group) and words:
        found = found.get_command(click.Context(found), words[0])
        words = words[1:]
    return found, words


def test_the_table_of_commands_names_every_command():
    table = README[README.index("## Commands") : README.index("### train")]
    named = re.findall(r"^\| `logmlm (\w+)", table, re.MULTILINE)
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_has_a_command_and_options_that_are_there(example):
    example = example.partition("  #")[0].partition(" > ")[0]
    words = shlex.split(example.replace("[", "").replace("]", "").replace("|", " "))
    command, rest = command_of(words[1:])
    assert isinstance(command, click.Command), example
    known = {option for each in command.params for option in each.opts}
    assert {word for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_each_file_that_is_named_is_there(text):
    named = set(re.findall(r"(?<![/\w])(?:configs|systemd|tests|sample_logs)/[\w@./-]*\w", text))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_each_link_within_the_readme_leads_to_a_heading():
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    places = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= places


def test_the_exit_codes_are_those_of_the_errors():
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {str(kind.exit_code) for kind in kinds}
    table = README[README.index("### Exit codes") : README.index("## Line formats")]
    assert codes <= set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE))


def test_each_test_that_stands_against_a_threat_is_there():
    rows = [row for row in CONTRIBUTING.splitlines() if re.search(r"\| `(?:\w+/)*test_", row)]
    assert len(rows) > 15
    for row in rows:
        named = ""
        for name in re.findall(r"`((?:\w+/)*test_\w+(?:\.py)?)`", row):
            if name.endswith(".py"):
                named = (ROOT / "tests" / name).read_text()
            else:
                assert f"def {name}(" in named, name
