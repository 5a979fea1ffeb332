"""`logmlm alerts`: what became of alerts, and dead letters sent again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logmlm.cli.state_options import opened, output_option, state_options
from logmlm.errors import UsageError
from logmlm.system.text import dump_json

if TYPE_CHECKING:
    from logmlm.alerting.queries import AlertStatus


@click.group(short_help="List alerts and dead letters, and send these again.")
def alerts() -> None:
    """Alerts in the state of a daemon, which may be running."""


@alerts.command("list")
@state_options
@output_option
@click.option("--dead", is_flag=True, help="Dead letters only.")
@click.option("--waiting", is_flag=True, help="Only those that some receiver does not have yet.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
def list_(
    state_dir: Path | None, config: Path | None, output: str, limit: int, **only: bool
) -> None:
    """List alerts, the latest first: id, time, what became of it, severity, summary."""
    from itertools import islice

    from logmlm.alerting.queries import list_alerts

    wanted = [status for status, given in only.items() if given]
    with opened(state_dir, config) as state:
        every = list_alerts(state, None if wanted else limit + 1)
        found = (known for known in every if _is_one_of(known, wanted))
        for known in islice(found, limit):
            click.echo(as_json(known) if output == "json" else as_row(known))
        if next(found, None) is not None:
            click.echo(f"the latest {limit} are shown; --limit shows more", err=True)


@alerts.command()
@click.argument("alert")
@state_options
@output_option
def show(alert: str, state_dir: Path | None, config: Path | None, output: str) -> None:
    """Show the ALERT of an id (or its beginning) in full."""
    from logmlm.alerting.queries import find_alert

    with opened(state_dir, config) as state:
        known = find_alert(state, alert)
        click.echo(as_json(known) if output == "json" else _block(known))


@alerts.command()
@click.argument("ids", nargs=-1, metavar="[ALERT]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters.")
@state_options
def retry(
    ids: tuple[str, ...], everything: bool, state_dir: Path | None, config: Path | None
) -> None:
    """Send dead letters again: those of some ALERTs, or all."""
    from logmlm.alerting.queries import retry_dead_letters as put_back

    if everything == bool(ids):
        raise UsageError("name alerts, or give --all")
    with opened(state_dir, config) as state:
        count = put_back(state, None if everything else ids)
    click.echo(f"{count} dead letters wait for their receivers again", err=True)


@alerts.command()
@state_options
def export(state_dir: Path | None, config: Path | None) -> None:
    """Write all alerts that are kept, one JSON object a line."""
    from logmlm.alerting.queries import list_alerts

    with opened(state_dir, config) as state:
        for known in list_alerts(state):
            click.echo(as_json(known))


def _is_one_of(known: AlertStatus, wanted: list[str]) -> bool:
    here = {"dead": bool(known.dead), "waiting": bool(known.waiting)}
    return not wanted or any(here[status] for status in wanted)


def as_json(known: AlertStatus) -> str:
    """An alert, and what became of it, as a JSON object."""
    from logmlm.alerting.sinks.base import json_line
    from logmlm.system.text import format_rfc3339

    more: dict[str, Any] = {
        "made_at": format_rfc3339(known.at),
        "status": known.status,
        "waiting": list(known.waiting),
        "dead": [{"sink": sink, "reason": reason} for sink, reason in known.dead],
    }
    return dump_json(json.loads(json_line(known.alert)) | more)


def as_row(known: AlertStatus) -> str:
    """An alert on one row: id, time, what became of it, severity, summary."""
    from logmlm.system.text import format_rfc3339

    alert = known.alert
    words = (alert.labels.get("severity", ""), alert.annotations.get("summary", ""))
    at = format_rfc3339(alert.starts_at)
    return f"{alert.id}  {at}  {known.status:<11}  {words[0]:<8}  {words[1]}"


def _block(known: AlertStatus) -> str:
    from logmlm.detection.explanation import printable

    notes = known.alert.annotations
    told = (name for name in ("origin", "key", "pattern") if name in notes)
    rows = [as_row(known)]
    rows += [f"  waits for {sink}" for sink in known.waiting]
    rows += [f"  dead letter of {sink}: {printable(reason)}" for sink, reason in known.dead]
    rows += [f"  {name}: {value}" for name, value in known.alert.labels.items()]
    rows += [f"  {name}: {printable(notes[name])}" for name in told]
    rows += [f"  {line}" for line in notes.get("description", "").splitlines()]
    return "\n".join(rows)
