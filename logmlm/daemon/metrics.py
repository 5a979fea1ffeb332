"""What the daemon counts and measures, as Prometheus reads it.

Labels have few values, from fixed sets or from the configuration: never a path, a template,
or an error's text (https://prometheus.io/docs/practices/naming/).

Prometheus counters of what others count by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric

from logmlm.alerting.delivery import REASONS, failure_reason
from logmlm.records import (
    UNKNOWN_TEMPLATE,
    DeliveryResult,
    GroupStatus,
    Notification,
    Score,
    Window,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
VALUE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Upper bounds for a window's value, around the threshold, which is 1.0."""
SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
THRESHOLD = 1.0
UNKNOWN_OVER = 10_000
"""The share of unknown lines is over about so many of the last ones."""
STATUSES: tuple[GroupStatus, ...] = ("firing", "resolved")

ScoreFunction = Callable[[Sequence[Window]], list[Score]]
SendFunction = Callable[[Notification], DeliveryResult]


class MirroredCounter:
    """Makes a counter with one label follow totals that someone else counts.

    Another owner's totals start anew, and are added to what was counted before.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._owner: object = None
        self._seen: dict[str, int] = {}

    def follow(self, owner: object, totals: Mapping[str, int]) -> None:
        """Count what came since the last call, by the label's values."""
        if owner is not self._owner:
            self._owner, self._seen = owner, {}
        for name, total in totals.items():
            self._counter.labels(name).inc(max(0, total - self._seen.get(name, 0)))
            self._seen[name] = total


@runtime_checkable
class Lagging(Protocol):
    """A source that knows how far it is behind."""

    def lag(self) -> Mapping[str, int]:
        """What waits to be read, by partition: bytes of files, records of Kafka."""
        ...


class DaemonMetrics:
    """The daemon's metrics, in a registry of their own.

    The loop writes and a scrape in another thread reads; each value has its lock. Whether a
    counter follows what others count is sampled, so a scrape may be some seconds behind.
    `clock` tells UTC epoch seconds.
    """

    def __init__(self, version: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._scoring = _ScoringMetrics(registry)
        self._paging = _AlertMetrics(registry)
        self._reading = _InputMetrics(registry, clock)
        _gauge(registry, "build_info", "Always 1; the version.", "version").labels(version).set(1)
        self._reload_ok = _gauge(
            registry,
            "config_last_reload_successful",
            "Whether the last reload took effect; the start counts as one.",
        )
        self._model_changed = _gauge(
            registry,
            "model_directory_changed",
            "Whether the model directory holds something else than the model in use.",
        )
        self._reload_at = _gauge(
            registry,
            "config_last_reload_success_timestamp_seconds",
            "When the configuration that is in use was read.",
        )

    def collect(self) -> Iterator[Metric]:
        """All metrics, without the times of creation, which cost a series each."""
        for metric in self._registry.collect():
            kept = [one for one in metric.samples if not one.name.endswith("_created")]
            if kept and not metric.name.endswith("_created"):
                metric.samples = kept
                yield metric

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text format, as `CONTENT_TYPE` says."""
        return generate_latest(self)

    def value(self, name: str, **labels: str) -> float:
        """The value of one series now; 0 where there is none."""
        return self._registry.get_sample_value(f"logmlm_{name}", labels) or 0.0

    def summary(self) -> str:
        """Say what was done so far, in one sentence."""
        lines, windows = (f"{self.value(n):,.0f}" for n in ("lines_total", "windows_scored_total"))
        alerts = self.value("alerts_total", status="firing")
        return f"{lines} lines read, {windows} windows scored, {alerts:,.0f} alerts"

    def reloaded(self, succeeded: bool) -> None:
        """Note how a reload, or the start, went."""
        self._reload_ok.set(succeeded)
        if succeeded:
            self._reload_at.set(self._clock())

    def read(self, lines: int) -> None:
        """Count lines that a source handed over."""
        self._reading.lines.inc(lines)

    def committed(self) -> None:
        """Note that read positions were committed now."""
        self._reading.committed_at = self._clock()

    def sample(self, source: object, reader: Any, outliers: Any = None) -> None:
        """Take over what a source and a reader count by themselves.

        A source may be `Lagging`. Both it and a reader may have a count of what they
        `discarded`, by reasons of few words. `outliers` have a `count` of lines with wrong clocks.
        """
        self._reading.sample(source, reader)
        self._reading.follow_outliers(outliers)

    def model(self, name: str, digest: str, templates: int) -> None:
        """Note the model in use, in place of the one before."""
        self._scoring.info.clear()
        self._scoring.info.labels(name, digest[:12]).set(1)
        self._scoring.templates.set(templates)

    def model_files(self, have_changed: bool) -> None:
        """Note whether the model directory holds something else than the model in use."""
        self._model_changed.set(have_changed)

    def timed(self, judge: ScoreFunction) -> ScoreFunction:
        """The same scoring, measured."""
        return lambda windows: self._scoring.measure(judge, windows)

    def counted(self, receiver: str, send: SendFunction) -> SendFunction:
        """The same sending, with its outcomes counted."""
        self._paging.begin(receiver)
        return lambda notice: self._paging.count(receiver, notice, send)

    def alert(self, status: GroupStatus) -> None:
        """Count an alert that fires or is resolved."""
        self._paging.alerts.labels(status).inc()

    def waiting(self, alerts: Mapping[str, int]) -> None:
        """Note how many alerts wait for each receiver."""
        self._paging.keep(alerts)
        for receiver, count in alerts.items():
            self._paging.waiting.labels(receiver).set(count)

    def dropped(self, owner: object, alerts: Mapping[str, int]) -> None:
        """Take over how many alerts of each receiver were lost, as `owner` counts them."""
        self._paging.dropped.follow(owner, alerts)

    def dead(self, letters: Mapping[str, int]) -> None:
        """Note how many dead letters there are of each receiver, also of those that are gone."""
        self._paging.lie(letters)


class _InputMetrics:
    """What comes in."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self.committed_at = clock()
        self.lines = _counter(registry, "lines", "Lines that the source handed over.")
        self._discarded = MirroredCounter(
            _counter(registry, "lines_discarded", "Lines in no window, by reason.", "reason")
        )
        about = "Lines that are part of the one before, and records over a line's first, by reason."
        self._joined = MirroredCounter(_counter(registry, "lines_joined", about, "reason"))
        self._source = MirroredCounter(
            _counter(registry, "source_events", "What a source had to count.", "kind")
        )
        about = "Lines on which a user's pattern took too long, by what the pattern is."
        self._overruns = MirroredCounter(_counter(registry, "pattern_overruns", about, "pattern"))
        about = "Lines with a time far ahead of the lines around them, or of their receipt."
        self._skewed = _counter(registry, "lines_clock_skew", about)
        self._outliers: tuple[object, int] = (None, 0)
        about = "What the source has not read yet: bytes of files, records of Kafka."
        self._lag = _gauge(registry, "source_lag", about, "source")
        age = _gauge(registry, "commit_age_seconds", "Seconds since positions were committed.")
        age.set_function(lambda: max(0.0, clock() - self.committed_at))

    def sample(self, source: object, reader: Any) -> None:
        self._discarded.follow(reader, getattr(reader, "discarded", {}))
        self._joined.follow(reader, getattr(reader, "joined", {}))
        self._overruns.follow(reader, getattr(reader, "overruns", {}))
        self._source.follow(source, getattr(source, "discarded", {}))
        if isinstance(source, Lagging):
            self._lag.labels(getattr(source, "name", "")).set(sum(source.lag().values()))

    def follow_outliers(self, outliers: Any) -> None:
        owner, seen = self._outliers
        count = getattr(outliers, "count", 0)
        self._skewed.inc(count - (seen if outliers is owner else 0))
        self._outliers = outliers, count


class _ScoringMetrics:
    """What becomes of it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = _gauge(registry, "model_info", "Always 1; the model.", "model", "digest")
        self.templates = _gauge(registry, "templates", "Templates that the model knows.")
        _gauge(registry, "threshold", "The value from which a window alarms.").set(THRESHOLD)
        self._windows = _counter(registry, "windows_scored", "Windows that were scored.")
        about = "Windows scored exactly, because a look did not clear them."
        self._exact = _counter(registry, "windows_exact", about)
        about = "Windows that the look had cleared, scored exactly to see whether it is right."
        self._checked = _counter(registry, "windows_checked", about)
        about = "Of the windows checked, those that alarm: the look would have missed them."
        self._missed = _counter(registry, "windows_missed", about)
        self._seconds = _histogram(
            registry, "score_seconds", "Seconds for scoring the windows at hand.", SECONDS_BUCKETS
        )
        self._values = _histogram(
            registry, "window_score", "Values of windows; 1 is the threshold.", VALUE_BUCKETS
        )
        self._ratio = _gauge(
            registry,
            "unknown_template_ratio",
            f"Share of lines without a learned template, of about the last {UNKNOWN_OVER:,}.",
        )
        self._unknown = self._events = 0.0

    def measure(self, judge: ScoreFunction, windows: Sequence[Window]) -> list[Score]:
        began = time.perf_counter()
        scores = judge(windows)
        self._seconds.observe(time.perf_counter() - began)
        for score in scores:
            self._values.observe(score.value)
            self._events += len(score.window.events)
            self._unknown += [each.template_id for each in score.window.events].count(
                UNKNOWN_TEMPLATE
            )
        stages = [score.stage for score in scores]
        self._windows.inc(len(windows))
        self._exact.inc(stages.count("exact"))
        self._checked.inc(stages.count("checked") + stages.count("missed"))
        self._missed.inc(stages.count("missed"))
        if self._events:
            self._ratio.set(self._unknown / self._events)
        if self._events > UNKNOWN_OVER:
            self._events, self._unknown = self._events / 2, self._unknown / 2
        return scores


class _AlertMetrics:
    """What goes out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.alerts = _counter(
            registry, "alerts", "Alerts that began, or whose end a receiver was told.", "status"
        )
        for status in STATUSES:
            self.alerts.labels(status)
        self.waiting = _gauge(registry, "alerts_waiting", "Alerts to be delivered.", "receiver")
        self._dead = _gauge(registry, "dead_letters", "Alerts in the dead letters.", "receiver")
        about = "Alerts lost: too many lay in the dead letters."
        self._dropped = _counter(registry, "alerts_dropped", about, "receiver")
        self.dropped = MirroredCounter(self._dropped)
        self._sent = _counter(registry, "notifications", "Notifications tried.", "receiver")
        self._receivers, self._lying = set[str](), set[str]()
        about = "Notifications that a receiver did not take, by reason."
        self._failed = _counter(registry, "notifications_failed", about, "receiver", "reason")

    def begin(self, receiver: str) -> None:
        self._receivers.add(receiver)
        self.waiting.labels(receiver)
        self._dropped.labels(receiver)
        self._sent.labels(receiver)
        for reason in REASONS:
            self._failed.labels(receiver, reason)

    def keep(self, receivers: Collection[str]) -> None:
        """Forget receivers that are gone: what waited for them waits no longer."""
        for receiver in self._receivers - set(receivers):
            self._receivers.discard(receiver)
            self.waiting.remove(receiver)
            self._dropped.remove(receiver)
            self._sent.remove(receiver)
            for reason in REASONS:
                self._failed.remove(receiver, reason)

    def lie(self, letters: Mapping[str, int]) -> None:
        for receiver in self._lying - self._receivers - set(letters):
            self._dead.remove(receiver)
        self._lying = self._receivers | set(letters)
        for receiver in self._lying:
            self._dead.labels(receiver).set(letters.get(receiver, 0))

    def count(
        self, receiver: str, notification: Notification, send: SendFunction
    ) -> DeliveryResult:
        delivery = None
        try:
            delivery = send(notification)
        finally:
            self._sent.labels(receiver).inc()  # tried, and not on its way any more
            if delivery is None:
                self._failed.labels(receiver, "other").inc()
            self.begin(receiver)  # or series of one that went meanwhile would stay
        if delivery.outcome != "accepted":
            self._failed.labels(receiver, failure_reason(delivery)).inc()
        elif notification.status == "resolved":
            self.alerts.labels("resolved").inc(len(notification.alerts))
        return delivery


def _counter(registry: CollectorRegistry, name: str, about: str, *labels: str) -> Counter:
    return Counter(f"logmlm_{name}", about, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, about: str, *labels: str) -> Gauge:
    return Gauge(f"logmlm_{name}", about, labels, registry=registry)


def _histogram(
    registry: CollectorRegistry, name: str, about: str, buckets: Sequence[float]
) -> Histogram:
    return Histogram(f"logmlm_{name}", about, registry=registry, buckets=buckets)
