"""Metrics of a daemon that has worked."""

from collections import Counter
from types import SimpleNamespace

import daemon_parts
from prometheus_client.parser import text_string_to_metric_families

from logmlm.records import DeliveryResult


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def series(metrics):
    """Each series of the exposition, by name and labels."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def worked(metrics):
    """A little of everything, so that every series is there."""
    metrics.reloaded(True)
    metrics.read(7)
    metrics.committed()
    metrics.model("m", "0123456789abcdef", 12)
    metrics.timed(lambda _: [daemon_parts.score("a", value=1.5)])([None])
    metrics.counted("hook", lambda _: DeliveryResult("later", "HTTP 503 Busy"))(None)
    metrics.alert("firing")
    metrics.waiting({"hook": 3})
    metrics.dead({"hook": 2})
    metrics.dropped(metrics, {"hook": 1})
    source = SimpleNamespace(name="file", lag=lambda: {"p": 90, "q": 9})
    source.discarded = Counter(cut=2, gap=1)
    metrics.sample(source, SimpleNamespace(discarded=Counter(blank=4)), SimpleNamespace(count=3))
    return metrics
