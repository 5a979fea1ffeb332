"""Idle time is what a source saw itself; a pause of its own counts for little."""

import os
import select

import pytest

from logmlm.config.sources import StdinSourceConfig
from logmlm.sources.idle import MAX_STEP_S, IdleTimes
from logmlm.sources.stdin import StdinSource


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


def looked(idle, clock, state, times, every_s=0.5, partition="p"):
    for _ in range(times):
        clock.now += every_s
        idle.confirm(partition, state)
    return dict(idle.of([partition, "unknown"]))


def test_the_time_between_looks_that_found_the_same_counts():
    idle = IdleTimes(clock := Clock())
    assert looked(idle, clock, 7, 1) == {"p": 0.0}
    assert looked(idle, clock, 7, 4) == {"p": 2.0}
    assert looked(idle, clock, 8, 1) == {"p": 0.0}, "something came"
    assert idle.of([]) == {}


def test_a_long_pause_between_looks_counts_as_little_and_a_look_back_as_nothing():
    idle = IdleTimes(clock := Clock())
    looked(idle, clock, 7, 1)
    assert looked(idle, clock, 7, 1, every_s=3600.0) == {"p": MAX_STEP_S}
    idle.confirm("p", 7, clock.now - 5.0)
    assert idle.of(["p"]) == {"p": MAX_STEP_S}


@pytest.mark.parametrize("forget", [lambda idle: idle.forget(["p"]), IdleTimes.forget_all])
def test_what_was_forgotten_counts_from_the_start_or_below(forget):
    idle = IdleTimes(clock := Clock())
    looked(idle, clock, 7, 9)
    forget(idle)
    assert idle.of(["p"]) == {}
    idle.confirm("p", 7, grace=2.0)
    assert looked(idle, clock, 7, 5) == {"p": 0.5}


@pytest.fixture
def pipe():
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def test_standard_input_is_idle_while_nothing_comes(pipe):
    clock = Clock()
    source = StdinSource(StdinSourceConfig(), pipe[0], clock=lambda: 7.5, monotonic=clock)
    (name,) = source.checkpoints()
    assert (source.idle([name]), source.is_idle()) == ({}, False), "it was not looked at yet"
    for _ in range(4):
        assert source.poll(0.0) == []
        clock.now += 0.5
    assert (source.idle([name]), source.is_idle()) == ({name: 1.5}, True)
    os.write(pipe[1], b"a\nb")
    assert len(source.poll(10.0)) == 1
    assert (source.idle([name]), source.is_idle()) == ({}, False)
    assert select.select([pipe[0]], [], [], 0.0)[0] == []
    source.poll(0.0)
    assert source.idle([name]) == {name: 0.0}
