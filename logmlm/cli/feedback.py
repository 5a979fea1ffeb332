"""`logmlm feedback`: say what an alert was, for the next training."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logmlm.cli.state_options import opened, output_option, parse_duration_option, state_options
from logmlm.errors import UsageError
from logmlm.system.text import dump_json

if TYPE_CHECKING:
    from logmlm.alerting.feedback import Feedback, Judgement

LIST, EXPORT = "list", "export"


@click.command(short_help="Say whether an alert was right; list that; export it.")
@click.argument("alert", metavar="ALERT|list|export")
@click.option("--false-alarm", is_flag=True, help="It was nothing; its like pages nobody.")
@click.option("--true", "is_true", is_flag=True, help="It was right.")
@click.option("--for", "for_", default="30d", show_default=True, help="How long its like is mute.")
@state_options
@output_option
def feedback(  # noqa: PLR0913  click hands each option over by its name
    alert: str,
    *,
    false_alarm: bool,
    is_true: bool,
    for_: str,
    state_dir: Path | None,
    config: Path | None,
    output: str,
) -> None:
    """Say of an ALERT (by its id or the beginning of it) that it was false or true.

    Alerts like a false one (odd lines of the same templates, whatever the key) are not sent
    until --for is over. `logmlm feedback list` shows all that was said, and what is mute now;
    `logmlm feedback export` writes the true ones as labels, which `logmlm train --labels` keeps
    out of training. --output is for `list`.
    """
    if alert in (LIST, EXPORT):
        if false_alarm or is_true:
            raise UsageError(f"'{alert}' takes neither --false-alarm nor --true")
        return _list(state_dir, config, output) if alert == LIST else _export(state_dir, config)
    if false_alarm == is_true:
        raise UsageError("give either --false-alarm or --true")
    if false_alarm and parse_duration_option("--for", for_) <= 0:
        raise UsageError("--for 0 mutes nothing; say how long its like is mute")
    return _say(alert, false_alarm, parse_duration_option("--for", for_), (state_dir, config))


def _say(
    alert: str, false_alarm: bool, mute_s: float, where: tuple[Path | None, Path | None]
) -> None:
    from logmlm.alerting.feedback import give_feedback
    from logmlm.alerting.queries import find_alert
    from logmlm.system.text import format_rfc3339

    now = time.time()
    with opened(*where) as state:
        known = find_alert(state, alert).alert
        verdict: Judgement = "false alarm" if false_alarm else "true"
        said = give_feedback(state, known, verdict, now, now + mute_s)
    if false_alarm:
        words = f"a false alarm; its like is mute until {format_rfc3339(said.until)}"
    else:
        words = "true"
    click.echo(f"alert {known.id} was {words}", err=True)


def _export(state_dir: Path | None, config: Path | None) -> None:
    from logmlm.alerting.feedback import list_feedback as all_feedback
    from logmlm.alerting.feedback import write_labels

    with opened(state_dir, config) as state:
        said = list(all_feedback(state))
    count = write_labels(said, sys.stdout)
    click.echo(f"{count} true alerts of {len(said)} that something was said of", err=True)


def _list(state_dir: Path | None, config: Path | None, output: str) -> None:
    from logmlm.alerting.feedback import list_feedback as all_feedback
    from logmlm.alerting.feedback import muted_patterns

    now = time.time()
    with opened(state_dir, config) as state:
        muted = muted_patterns(state, now)
        for said in all_feedback(state):
            mutes = now < said.until and said.alert.annotations.get("pattern") in muted
            _show(said, mutes, output)


def _show(said: Feedback, mutes: bool, output: str) -> None:
    from logmlm.system.text import format_rfc3339

    row = {
        "alert": said.alert.id,
        "at": format_rfc3339(said.at),
        "verdict": said.verdict,
        "mute_until": format_rfc3339(said.until) if mutes else None,
        "summary": said.alert.annotations.get("summary", ""),
    }
    if output == "json":
        click.echo(dump_json(row))
    else:
        row["mute_until"] = f"its like is mute until {row['mute_until']}" if mutes else "mutes none"
        click.echo("  ".join(str(word) for word in row.values()).rstrip())
