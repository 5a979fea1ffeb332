"""`logmlm run` and `validate`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logmlm.errors import UsageError

if TYPE_CHECKING:
    from logmlm.runconfig import RunConfig


@click.command(short_help="Follow logs and raise alerts.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A YAML file.")
@click.option("--model", type=click.Path(path_type=Path), help="The model directory.")
@click.option("--follow", multiple=True, metavar="LOG", help="A log or glob to follow; repeatable.")
@click.option("--webhook", metavar="URL", help="POST alerts there as Alertmanager does.")
@click.option(
    "--from-beginning", is_flag=True, help="Read what is there; by default only new lines."
)
@click.option("--output", type=click.Choice(["json", "text"]), help="How alerts are printed.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where positions are kept.")
@click.option("--device", help="auto, cpu, cuda, … [default: auto]")
@click.option("--stop-when-idle", type=float, metavar="S", help="End when no line came for S s.")
def run(config_file: Path | None, stop_when_idle: float | None, **options: Any) -> None:
    """Follow logs, score their windows, and raise alerts, until SIGTERM.

    Either --config FILE, or --model DIR and --follow LOG. Alerts go to standard output (and to
    --webhook URL). A second start goes on where the first stopped.
    """
    config = _config(config_file, options)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="logmlm: %(message)s")
    from logmlm.daemon import run as run_daemon

    run_daemon(config, out=sys.stdout, stop_when_idle=stop_when_idle)


@click.command(short_help="Check a config file.")
@click.argument("file", type=click.Path(path_type=Path))
def validate(file: Path) -> None:
    """Check a config FILE, for training or for running: itself, the model, then this machine."""
    from logmlm.preflight import validate as check

    for sentence in check(file, os.environ):
        click.echo(sentence)


def _config(config_file: Path | None, options: dict[str, Any]) -> RunConfig:
    from pydantic import ValidationError

    from logmlm.configfile import read_run_config
    from logmlm.runconfig import RunConfig

    given = sorted(name for name, value in options.items() if value)
    if config_file is not None:
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise UsageError(f"{names} can't stand beside --config; write it into {config_file}")
        return read_run_config(config_file)
    if not options["model"] or not options["follow"]:
        raise UsageError("run needs --config FILE, or --model DIR and --follow LOG")
    try:
        return RunConfig.model_validate(_sections(options))
    except ValidationError as error:
        first = error.errors()[0]
        option = "--webhook" if "webhook" in first["loc"] else f"--{first['loc'][-1]}"
        raise UsageError(f"{option} {first['msg'].removeprefix('Value error, ')}") from error


def _sections(options: dict[str, Any]) -> dict[str, Any]:
    """The options as a run config; alerts are text where a person reads them."""
    output = options["output"] or ("text" if sys.stdout.isatty() else "json")
    sinks: list[dict[str, Any]] = [{"stdout": {"format": output}}]
    if options["webhook"]:
        sinks.append({"webhook": {"url": options["webhook"]}})
    start_at = "beginning" if options["from_beginning"] else "end"
    return {
        "model": {"path": options["model"], "device": options["device"] or "auto"},
        "source": {"file": {"include": options["follow"], "start_at": start_at}},
        "sinks": sinks,
        "state_dir": options["state_dir"],
    }
