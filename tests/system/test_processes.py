"""What a process leaves to Python's garbage collector."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress

import pytest

from logmlm.system.processes import COLLECT_EVERY, freeze_gc, gc_frozen


class Ring:
    """Refers to itself, so that only the collector finds it."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture(autouse=True)
def _collector_as_before():
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_there_is_left_alone_until_it_is_exchanged():
    kept = Ring()
    gone = weakref.ref(kept)
    freeze_gc()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == COLLECT_EVERY
    del kept
    gc.collect()
    assert gone() is not None  # frozen with all else
    freeze_gc()
    assert gone() is None


def test_what_comes_later_is_collected_as_ever():
    freeze_gc()
    later = weakref.ref(Ring())
    gc.collect()
    assert later() is None


def test_it_is_spared_while_a_block_lasts_whatever_ends_it():
    before = gc.get_threshold()
    with suppress(RuntimeError), gc_frozen():
        assert (gc.get_threshold(), gc.get_freeze_count() > 10_000) == (COLLECT_EVERY, True)
        raise RuntimeError
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
