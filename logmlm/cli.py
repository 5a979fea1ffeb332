"""The command line: parse, call, echo; no logic, and no heavy import before a command runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType

import click

from logmlm.errors import LogmlmError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "train": "learn",
        "evaluate": "measure",
        "score": "measure",
        "explain": "measure",
        "templates": "show",
        "run": "serve",
        "validate": "serve",
        "version": "show",
    }
)
"""Each command's module under `logmlm.commands`; only the one that runs is imported."""


class _Group(click.Group):
    """Finds commands by name, and turns errors into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"logmlm.commands.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def logmlm() -> None:
    """Learn the language of a system's own logs, and say when a line does not belong."""


def main() -> None:
    """Run the command line; exit codes are those of sysexits.h."""
    try:
        logmlm.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(64)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LogmlmError as error:
        click.echo(f"logmlm: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
