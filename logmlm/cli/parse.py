"""`logmlm parse`: what is read of each line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logmlm.cli.inputs import expanded, read_logs, reading_options, reject_missing
from logmlm.errors import ConfigError, UsageError
from logmlm.records import BlankLines, LogLine

if TYPE_CHECKING:
    from logmlm.parsing.event_parser import EventParser
    from logmlm.parsing.template_miner import TemplateMiner
    from logmlm.records import Event

SHOWN_LEFT_OUT = 20
"""So many lines that were left out are shown; the others are counted."""
_OPTIONS = ("format_name", "timezone", "message_field", "time_field", "level_field")


@click.command(short_help="Show what is read of each line.")
@click.argument("logs", nargs=-1, required=True)
@click.option("--format", "format_name", help="Line format, or auto. [default: auto]")
@click.option("--timezone", help="Of times that name none, such as Europe/Berlin. [default: UTC]")
@click.option("--message-field", help="The field of JSON lines that is the message.")
@click.option("--time-field", help="The field of JSON lines that is the time.")
@click.option("--level-field", help="The field of JSON lines that is the level.")
@click.option("--model", type=click.Path(path_type=Path), help="Read as this model does.")
@reading_options
def parse(
    logs: tuple[str, ...],
    model: Path | None,
    kafka_config: Path | None,
    keep_going: bool,
    **options: str | None,
) -> None:
    """Show what is read of LOGS: a JSON object an event.

    With --model also its key, template id and template. Lines that become no event are told on
    standard error, with the reason.
    """
    logs = expanded(logs)
    reject_missing(logs)
    lines = read_logs(logs, kafka_config, keep_going, _warn)
    reader, templates, lines = _opened(model, options, lines)
    left_out: Counter[str] = Counter()
    for event in _events(reader, lines, left_out):
        click.echo(json.dumps(_row(event, templates), ensure_ascii=True))
    for reason, count in sorted(left_out.items()):
        _warn(f"{count:,} lines left out: {reason}")
    for doubt in reader.find_warnings():
        _warn(doubt)


def _opened(
    model: Path | None, options: dict[str, str | None], lines: Iterator[LogLine]
) -> tuple[EventParser, TemplateMiner | None, Iterator[LogLine]]:
    """Return a reader, the model's templates if one is named, and the lines."""
    from logmlm.config.training import FormatConfig
    from logmlm.detection.event_parsing import event_parser_for
    from logmlm.detection.manifest import Manifest
    from logmlm.parsing.event_parser import EventParser
    from logmlm.parsing.template_miner import TemplateMiner
    from logmlm.training.train import choose_format

    given = {name: value for name, value in options.items() if value is not None}
    if model is not None:
        if given:
            first = next(name for name in _OPTIONS if name in given)
            option = "--" + first.removesuffix("_name").replace("_", "-")
            raise UsageError(f"{option} can't stand beside --model, which fixes how lines are read")
        manifest = Manifest.read(model)
        templates = TemplateMiner.read(model / "templates.json")
        return event_parser_for(manifest, templates, finished=True), templates, lines
    if "format_name" in given:
        given["name"] = given.pop("format_name")
    config = FormatConfig.model_validate(given)
    try:
        line_format, lines = choose_format(config, lines, lambda said: click.echo(said, err=True))
    except ConfigError as error:
        raise UsageError(str(error)) from error
    multiline = config.named(line_format.name).multiline
    return EventParser(line_format, None, lambda _: "", multiline, finished=True), None, lines


def _events(
    reader: EventParser, lines: Iterable[LogLine], left_out: Counter[str]
) -> Iterator[Event]:
    """Yield the events, and tell of each line that becomes none; a file's last event ends there."""
    before: Counter[str] = Counter()
    partition = None
    for line in lines:
        if partition not in (None, line.partition):
            yield from reader.flush()
        partition = line.partition
        for part in _parts(line, reader, left_out):
            yield from reader.feed([part])
            now = reader.discarded
            for reason, count in (now - before).items():
                left_out[reason] += count if isinstance(part, BlankLines) else 1
                if left_out.total() <= SHOWN_LEFT_OUT and reason != "blank":
                    _tell(part, reason)
            before = Counter(now)  # the reader goes on counting in its own
    yield from reader.flush()


def _parts(line: LogLine, reader: EventParser, left_out: Counter[str]) -> Iterator[LogLine]:
    """Take a run of empty lines apart as long as each line that is left out is told.

    The first one may end what was held back, so that it is always by itself.
    """
    if not isinstance(line, BlankLines):
        yield line
        return
    for place in range(line.lines):
        is_told = left_out.total() < SHOWN_LEFT_OUT
        if place and not is_told and not reader.needs_single_blank:
            yield line.part(place, line.lines)
            return
        yield LogLine(*line.part(place, place + 1))


def _tell(line: LogLine, reason: str) -> None:
    from logmlm.detection.explanation import printable

    click.echo(f"{line.partition}:{line.number}: {reason}: {printable(line.text)}", err=True)


def _row(event: Event, templates: TemplateMiner | None) -> dict[str, Any]:
    """Return an event as JSON; `time_from` says whether the time is the line's own."""
    from logmlm.system.text import format_rfc3339

    fields, line = event.fields, event.line
    _, *joined = line.text.split("\n")
    row: dict[str, Any] = {
        "time": format_rfc3339(event.timestamp),
        "time_from": "line" if fields.timestamp is not None else "context",
        "level": fields.level,
        "message": fields.message,
        "attributes": dict(fields.attributes),
        "joined": joined,
        "file": line.partition,
        "line": line.number,
    }
    if templates is not None:
        found = templates.get(event.template_id)
        row |= {
            "key": event.key,
            "template_id": event.template_id,
            "template": None if found is None else found.text,
        }
    return row


def _warn(sentence: str) -> None:
    click.echo(f"warning: {sentence}", err=True)
