"""Receivers are down for an hour, refuse, time out, or are slow."""

import threading
import time
from pathlib import Path

from http_parts import alert, served

from logmlm.alerting.delivery import DeliveryWorker, InlineDelivery, Receiver, ThreadedDelivery
from logmlm.alerting.outbox import Outbox
from logmlm.alerting.sinks.webhook import WebhookSink
from logmlm.config.sinks import WebhookConfig
from logmlm.records import DeliveryResult

ACCEPTED = DeliveryResult("accepted")
HOUR = 3600.0
CATCH_UP_S = 600
MAX_MEMORY = 64 * 1024**2


class Office:
    """An outbox and its delivery workers over some receivers."""

    def __init__(self, state, *receivers):
        self.box = Outbox(state, {each.name: each.grouping for each in receivers})
        self.workers = [DeliveryWorker(each, self.box, state, lambda: 1.0) for each in receivers]
        self.made = 0

    def store(self, count, now):
        alerts = [alert(f"ODD {i}", first=i * 50) for i in range(self.made, self.made + count)]
        self.made += count
        self.box.store([(one, "sent") for one in alerts], now)
        return [one.id for one in alerts]


class Receiving:
    """A receiver in the test's hands: `answer` is called with the time of the test."""

    def __init__(self, answer):
        self.answer = answer
        self.ids = {}
        self.now = 0.0

    def __call__(self, notification):
        delivery = self.answer(self.now)
        if delivery == ACCEPTED:
            for one in notification.alerts:
                self.ids.setdefault(one.id, self.now)
        return delivery


def down_for_an_hour(answer):
    return lambda now: answer if now < HOUR else ACCEPTED


def an_hour(state, *, every_s):
    """An hour of failures and ten minutes to catch up, in time handed in; an alert now and then."""
    down = {
        "HTTP 500": Receiving(down_for_an_hour(DeliveryResult("later", "HTTP 500"))),
        "ReadTimeout": Receiving(down_for_an_hour(DeliveryResult("later", "ReadTimeout"))),
        "HTTP 429": Receiving(down_for_an_hour(DeliveryResult("later", "HTTP 429", 30.0))),
    }
    good, unauthorized = Receiving(lambda _: ACCEPTED), Receiving(_unauthorized)
    receivers = {**down, "HTTP 401": unauthorized, "good": good}
    office = Office(state, *(Receiver(name, each) for name, each in receivers.items()))
    rounds, stored = InlineDelivery(office.workers), {}

    def turn(now):
        for each in receivers.values():
            each.now = now
        rounds.deliver(now)

    before, most = resident(), 0
    for second in range(0, int(HOUR), every_s):
        stored |= dict.fromkeys(office.store(1, float(second)), float(second))
        turn(float(second))
        most = max(most, resident() - before)
    late = max(good.ids[one] - at for one, at in stored.items())
    assert late == 0, f"a good receiver was told {late} s late"
    assert not any(each.ids for each in down.values()), "one that is down was told"
    for second in range(int(HOUR), int(HOUR) + CATCH_UP_S, 10):
        turn(float(second))
    lost = {name: len(set(stored) - set(each.ids)) for name, each in down.items()}
    assert not any(lost.values()), f"not caught up with: {lost}"
    assert {row["alert"] for row in state.select("dead")} == set(stored), "401: not all are kept"
    assert state.count("queue") == state.count("waiting") == 0, "something still waits"
    assert most < MAX_MEMORY, f"memory up by {most:,} bytes"
    return f"{len(stored):,} alerts, 0 lost, others 0 s late, memory up by {most / 2**20:.1f} MiB"


def resident(pid="self"):
    """Bytes of memory that a process takes."""
    return _status(pid, "VmRSS")


def anonymous(pid):
    """Those of them that no file holds too."""
    return _status(pid, "RssAnon")


def _status(pid, name):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith(name)]
    return int(line.split()[1]) * 1024


def _unauthorized(_now):
    return DeliveryResult("refused", "HTTP 401")


def slow(state, *, alerts):
    """One that hangs beside a real one, each in its own thread."""
    release = threading.Event()

    def hangs(_):
        release.wait(20 + alerts / 10)
        return ACCEPTED

    with served(keep=lambda _: None) as (url, calls):
        hook = WebhookSink(WebhookConfig(url=url), clock=time.time)
        office = Office(state, Receiver("slow", hangs), Receiver("hook", hook.send))
        post = ThreadedDelivery(office.workers, time.time)
        began = time.monotonic()
        office.store(alerts, time.time())
        post.deliver(time.time())
        took = time.monotonic() - began
        assert took < 5 + alerts / 100, f"the loop was held up for {took:.1f} s"
        wait_until(lambda: len(calls) == alerts, 20 + alerts / 20)
        assert state.count("queue", "sink = 'slow'") == alerts, "the slow one was told"
        release.set()
        wait_until(lambda: state.count("queue") == 0, 20 + alerts / 20)
        post.close(time.time(), flush=True)
    return f"{alerts} alerts past a receiver that hangs, all told to it after"


def wait_until(holds, seconds=20):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)
