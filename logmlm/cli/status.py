"""`logmlm status`."""

from __future__ import annotations

import json
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logmlm.cli.alerts import as_json, as_row
from logmlm.cli.state_options import daemon_config, opened
from logmlm.errors import ConfigError, StorageError, UsageError
from logmlm.system.text import dump_json

if TYPE_CHECKING:
    from logmlm.alerting.queries import AlertStatus

DEFAULT_URL = "http://127.0.0.1:9464"
LAST_ALERTS = 5


@click.command(short_help="Show how a running daemon is.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="The daemon's.")
@click.option("--url", help=f"Where it listens. [default: {DEFAULT_URL}]")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="Where its last alerts are. [default: the config's, or as run has it; with --url nowhere]",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds over which rates are taken.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(
    config_file: Path | None,
    url: str | None,
    state_dir: Path | None,
    interval: float,
    output: str,
) -> None:
    """Show how a running daemon is: its lag, lines a second, scores, last alerts, receivers.

    It has to listen: `http.listen` in its config, or `run --http ADDRESS`.
    """
    from logmlm.daemon.status import fetch, format_status

    if config_file is not None and url is not None:
        raise UsageError("give either --config or --url")
    found = fetch(_url(config_file) if url is None else url.rstrip("/"), interval, time.sleep)
    # Of a daemon at an address nobody knows where its state is; that of another would mislead.
    is_known = url is None or state_dir is not None
    latest = _latest(state_dir, config_file) if is_known else []
    if output == "json":
        last = [json.loads(as_json(known)) for known in latest]
        click.echo(dump_json(found.as_dict() | {"last_alerts": last}))
    else:
        title = "last alerts" if is_known else "last alerts are in its state: --state-dir DIR"
        click.echo(format_status(found), nl=False)
        click.echo("\n".join([title, *(f"  {as_row(known)}" for known in latest)]))


def _latest(state_dir: Path | None, config: Path | None) -> list[AlertStatus]:
    """The alerts that were made last; none where no daemon of this machine keeps any."""
    from logmlm.alerting.queries import list_alerts

    try:
        with opened(state_dir, config if state_dir is None else None) as state:
            return list(islice(list_alerts(state, LAST_ALERTS), LAST_ALERTS))
    except StorageError:
        if state_dir is not None:
            raise
        return []


def _url(config_file: Path | None) -> str:
    from logmlm.daemon.status import address_url

    if config_file is None:
        return DEFAULT_URL
    listen = daemon_config(config_file).http.listen
    if listen is None:
        raise ConfigError(f"{config_file}: 'http.listen' is off; give it an address")
    return address_url(listen)
