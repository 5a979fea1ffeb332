"""`logmlm train`."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logmlm.cli.inputs import (
    engine_options,
    expanded,
    read_logs,
    reading_options,
    reject_missing,
    reject_streams,
    reject_unused_address,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from logmlm.cli.progress import ProgressDisplay
    from logmlm.config.training import TrainingConfig
    from logmlm.parsing.batches import LineBatch, ParserSpec
    from logmlm.parsing.parsed import ParsedBatch
    from logmlm.records import LogLine
    from logmlm.training.train import Parse


@click.command(short_help="Learn from normal logs; write a model directory.")
@click.argument("logs", nargs=-1)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A YAML file.")
@click.option("--out", type=click.Path(path_type=Path), help="The model directory to write.")
@click.option("--name", help="What alerts call the model. [default: the directory's name]")
@click.option("--format", help="Line format, or auto. [default: auto]")
@click.option("--message-field", help="The field of JSON lines that is the message.")
@click.option("--time-field", help="The field of JSON lines that is the time.")
@click.option("--level-field", help="The field of JSON lines that is the level.")
@click.option(
    "--window",
    type=click.Choice(["session", "count", "time"]),
    help="Window kind. [default: what fits the log]",
)
@click.option("--key", help="Session key: a field's name, or a regex over the message.")
@click.option("--gap", help="Idle time that ends a session, such as 30s. [default: 60s]")
@click.option("--size", help="Lines a window at most, 2 to 510; of time windows a duration: 10s.")
@click.option("--preset", type=click.Choice(["tiny", "small", "base"]), help="Encoder size.")
@click.option(
    "--positions",
    type=click.Choice(["auto", "rotary", "absolute"]),
    help="How order is known: by distances, or by places in the window. [default: auto]",
)
@click.option("--epochs", help="Passes over the windows, or auto. [default: auto]")
@click.option(
    "--budget", help="Time that training may take, such as 5m; none. [default: 5m on CPU]"
)
@click.option("--patience", type=int, help="Epochs without a better validation loss. [default: 0]")
@click.option("--seed", type=int, help="Same seed, same CPU, same weights. [default: 0]")
@click.option("--device", help="auto, cpu, cuda, cuda:1, … [default: auto]")
@click.option("--alerts-per-day", type=float, help="False alarms a day. [default: 1]")
@click.option("--false-alarm-rate", type=float, help="Share of normal windows that alarm.")
@click.option("--contamination", type=float, help="Share of odd windows to leave out. [default: 0]")
@click.option(
    "--new-errors/--no-new-errors",
    default=None,
    help="Let a never-seen line alarm by itself if it is an error. [default: yes]",
)
@click.option("--exactness", type=float, help="Share of exact alerts kept. [default: 0.9999]")
@click.option("--folds", help="Cross-fit with so many models, 2 or more; 0 never. [default: auto]")
@click.option("--labels", help="CSV of windows to leave out, or in-line for a label column.")
@engine_options
@reading_options
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
def train(logs: tuple[str, ...], config_file: Path | None, quiet: bool, **options: Any) -> None:
    """Learn from normal LOGS (plain, .gz, .xz, .zst, or - for stdin); write a model directory.

    Whatever --config FILE says, the options beside it win. On several GPUs: torchrun
    --nproc-per-node N -m logmlm train …. With --engine ray the LOGS are read and parsed there.
    """
    reject_unused_address(options["engine"], options["ray_address"])
    from logmlm.training.options import training_config

    config = training_config(logs, options["out"], config_file, options)
    config = config.model_copy(update={"logs": expanded(config.logs)})
    if os.environ.get("RANK", "0") == "0":  # torchrun's others need no logs
        reject_missing(config.logs)
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        _train_main(config, options, quiet)
        return
    from logmlm.mlm.process_group import init_process_group
    from logmlm.mlm.trainer import run_worker

    with init_process_group() as ranks:
        if ranks.is_main:
            _train_main(config, options, quiet)
        else:
            run_worker()


def _train_main(config: TrainingConfig, told: dict[str, Any], quiet: bool) -> None:
    """All of it but the other processes' parts of the batches, where there are others."""
    from logmlm.cli.progress import ProgressDisplay
    from logmlm.training.train import Reporter, parse_locally
    from logmlm.training.train import train as train_model

    with ProgressDisplay(quiet) as progress, ExitStack() as ray:
        session = Reporter(progress.say, progress.report)
        if told["engine"] == "ray":
            lines, parse = _on_ray(config.logs, told, progress, ray)
        else:
            read = read_logs(config.logs, told["kafka_config"], told["keep_going"], progress.warn)
            lines, parse = progress.track_lines(read), parse_locally
        manifest = train_model(config, lines, session, parse)
    if not quiet:
        click.echo(_summary(config.out, manifest.metrics), err=True)


def _on_ray(
    logs: tuple[str, ...], told: dict[str, Any], progress: ProgressDisplay, ray: ExitStack
) -> tuple[Iterator[LogLine], Parse]:
    """The first lines, and how to have all of them parsed on Ray, which ends once that is done.

    It starts now: what is wrong with it is said before anything is read.
    """
    from logmlm.distributed.ray_cluster import ray_session
    from logmlm.distributed.ray_parsing import ParseJob, parse_on_ray
    from logmlm.records import one_by_one
    from logmlm.sources.archive.reader import read_lines
    from logmlm.training.window_proposal import PROPOSAL_LINES

    reject_streams(logs)
    ray.enter_context(ray_session(told["ray_address"], progress.is_quiet))

    def parse(_: Iterable[LogLine], parsing: ParserSpec) -> Iterator[tuple[LineBatch, ParsedBatch]]:
        yield from parse_on_ray(ParseJob(logs, parsing, told["keep_going"]), progress.warn)
        ray.close()

    # What they warn of is told again when all is read.
    lines = one_by_one(read_lines(logs, time.time(), told["keep_going"]))
    return islice(lines, PROPOSAL_LINES), parse


def _summary(out: Path, metrics: dict[str, float]) -> str:
    perplexity, accuracy = metrics["perplexity"], metrics["masked_accuracy"]
    return (
        f"wrote {out}: on held-out windows perplexity {perplexity:.3f},"
        f" masked accuracy {accuracy:.1%}"
    )
