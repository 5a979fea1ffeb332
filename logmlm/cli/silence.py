"""`logmlm silence`: alerts with certain labels of which nobody is to hear for a while."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logmlm.cli.state_options import (
    opened,
    output_option,
    parse_duration_option,
    parse_time_option,
    state_options,
)
from logmlm.errors import UsageError
from logmlm.system.text import dump_json

if TYPE_CHECKING:
    from logmlm.alerting.silences import Silence


@click.group(short_help="Mute alerts by their labels for a while.")
def silence() -> None:
    """Silences in the state of a daemon, which heeds them at once."""


@silence.command()
@click.argument("matchers", nargs=-1, required=True, metavar="MATCHER...")
@click.option("--for", "for_", metavar="DURATION", help="How long, like 2h.")
@click.option("--until", metavar="TIME", help="The end, like 2024-05-06T07:08:09Z.")
@click.option("--comment", default="", help="Why.")
@click.option("--author", default="", help="Who. [default: the user]")
@state_options
@output_option
def add(
    matchers: tuple[str, ...],
    for_: str | None,
    until: str | None,
    state_dir: Path | None,
    config: Path | None,
    **rest: str,
) -> None:
    """Mute new alerts that all MATCHERs match, such as severity=info or 'host=~web.*'."""
    import getpass

    from logmlm.alerting.label_matchers import LabelMatcher
    from logmlm.alerting.silences import add_silence

    if (for_ is None) == (until is None):
        raise UsageError("give either --for or --until; a silence has an end")
    now = time.time()
    end = (
        now + parse_duration_option("--for", for_)
        if for_
        else parse_time_option("--until", until or "")
    )
    parsed = [LabelMatcher.parse(text) for text in matchers]
    words = {"comment": rest["comment"], "created_by": rest["author"] or getpass.getuser()}
    with opened(state_dir, config) as state:
        _show(add_silence(state, parsed, now, (now, end), **words), rest["output"], now)


@silence.command("list")
@click.option("--expired", is_flag=True, help="Those that have ended, too.")
@state_options
@output_option
def list_(expired: bool, state_dir: Path | None, config: Path | None, output: str) -> None:
    """List silences: id, end, matchers, author, comment."""
    from logmlm.alerting.silences import list_silences

    now = time.time()
    with opened(state_dir, config) as state:
        for found in list_silences(state):
            if expired or found.ends_at > now:
                _show(found, output, now)


@silence.command()
@click.argument("silence_id", metavar="SILENCE")
@state_options
@output_option
def expire(silence_id: str, state_dir: Path | None, config: Path | None, output: str) -> None:
    """End the SILENCE of an id (or its beginning) now."""
    from logmlm.alerting.silences import expire_silence

    now = time.time()
    with opened(state_dir, config) as state:
        _show(expire_silence(state, silence_id, now), output, now)


def _show(found: Silence, output: str, now: float) -> None:
    from logmlm.system.text import format_rfc3339

    matchers = [str(matcher) for matcher in found.matchers]
    row = {
        "id": found.id,
        "active": found.is_active(now),
        "starts_at": format_rfc3339(found.starts_at),
        "ends_at": format_rfc3339(found.ends_at),
        "matchers": matchers,
        "created_by": found.created_by,
        "comment": found.comment,
    }
    if output == "json":
        click.echo(dump_json(row))
    else:
        word = "until" if row["active"] else "ended"
        words = (found.id, word, row["ends_at"], " ".join(matchers), found.created_by)
        click.echo("  ".join(map(str, (*words, found.comment))).rstrip())
