"""systemd is told what it asks for, over any kind of socket, and never waited for."""

import os
import socket

import pytest

from logmlm.daemon.systemd import STATUS_EVERY_S, SystemdNotifier


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def told(self):
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode().splitlines())
            except BlockingIOError:
                return messages


class Clock:
    def __init__(self):
        self.now = 1000.5

    def __call__(self):
        return self.now


@pytest.fixture(params=["path", "abstract"])
def started(request, tmp_path):
    """A manager, and the environment that it gives."""
    if request.param == "path":
        bound = named = str(tmp_path / "notify")
    else:
        named = f"@logmlm-test-{os.getpid()}"
        bound = "\0" + named[1:]
    manager = Manager(bound)
    yield manager, {"NOTIFY_SOCKET": named}
    manager.socket.close()


@pytest.fixture
def clock():
    return Clock()


def test_it_says_ready_reloading_and_stopping_in_the_managers_words(started, clock):
    manager, environment = started
    told = SystemdNotifier(environment, clock)
    told.ready("at\nwork")
    told.reloading()
    told.stopping()
    assert manager.told() == [
        ["READY=1", "STATUS=at work"],
        ["RELOADING=1", "MONOTONIC_USEC=1000500000"],
        ["STOPPING=1", "STATUS=stopping"],
    ]


def test_the_watchdog_hears_of_the_loop_when_half_of_its_time_is_over(started, clock):
    manager, environment = started
    told = SystemdNotifier(environment | {"WATCHDOG_USEC": "4000000"}, clock)
    beats = []
    for tick in range(50):
        clock.now = 1000.0 + tick / 10
        told.heartbeat(lambda: "same")
        beats += [clock.now for message in manager.told() if message == ["WATCHDOG=1"]]
    assert beats == [1000.0, 1002.0, 1004.0]


def test_the_status_is_told_now_and_then_and_only_when_it_changed(started, clock):
    manager, environment = started
    told = SystemdNotifier(environment, clock)
    seen = []
    for tick, status in enumerate(["one", "two", "two", "three\n3"]):
        clock.now = 1000.0 + tick * STATUS_EVERY_S
        told.heartbeat(lambda status=status: status)
        clock.now += STATUS_EVERY_S / 2
        told.heartbeat(lambda: "too soon")
        seen += manager.told()
    assert seen == [["STATUS=one"], ["STATUS=two"], ["STATUS=three 3"]]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_waits_for_nobody_or_another_process_hears_nothing(
    started, clock, settings
):
    manager, environment = started
    told = SystemdNotifier(environment | settings, clock)
    told.heartbeat(lambda: "x")
    assert manager.told() == [["STATUS=x"]]


def test_the_watchdog_of_this_process_is_heard_by_its_number(started, clock):
    manager, environment = started
    own = {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    told = SystemdNotifier(environment | own, clock)
    told.heartbeat(lambda: "x")
    assert ["WATCHDOG=1"] in manager.told()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:3"}])
def test_without_a_manager_nothing_is_asked_or_said(environment, clock):
    told = SystemdNotifier(environment, clock)
    told.ready("at work")
    told.heartbeat(lambda: pytest.fail("nobody wants to know"))


def test_a_manager_that_does_not_answer_is_warned_of_once_and_fails_nothing(
    tmp_path, clock, caplog
):
    told = SystemdNotifier({"NOTIFY_SOCKET": str(tmp_path / "none")}, clock)
    told.ready("at work")
    told.stopping()
    assert caplog.text.count("the service manager can't be told: No such file") == 1


def test_a_manager_that_does_not_read_holds_nothing_up(started, clock):
    manager, environment = started
    told = SystemdNotifier(environment, clock)
    for _ in range(2000):
        told.stopping()
    assert 0 < len(manager.told()) < 2000
