"""What is told outside follows what the loop does."""

import threading
from contextlib import contextmanager

import pytest
import requests

from logmlm.config.server import ServerConfig
from logmlm.daemon.control import HEALTHY_WITHIN_S, RELOAD_TIMEOUT_S, SAMPLE_EVERY_S, ControlPlane
from logmlm.daemon.metrics import DaemonMetrics
from logmlm.errors import ConfigError


class Wishes:
    def __init__(self):
        self.wished = threading.Event()

    def request_reload(self):
        self.wished.set()

    def consume_reload(self):
        wished = self.wished.is_set()
        self.wished.clear()
        return wished


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
def wishes():
    return Wishes()


@pytest.fixture
def clock():
    return Clock()


@contextmanager
def outside(wishes, clock, **http):
    with ControlPlane(
        ServerConfig(**http), {}, DaemonMetrics("1"), wishes=wishes, monotonic=clock
    ) as made:
        yield made


def nothing():
    """Nothing to look at."""


def test_it_is_ready_from_the_start_of_the_loop_to_its_end(wishes, clock):
    with outside(wishes, clock) as seen:
        assert (seen.is_ready(), seen.is_healthy()) == (False, True)
        seen.started()
        assert seen.is_ready()
        assert seen.measured.value("config_last_reload_successful") == 1
        seen.stopping()
        assert not seen.is_ready()


def test_it_is_healthy_as_long_as_the_loop_goes_round(wishes, clock):
    with outside(wishes, clock) as seen:
        clock.now += HEALTHY_WITHIN_S - 1
        seen.heartbeat(nothing)
        clock.now += HEALTHY_WITHIN_S - 1
        assert seen.is_healthy()
        clock.now += 1
        assert not seen.is_healthy()
        seen.heartbeat(nothing)
        assert seen.is_healthy()


def test_samples_are_taken_now_and_then(wishes, clock):
    looks = []
    with outside(wishes, clock) as seen:
        for _ in range(40):
            seen.heartbeat(lambda: looks.append(clock.now))
            clock.now += SAMPLE_EVERY_S / 4
    assert len(looks) == 10


def test_who_asks_for_a_reload_hears_how_it_went(wishes, clock, tmp_path):
    token = tmp_path / "token"
    token.write_text("t0\n")
    answers = []
    with outside(wishes, clock, listen="127.0.0.1:0", token_file=token) as seen:
        url = f"http://{seen.address}/-/reload"
        for complaint in ("", "c.yaml:1: no"):
            asker = threading.Thread(
                target=lambda: answers.append(
                    requests.post(url, headers={"Authorization": "Bearer t0"}, timeout=10)
                )
            )
            asker.start()
            assert wishes.wished.wait(10)
            assert seen.takes_reload()
            seen.reloading()
            seen.reloaded(complaint)
            asker.join()
            assert seen.measured.value("config_last_reload_successful") == (not complaint)
    assert [(answer.status_code, answer.text) for answer in answers] == [
        (200, "reloaded\n"),
        (400, "c.yaml:1: no\n"),
    ]


def test_who_waits_for_a_reload_at_the_end_hears_that_it_ends(wishes, clock):
    answers = []
    with outside(wishes, clock) as seen:
        asker = threading.Thread(target=lambda: answers.append(seen.reload()))
        asker.start()
        assert wishes.wished.wait(10)
    asker.join(RELOAD_TIMEOUT_S / 2)
    assert answers == ["the daemon stops"]


def test_a_loop_that_does_not_come_round_keeps_nobody_waiting_for_ever(wishes, clock):
    with outside(wishes, clock) as seen:
        assert "not done within 0 s" in seen.reload(timeout_s=0.0)


def test_a_token_file_that_can_not_be_read_stops_the_start(wishes, clock, tmp_path):
    with (
        pytest.raises(ConfigError, match="can't read"),
        outside(wishes, clock, listen="127.0.0.1:0", token_file=tmp_path / "none"),
    ):
        pass
