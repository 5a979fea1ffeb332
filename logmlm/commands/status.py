"""`logmlm status`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from logmlm.commands.state import daemon_config
from logmlm.errors import ConfigError, UsageError

DEFAULT_URL = "http://127.0.0.1:9464"


@click.command(short_help="Show how a running daemon is.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="The daemon's.")
@click.option("--url", help=f"Where it listens. [default: {DEFAULT_URL}]")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds over which rates are taken.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(config_file: Path | None, url: str | None, interval: float, output: str) -> None:
    """Show how a running daemon is: its lag, lines a second, scores, alerts and receivers.

    It has to listen: `http.listen` in its config, or `run --http ADDRESS`.
    """
    from logmlm.status import look, render

    if config_file is not None and url is not None:
        raise UsageError("give either --config or --url")
    found = look(_url(config_file) if url is None else url.rstrip("/"), interval, time.sleep)
    if output == "json":
        click.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        click.echo(render(found), nl=False)


def _url(config_file: Path | None) -> str:
    from logmlm.status import address_url

    if config_file is None:
        return DEFAULT_URL
    listen = daemon_config(config_file).http.listen
    if listen is None:
        raise ConfigError(f"{config_file}: 'http.listen' is off; give it an address")
    return address_url(listen)
