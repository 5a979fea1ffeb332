"""`logmlm audit`."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logmlm.cli.state_options import output_option
from logmlm.system.text import dump_json, one_line

if TYPE_CHECKING:
    from logmlm.config.training import RedactionConfig


@click.command(short_help="Search a model or a state directory for secrets.")
@click.argument("place", type=click.Path(path_type=Path), metavar="MODEL|STATE")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A config file for run or train; its 'redact' rules are used.",
)
@output_option
def audit(place: Path, config: Path | None, output: str) -> None:
    """Say what redaction rules find in a model directory or a daemon's state directory.

    Each finding names the rule, the file, the template or the row, and the field; never the secret
    itself. The exit code is 1 if there is one.
    """
    from logmlm.alerting.audit import find_secrets as search

    count = 0
    for found in dict.fromkeys(search(place, _rules(config).redactor())):
        count += 1
        if output == "json":
            click.echo(dump_json(asdict(found)))
        else:
            words = (found.rule, found.file, found.of, found.field)
            click.echo(one_line("  ".join(word for word in words if word)))
    click.echo(f"{count} findings in {place}" if count else f"nothing found in {place}", err=True)
    sys.exit(1 if count else 0)


def _rules(config: Path | None) -> RedactionConfig:
    from logmlm.config.training import RedactionConfig

    if config is None:
        return RedactionConfig()
    from logmlm.config.loader import read_config

    environment = {"CREDENTIALS_DIRECTORY": "/run/credentials", **os.environ}
    return read_config(config, environment).redact
