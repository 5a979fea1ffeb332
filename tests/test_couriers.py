"""No receiver holds up another, whatever it does; nothing is lost; all is caught up with."""

import threading
import time
import tracemalloc
from contextlib import closing

import pytest
from http_parts import alert, served

from logmlm.couriers import Courier, Receiver, Rounds, Threads
from logmlm.errors import StorageError
from logmlm.groups import Grouping
from logmlm.outbox import Outbox
from logmlm.records import Delivery
from logmlm.sinkconfig import WebhookConfig
from logmlm.sinks.webhook import WebhookSink
from logmlm.state import State

ACCEPTED = Delivery("accepted")
HOUR = 3600.0


@pytest.fixture
def state(tmp_path):
    with closing(State(tmp_path / "state.db")) as state:
        yield state


class Office:
    """An outbox and its couriers over some receivers."""

    def __init__(self, state, *receivers):
        self.box = Outbox(state, {each.name: each.grouping for each in receivers})
        self.couriers = [Courier(each, self.box, state, lambda: 1.0) for each in receivers]
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


def down_for_an_hour(how):
    return lambda now: Delivery("later", how) if now < HOUR else ACCEPTED


def test_an_hour_of_failures_loses_nothing_delays_nobody_else_and_is_caught_up_with(state):
    """Time handed in: 3,600 seconds of it, then ten minutes to catch up."""
    bad = {
        "HTTP 500": Receiving(down_for_an_hour("HTTP 500")),
        "ReadTimeout": Receiving(down_for_an_hour("ReadTimeout")),
        "HTTP 429": Receiving(
            lambda now: ACCEPTED if now >= HOUR else Delivery("later", "HTTP 429", 30.0)
        ),
    }
    unauthorized = Receiving(lambda _: Delivery("refused", "HTTP 401"))
    good = Receiving(lambda _: ACCEPTED)
    receivers = {**bad, "HTTP 401": unauthorized, "good": good}
    office = Office(state, *(Receiver(name, each) for name, each in receivers.items()))
    rounds, stored = Rounds(office.couriers), {}
    tracemalloc.start()
    for second in range(0, int(HOUR), 30):
        now = float(second)
        stored |= dict.fromkeys(office.store(1, now), now)
        for each in receivers.values():
            each.now = now
        rounds.deliver(now)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert good.ids == stored, "each at once"
    assert not any(each.ids for each in bad.values())
    for second in range(int(HOUR), int(HOUR) + 600, 10):
        for each in receivers.values():
            each.now = float(second)
        rounds.deliver(float(second))
    for each in bad.values():
        assert set(each.ids) == set(stored)
    assert {row["alert"] for row in state.select("dead")} == set(stored)
    assert state.count("queue") == state.count("waiting") == 0
    assert peak < 8 * 1024**2


def test_retries_go_on_after_a_restart_where_they_were(state):
    receiver = Receiving(lambda _: Delivery("later", "HTTP 503", 100.0))
    office = Office(state, Receiver("r", receiver))
    office.store(1, 0.0)
    assert office.couriers[0].step(0.0) == 100.0
    again = Office(state, Receiver("r", receiver)).couriers[0]
    assert again.step(99.0) == 100.0
    assert again.step(100.0) == 200.0
    assert state.get("sinks", "r")["attempts"] == 2
    receiver.answer = lambda _: ACCEPTED
    assert again.step(200.0) == 200.0
    row = state.get("sinks", "r")
    assert (row["attempts"], row["reason"], row["accepted_at"]) == (0, "", 200.0)
    assert again.step(200.0) is None


def test_a_storm_is_one_notification(state):
    calls = []

    def send(notification):
        calls.append(notification)
        return ACCEPTED

    office = Office(state, Receiver("r", send, grouping=Grouping(("model",))))
    for now in range(10):
        office.store(100, float(now))
        Rounds(office.couriers).deliver(float(now))
    Rounds(office.couriers).deliver(30.0)
    (notification,) = calls
    assert notification.alerts[0].annotations["count"] == "1000"
    assert state.count("queue") == 0


def test_a_slow_receiver_holds_up_neither_the_others_nor_the_loop(state):
    release = threading.Event()

    def slow(_):
        release.wait(20)
        return ACCEPTED

    with served() as (url, calls):
        hook = WebhookSink(WebhookConfig(url=url), clock=time.time)
        office = Office(state, Receiver("slow", slow), Receiver("hook", hook.send))
        post = Threads(office.couriers, time.time)
        began = time.monotonic()
        office.store(20, time.time())
        post.deliver(time.time())
        assert time.monotonic() - began < 5
        wait_until(lambda: len(calls) == 20)
        assert state.count("queue", "sink = 'slow'") == 20
        release.set()
        post.close(time.time(), flush=True)
    assert state.count("queue") == 0


def test_a_stop_sends_what_waits_once_and_does_not_wait_for_a_receiver_that_hangs(state, caplog):
    release, done, sent = threading.Event(), threading.Event(), []

    def hangs(_):
        release.wait(20)
        done.set()
        return ACCEPTED

    def send(notification):
        sent.append(notification)
        return ACCEPTED if len(sent) < 3 else Delivery("later", "HTTP 500")

    office = Office(
        state,
        Receiver("hangs", hangs),
        Receiver("groups", send, grouping=Grouping(("model",), group_wait=HOUR)),
    )
    post = Threads(office.couriers, time.time, drain_s=0.3)
    office.store(3, time.time())
    began = time.monotonic()
    post.close(time.time(), flush=True)
    assert 0.2 < time.monotonic() - began < 5
    assert "sink hangs: not done in time" in caplog.text
    assert [len(each.alerts) for each in sent] == [1]
    assert state.count("queue", "sink = 'hangs'") == 3
    release.set()
    done.wait(5)
    wait_until(lambda: not any(t.name == "sink hangs" for t in threading.enumerate()))


def test_what_fails_at_a_stop_stays_for_the_next_start(state):
    office = Office(state, Receiver("r", lambda _: Delivery("later", "HTTP 500")))
    office.store(2, time.time())
    Threads(office.couriers, time.time).close(time.time(), flush=True)
    assert state.count("queue") == 2


def test_an_error_of_a_courier_ends_the_loop(state):
    def gone(_):
        raise StorageError("can't write to standard output")

    office = Office(state, Receiver("stdout", gone))
    office.store(1, 0.0)
    post = Threads(office.couriers, time.time)
    wait_until(lambda: not any(t.name == "sink stdout" for t in threading.enumerate()))
    with pytest.raises(StorageError, match="standard output"):
        post.deliver(0.0)
    with pytest.raises(StorageError, match="standard output"):
        post.close(0.0, flush=True)


def wait_until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
