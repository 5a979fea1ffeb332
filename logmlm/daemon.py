"""The daemon: builds the parts that a configuration names, runs the loop, stops cleanly.

State directory:

    checkpoints.json     who the followed files are, and where to read them again
    outbox.json          alerts that are still to be delivered
    dead-letters.jsonl   alerts that no retry will deliver, with the reason
    model.json           digest of the model that the checkpoints were made with
    lock                 held while a daemon uses the directory
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from logmlm.alerting import Alerting, Receiver
from logmlm.alerts import make_alert
from logmlm.errors import ConfigError, StorageError
from logmlm.explanation import render
from logmlm.outbox import DeadLetters, Outbox
from logmlm.pipeline import Pipeline
from logmlm.records import Alert, Score, window_id
from logmlm.runconfig import RunConfig
from logmlm.signals import Stop
from logmlm.sinkconfig import SinkConfig, StdoutConfig
from logmlm.sinks.stdout import StdoutSink
from logmlm.sinks.webhook import WebhookSink
from logmlm.sourceconfig import StdinSourceConfig
from logmlm.sources.base import Source
from logmlm.sources.checkpoints import Checkpoints
from logmlm.sources.file import FileSource
from logmlm.sources.stdin import StdinSource
from logmlm.storage import write_json

if TYPE_CHECKING:
    from logmlm.detector import Detector

STDIN_DESCRIPTOR = 0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class World:
    """What the daemon has from outside: its input, its clock, its luck, its environment.

    `environment` None is the process's own.
    """

    stdin: int = STDIN_DESCRIPTOR
    clock: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    environment: Mapping[str, str] | None = None


PROCESS = World()


def run(
    config: RunConfig,
    *,
    out: TextIO,
    stop_when_idle: float | None = None,
    load: Callable[[Path, str], Detector] | None = None,
    world: World = PROCESS,
) -> None:
    """Follow, score and alert until SIGTERM or SIGINT, or until nothing came for so many seconds.

    Returns after a clean stop: the batch at hand was finished, what is due was sent once, and
    the positions were committed. Alerts for standard output go to `out`; `load` opens a model
    directory on a device (None: `Detector.load`).

    Raises:
        ConfigError: a secret's file can't be used.
        ModelError: the model can't be used.
        StorageError: the state can't be read or written, or another daemon uses it.

    """
    environment = os.environ if world.environment is None else world.environment
    directory = state_directory(config, environment)
    with locked(directory), Stop() as stop:
        receivers = [_receiver(sink, out, world) for sink in config.sinks]
        detector = (load or _load)(config.model.path, config.model.device)
        with closing(_source(config, directory, world, stop, detector)) as source:
            _forget_cuts_of_another_model(source, detector.digest, directory / "model.json")
            pipeline = Pipeline(
                source,
                detector.reader(),
                detector.windower(),
                detector.score,
                _alerting(config, directory, detector, source, receivers, world),
                world.clock,
            )
            logger.info("ready; state in %s", directory)
            pipeline.run(stop.is_set, stop_when_idle)
    logger.info("stopped")


def state_directory(config: RunConfig, environment: Mapping[str, str]) -> Path:
    """The configured directory, or systemd's, or the user's (XDG Base Directory).

    Raises:
        ConfigError: there is none.

    """
    if config.state_dir is not None:
        return config.state_dir
    if systemd := environment.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    if state := environment.get("XDG_STATE_HOME"):
        return Path(state) / "logmlm"
    if home := environment.get("HOME"):
        return Path(home) / ".local" / "state" / "logmlm"
    raise ConfigError("there is no home directory to keep state in; give 'state_dir'")


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make the state directory, and hold it for this process alone.

    Raises:
        StorageError: it can't be made, or another process holds it.

    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (directory / "lock").open("a+")
    except OSError as error:
        raise StorageError(f"can't use {directory} for state: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(
                f"another logmlm uses {directory}; stop it, or give this one its own state_dir"
            ) from error
        yield


def _load(path: Path, device: str) -> Detector:
    from logmlm.detector import Detector

    return Detector.load(path, device)


def _source(
    config: RunConfig, directory: Path, world: World, stop: Stop, detector: Detector
) -> Source:
    if config.source.kafka is not None:
        from logmlm.sources.kafka import KafkaSource

        return KafkaSource(
            config.source.kafka,
            group=f"logmlm-{detector.manifest.name}",
            model=detector.digest,
            clock=world.clock,
            wait=stop.wait,
        )
    if config.source.file is not None:
        checkpoints = Checkpoints(directory / "checkpoints.json")
        return FileSource(config.source.file, checkpoints, clock=world.clock, wait=stop.wait)
    stdin = config.source.stdin or StdinSourceConfig()
    return StdinSource(stdin, world.stdin, clock=world.clock)


def _receiver(config: SinkConfig, out: TextIO, world: World) -> Receiver:
    if config.webhook is not None:
        webhook = WebhookSink(config.webhook, clock=world.clock)
        return Receiver(webhook.name, webhook.send, config.webhook.max_retries)
    if config.kafka is not None:
        from logmlm.sinks.kafka import KafkaSink

        kafka = KafkaSink(config.kafka)
        return Receiver(kafka.name, kafka.send, config.kafka.max_retries)
    stdout = StdoutSink(config.stdout or StdoutConfig(), out)
    return Receiver(stdout.name, stdout.send)


def _alerting(
    config: RunConfig,
    directory: Path,
    detector: Detector,
    source: Source,
    receivers: Sequence[Receiver],
    world: World,
) -> Alerting:
    labels = {**config.labels, "source": source.name, "model": detector.manifest.name}

    def make(score: Score) -> Alert:
        expectations = detector.explain(score)
        return make_alert(
            score,
            expectations,
            digest=detector.digest,
            labels=labels,
            origin=source.origin(score.window.partition),
            description=render(score, expectations, window_id(detector.digest, score.window)),
        )

    return Alerting(
        Outbox(directory / "outbox.json"),
        DeadLetters(directory / "dead-letters.jsonl"),
        receivers,
        make=make,
        random=world.random,
    )


def _forget_cuts_of_another_model(source: Source, digest: str, path: Path) -> None:
    """Make windows that were open under another model's rules come out whole under this one's.

    `reached` says which windows were scored before; it means nothing to other rules.
    """
    try:
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) == {"digest": digest}:
            return
    except (OSError, ValueError) as error:
        raise StorageError(f"can't read {path}: {error}; move it away") from error
    old = source.checkpoints()
    source.commit({name: replace(at, reached=at.safe) for name, at in old.items()})
    write_json(path, {"digest": digest})
