"""Signals end a wait, are taken once, and the work at hand has its time but no more."""

import math
import os
import signal
import threading
import time

import pytest

from logmlm.daemon.signals import ShutdownSignal, ShutdownTimeout


def send(number):
    os.kill(os.getpid(), number)


def waited(stop, seconds=10.0):
    began = time.monotonic()
    stop.wait(seconds)
    return time.monotonic() - began


def test_a_hangup_is_a_wish_that_is_taken_once_and_ends_a_wait():
    with ShutdownSignal() as stop:
        assert not stop.consume_reload()
        send(signal.SIGHUP)
        send(signal.SIGHUP)
        assert waited(stop) < 5
        assert stop.consume_reload()
        assert not stop.consume_reload()
        assert waited(stop, 0.05) >= 0.05
        assert not stop.is_set()


def test_another_thread_may_wish_too():
    with ShutdownSignal() as stop:
        timer = threading.Timer(0.05, stop.request_reload)
        timer.start()
        assert waited(stop) < 5
        assert stop.consume_reload()
        timer.join()


def test_a_stop_after_a_hangup_still_ends_every_wait():
    with ShutdownSignal() as stop:
        send(signal.SIGHUP)
        send(signal.SIGTERM)
        assert stop.consume_reload()
        assert stop.is_set()
        assert waited(stop) < 5


def test_very_many_wishes_hold_nothing_up():
    with ShutdownSignal() as stop:
        for _ in range(100_000):
            stop.request_reload()
        assert stop.consume_reload()


def test_work_that_goes_on_too_long_after_the_signal_is_ended():
    with ShutdownSignal(grace_s=0.05) as stop:
        send(signal.SIGTERM)
        with pytest.raises(ShutdownTimeout):
            time.sleep(10)
        assert stop.is_set()


def test_what_is_left_is_counted_from_the_first_signal_on():
    with ShutdownSignal(grace_s=60, stop_s=5.0) as stop:
        assert stop.time_left() == math.inf
        send(signal.SIGTERM)
        time.sleep(0.2)
        send(signal.SIGTERM)
        assert 0 < stop.time_left() <= 4.8
        stop.disarm()
        assert stop.time_left() <= 4.8
    with ShutdownSignal(stop_s=0.01) as stop:
        send(signal.SIGTERM)
        time.sleep(0.1)
        assert stop.time_left() == 0


def test_what_comes_after_the_work_is_not_ended_but_its_time_counted():
    with ShutdownSignal(grace_s=0.05, stop_s=5.0) as stop:
        send(signal.SIGTERM)
        stop.disarm()
        time.sleep(0.2)
        assert 0 < stop.time_left() <= 4.8
    with ShutdownSignal(grace_s=0.05, stop_s=5.0) as stop:
        stop.disarm()
        assert stop.time_left() == math.inf
        send(signal.SIGTERM)
        time.sleep(0.2)
        assert stop.time_left() <= 4.8


def test_nothing_for_an_error_handler_to_take():
    assert not issubclass(ShutdownTimeout, Exception)


def test_handlers_and_the_alarm_are_given_back():
    numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    with ShutdownSignal(grace_s=0.05):
        send(signal.SIGTERM)
    time.sleep(0.1)
    assert [signal.getsignal(number) for number in numbers] == before
