"""Deliver notifications: a worker for each receiver, so that none waits for another.

A worker sends what `NotificationBuilder` builds and records the result in the outbox; failures
are retried with back-off. `InlineDelivery` and `ThreadedDelivery` run the workers.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

from logmlm.alerting.grouping import GroupingPolicy
from logmlm.alerting.notification import PendingNotification
from logmlm.alerting.outbox import Outbox
from logmlm.alerting.store.database import DatabaseRow, StateDatabase
from logmlm.errors import StorageError
from logmlm.records import DeliveryResult, Notification

MIN_RETRY_S = 1.0
MAX_RETRY_S = 300.0
MAX_RETRY_AFTER_S = 3600.0
"""The longest time for which a receiver's Retry-After is honoured."""
POLL_EVERY_S = 2.0
"""Interval at which a worker looks for what another process queued (`logmlm alerts retry`)."""
DRAIN_S = 4.0
"""Time that a stop gives to what is due; without a signal, to a receiver that takes nothing."""
IN_FLIGHT_GRACE_S = 0.3
"""Grace period for requests in flight at a stop that sends nothing more."""
COMMIT_RESERVE_S = 2.5
"""Time of a stop that is reserved for committing positions after the last delivery."""

logger = logging.getLogger(__name__)
Reason = Literal["timeout", "unreachable", "throttled", "server_error", "client_error", "other"]

REASONS: tuple[Reason, ...] = (
    *("timeout", "unreachable", "throttled", "server_error", "client_error", "other"),
)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A sink's name, how to send to it, and how often a notification is tried again.

    `grouping` None sends each alert on its own; `close` closes the connections in the end.
    """

    name: str
    send: Callable[[Notification], DeliveryResult]
    max_retries: int = 100
    grouping: GroupingPolicy | None = None
    close: Callable[[], None] = lambda: None


class DeliveryWorker:
    """Delivers one receiver's due notifications; failures are retried with back-off and jitter.

    While a receiver fails, nothing else is tried with it before that time. The time of the next
    try is in the database, so that a restart changes nothing.
    """

    def __init__(
        self, receiver: Receiver, outbox: Outbox, state: StateDatabase, random: Callable[[], float]
    ) -> None:
        self.name = receiver.name
        self.lock = state.named_lock(f"sink {receiver.name}")
        """Held by the thread that sends to this sink: one at a time."""
        self._receiver = receiver
        self._outbox = outbox
        self._state = state
        self._random = random

    def deliver_one(self, now: float, flush: bool = False) -> float | None:
        """Send one notification, if one is due; return when to come again (None: nothing waits).

        The stages in order: mute, deduplicate and build (`NotificationBuilder.next`), `send`,
        `record`. With `flush`, groups that wait for more alerts are due.

        Raises:
            StorageError: the result can't be stored, or the sink is this process's own output
                and that is gone.

        """
        sink = self._sink()
        # A time too far ahead was set before the clock was put back.
        if now < sink["due"] <= now + MAX_RETRY_AFTER_S:
            return float(sink["due"])
        pending = self._outbox.notifications.next(self.name, now, flush)
        if not isinstance(pending, PendingNotification):
            return pending
        result = self.send(pending.notification)
        return self.record(sink, pending, result, now)

    def send(self, notification: Notification) -> DeliveryResult:
        """Send a notification; any failure of the receiver is a result, `later` if unforeseen.

        Raises:
            StorageError: the sink is this process's own output, and that is gone.

        """
        try:
            return self._receiver.send(notification)
        except StorageError:
            raise
        except Exception as error:  # whatever a receiver answers, it must not end the loop
            kind, at = type(error).__name__, traceback.extract_tb(error.__traceback__)[-1]
            # Its text may hold a secret address.
            logger.error("sink %s failed unexpectedly: %s at %s:%s", self.name, kind, *at[:2])
            return DeliveryResult("later", kind)

    def record(
        self, sink: DatabaseRow, pending: PendingNotification, result: DeliveryResult, now: float
    ) -> float:
        """Store the result of a delivery, in one transaction; return when to come again.

        One of the outbox's three writers takes it: `ack`, `retry_later`, or `dead_letter` for one
        that the receiver refused or that failed too often. `sink` is the sink's row of before.

        Raises:
            StorageError: it can't be stored.

        """
        state, due = {**sink, "attempts": 0, "due": 0.0, "reason": ""}, now
        with self._state.transaction():
            if result.outcome == "accepted":
                state["accepted_at"] = now
                self._outbox.ack(pending, now)
            elif result.outcome == "later" and pending.attempts < self._receiver.max_retries:
                delay = backoff(sink["attempts"], self._random())
                due = now + max(delay, min(result.retry_after, MAX_RETRY_AFTER_S))
                state |= {"attempts": sink["attempts"] + 1, "due": due, "reason": result.reason}
                self._outbox.retry_later(pending, now)
                self._warn(result.reason, due - now)
            else:
                self._outbox.dead_letter(pending, result.reason, now)
            self._state.put("sinks", **state)
        return due

    def close(self) -> None:
        """Close the receiver."""
        self._receiver.close()

    def _sink(self) -> DatabaseRow:
        fresh = {"name": self.name, "attempts": 0, "due": 0.0, "reason": "", "accepted_at": 0.0}
        return self._state.get("sinks", self.name) or fresh

    def _warn(self, reason: str, seconds: float) -> None:
        logger.warning(
            "sink %s did not take a notification (%s); trying again in %.0f s",
            self.name,
            reason,
            seconds,
        )


class InlineDelivery:
    """Run all delivery workers in turn, in the caller's thread."""

    def __init__(self, workers: Sequence[DeliveryWorker]) -> None:
        self._workers = workers

    def deliver(self, now: float) -> None:
        """Send all that is due."""
        self._run_round(now, flush=False)

    def settle(self, seconds: float) -> None:
        """Do nothing: `deliver` returns when every due notification was tried."""

    def held(self, seconds: float) -> AbstractContextManager[None]:  # noqa: ARG002  as above
        """Do nothing, for the same reason as `settle`."""
        return nullcontext()

    def close(self, now: float, flush: bool) -> None:
        """Send all that is due (with `flush`, all that waits), and close the receivers."""
        self._run_round(now, flush)
        for worker in self._workers:
            worker.close()

    def _run_round(self, now: float, flush: bool) -> None:
        for worker in self._workers:
            while (due := worker.deliver_one(now, flush)) is not None and due <= now:
                pass


class ThreadedDelivery:
    """Run each delivery worker in a thread of its own; `clock` returns UTC epoch seconds.

    A worker starts when no earlier one sends to the same sink any more, so that no notification
    is sent by two. An error that ends a worker is raised by the next `deliver`.

    `left` returns the true seconds that are left of a stop, and infinity before one is asked for.
    After that, `close` takes `drain_s` seconds at most, and less if fewer are left. Before that,
    it waits for each receiver as long as it answers, and `drain_s` seconds for a silent one.
    """

    def __init__(
        self,
        workers: Sequence[DeliveryWorker],
        clock: Callable[[], float],
        drain_s: float = DRAIN_S,
        left: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._clock = clock
        self._drain_s = drain_s
        self._left = left
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        self._answered_at: dict[str, float] = {}
        self._asked = 0
        self._rested_at: dict[str, float] = {f"sink {worker.name}": 0 for worker in workers}
        """By thread, the last request of `settle` after which it found nothing due."""
        self._rested = threading.Condition()
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._at_work = {f"sink {worker.name}": threading.Lock() for worker in workers}
        self._wakers = [threading.Event() for _ in workers]
        self._threads = [
            threading.Thread(
                target=self._run, args=(worker, waker), name=f"sink {worker.name}", daemon=True
            )
            for worker, waker in zip(workers, self._wakers, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def deliver(self, now: float) -> None:  # noqa: ARG002  each thread asks the clock itself
        """Wake the workers to look for what is due, and wait for nothing.

        Raises:
            StorageError: a worker can't go on.

        """
        self._wake()
        if self._errors:
            raise self._errors[0]

    def settle(self, seconds: float) -> None:
        """Wait until each worker found nothing due, or has ended, for so many seconds at most."""
        with self._rested:
            self._asked += 1
            asked = self._asked
            self._wake()
            self._rested.wait_for(
                lambda: min(self._rested_at.values(), default=asked) >= asked, seconds
            )

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Keep all workers from sending; wait for requests in flight, so many seconds at most."""
        self._goes_on.clear()
        end = time.monotonic() + seconds
        held: list[threading.Lock] = []
        try:
            for lock in self._at_work.values():
                if lock.acquire(timeout=max(0.0, end - time.monotonic())):
                    held.append(lock)
            yield
        finally:
            for lock in held:
                lock.release()
            self._goes_on.set()

    def close(self, now: float, flush: bool) -> None:  # noqa: ARG002  as above
        """Wait, in bounded time, until all that waits was tried once.

        Without `flush` nothing more is tried, and requests in flight have a grace period. A
        notification that takes longer stays in the outbox: others that send to the same sinks wait
        for its end, and the next start sends it again.

        Raises:
            StorageError: a worker could not go on.

        """
        self._stopping.set()
        if not flush:
            self._over.set()
        self._wake()
        self._wait(flush)
        if self._errors:
            raise self._errors[0]

    def _wait(self, flush: bool) -> None:
        began = time.monotonic()
        for thread in self._threads:
            while (
                thread.is_alive()
                and (seconds := self._remaining_wait(thread.name, began, flush)) > 0
            ):
                thread.join(min(seconds, IN_FLIGHT_GRACE_S))
        self._over.set()
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late and flush:
            logger.warning("%s: not done in time; it goes on at the next start", ", ".join(late))

    def _remaining_wait(self, name: str, began: float, flush: bool) -> float:
        """Return how many more seconds to wait for a worker; a signal to stop may end them."""
        left = self._left()
        since = began if left < math.inf else max(began, self._answered_at.get(name, began))
        wait_s = self._drain_s if flush else min(self._drain_s, IN_FLIGHT_GRACE_S)
        return min(since + wait_s - time.monotonic(), left - COMMIT_RESERVE_S)

    def _wake(self) -> None:
        for waker in self._wakers:
            waker.set()

    def _run(self, worker: DeliveryWorker, waker: threading.Event) -> None:
        try:
            with worker.lock:
                self._run_round(worker, waker)
        except Exception as error:  # whatever ends it: the main thread has to know
            self._errors.append(error)
        finally:
            self._rest(worker, math.inf)
            worker.close()

    def _rest(self, worker: DeliveryWorker, asked: float) -> None:
        with self._rested:
            self._rested_at[f"sink {worker.name}"] = asked
            self._rested.notify_all()

    def _step(self, worker: DeliveryWorker, now: float, flush: bool = False) -> float | None:
        self._goes_on.wait()
        with self._at_work[f"sink {worker.name}"]:
            return worker.deliver_one(now, flush)

    def _run_round(self, worker: DeliveryWorker, waker: threading.Event) -> None:
        while not self._stopping.is_set():
            waker.clear()
            asked, now = self._asked, self._clock()
            due = self._step(worker, now)
            if due is None or due > now:
                self._rest(worker, asked)
                waker.wait(POLL_EVERY_S if due is None else min(due - now, POLL_EVERY_S))
        while not self._over.is_set():
            due = self._step(worker, self._clock(), flush=True)
            self._answered_at[f"sink {worker.name}"] = time.monotonic()
            if due is None or due > self._clock():
                break


def backoff(attempts: int, jitter: float) -> float:
    """Return the seconds until the next try after `attempts` retries.

    The delay doubles with each retry up to `MAX_RETRY_S`; `jitter` of 0 to 1 takes half to all.
    """
    return min(MAX_RETRY_S, MIN_RETRY_S * 2.0 ** min(attempts, 16)) * (0.5 + jitter / 2)


def failure_reason(delivery: DeliveryResult) -> Reason:
    """Return which of the fixed reasons a delivery failed for; a metric has it as its label.

    The words of the result are no label: they may hold anything.
    """
    status = re.match(r"HTTP (\d)(\d\d)", delivery.reason)
    if status is not None:
        if status[0].endswith("429"):
            return "throttled"
        return {"5": "server_error", "4": "client_error"}.get(status[1], "other")  # type: ignore[return-value]  # the words are among those
    if "timeout" in delivery.reason.lower():
        return "timeout"
    return "unreachable" if delivery.outcome == "later" else "other"
