"""Scores in, durable alerts out: owns the outbox and the delivery."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from logmlm.alerting.dead_letters import DeadLetterCounts
from logmlm.alerting.delivery import DeliveryWorker, InlineDelivery, Receiver
from logmlm.alerting.muting import Muter
from logmlm.alerting.outbox import Outbox
from logmlm.alerting.store.database import StateDatabase
from logmlm.records import Alert, Score

RECONCILE_EVERY_S = 10.0
"""Interval of moving alerts of a sink that is gone, retried from outside, to the dead letters."""


class DeliveryStrategy(Protocol):
    """Runs the delivery workers: `InlineDelivery`, or `ThreadedDelivery`."""

    def deliver(self, now: float) -> None:
        """Send what is due, or wake the threads that do."""
        ...

    def settle(self, seconds: float) -> None:
        """Wait until nothing that is due is still to be tried, for so many seconds at most."""
        ...

    def held(self, seconds: float) -> AbstractContextManager[None]:
        """Keep all from sending; wait for requests in flight, so many seconds at most."""
        ...

    def close(self, now: float, flush: bool) -> None:
        """Send what is due (with `flush`, all that waits) in bounded time, and end."""
        ...


class AlertDispatcher:
    """Turns anomalous scores into alerts, and delivers each to every receiver at least once.

    An alert is durable when `update` returns, before any position is committed. An id that was
    stored before is neither stored nor sent again. A receiver gets a notification that it accepted
    again only if the process died before the acceptance was stored.

    `make` turns a score that reaches the threshold into an alert; `random` returns numbers from 0
    to 1 for the jitter; `delivery` builds the strategy that runs the workers; `on_new_alert` is
    called with each alert that was not stored before.
    """

    def __init__(  # noqa: PLR0913  each is given by its name
        self,
        state: StateDatabase,
        receivers: Sequence[Receiver],
        *,
        make: Callable[[Score], Alert],
        random: Callable[[], float],
        delivery: Callable[[Sequence[DeliveryWorker]], DeliveryStrategy] = InlineDelivery,
        on_new_alert: Callable[[Alert], None] = lambda _: None,
        now: float = 0.0,
    ) -> None:
        """Take over the outbox of an earlier run at time `now`.

        Raises:
            StorageError: it can't be read or written.

        """
        self._state = state
        self._make = make
        self._on_new_alert = on_new_alert
        self._outbox = Outbox(state, {r.name: r.grouping for r in receivers})
        self._outbox.reconcile_sinks(now)
        self._reconciled_at = now
        self._dead_letters = DeadLetterCounts(state)
        self._delivery = delivery(
            [DeliveryWorker(r, self._outbox, state, random) for r in receivers]
        )

    def update(self, scores: Sequence[Score], now: float) -> list[Alert]:
        """Store the alerts of the scores that reach the threshold, for every receiver.

        Return these alerts, with those that were stored before.

        Raises:
            StorageError: they can't be stored.

        """
        made = {alert.id: alert for alert in (self._make(s) for s in scores if s.is_anomaly)}
        if not made:
            return []
        with self._state.transaction():
            mutes = Muter.at(self._state, now)
            new = self._outbox.store([(each, mutes.status(each)) for each in made.values()], now)
        for alert in new:
            self._on_new_alert(alert)
        return list(made.values())

    def is_settled(self, alert_id: str) -> bool:
        """Return whether this alert needs nothing more, so that its lines need not be read again.

        An alert is settled when at least one receiver accepted a notification with it, or with a
        count that includes it; when a receiver knows already that such an alert (the same labels
        and pattern) fires; when it is a dead letter of every receiver; when it was silenced, or
        has the pattern of a false alarm. An unknown id is settled.
        """
        return self._outbox.is_settled(alert_id)

    @contextmanager
    def settled(self, seconds: float) -> Iterator[None]:
        """Keep all workers from sending while it is entered, after `seconds` at most.

        It waits for what is due first, and then for requests in flight. Nobody else changes the
        outbox while it is entered.

        Raises:
            StorageError: the state can't be read or written.

        """
        self._delivery.settle(seconds / 2)
        with self._delivery.held(seconds / 2), self._state.transaction():
            yield

    def withdraw(self, alert_ids: Sequence[str]) -> None:
        """Forget alerts that are not settled: another process makes and sends them again."""
        self._outbox.withdraw(alert_ids)

    def mark_known(self, alert_ids: Collection[str], now: float) -> None:
        """Remember alerts as stored and settled: another process sent them."""
        self._outbox.mark_known(alert_ids, now)

    def is_behind(self, now: float) -> bool:
        """Return whether too many alerts are overdue, or wait, to make more."""
        return self._outbox.is_behind(now)

    def waiting(self) -> dict[str, int]:
        """Return how many alerts wait for each receiver."""
        return self._outbox.waiting()

    def dead(self) -> dict[str, int]:
        """Return the number of dead letters of each sink that has some, or had."""
        return self._dead_letters.counts()

    def dropped(self) -> Mapping[str, int]:
        """Return how many dead letters of each sink were deleted for room since the start."""
        return self._outbox.dropped

    def failures(self) -> dict[str, str]:
        """Return the reason of the last failure of each receiver whose last delivery failed."""
        found = {row["name"]: str(row["reason"]) for row in self._state.select("sinks")}
        return {name: reason for name, reason in found.items() if reason}

    def deliver(self, now: float) -> None:
        """Send what is due, or wake the threads that do; a failure is due again later.

        Raises:
            StorageError: a result can't be stored.

        """
        if not 0 <= now - self._reconciled_at < RECONCILE_EVERY_S:
            self._outbox.reconcile_sinks(now)
            self._reconciled_at = now
        self._delivery.deliver(now)

    def close(self, now: float, flush: bool = True) -> None:
        """Send what waits, in the time that the delivery strategy gives, and end.

        Groups wait for more alerts no longer. Without `flush`, `ThreadedDelivery` sends nothing
        more, and another `AlertDispatcher` over the same state goes on. What fails stays in the
        outbox.

        Raises:
            StorageError: a result can't be stored.

        """
        self._delivery.close(now, flush)
