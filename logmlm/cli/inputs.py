"""What LOG… on the command line names: files, standard input, and Kafka topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logmlm.errors import DataError, LogmlmError, UsageError
from logmlm.sources.kafka.url import SCHEME, KafkaUrl

if TYPE_CHECKING:
    from logmlm.config.training import FormatConfig
    from logmlm.detection.alarm_level import AlarmLevel
    from logmlm.records import LogLine
    from logmlm.sources.kafka.topic_reader import TopicReader

WarnFunction = Callable[[str], None]
SHORT_LINES = 2_000
"""Lines of logs that are looked at before a model is opened."""


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of how logs are read."""
    command = click.option(
        "--kafka-config",
        type=click.Path(path_type=Path),
        help="YAML for kafka:// LOGs: a run config, or the keys of its source.kafka.",
    )(command)
    return click.option(
        "--keep-going", is_flag=True, help="Use what could be read of a damaged archive."
    )(command)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of where the work is done."""
    command = click.option(
        "--ray-address", help="Join a Ray cluster, such as 10.0.0.5:6379. [default: start one here]"
    )(command)
    return click.option(
        "--engine",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="This process and its helpers, or Ray (pip install 'logmlm[ray]').",
    )(command)


def level_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of how many false alarms there may be, where that is not what was trained for."""
    command = click.option(
        "--false-alarm-rate",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Share of normal windows that alarm, in place of what was trained for.",
    )(command)
    return click.option(
        "--alerts-per-day",
        type=click.FloatRange(min=0, min_open=True),
        help="False alarms a day, in place of what was trained for. All is scored exactly.",
    )(command)


def asked_level(options: dict[str, Any]) -> AlarmLevel | None:
    """Return what `level_options` were given; None where nothing was.

    Raises:
        UsageError: both were.

    """
    from logmlm.detection.alarm_level import AlarmLevel

    given = options["alerts_per_day"], options["false_alarm_rate"]
    if None not in given:
        raise UsageError("give --alerts-per-day or --false-alarm-rate, not both")
    return None if given == (None, None) else AlarmLevel(*given)


def reject_unused_address(engine: str, address: str | None) -> None:
    """See that a cluster is named for Ray alone.

    Raises:
        UsageError: one is named, and the work is done here.

    """
    if engine != "ray" and address is not None:
        raise UsageError("--ray-address counts with --engine ray alone; say both, or neither")


def reject_streams(logs: Sequence[str]) -> None:
    """See that all are files, which several machines can read, as often as they like.

    Raises:
        UsageError: one is a topic, a pipe, or standard input.

    """
    from logmlm.sources.archive.reader import STDIN

    for log in logs:
        if is_kafka(log):
            raise UsageError("--engine ray reads files; take topics of Kafka without it")
        path = Path(log)  # of a directory the reading says what to do
        if log == STDIN or (path.exists() and not (path.is_file() or path.is_dir())):
            raise UsageError(f"--engine ray reads files, which can be read twice; not {log}")


def reject_missing(logs: Sequence[str]) -> None:
    """See that files are there and hold something, before much is imported for them.

    Raises:
        DataError: all are empty.
        StorageError: one is missing or can't be read.

    """
    from logmlm.sources.archive.reader import require_nonempty

    if not any(map(is_kafka, logs)):
        require_nonempty(logs)


def reject_foreign(config: FormatConfig, logs: Sequence[str]) -> None:
    """See that lines of short logs are of a format, before much is imported for them.

    Logs of more than `SHORT_LINES`, and what can't be read twice, are looked at as they are read.

    Raises:
        FormatError: not one line is.

    """
    from logmlm.parsing.event_parser import EventParser, require_matching_format
    from logmlm.parsing.formats import get_format
    from logmlm.records import one_by_one
    from logmlm.sources.archive.reader import read_lines

    if not all(Path(log).is_file() for log in logs):
        return
    try:
        read = one_by_one(read_lines(logs, time.time(), warn=lambda _: None))
        lines = list(islice(read, SHORT_LINES + 1))
    except LogmlmError:
        return  # it is said by who reads it
    reader = EventParser(get_format(config), None, lambda _: "", config.multiline, finished=True)
    reader.feed(lines)
    reader.flush()
    misfits, of = reader.unmatched
    if of and len(lines) <= SHORT_LINES:
        require_matching_format(misfits, of, config.name)


def expanded(logs: Sequence[str]) -> tuple[str, ...]:
    """Files for paths and globs; addresses of Kafka stay as they are.

    Raises:
        UsageError: an address of Kafka is none.

    """
    from logmlm.sources.archive.reader import expand

    for log in filter(is_kafka, logs):
        KafkaUrl.parse(log, time.time())  # a mistake is told before a model is opened
    return tuple(
        dict.fromkeys(name for log in logs for name in ([log] if is_kafka(log) else expand([log])))
    )


def read_logs(
    logs: Sequence[str], kafka_config: Path | None, keep_going: bool, warn: WarnFunction
) -> Iterator[LogLine]:
    """All lines of what is named: of files first, then of topics. Topics are opened at once.

    Raises:
        UsageError: an address of Kafka is none.
        ConfigError: `kafka_config` can't be used.
        DataError: a log is empty or can't be used.
        StorageError: a file or topic is missing or can't be read.
        UnreachableError: Kafka is out of reach.

    """
    from logmlm.sources.archive.reader import read_lines

    now = time.time()
    addresses = [KafkaUrl.parse(log, now) for log in logs if is_kafka(log)]
    files = [log for log in logs if not is_kafka(log)]
    with ExitStack() as stack:
        topics = [_opened(each, kafka_config, warn, stack) for each in addresses]
        _reject_empty(addresses, topics, bool(files), warn)
        if files:
            yield from read_lines(files, now, keep_going, warn)
        for topic in topics:
            yield from topic.lines()


def is_kafka(log: str) -> bool:
    """Whether a LOG is an address of Kafka."""
    return log.startswith(SCHEME)


def _opened(
    address: KafkaUrl, kafka_config: Path | None, warn: WarnFunction, stack: ExitStack
) -> TopicReader:
    from logmlm.config.loader import read_kafka_config
    from logmlm.sources.kafka.topic_reader import TopicReader

    config = read_kafka_config(kafka_config, address.section())
    return stack.enter_context(closing(TopicReader(config, address, time.monotonic, warn)))


def _reject_empty(
    addresses: Sequence[KafkaUrl], topics: Sequence[TopicReader], others: bool, warn: WarnFunction
) -> None:
    empty = [
        f"{address.topic}: no records from 'since' to 'until'"
        for address, topic in zip(addresses, topics, strict=True)
        if topic.is_empty
    ]
    if empty and len(empty) == len(topics) and not others:
        raise DataError("; ".join(empty))
    for sentence in empty:
        warn(sentence)
