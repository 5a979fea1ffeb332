"""A running daemon's metrics, told to a person: how far it is, what it finds, who takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from logmlm.config.server import ServerAddress
from logmlm.errors import UnreachableError, UsageError

TIMEOUT_S = 5.0
BAR_CHARACTERS = 40
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what to ask where all listen
LabelSet = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    """What became of a receiver's notifications; `failures` by reason; `dead` letters, if any."""

    sent: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """A daemon at one moment; rates are over the seconds between two looks.

    `lag` is in the source's own unit. `scores` counts windows by the upper bound of their
    value, "+Inf" last.
    """

    url: str
    version: str
    ready: bool
    healthy: bool
    model: str
    templates: int
    lines: int
    lines_per_s: float
    windows: int
    windows_per_s: float
    unknown_share: float
    lag: Mapping[str, float]
    discarded: Mapping[str, int]
    committed_s_ago: float
    last_reload_took_effect: bool
    alerts: Mapping[str, int]
    scores: Mapping[str, int]
    receivers: Mapping[str, ReceiverStatus]

    def as_dict(self) -> dict[str, Any]:
        """The status as JSON holds it."""
        return asdict(self)


class Scrape:
    """One answer of `/metrics`: samples by name and labels."""

    def __init__(self, text: str) -> None:
        """Read the text.

        Raises:
            UnreachableError: it is no metrics of logmlm.

        """
        self._samples: dict[str, dict[LabelSet, float]] = {}
        try:
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    labels = tuple(sorted(sample.labels.items()))
                    self._samples.setdefault(sample.name, {})[labels] = sample.value
        except (ValueError, KeyError) as error:
            raise UnreachableError("what answers there gives no metrics") from error
        if "logmlm_build_info" not in self._samples:
            raise UnreachableError("what answers there is no logmlm")

    def value(self, name: str) -> float:
        """A series without labels; 0 where there is none."""
        return self._samples.get(f"logmlm_{name}", {}).get((), 0.0)

    def by_label(self, label: str, name: str) -> dict[str, float]:
        """The series of a metric by one of their labels."""
        return {dict(labels)[label]: value for labels, value in self.all(name)}

    def all(self, name: str) -> Iterator[tuple[LabelSet, float]]:
        """The series of a metric with their labels."""
        yield from self._samples.get(f"logmlm_{name}", {}).items()


def address_url(listen: ServerAddress) -> str:
    """Where to ask a daemon on this machine that listens there."""
    return f"http://{ServerAddress(LOOPBACK.get(listen.host, listen.host), listen.port)}"


def fetch(url: str, interval_s: float, wait: Callable[[float], object]) -> DaemonStatus:
    """Ask a daemon twice, `interval_s` apart.

    Raises:
        UnreachableError: nothing answers there, or something that is no logmlm.
        UsageError: the address is none.

    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"'{url}' is no address such as http://127.0.0.1:9464")
    before = Scrape(_get(url, "/metrics").text)
    wait(interval_s)
    now = Scrape(_get(url, "/metrics").text)
    ready, healthy = (_get(url, path).ok for path in ("/-/ready", "/-/healthy"))
    return _status(url, before, now, interval_s, (ready, healthy))


def _get(url: str, path: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands before a daemon on this machine
        try:
            answer = session.get(url + path, timeout=TIMEOUT_S, allow_redirects=False)
        except (requests.RequestException, ValueError) as error:
            raise UnreachableError(
                f"nothing answers at {url}; does the daemon run, and is 'http.listen' given?"
            ) from error
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
        raise UnreachableError(f"{url}{path} answers with HTTP {answer.status_code}")
    return answer


def _status(
    url: str, before: Scrape, now: Scrape, interval_s: float, state: tuple[bool, bool]
) -> DaemonStatus:
    def rate(name: str) -> float:
        return max(0.0, now.value(name) - before.value(name)) / max(interval_s, 1e-9)

    return DaemonStatus(
        url=url,
        version=next(iter(now.by_label("version", "build_info"))),
        ready=state[0],
        healthy=state[1],
        model=next(iter(now.by_label("model", "model_info")), ""),
        templates=int(now.value("templates")),
        lines=int(now.value("lines_total")),
        lines_per_s=rate("lines_total"),
        windows=int(now.value("windows_scored_total")),
        windows_per_s=rate("windows_scored_total"),
        unknown_share=now.value("unknown_template_ratio"),
        lag=now.by_label("source", "source_lag"),
        discarded=_whole(now.by_label("reason", "lines_discarded_total")),
        committed_s_ago=now.value("commit_age_seconds"),
        last_reload_took_effect=bool(now.value("config_last_reload_successful")),
        alerts=_whole(now.by_label("status", "alerts_total")),
        scores=_scores(now.by_label("le", "window_score_bucket")),
        receivers=_receivers(now),
    )


def _config(status: DaemonStatus) -> str:
    if status.last_reload_took_effect:
        return "in force"
    return "LAST RELOAD REFUSED; see the log" if status.model else "being read; it starts"


def _whole(values: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in values.items()}


def _scores(cumulated: Mapping[str, float]) -> dict[str, int]:
    """How many are in each bucket alone: Prometheus counts all up to its bound."""
    counts, below = {}, 0.0
    for bound in sorted(cumulated, key=float):
        counts[bound] = int(cumulated[bound] - below)
        below = cumulated[bound]
    return counts


def _receivers(now: Scrape) -> dict[str, ReceiverStatus]:
    waiting, dead = (
        now.by_label("receiver", "alerts_waiting"),
        now.by_label("receiver", "dead_letters"),
    )
    failures: dict[str, dict[str, int]] = {}
    for labels, value in now.all("notifications_failed_total"):
        if value:
            names = dict(labels)
            failures.setdefault(names["receiver"], {})[names["reason"]] = int(value)
    sent = now.by_label("receiver", "notifications_total")
    return {
        name: ReceiverStatus(
            int(tried) - sum(failures.get(name, {}).values()),
            failures.get(name, {}),
            int(waiting.get(name, 0)),
            int(dead.get(name, 0)),
        )
        for name, tried in (dict.fromkeys(dead, 0.0) | dict(sent)).items()
    }


def format_status(status: DaemonStatus) -> str:
    """The status for a terminal."""
    state = "ready" if status.ready else "NOT READY"
    state += ", healthy" if status.healthy else ", NOT HEALTHY"
    lag = ", ".join(f"{value:,.0f} ({name})" for name, value in status.lag.items()) or "unknown"
    rows = [
        f"logmlm {status.version} at {status.url}: {state}",
        "",
        f"model      {status.model or 'none yet'}, {status.templates:,} templates",
        f"lines      {status.lines:,} read, {status.lines_per_s:,.0f}/s, lag {lag}"
        + _reasons(status.discarded, ", {} left out"),
        f"windows    {status.windows:,} scored, {status.windows_per_s:,.1f}/s,"
        f" {status.unknown_share:.1%} of the last lines unknown",
        f"positions  committed {status.committed_s_ago:,.0f} s ago",
        "config     " + _config(status),
        f"alerts     {status.alerts.get('firing', 0):,} began,"
        f" {status.alerts.get('resolved', 0):,} ended",
        "",
        "scores of windows (an alert from 1.0 on)",
        *_bars(status.scores),
        "",
        "receivers",
        *(_receiver(name, each) for name, each in status.receivers.items()),
    ]
    return "\n".join(rows) + "\n"


def _bars(counts: Mapping[str, int]) -> list[str]:
    """A bar for each bucket from the first to the last that holds anything."""
    held = [index for index, count in enumerate(counts.values()) if count]
    if not held:
        return ["  none yet"]
    most = max(counts.values())
    shown = list(counts.items())[held[0] : held[-1] + 1]
    return [
        f"  {'over' if bound == '+Inf' else 'to ' + bound:>8}  "
        f"{'█' * max(bool(count), round(BAR_CHARACTERS * count / most))} {count:,}"
        for bound, count in shown
    ]


def _receiver(name: str, receiver: ReceiverStatus) -> str:
    state = "WAITING" if receiver.waiting else "ok"
    dead = f", {receiver.dead:,} dead letters" if receiver.dead else ""
    return (
        f"  {name}: {state}, {receiver.sent:,} sent, {receiver.waiting:,} waiting{dead}"
        + _reasons(receiver.failures, ", {} tries failed")
    )


def _reasons(counts: Mapping[str, int], words: str) -> str:
    """A sum with what it is made of; nothing where it is 0."""
    some = [f"{name} {count:,}" for name, count in counts.items() if count]
    return words.format(f"{sum(counts.values()):,}") + f" ({', '.join(some)})" if some else ""
