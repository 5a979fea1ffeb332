"""`logmlm evaluate`, `score` and `explain`: finished logs against a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from heapq import nlargest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from logmlm.cli.inputs import (
    asked_level,
    engine_options,
    expanded,
    is_kafka,
    level_options,
    read_logs,
    reading_options,
    reject_foreign,
    reject_missing,
    reject_streams,
    reject_unused_address,
)

if TYPE_CHECKING:
    from logmlm.detection.alarm_level import AlarmLevel
    from logmlm.detection.detector import Detector
    from logmlm.records import Score, Window

model_argument = click.argument("model", type=click.Path(path_type=Path))
logs_argument = click.argument("logs", nargs=-1, required=True)
device_option = click.option("--device", default="auto", show_default=True)


exact_option = click.option(
    "--exact",
    is_flag=True,
    is_eager=True,  # known before --stride, which it rules out
    help="Score every window exactly, not only those that may alarm.",
)


def _stride(context: click.Context, _: click.Parameter, stride: int | None) -> int:
    from logmlm.errors import UsageError

    if stride and context.params.get("exact"):
        raise UsageError("--stride hides several events at once, so it can't be --exact; give one")
    return stride or 0


def stride_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that trades exactness for speed."""
    return click.option(
        "--stride",
        type=click.IntRange(min=2),
        callback=_stride,
        help="Hide every g-th event at once: g passes instead of one an event. [default: exact]",
    )(command)


@click.command(short_help="Measure a model on labelled logs.")
@model_argument
@logs_argument
@click.option("--labels", required=True, help="CSV of start,end or key,0/1; or in-line.")
@click.option("--report", type=click.Path(path_type=Path), help="Folder for plots and tables.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--oracle", is_flag=True, help="Add the best F1 any threshold could reach.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@level_options
@device_option
@exact_option
@stride_option
@reading_options
def evaluate(
    model: Path, logs: tuple[str, ...], labels: str, report: Path | None, output: str, **rest: Any
) -> None:
    """Measure MODEL on labelled LOGS, beside simple rules on the same windows."""
    import json

    from logmlm.cli.progress import ProgressDisplay
    from logmlm.evaluation.labels import Labels
    from logmlm.system.atomic_files import ensure_writable_dir

    if report is not None:
        ensure_writable_dir(report)
    level = asked_level(rest)
    logs = _checked(model, logs)
    known = Labels.in_line() if labels == "in-line" else Labels.read(Path(labels))
    from logmlm.evaluation.evaluate import evaluate_detector

    detector = _detector(model, rest["device"], rest["exact"], rest["stride"], level)
    with ProgressDisplay(rest["quiet"]) as progress:
        read = read_logs(logs, rest["kafka_config"], rest["keep_going"], progress.warn)
        windows = list(detector.windows(progress.track_lines(read)))
        shown = partial(progress.scoring, total=len(windows))
        found = evaluate_detector(
            detector, model, windows, known, oracle=rest["oracle"], show=shown
        )
    click.echo(
        json.dumps(found.evaluation.as_json(), indent=1)
        if output == "json"
        else found.evaluation.as_text()
    )
    if report is not None:
        found.write(report)


@click.command(short_help="Score every window and every line.")
@model_argument
@logs_argument
@click.option(
    "--output", type=click.Choice(["json", "csv", "parquet"]), default="json", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), help="File to write. [default: stdout]")
@click.option("--only-anomalies", is_flag=True, help="Windows at the threshold or above only.")
@click.option("--fail-on", type=click.Choice(["alert"]), help="Exit with 1 if a window alarms.")
@engine_options
@level_options
@device_option
@exact_option
@stride_option
@reading_options
def score(model: Path, logs: tuple[str, ...], output: str, out: Path | None, **rest: Any) -> None:
    """Score LOGS: a JSON object a window, or a CSV or Parquet row a line."""
    from logmlm.detection.score_files import (
        check_target,
        write_csv,
        write_json_lines,
        write_parquet,
    )
    from logmlm.errors import UsageError

    check_target(output, out)
    reject_unused_address(rest["engine"], rest["ray_address"])
    level = asked_level(rest)
    logs = _checked(model, logs)
    if rest["engine"] == "ray":
        if level is not None:
            raise UsageError("--engine ray works at the level that was trained for")
        identify, scores = _on_ray(model, logs, rest)
    else:
        detector = _detector(model, rest["device"], rest["exact"], rest["stride"], level)
        identify = _identify(detector.digest, logs)
        if any(map(is_kafka, logs)):
            windows = _windows(detector, logs, rest["kafka_config"], rest["keep_going"])
            scores = detector.scores(windows)
        else:
            scores = detector.score_files(logs, keep_going=rest["keep_going"], warn=_warn)
    alarms = _AnomalyCounter(scores, rest["only_anomalies"])
    if output == "parquet" and out is not None:
        write_parquet(alarms, identify, out)
    else:
        write = write_csv if output == "csv" else write_json_lines
        with _target(out) as stream:
            write(alarms, identify, stream)
    if rest["fail_on"] and alarms.count:
        sys.exit(1)


@click.command(short_help="Show anomalous windows and what was expected.")
@model_argument
@logs_argument
@click.option("--window", "wanted", help="The window of this id (or its beginning), whole.")
@click.option("--top", type=click.IntRange(min=1), help="The oddest N, even if none alarms.")
@level_options
@device_option
@exact_option
@reading_options
def explain(
    model: Path, logs: tuple[str, ...], wanted: str | None, top: int | None, **rest: Any
) -> None:
    """Show the anomalous windows of LOGS: their lines, the odd ones marked, what was expected."""
    from logmlm.errors import UsageError

    if wanted and top:
        raise UsageError("--window shows one window, and --top the oddest ones; give one")
    level = asked_level(rest)
    logs = _checked(model, logs)
    detector = _detector(model, rest["device"], rest["exact"], level=level)
    identify = _identify(detector.digest, logs)
    windows = _windows(detector, logs, rest["kafka_config"], rest["keep_going"])
    shown = 0
    for each in _chosen(detector.scores(windows), identify, wanted, top):
        _explain(detector, each, identify(each.window), whole=bool(wanted))
        shown += 1
    if wanted and not shown:
        raise UsageError(f"no window of these logs has the id {wanted}; logmlm score lists them")
    if not shown:
        click.echo("no window reaches the threshold; --top N shows the oddest ones", err=True)


def _chosen(
    scores: Iterator[Score], identify: Callable[[Window], str], wanted: str | None, top: int | None
) -> Iterator[Score]:
    """Return the windows to show: the one of an id, the oddest, or those that alarm."""
    if top:
        return iter(nlargest(top, scores, key=lambda each: each.value))
    if wanted:
        return (each for each in scores if identify(each.window).startswith(wanted))
    return (each for each in scores if each.is_anomaly)


def _explain(detector: Detector, score: Score, name: str, *, whole: bool) -> None:
    from logmlm.detection.explanation import format_explanation
    from logmlm.system.text import escape_unencodable

    colour = sys.stdout.isatty()
    found = detector.rescore_exact(score)
    text = format_explanation(found, detector.explain(found), name, colour, whole=whole)
    click.echo(escape_unencodable(f"{text}\n", sys.stdout.encoding), color=colour)


class _AnomalyCounter:
    """Scores as they pass by, those that alarm counted."""

    def __init__(self, scores: Iterator[Score], only: bool) -> None:
        self._scores = scores
        self._only = only
        self.count = 0

    def __iter__(self) -> Iterator[Score]:
        for found in self._scores:
            self.count += found.is_anomaly
            if found.is_anomaly or not self._only:
                yield found


def _checked(model: Path, logs: tuple[str, ...]) -> tuple[str, ...]:
    """Expand the logs, and refuse missing ones or no model before torch is imported."""
    from logmlm.detection.manifest import Manifest

    logs = expanded(logs)
    manifest = Manifest.read(model)
    reject_missing(logs)
    reject_foreign(manifest.format, logs)
    return logs


def _detector(
    model: Path, device: str, exact: bool, stride: int = 0, level: AlarmLevel | None = None
) -> Detector:
    from logmlm.system.device_names import reject_unknown_device
    from logmlm.system.processes import gc_frozen

    reject_unknown_device(device)
    from logmlm.detection.detector import Detector

    detector = Detector.load(model, device, stride, exact, level)
    click.get_current_context().with_resource(gc_frozen())
    return detector


def _identify(digest: str, logs: tuple[str, ...]) -> Callable[[Window], str]:
    """Ids as `logmlm run` gives them to the windows of a file or topic that it follows."""
    from dataclasses import replace

    from logmlm.detection.windows import window_id
    from logmlm.sources.archive.reader import partition_of

    files = {log for log in logs if not is_kafka(log)}
    names = cache(lambda name: partition_of(name) if name in files else name)
    return lambda window: window_id(digest, replace(window, partition=names(window.partition)))


def _windows(
    detector: Detector, logs: tuple[str, ...], kafka_config: Path | None, keep_going: bool
) -> Iterator[Window]:
    return detector.windows(read_logs(logs, kafka_config, keep_going, _warn), logs=logs)


def _on_ray(
    model: Path, logs: tuple[str, ...], told: dict[str, Any]
) -> tuple[Callable[[Window], str], Iterator[Score]]:
    from logmlm.detection.manifest import Manifest
    from logmlm.distributed.ray_cluster import ray_session
    from logmlm.distributed.ray_scoring import ScoreJob, score_on_ray

    reject_streams(logs)
    names = ("device", "exact", "stride", "keep_going", "only_anomalies")
    work = ScoreJob(model.absolute(), logs, **{name: told[name] for name in names})

    def found() -> Iterator[Score]:
        with ray_session(told["ray_address"]):
            yield from score_on_ray(work, _warn)

    return _identify(Manifest.read(model).digest, logs), found()


def _warn(sentence: str) -> None:
    click.echo(f"warning: {sentence}", err=True)


@contextmanager
def _target(out: Path | None) -> Iterator[TextIO]:
    from logmlm.system.atomic_files import ORDINARY, as_storage_error, atomic_path, is_special_file

    if out is None:
        yield sys.stdout
        return
    if is_special_file(out):
        with as_storage_error(out), out.open("w", encoding="utf-8") as stream:
            yield stream
        return
    with atomic_path(out, ORDINARY) as temporary, temporary.open("w", encoding="utf-8") as stream:
        yield stream
