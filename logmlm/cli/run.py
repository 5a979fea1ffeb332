"""`logmlm run` and `validate`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from logmlm.cli.inputs import level_options
from logmlm.daemon.signals import exit_on_sigterm
from logmlm.errors import LogmlmError, UsageError
from logmlm.system.processes import raise_descriptor_limit

if TYPE_CHECKING:
    from logmlm.config.run import RunConfig

logger = logging.getLogger(__name__)


@click.command(short_help="Follow logs and raise alerts.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A YAML file.")
@click.option("--model", type=click.Path(path_type=Path), help="The model directory.")
@click.option("--follow", multiple=True, metavar="LOG", help="A log or glob to follow; repeatable.")
@click.option(
    "--webhook",
    metavar="URL|@FILE",
    help="POST alerts there as Alertmanager does. Everybody on the machine sees a command's words, "
    "so of a secret URL give the file that holds it.",
)
@click.option(
    "--from-beginning", is_flag=True, help="Read what is there; by default only new lines."
)
@click.option("--output", type=click.Choice(["json", "text"]), help="How alerts are printed.")
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where positions are kept.")
@click.option("--device", help="auto, cpu, cuda, … [default: auto]")
@click.option("--exact", is_flag=True, help="Score every window exactly.")
@level_options
@click.option("--http", metavar="ADDRESS", help="Metrics and health there, like 127.0.0.1:9464.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    help="The log on standard error. [default: auto, text on a terminal and JSON elsewhere]",
)
@click.option(
    "--stop-when-idle",
    type=click.FloatRange(min=0),
    metavar="S",
    help="End when no line came for S s, as if the input had ended.",
)
def run(
    config_file: Path | None,
    stop_when_idle: float | None,
    log_format: Literal["auto", "json", "text"] | None,
    **options: Any,
) -> None:
    """Follow logs, score their windows, and raise alerts, until SIGTERM.

    Either --config FILE, or --model DIR and --follow LOG. Alerts go to standard output (and to
    --webhook URL). A second start goes on where the first stopped. SIGHUP reads the config file,
    the secrets and the model anew.
    """
    with exit_on_sigterm():
        _run(partial(_config, config_file, options), stop_when_idle, log_format)


@click.command(short_help="Check a config file.")
@click.argument("file", type=click.Path(path_type=Path))
def validate(file: Path) -> None:
    """Check a config FILE, for training or for running: itself, the model, then this machine."""
    from logmlm.cli.preflight import check_config as check

    for sentence in check(file, os.environ):
        click.echo(sentence)


def _run(
    read: Callable[[], RunConfig],
    stop_when_idle: float | None,
    log_format: Literal["auto", "json", "text"] | None,
) -> None:
    config = read()
    raise_descriptor_limit()
    from logmlm.daemon.app import run_daemon
    from logmlm.daemon.log_setup import logging_configured

    own = config.log if log_format is None else config.log.model_copy(update={"format": log_format})
    with logging_configured(sys.stderr, own):
        try:
            run_daemon(config, out=sys.stdout, stop_when_idle=stop_when_idle, reread=read)
        except LogmlmError as error:
            logger.error("%s", error)
            sys.exit(error.exit_code)


def _config(config_file: Path | None, options: dict[str, Any]) -> RunConfig:
    from pydantic import ValidationError

    from logmlm.config.loader import read_run_config
    from logmlm.config.run import RunConfig

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
        named = next((name for name in ("webhook", "http") if name in first["loc"]), None)
        option = f"--{named or first['loc'][-1]}"
        raise UsageError(f"{option} {first['msg'].removeprefix('Value error, ')}") from error


def _sections(options: dict[str, Any]) -> dict[str, Any]:
    """The options as a run config; alerts are text where a person reads them."""
    output = options["output"] or ("text" if sys.stdout.isatty() else "json")
    sinks: list[dict[str, Any]] = [{"stdout": {"format": output}}]
    if options["webhook"]:
        url: str = options["webhook"]
        held = {"url_file": url[1:]} if url.startswith("@") else {"url": url}
        sinks.append({"webhook": held})
    start_at = "beginning" if options["from_beginning"] else "end"
    return {
        "model": {
            "path": options["model"],
            "device": options["device"] or "auto",
            "exact": options["exact"],
            "alerts_per_day": options["alerts_per_day"],
            "false_alarm_rate": options["false_alarm_rate"],
        },
        "source": {"file": {"include": options["follow"], "start_at": start_at}},
        "sinks": sinks,
        "state_dir": options["state_dir"],
        "http": {"listen": options["http"] or "off"},
    }
