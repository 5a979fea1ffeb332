"""Which scores become alerts, and which of these anybody hears of."""

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
"""How soon a dead letter of a sink that is gone, queued again from outside, is dead again."""


class DeliveryStrategy(Protocol):
    """Brings what waits to the receivers: `InlineDelivery`, or `ThreadedDelivery`."""

    def deliver(self, now: float) -> None:
        """Send what is due, or have it sent."""
        ...

    def settle(self, seconds: float) -> None:
        """Wait until nothing that is due is still to be tried, for so many seconds at most."""
        ...

    def held(self, seconds: float) -> AbstractContextManager[None]:
        """Have nothing sent; what is on its way is waited for, so many seconds at most."""
        ...

    def close(self, now: float, flush: bool) -> None:
        """Send what is due (with `flush`, all that waits) as far as it can be, and end."""
        ...


class AlertDispatcher:
    """Makes alerts of odd scores, and delivers each to every receiver at least once.

    An alert is durable when `update` returns, before any position is committed; one whose id
    was stored before is not stored, and not sent, again. What a receiver accepted is sent to it
    again only if the process died before that was noted. `make` turns a score that reaches the
    threshold into an alert; `random` gives numbers from 0 to 1 for the jitter; `delivery` makes
    what delivers of the couriers (None: `InlineDelivery`, in the caller's own thread);
    `on_new_alert` is told of each alert that was not stored before.
    """

    def __init__(  # noqa: PLR0913  what it makes, draws, posts and tells of is handed in by name
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
        """Take over what an earlier run left; `now` is the time of that.

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
        """Store the alerts of those scores that reach the threshold, for every receiver.

        Returns them, those that were stored before too.

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
        """Whether nobody would miss this alert if this machine were lost now.

        It is when at least one receiver accepted a notification with it, or with its group's
        count; when a receiver knows already that such an alert (the same labels and pattern)
        fires; when it lies in the dead letters of every receiver; when it was silenced, or is
        like a false alarm. An id that is not known (any more) is settled.
        """
        return self._outbox.is_settled(alert_id)

    @contextmanager
    def settled(self, seconds: float) -> Iterator[None]:
        """Have nothing sent, as far as that can be had within so many seconds.

        What is due is waited for before, and what is on its way then. Nobody else changes what
        waits as long as it is entered.

        Raises:
            StorageError: the state can't be read or written.

        """
        self._delivery.settle(seconds / 2)
        with self._delivery.held(seconds / 2), self._state.transaction():
            yield

    def withdraw(self, alert_ids: Sequence[str]) -> None:
        """Forget alerts that are not settled: another process makes them again, and sends them."""
        self._outbox.withdraw(alert_ids)

    def mark_known(self, alert_ids: Collection[str], now: float) -> None:
        """Take alerts for such as were stored and settled before: another process sent them."""
        self._outbox.mark_known(alert_ids, now)

    def is_behind(self, now: float) -> bool:
        """Whether too much is due that no receiver accepts, or too much waits, to make more."""
        return self._outbox.is_behind(now)

    def waiting(self) -> dict[str, int]:
        """How many alerts wait for each receiver."""
        return self._outbox.waiting()

    def dead(self) -> dict[str, int]:
        """How many dead letters lie here, of each sink that has some, or had."""
        return self._dead_letters.counts()

    def dropped(self) -> Mapping[str, int]:
        """How many alerts of each sink were lost since the start: the dead letters were full."""
        return self._outbox.dropped

    def failures(self) -> dict[str, str]:
        """Why each receiver took nothing the last time; of those alone that failed then."""
        found = {row["name"]: str(row["reason"]) for row in self._state.select("sinks")}
        return {name: reason for name, reason in found.items() if reason}

    def deliver(self, now: float) -> None:
        """Send what is due, or have it sent; what fails is due again later.

        Raises:
            StorageError: what became of an alert can't be stored.

        """
        if not 0 <= now - self._reconciled_at < RECONCILE_EVERY_S:
            self._outbox.reconcile_sinks(now)
            self._reconciled_at = now
        self._delivery.deliver(now)

    def close(self, now: float, flush: bool = True) -> None:
        """Send what waits, as far as receivers take it in the time that `delivery` gives, and end.

        Groups do not wait for more alerts any longer. Without `flush`, `ThreadedDelivery` send
        nothing more, and another `AlertDispatcher` over the same state goes on. What fails stays in
        the outbox.

        Raises:
            StorageError: what became of an alert can't be stored.

        """
        self._delivery.close(now, flush)
