"""The daemon: builds the parts that a configuration names, runs the loop, stops cleanly.

State directory:

    checkpoints.json     who the followed files are, and where to read them again
    journal.json         where to read the journal again
    state.db             alerts (to be delivered, dead letters), silences, feedback
    state.db-tally       the number of its last transaction
    model.json           digest of the model that the checkpoints were made with
    lock                 held while a daemon uses the directory
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from logmlm.alerting.alert_builder import build_alert, redacted
from logmlm.alerting.delivery import Receiver, ThreadedDelivery
from logmlm.alerting.dispatcher import AlertDispatcher
from logmlm.alerting.queries import STATE
from logmlm.alerting.receivers import build_receivers
from logmlm.alerting.store.database import StateDatabase
from logmlm.config.run import RunConfig, RunModelConfig
from logmlm.daemon.control import ControlPlane
from logmlm.daemon.metrics import DaemonMetrics
from logmlm.daemon.runtime import DaemonRuntime, LoadedConfig
from logmlm.daemon.signals import GRACE_S, ShutdownSignal, ShutdownTimeout
from logmlm.daemon.silences_api import SilencesApi
from logmlm.daemon.state_dir import default_state_dir
from logmlm.detection.alarm_level import AlarmLevel
from logmlm.detection.explanation import format_explanation
from logmlm.detection.manifest import Manifest
from logmlm.detection.windows import window_id
from logmlm.errors import ConfigError, StorageError, UndeliveredError, UsageError
from logmlm.records import WINDOW_RULES, Alert, Score
from logmlm.sources.base import Source
from logmlm.sources.registry import ModelInfo, SourceContext, create_source
from logmlm.system.atomic_files import PRIVATE, PRIVATE_DIRECTORY, write_json
from logmlm.system.device_names import reject_unknown_device
from logmlm.system.processes import freeze_gc

if TYPE_CHECKING:
    from logmlm.detection.detector import Detector

STDIN_DESCRIPTOR = 0
LOCAL_SOURCES = frozenset({"file", "journald", "stdin"})
"""Sources whose lines are this machine's unless they say otherwise."""
MODEL_NOTE = "model.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DaemonContext:
    """What the daemon has from outside: its input, its clocks, its luck, its environment.

    `environment` None is the process's own. `grace_s` is how long the work at hand may take
    after a signal to stop, in true seconds.
    """

    stdin: int = STDIN_DESCRIPTOR
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    environment: Mapping[str, str] | None = None
    grace_s: float = GRACE_S
    host: str = field(default_factory=socket.gethostname)


DEFAULT_CONTEXT = DaemonContext()


def run_daemon(
    config: RunConfig,
    *,
    out: TextIO,
    stop_when_idle: float | None = None,
    load: Callable[[RunModelConfig], Detector] | None = None,
    world: DaemonContext = DEFAULT_CONTEXT,
    reread: Callable[[], RunConfig] | None = None,
) -> None:
    """Follow, score and alert until SIGTERM or SIGINT, or until nothing came for so many seconds.

    Returns after a clean stop: the batch at hand was finished, what is due was sent once, and
    the positions were committed. Where time did not suffice for that (`STOP_S` after the signal
    all is over), the next start does it. Alerts for standard output go to `out`; `load` opens
    the model of a config (None: `Detector.load`). At a SIGHUP the configuration is read anew by
    `reread` (None: it stays, but secrets and model are read again).

    Raises:
        ConfigError: a secret's file can't be used, or nothing can listen at `http.listen`.
        UnreachableError: another program listens there.
        ModelError: the model can't be used.
        StorageError: the state can't be read or written, or another daemon uses it.
        UndeliveredError: it ended by itself, and alerts wait that no receiver took.

    """
    environment = os.environ if world.environment is None else world.environment
    directory = resolve_state_dir(config, environment)
    _warn_lost_state(directory)
    measured = DaemonMetrics(version("logmlm"), world.clock)
    silences = SilencesApi(directory / STATE, world.clock)
    with (
        lock_state_dir(directory),
        ShutdownSignal(world.grace_s) as stop,
        _ended_in_time(),
        ControlPlane(config.http, environment, measured, wishes=stop, silences=silences) as outside,
        closing(StateDatabase(directory / STATE)) as state,
    ):
        maker = ComponentFactory(
            state, out, world, load or _load, measured, reread or (lambda: config), stop.time_left
        )
        loaded = maker.load(config)
        with closing(_source(config, directory, world, stop, loaded.detector)) as source:
            running = _prepared(maker, loaded, source, outside, world)
            source.begin()
            outside.started()
            logger.info("ready; state in %s", directory)
            _run(running, stop, stop_when_idle, outside)
            waiting = running.undelivered()
        if waiting:
            _warn_undelivered(waiting, directory, told_to_stop=stop.is_set())
    logger.info("stopped")


def _warn_undelivered(waiting: str, directory: Path, *, told_to_stop: bool) -> None:
    """Say that alerts wait; a daemon that was told to stop has ended well all the same."""
    sentence = f"alerts wait in {directory}: {waiting}; the next start there sends them"
    if not told_to_stop:
        raise UndeliveredError(sentence)
    logger.warning("%s", sentence)


def _warn_lost_state(directory: Path) -> None:
    state = directory / STATE
    if (directory / MODEL_NOTE).exists() and not state.exists():
        logger.warning("%s is gone: alerts that waited, silences and feedback are lost", state)


@contextmanager
def _ended_in_time() -> Iterator[None]:
    """Take `ShutdownTimeout` for the end that it is, wherever it came: in the start, say."""
    try:
        yield
    except ShutdownTimeout:
        logger.warning("stopped in the midst of work, which the next start does again")


def _run(
    running: DaemonRuntime,
    stop: ShutdownSignal,
    stop_when_idle: float | None,
    outside: ControlPlane,
) -> None:
    is_done = False
    try:
        with _ended_in_time():
            running.pipeline.run(stop.is_set, stop_when_idle, running.after_step)
            is_done = True
    finally:
        stop.disarm()
        outside.stopping()
        running.close(flush=is_done)


@dataclass(frozen=True, slots=True)
class ComponentFactory:
    """Makes the parts that a configuration names; see `Components` in reloading.py."""

    state: StateDatabase
    out: TextIO
    world: DaemonContext
    open_model: Callable[[RunModelConfig], Detector]
    measured: DaemonMetrics
    read: Callable[[], RunConfig]
    left: Callable[[], float]

    @property
    def model_note(self) -> Path:
        """The file that says which model the positions are of."""
        return self.state.path.parent / MODEL_NOTE

    def load(self, config: RunConfig) -> LoadedConfig:
        """Read the receivers' secrets, and open the model."""
        found = [
            self._counted(each) for each in build_receivers(config, self.out, self.world.clock)
        ]
        return LoadedConfig(config, found, self.open_model(config.model))

    def alerting(self, loaded: LoadedConfig, source: Source) -> AlertDispatcher:
        """Make the alerting over what the state holds."""
        return AlertDispatcher(
            self.state,
            loaded.receivers,
            make=self._alert_maker(loaded, source),
            random=self.world.random,
            delivery=lambda workers: ThreadedDelivery(workers, self.world.clock, left=self.left),
            on_new_alert=lambda _: self.measured.alert("firing"),
            now=self.world.clock(),
        )

    def remember(self, digest: str) -> None:
        """Note which model the positions are of."""
        write_json(self.model_note, _note(digest))

    def _counted(self, receiver: Receiver) -> Receiver:
        return replace(receiver, send=self.measured.counted(receiver.name, receiver.send))

    def _alert_maker(self, loaded: LoadedConfig, source: Source) -> Callable[[Score], Alert]:
        detector = loaded.detector
        redact = loaded.config.redact.redactor()
        labels = {**loaded.config.labels, "source": source.name, "model": detector.manifest.name}
        host = {"host": self.world.host} if source.name in LOCAL_SOURCES else {}

        def make(score: Score) -> Alert:
            expectations = detector.explain(score)
            identity = window_id(detector.digest, score.window)
            return build_alert(
                score,
                expectations,
                digest=detector.digest,
                labels=labels,
                origin=(origin := source.describe(score.window.partition)),
                defaults={**host, **({"file": origin} if Path(origin).is_absolute() else {})},
                description=format_explanation(*redacted(score, expectations, redact), identity),
                redact=redact,
            )

        return make


def resolve_state_dir(config: RunConfig, environment: Mapping[str, str]) -> Path:
    """The configured directory, or systemd's, or the user's (XDG Base Directory).

    Raises:
        ConfigError: there is none.

    """
    if config.state_dir is not None:
        return config.state_dir
    return default_state_dir(environment)


@contextmanager
def lock_state_dir(directory: Path) -> Iterator[None]:
    """Make the state directory, and hold it for this process alone.

    Raises:
        StorageError: it can't be made, or another process holds it.

    """
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        (directory / "lock").touch(PRIVATE)
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


def _load(model: RunModelConfig) -> Detector:
    Manifest.read(model.path)  # before torch is imported, which takes seconds
    try:
        reject_unknown_device(model.device)
        from logmlm.detection.detector import Detector

        detector = Detector.load(
            model.path, model.device, exact=model.exact, level=AlarmLevel.of(model)
        )
    except UsageError as error:
        raise ConfigError(f"'model.device': {error}") from error
    freeze_gc()
    promise = detector.calibration.promise
    if promise.is_beyond_reach:
        logger.warning(
            "the model works at the strictest level that its training carries, not at the asked"
            " one: %s; train on more logs",
            promise.expected(),
        )
    return detector


def _source(
    config: RunConfig,
    directory: Path,
    world: DaemonContext,
    stop: ShutdownSignal,
    detector: Detector,
) -> Source:
    model = ModelInfo(detector.manifest.name, detector.digest)
    around = SourceContext(
        directory, world.clock, stop.wait, world.stdin, model, stop.time_left, world.monotonic
    )
    return create_source(config.source, around)


def _prepared(
    maker: ComponentFactory,
    loaded: LoadedConfig,
    source: Source,
    outside: ControlPlane,
    world: DaemonContext,
) -> DaemonRuntime:
    _rewind_for_new_model(source, loaded.detector.digest, maker.model_note)
    alerting = maker.alerting(loaded, source)
    return DaemonRuntime(
        maker, loaded, source, alerting, outside, world.clock, monotonic=world.monotonic
    )


def _rewind_for_new_model(source: Source, digest: str, path: Path) -> None:
    """Make windows that were open under another model's rules come out whole under this one's.

    `reached` says which windows were scored before; it means nothing to other rules.
    """
    try:
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) == _note(digest):
            return
    except (OSError, ValueError) as error:
        raise StorageError(f"can't read {path}: {error}; move it away") from error
    old = source.checkpoints()
    source.commit({name: at.rewound() for name, at in old.items()})
    write_json(path, _note(digest))


def _note(digest: str) -> dict[str, str | int]:
    """Say what decides which windows the positions are of."""
    return {"digest": digest, "rules": WINDOW_RULES}
