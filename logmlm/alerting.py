"""Which alerts are sent, to whom, and when again."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from logmlm.outbox import MAX_WAITING, DeadLetters, Outbox
from logmlm.records import Alert, Delivery, Notification, Score

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 300.0
MAX_RETRY_AFTER_S = 3600.0
"""The longest that a receiver's Retry-After is honoured."""
BATCH = 20
"""Alerts that one call sends to one receiver at most."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A sink's name, how to send to it, and how often one alert is tried again."""

    name: str
    send: Callable[[Notification], Delivery]
    max_retries: int = 100


@dataclass(slots=True)
class _Retry:
    attempts: int = 0
    due: float = 0.0


class Alerting:
    """Makes alerts of odd scores, and delivers each to every receiver at least once, in order.

    An alert is durable when `update` returns, before any position is committed; one whose id
    was stored before is not stored, and not sent, again. An alert that a receiver accepted is
    sent to it again only if the process died before `deliver` ended. `make` turns a score that
    reaches the threshold into an alert; `random` gives numbers from 0 to 1 for the jitter.
    """

    def __init__(
        self,
        outbox: Outbox,
        dead_letters: DeadLetters,
        receivers: Sequence[Receiver],
        *,
        make: Callable[[Score], Alert],
        random: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._dead_letters = dead_letters
        self._receivers = receivers
        self._make = make
        self._random = random
        self._retries = {receiver.name: _Retry() for receiver in receivers}

    def update(self, scores: Sequence[Score], now: float) -> list[Alert]:
        """Store the alerts of those scores that reach the threshold, for every receiver.

        Returns those of them that are not settled.

        Raises:
            StorageError: they can't be stored.

        """
        names = [receiver.name for receiver in self._receivers]
        made = [self._make(score) for score in scores if score.is_anomaly]
        for alert in made:
            self._outbox.put(alert, names)
        for name in self._outbox.sinks:
            while len(self._outbox.waiting(name)) > MAX_WAITING:
                self._bury(name, "too many alerts wait for this sink", now)
            if name not in names:
                while self._outbox.waiting(name):
                    self._bury(name, "the configuration has no such sink any more", now)
        self._outbox.save()
        return [alert for alert in made if not self.is_settled(alert.id)]

    def is_settled(self, alert_id: str) -> bool:
        """Whether an alert waits for no receiver any more."""
        waiting = map(self._outbox.waiting, self._outbox.sinks)
        return not any(alert.id == alert_id for queue in waiting for alert in queue)

    def deliver(self, now: float) -> None:
        """Send what is due; what fails is due again later (exponential back-off with jitter).

        Raises:
            StorageError: what became of an alert can't be stored.

        """
        try:
            for receiver in self._receivers:
                retry = self._retries[receiver.name]
                # A time too far ahead was set before the clock was put back.
                if not now < retry.due <= now + MAX_RETRY_AFTER_S:
                    self._deliver_to(receiver, retry, now)
        finally:
            self._outbox.save()

    def _deliver_to(self, receiver: Receiver, retry: _Retry, now: float) -> None:
        for alert in list(self._outbox.waiting(receiver.name))[:BATCH]:
            delivery = receiver.send(notification(alert))
            if delivery.outcome == "later" and retry.attempts < receiver.max_retries:
                self._put_off(receiver.name, retry, delivery, now)
                return
            if delivery.outcome == "accepted":
                self._outbox.pop(receiver.name)
            else:
                self._bury(receiver.name, delivery.reason, now)
            retry.attempts, retry.due = 0, 0.0

    def _put_off(self, name: str, retry: _Retry, delivery: Delivery, now: float) -> None:
        delay = backoff(retry.attempts, self._random())
        retry.due = now + max(delay, min(delivery.retry_after, MAX_RETRY_AFTER_S))
        retry.attempts += 1
        logger.warning(
            "sink %s did not take an alert (%s); trying again in %.0f s",
            name,
            delivery.reason,
            retry.due - now,
        )

    def _bury(self, name: str, reason: str, now: float) -> None:
        alert = self._outbox.waiting(name)[0]
        self._dead_letters.add(alert, name, reason, now)
        self._outbox.pop(name)
        logger.error("alert %s for sink %s went to the dead letters: %s", alert.id, name, reason)


def backoff(attempts: int, jitter: float) -> float:
    """Seconds until the next try after `attempts` retries; `jitter` 0 to 1 takes half to all."""
    return min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts, 16)) * (0.5 + jitter / 2)


def notification(alert: Alert) -> Notification:
    """A notification of one alert: each label set is a group of its own."""
    return Notification(_group_key(alert.labels), "firing", (alert,))


def _group_key(labels: Mapping[str, str]) -> str:
    """Alertmanager's form: the route, then the group's labels."""
    quoted = (f"{name}={json.dumps(labels[name])}" for name in sorted(labels))
    return "{}:{" + ", ".join(quoted) + "}"
