"""One statistic's evidence: what was held out says it, and a tail goes on past that."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.detection.tail_model import Array, TailModel

SURPRISALS = st.floats(0, 30, allow_nan=False, allow_subnormal=False)  # float32 has none so small


def held_out(count: int, seed: int) -> Array:
    """Values with a long tail."""
    values: Array = np.exp(np.random.default_rng(seed).standard_normal(count))
    return values


def test_evidence_is_minus_the_logarithm_of_the_share_that_is_at_least_as_odd() -> None:
    tail = TailModel.fit(np.array([3.0, 1.0, 2.0, 2.0]))
    assert tail.values == (1.0, 2.0, 3.0)
    assert np.allclose(tail.evidence, -np.log([5 / 5, 4 / 5, 2 / 5]))
    between = (np.log(5 / 4) + np.log(5 / 2)) / 2
    assert np.allclose(tail(np.array([0.0, 1.0, 2.0, 2.5])), [0, 0, np.log(5 / 4), between])


def test_among_the_others_a_held_out_value_has_the_evidence_of_a_new_one() -> None:
    held_out = np.array([4.0, 1.0, 2.0, 2.0, 8.0, 3.0])
    among = TailModel.fit(held_out).leave_one_out(held_out)
    for index in range(4):
        alone = TailModel.fit(np.delete(held_out, index))(held_out[index : index + 1])
        assert among[index] == pytest.approx(alone[0]), held_out[index]
    assert among[5] == pytest.approx(TailModel.fit(np.delete(held_out, 5))(np.array([3.0]))[0])
    assert among[4] > among[0]  # past the others the tail model goes on


def test_one_held_out_window_alone_has_no_evidence() -> None:
    one = np.array([2.0])
    assert TailModel.fit(one).leave_one_out(one).tolist() == [0.0]


@settings(deadline=None, max_examples=60)
@given(st.lists(SURPRISALS, min_size=1, max_size=60), st.lists(SURPRISALS, min_size=2))
def test_more_surprisal_is_never_less_evidence(held_out: list[float], asked: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evidence = TailModel.fit(np.array(held_out))(np.sort(asked))
    assert np.isfinite(evidence).all()
    assert (np.diff(evidence) >= 0).all()
    assert evidence[0] >= 0


def test_evidence_rises_without_end_past_what_was_held_out() -> None:
    tail = TailModel.fit(held_out(500, 1))
    beyond = tail(tail.values[-1] + np.array([0.0, 0.5, 5.0, 50.0, 5000.0]))
    assert (np.diff(beyond) > 0).all()
    assert beyond[0] == pytest.approx(tail.evidence[-1])


def test_the_tail_past_what_was_held_out_fits_an_exponential() -> None:
    held_out = np.random.default_rng(4).exponential(2.0, 20_000)
    gained = np.diff(TailModel.fit(held_out)(held_out.max() + np.array([0.0, 2.0])))
    assert gained[0] == pytest.approx(1.0, rel=0.15)  # 2 nats at scale 2


def test_thousands_of_held_out_windows_are_kept_as_few_knots_that_say_the_same() -> None:
    values = held_out(20_000, 2)
    tail = TailModel.fit(values)
    assert len(tail.values) == len(tail.evidence) == 2_000
    at_least = (values[:, None] >= values[None, :300]).sum(axis=0)
    assert np.allclose(tail(values[:300]), -np.log((at_least + 1) / 20_001), atol=0.01)
    assert set(np.sort(values)[-1_000:]) <= set(tail.values)
