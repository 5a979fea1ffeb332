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
from logmlm.daemon.control import Outside
from logmlm.daemon.pipeline import Pipeline, Turn
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
class Loaded:
    """What a configuration names, opened, before anything of it is at work."""

    config: RunConfig
    receivers: Sequence[Receiver]
    detector: Detector


class Maker(Protocol):
    """Makes parts of a configuration."""

    def read(self) -> RunConfig:
        """Read the configuration as it is now."""
        ...

    def load(self, config: RunConfig) -> Loaded:
        """Open the receivers' secrets and the model; nothing that runs is touched."""
        ...

    def alerting(self, loaded: Loaded, source: Source) -> AlertDispatcher:
        """Make the alerting that sends to the loaded receivers."""
        ...

    def remember(self, digest: str) -> None:
        """Note durably that positions are now those of the model with this digest."""
        ...


class Running:
    """What runs: `after_turn` tells the outside of each turn, and reloads where that is wished.

    A configuration that can't be used, whatever the reason, changes nothing; state that can't
    be read or written (StorageError) ends the daemon, as it does at any other time.
    """

    def __init__(  # noqa: PLR0913  two clocks, as in Pipeline
        self,
        maker: Maker,
        loaded: Loaded,
        source: Source,
        alerting: AlertDispatcher,
        outside: Outside,
        clock: Callable[[], float],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._maker = maker
        self._clock = clock
        self._source = source
        self._outside = outside
        self._loaded = loaded
        self._alerting = alerting
        self._is_closed = False
        self._reader = loaded.detector.event_parser()
        self.pipeline = Pipeline(
            source,
            self._reader,
            loaded.detector.windower(),
            self._judge(),
            alerting,
            clock,
            monotonic=monotonic,
        )
        self._watch = self._watched()
        self._skew = ClockSkewReporter(monotonic, source.describe)
        self._show_model()

    def after_turn(self, turn: Turn) -> None:
        """Tell of a turn, then reload if that was wished for."""
        self._outside.measured.read(turn.lines)
        if turn.committed:
            self._outside.measured.committed()
        self._outside.went_round(self._look)
        if self._outside.takes_reload():
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

    def _look(self) -> None:
        outliers = self.pipeline.outliers
        self._outside.measured.sample(self._source, self._reader, outliers)
        self._skew.report(outliers)
        self._outside.measured.waiting(self._alerting.waiting())
        self._outside.measured.dead(self._alerting.dead())
        self._outside.measured.dropped(self._alerting, self._alerting.dropped())
        self._watch.look(time.monotonic())
        self._outside.measured.model_files(self._watch.has_changed)

    def _reload(self) -> None:
        self._outside.reloading()
        complaint = self._exchange()
        if complaint:
            logger.error("reload refused; the old configuration stays: %s", complaint)
        else:
            logger.info("reloaded")
        self._outside.reloaded(complaint)

    def _exchange(self) -> str:
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
        self._put(loaded)
        return ""

    def _changeable(self, config: RunConfig) -> RunConfig:
        """The new configuration, with the old one's sections where only a restart changes them."""
        old = self._loaded.config
        changed = [name for name in FIXED if getattr(config, name) != getattr(old, name)]
        for name in changed:
            logger.warning("'%s' was changed; that takes effect at the next restart alone", name)
        return config.model_copy(update={name: getattr(old, name) for name in changed})

    def _is_another_model(self, loaded: Loaded) -> bool:
        is_same = loaded.detector.digest == self._loaded.detector.digest
        return not is_same or self._how(loaded) != self._how(self._loaded)

    @staticmethod
    def _how(loaded: Loaded) -> tuple[str, bool]:
        return loaded.config.model.device, loaded.config.model.exact

    def _put(self, loaded: Loaded) -> None:
        self._look()
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
            self.pipeline.change_model(self._reader, loaded.detector.windower(), self._judge())
            self._maker.remember(loaded.detector.digest)
            self._show_model()
            logger.info("another model scores from now on: %s", loaded.detector.manifest.name)

    def _watched(self) -> ModelWatch:
        return ModelWatch(self._loaded.config.model.path, self._loaded.detector.digest)

    def _judge(self) -> SurgeMonitor:
        detector = self._loaded.detector
        return detector.surge_monitor(self._outside.measured.timed(detector.score))

    def _show_model(self) -> None:
        found = self._loaded.detector
        self._outside.measured.model(found.manifest.name, found.digest, len(found.templates))
