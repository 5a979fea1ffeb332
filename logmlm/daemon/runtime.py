"""The parts at work, and how others take their place while lines flow."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from logmlm.alerting.delivery import Receiver
from logmlm.alerting.dispatcher import AlertDispatcher
from logmlm.config.run import RunConfig
from logmlm.daemon.control import ControlPlane
from logmlm.daemon.pipeline import Pipeline, StepResult
from logmlm.detection.model_watch import ModelWatch
from logmlm.detection.skew_report import ClockSkewReporter
from logmlm.detection.surges import SurgeMonitor
from logmlm.errors import LogmlmError
from logmlm.sources.base import Source

if TYPE_CHECKING:
    from logmlm.detection.detector import Detector

FIXED = ("source", "state_dir", "http", "log")
"""Sections that only a restart changes."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """What a configuration names, opened, before anything of it is at work."""

    config: RunConfig
    receivers: Sequence[Receiver]
    detector: Detector


class Components(Protocol):
    """Makes parts of a configuration."""

    def read(self) -> RunConfig:
        """Read the configuration as it is now."""
        ...

    def load(self, config: RunConfig) -> LoadedConfig:
        """Open the receivers' secrets and the model; nothing that runs is touched."""
        ...

    def alerting(self, loaded: LoadedConfig, source: Source) -> AlertDispatcher:
        """Make the alerting that sends to the loaded receivers."""
        ...

    def remember(self, digest: str) -> None:
        """Note durably that positions are now those of the model with this digest."""
        ...


class DaemonRuntime:
    """What runs: `after_step` tells the outside of each turn, and reloads where that is wished.

    A configuration that can't be used, whatever the reason, changes nothing; state that can't
    be read or written (StorageError) ends the daemon, as it does at any other time.
    """

    def __init__(  # noqa: PLR0913  two clocks, as in Pipeline
        self,
        maker: Components,
        loaded: LoadedConfig,
        source: Source,
        alerting: AlertDispatcher,
        outside: ControlPlane,
        clock: Callable[[], float],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._maker = maker
        self._clock = clock
        self._source = source
        self._control = outside
        self._loaded = loaded
        self._alerting = alerting
        self._is_closed = False
        self._reader = loaded.detector.event_parser()
        self.pipeline = Pipeline(
            source,
            self._reader,
            loaded.detector.windower(),
            self._timed_monitor(),
            alerting,
            clock,
            monotonic=monotonic,
        )
        self._watch = self._watched()
        self._skew = ClockSkewReporter(monotonic, source.describe)
        self._show_model()

    def after_step(self, turn: StepResult) -> None:
        """Tell of a turn, then reload if that was wished for."""
        self._control.measured.read(turn.lines)
        if turn.committed:
            self._control.measured.committed()
        self._control.heartbeat(self._check_reload)
        if self._control.takes_reload():
            self._reload()

    def close(self, flush: bool = True) -> None:
        """End the alerting, once; `flush` lets it send what is due first."""
        if not self._is_closed:
            self._is_closed = True
            self._alerting.close(self._clock(), flush)
            if flush:
                self.pipeline.commit()  # past those alerts too that were accepted only now

    def undelivered(self) -> str:
        """Say how many alerts wait for which receivers, and why; empty where none does."""
        waiting, failures = self._alerting.waiting(), self._alerting.failures()
        return ", ".join(
            f"{count} for sink {name}" + (f" ({failures[name]})" if name in failures else "")
            for name, count in waiting.items()
            if count
        )

    def _check_reload(self) -> None:
        outliers = self.pipeline.outliers
        self._control.measured.sample(self._source, self._reader, outliers)
        self._skew.report(outliers)
        self._control.measured.waiting(self._alerting.waiting())
        self._control.measured.dead(self._alerting.dead())
        self._control.measured.dropped(self._alerting, self._alerting.dropped())
        self._watch.check(time.monotonic())
        self._control.measured.model_files(self._watch.has_changed)

    def _reload(self) -> None:
        self._control.reloading()
        complaint = self._try_reload()
        if complaint:
            logger.error("reload refused; the old configuration stays: %s", complaint)
        else:
            logger.info("reloaded")
        self._control.reloaded(complaint)

    def _try_reload(self) -> str:
        """Put what the configuration names now in place; say why not, if that can't be done."""
        try:
            loaded = self._maker.load(self._changeable(self._maker.read()))
            if not self._is_another_model(loaded):
                loaded = replace(loaded, detector=self._loaded.detector)
        except LogmlmError as error:
            return str(error)
        except Exception as error:  # whatever is wrong with the new must not end the old
            logger.exception("the reload failed unexpectedly")
            return f"internal error ({type(error).__name__})"
        self._swap(loaded)
        return ""

    def _changeable(self, config: RunConfig) -> RunConfig:
        """The new configuration, with the old one's sections where only a restart changes them."""
        old = self._loaded.config
        changed = [name for name in FIXED if getattr(config, name) != getattr(old, name)]
        for name in changed:
            logger.warning("'%s' was changed; that takes effect at the next restart alone", name)
        return config.model_copy(update={name: getattr(old, name) for name in changed})

    def _is_another_model(self, loaded: LoadedConfig) -> bool:
        is_same = loaded.detector.digest == self._loaded.detector.digest
        return not is_same or self._describe_change(loaded) != self._describe_change(self._loaded)

    @staticmethod
    def _describe_change(loaded: LoadedConfig) -> tuple[str, bool]:
        return loaded.config.model.device, loaded.config.model.exact

    def _swap(self, loaded: LoadedConfig) -> None:
        self._check_reload()
        is_another = loaded.detector is not self._loaded.detector
        self._loaded = loaded
        self._watch = self._watched()
        self._alerting.close(
            self._clock(), flush=False
        )  # what still sends is waited for in its thread
        self._alerting = self._maker.alerting(loaded, self._source)
        self.pipeline.change_alerting(self._alerting)
        if is_another:
            self._reader = loaded.detector.event_parser()
            self._source.model_changed(loaded.detector.digest)
            self.pipeline.change_model(
                self._reader, loaded.detector.windower(), self._timed_monitor()
            )
            self._maker.remember(loaded.detector.digest)
            self._show_model()
            logger.info("another model scores from now on: %s", loaded.detector.manifest.name)

    def _watched(self) -> ModelWatch:
        return ModelWatch(self._loaded.config.model.path, self._loaded.detector.digest)

    def _timed_monitor(self) -> SurgeMonitor:
        detector = self._loaded.detector
        return detector.surge_monitor(self._control.measured.timed(detector.score))

    def _show_model(self) -> None:
        found = self._loaded.detector
        self._control.measured.model(found.manifest.name, found.digest, len(found.templates))
