"""No receiver holds up another, whatever it does; nothing is lost; all is caught up with."""

import math
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from daemon_process import Process
from trials import hostile
from trials import receiver as trials
from trials.receiver import ACCEPTED, HOUR, Office, Receiving, wait_until

from logmlm.alerting.delivery import COMMIT_RESERVE_S, InlineDelivery, Receiver, ThreadedDelivery
from logmlm.alerting.grouping import GroupingPolicy
from logmlm.alerting.store.database import StateDatabase
from logmlm.errors import StorageError
from logmlm.records import DeliveryResult


@pytest.fixture
def state(tmp_path):
    with closing(StateDatabase(tmp_path / "state.db")) as state:
        yield state


def test_an_hour_of_failures_loses_nothing_delays_nobody_else_and_is_caught_up_with(state):
    assert "0 lost" in trials.an_hour(state, every_s=60)


def test_the_daemon_stands_http_receivers_that_refuse_hang_flood_or_lead_astray(tmp_path):
    assert "0 lost" in hostile.down(Process(tmp_path), seconds=200, alerts=12, speed=100)


def test_retries_go_on_after_a_restart_where_they_were(state):
    receiver = Receiving(lambda _: DeliveryResult("later", "HTTP 503", 100.0))
    office = Office(state, Receiver("r", receiver))
    office.store(1, 0.0)
    assert office.workers[0].deliver_one(0.0) == 100.0
    again = Office(state, Receiver("r", receiver)).workers[0]
    assert again.deliver_one(99.0) == 100.0
    assert again.deliver_one(100.0) == 200.0
    assert state.get("sinks", "r")["attempts"] == 2
    receiver.answer = lambda _: ACCEPTED
    assert again.deliver_one(200.0) == 200.0
    row = state.get("sinks", "r")
    assert (row["attempts"], row["reason"], row["accepted_at"]) == (0, "", 200.0)
    assert again.deliver_one(200.0) is None


def test_send_gives_what_the_receiver_says_and_a_later_try_where_it_fails_unforeseen(state):
    answers = [ACCEPTED, ValueError("https://secret"), StorageError("output is gone")]

    def answer(_):
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    worker = Office(state, Receiver("r", answer)).workers[0]
    assert worker.send(None) == ACCEPTED
    assert worker.send(None) == DeliveryResult("later", "ValueError")
    with pytest.raises(StorageError, match="output is gone"):
        worker.send(None)


@pytest.mark.parametrize(
    ("result", "attempts", "due", "row", "rows"),
    [
        (ACCEPTED, 3, 5.0, (0, 0.0, "", 5.0), (0, 0)),
        (DeliveryResult("later", "HTTP 500", 60.0), 3, 65.0, (3, 65.0, "HTTP 500", 1.0), (1, 0)),
        (DeliveryResult("later", "HTTP 500"), 4, 5.0, (0, 0.0, "", 1.0), (0, 1)),
        (DeliveryResult("refused", "HTTP 400"), 0, 5.0, (0, 0.0, "", 1.0), (0, 1)),
    ],
)
def test_record_stores_the_result_with_one_of_three_writers(
    state, result, attempts, due, row, rows
):
    office = Office(state, Receiver("r", lambda _: result, max_retries=4))
    office.store(1, 0.0)
    pending = replace(office.box.notifications.next("r", 5.0), attempts=attempts)
    sink = {"name": "r", "attempts": 2, "due": 5.0, "reason": "before", "accepted_at": 1.0}
    assert office.workers[0].record(sink, pending, result, 5.0) == due
    assert tuple(state.get("sinks", "r").values())[1:] == row
    assert (state.count("queue"), state.count("dead")) == rows
    assert [each["attempts"] for each in state.select("queue")] == [attempts + 1] * rows[0]


def test_a_storm_is_one_notification(state):
    calls = []

    def send(notification):
        calls.append(notification)
        return ACCEPTED

    office = Office(state, Receiver("r", send, grouping=GroupingPolicy(("model",))))
    for now in range(10):
        office.store(100, float(now))
        InlineDelivery(office.workers).deliver(float(now))
    InlineDelivery(office.workers).deliver(30.0)
    (notification,) = calls
    assert notification.alerts[0].annotations["count"] == "1000"
    assert state.count("queue") == 0


def test_a_slow_receiver_holds_up_neither_the_others_nor_the_loop(state):
    assert "20 alerts" in trials.slow(state, alerts=20)


def test_a_stop_sends_what_waits_once_and_does_not_wait_for_a_receiver_that_hangs(state, caplog):
    release, done, sent = threading.Event(), threading.Event(), []

    def hangs(_):
        release.wait(20)
        done.set()
        return ACCEPTED

    def send(notification):
        sent.append(notification)
        return ACCEPTED if len(sent) < 3 else DeliveryResult("later", "HTTP 500")

    office = Office(
        state,
        Receiver("hangs", hangs),
        Receiver("groups", send, grouping=GroupingPolicy(("model",), group_wait=HOUR)),
    )
    post = ThreadedDelivery(office.workers, time.time, drain_s=0.3)
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


@pytest.mark.parametrize("answer", [ACCEPTED, DeliveryResult("later", "HTTP 500")])
def test_no_two_send_to_one_sink_and_the_loop_waits_for_neither(state, answer, monkeypatch):
    monkeypatch.setattr("logmlm.alerting.delivery.MIN_RETRY_S", 0.01)
    release, sent = threading.Event(), []

    def hangs(notification):
        sent.append(("old", notification.alerts[0].id))
        release.wait(20)
        return answer

    def send(notification):
        sent.append(("new", notification.alerts[0].id))
        return ACCEPTED

    old = Office(state, Receiver("r", hangs))
    (alert_id,) = old.store(1, time.time())
    post = ThreadedDelivery(old.workers, time.time)
    wait_until(lambda: sent)
    began = time.monotonic()
    for _ in range(3):
        post.close(time.time(), flush=False)
        post = ThreadedDelivery(Office(state, Receiver("r", send)).workers, time.time)
    assert time.monotonic() - began < 3
    assert sent == [("old", alert_id)]
    release.set()
    wait_until(lambda: state.count("queue") == 0)
    post.close(time.time(), flush=True)
    assert sent[1:] == ([] if answer == ACCEPTED else [("new", alert_id)])


def test_a_stop_that_has_little_time_left_waits_for_no_receiver_any_longer(state, caplog):
    release = threading.Event()
    office = Office(state, Receiver("hangs", lambda _: release.wait(20) and ACCEPTED))
    office.store(1, time.time())
    began = time.monotonic()
    end = began + COMMIT_RESERVE_S + 0.3
    post = ThreadedDelivery(
        office.workers, time.time, drain_s=20, left=lambda: end - time.monotonic()
    )
    post.close(time.time(), flush=True)
    assert 0.2 < time.monotonic() - began < 5
    post = ThreadedDelivery([], time.time, left=lambda: 0.0)
    post.close(time.time(), flush=True)
    assert "sink hangs: not done in time" in caplog.text
    release.set()
    wait_until(lambda: not any(t.name == "sink hangs" for t in threading.enumerate()))


def test_at_the_end_of_the_input_all_is_sent_however_long_it_takes(state, caplog):
    sent = []

    def slow(notification):
        time.sleep(0.1)
        sent.append(notification)
        return ACCEPTED

    release = threading.Event()
    hangs = Receiver("hangs", lambda _: release.wait(20) and ACCEPTED)
    office = Office(state, hangs, Receiver("slow", slow))
    office.store(40, time.time())
    ThreadedDelivery(office.workers, time.time, drain_s=2.0).close(time.time(), flush=True)
    assert len(sent) == 40
    assert state.count("queue", "sink = 'slow'") == 0
    assert "sink hangs: not done in time" in caplog.text
    release.set()
    wait_until(lambda: not any(t.name == "sink hangs" for t in threading.enumerate()))


def test_a_signal_to_stop_ends_the_wait_for_what_is_due(state, caplog):
    sent, left = [], [math.inf]

    def slow(notification):
        time.sleep(0.05)
        sent.append(notification)
        if len(sent) == 20:
            left[0] = 8.0
        return ACCEPTED

    office = Office(state, Receiver("slow", slow))
    office.store(400, time.time())
    post = ThreadedDelivery(office.workers, time.time, drain_s=3.0, left=lambda: left[0])
    post.close(time.time(), flush=True)
    assert "sink slow: not done in time" in caplog.text
    wait_until(lambda: not any(t.name == "sink slow" for t in threading.enumerate()))
    assert 20 <= len(sent) < 200


def test_what_fails_at_a_stop_stays_for_the_next_start(state):
    office = Office(state, Receiver("r", lambda _: DeliveryResult("later", "HTTP 500")))
    office.store(2, time.time())
    ThreadedDelivery(office.workers, time.time).close(time.time(), flush=True)
    assert state.count("queue") == 2


def test_what_a_sink_fails_with_unforeseen_is_tried_later_and_not_told(state, caplog):
    def breaks(_):
        raise UnicodeDecodeError("utf-8", b"hunter2", 0, 1, "invalid start byte")

    office = Office(state, Receiver("r", breaks, max_retries=1))
    office.store(1, 0.0)
    assert office.workers[0].deliver_one(0.0) == 1.0
    assert state.get("sinks", "r")["reason"] == "UnicodeDecodeError"
    assert office.workers[0].deliver_one(1.0) == 1.0
    (letter,) = state.select("dead")
    assert letter["reason"] == "UnicodeDecodeError"
    assert "UnicodeDecodeError at " in caplog.text
    assert "hunter2" not in caplog.text


def test_an_error_of_a_worker_ends_the_loop(state):
    def gone(_):
        raise StorageError("can't write to standard output")

    office = Office(state, Receiver("stdout", gone))
    office.store(1, 0.0)
    post = ThreadedDelivery(office.workers, time.time)
    wait_until(lambda: not any(t.name == "sink stdout" for t in threading.enumerate()))
    with pytest.raises(StorageError, match="standard output"):
        post.deliver(0.0)
    with pytest.raises(StorageError, match="standard output"):
        post.close(0.0, flush=True)


def test_settle_waits_for_what_is_due_and_not_for_a_receiver_that_refuses(state):
    entered, answer = threading.Event(), threading.Event()

    def slow(_):
        entered.set()
        answer.wait(60)
        return ACCEPTED

    office = Office(
        state, Receiver("slow", slow), Receiver("no", lambda _: DeliveryResult("later", "x"))
    )
    post = ThreadedDelivery(office.workers, time.time)
    office.store(3, time.time())
    post.deliver(time.time())
    assert entered.wait(60)
    post.settle(0.05)
    assert office.box.waiting()["slow"] == 3
    answer.set()
    post.settle(60.0)
    assert office.box.waiting() == {"slow": 0, "no": 3}
    post.close(time.time(), flush=False)
    post.settle(60.0)
