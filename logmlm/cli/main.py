"""The command line: parse, call, echo; no logic, and no heavy import before a command runs."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from types import MappingProxyType

import click

from logmlm.errors import LogmlmError, StorageError, UsageError

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "train": "train",
        "evaluate": "score",
        "score": "score",
        "explain": "score",
        "parse": "parse",
        "templates": "show",
        "run": "run",
        "status": "status",
        "validate": "run",
        "alerts": "alerts",
        "silence": "silence",
        "feedback": "feedback",
        "audit": "audit",
        "version": "show",
    }
)
"""Each command's module under `logmlm.cli`; only the one that runs is imported."""
INTERRUPTED = 130
BROKEN_PIPE = 141
"""As a shell reports SIGINT and SIGPIPE."""


class _Group(click.Group):
    """Finds commands by name, and turns errors into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"logmlm.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and see that none of its words is empty."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UsageError(_unknown_command(args[0]))
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            _reject_empty(click.Context(command, ctx, name), rest)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; click would end with 1, an alert's code, where nobody reads on."""
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _flush_output()
            sys.exit(BROKEN_PIPE)


def _show_version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        from logmlm import __version__

        click.echo(f"logmlm {__version__}")
        context.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit; `logmlm version` shows the libraries' versions too.",
)
def logmlm() -> None:
    """Learn the language of a system's own logs, and say when a line does not belong."""


def main() -> None:
    """Run the command line; exit codes are those of sysexits.h.

    With LOGMLM_DEBUG=1 in the environment every error shows where it came from.
    """
    try:
        logmlm.main(prog_name="logmlm", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(UsageError.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except Exception as error:  # whatever else went wrong: a sentence, no traceback
        sys.exit(_report(error))


def _unknown_command(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"the commands are {', '.join(COMMANDS)}"
    return f"there is no command '{name}'; {hint}"


def _reject_empty(context: click.Context, args: list[str]) -> None:
    """See that no word is empty, before a path makes the working directory of it."""
    given, _, _ = context.command.make_parser(context).parse_args(list(args))
    for parameter in context.command.params:
        value = given.get(parameter.name or "")
        if value == "" or (isinstance(value, list | tuple) and "" in value):
            what = parameter.human_readable_name.upper()
            what = parameter.opts[0] if isinstance(parameter, click.Option) else what
            what = f"one of {what}" if parameter.nargs == -1 else what
            raise UsageError(f"{what} is empty; give it a value (is a shell variable not set?)")


def _report(error: Exception) -> int:
    """Say on standard error what happened, and return the exit code."""
    if os.environ.get("LOGMLM_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, LogmlmError):
        click.echo(f"logmlm: {error}", err=True)
        return error.exit_code
    if isinstance(error, OSError):
        _flush_output()
        click.echo(f"logmlm: can't read or write: {error}", err=True)
        return StorageError.exit_code
    what = traceback.format_exception_only(error)[-1].strip()
    click.echo(
        f"logmlm: internal error, please report it: {what}"
        " (LOGMLM_DEBUG=1 shows where it came from)",
        err=True,
    )
    return LogmlmError.exit_code


def _flush_output() -> None:
    """Write what is left, or let it go: the interpreter would try as it ends, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
