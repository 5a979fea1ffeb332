"""What training saw often is known from the start, exactly, and the same after it was saved."""

import numpy as np
import pytest
from mlm_parts import VOCABULARY, WINDOW_SIZE, ids

from logmlm.detection.known_windows import KNOWN_FILE, MOST_TOKENS, PrecomputedScores
from logmlm.errors import ModelError, StorageError
from logmlm.mlm.model import build_model
from logmlm.mlm.scorer import Scorer

OFTEN, AGAIN, ONCE = ids("ABC"), ids("BCA", end=False), ids("CBA")


@pytest.fixture(scope="module")
def scorer():
    return Scorer(build_model("tiny", len(VOCABULARY), WINDOW_SIZE, seed=0))


@pytest.fixture(scope="module")
def known(scorer):
    return PrecomputedScores.of(scorer, [AGAIN, OFTEN, ONCE, OFTEN, AGAIN, OFTEN])


def test_windows_that_come_again_are_known_the_most_frequent_first(known, scorer):
    assert list(known.surprisals) == [OFTEN, AGAIN]
    fresh = Scorer(scorer.model)
    in_order, as_bag = known.surprisals[OFTEN]
    assert np.allclose(in_order, fresh.score_ordered([OFTEN])[0].surprisals)
    assert np.allclose(as_bag, fresh.score_bag([OFTEN])[0])


def test_what_is_known_stays_affordable(scorer):
    long = tuple(range(6, 9)) * 350
    assert 2 * len(long) ** 2 > MOST_TOKENS
    assert list(PrecomputedScores.of(scorer, [long, long, long, OFTEN, OFTEN]).surprisals) == []


def test_it_comes_back_as_it_was_saved(known, tmp_path):
    known.save(tmp_path)
    again = PrecomputedScores.read(tmp_path)
    assert list(again.surprisals) == list(known.surprisals)
    for window, pair in known.surprisals.items():
        for one, other in zip(again.surprisals[window], pair, strict=True):
            assert np.allclose(one, other, atol=1e-5)


def test_nothing_is_known_of_an_older_model_or_of_windows_that_never_come_again(scorer, tmp_path):
    assert PrecomputedScores.read(tmp_path) == PrecomputedScores()
    nothing = PrecomputedScores.of(scorer, [OFTEN, AGAIN])
    nothing.save(tmp_path)
    assert PrecomputedScores.read(tmp_path) == PrecomputedScores() == nothing


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_damaged_file_is_refused(known, tmp_path, cut):
    known.save(tmp_path)
    path = tmp_path / KNOWN_FILE
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ModelError, match=r"can't read .*known.npz.*train again"):
        PrecomputedScores.read(tmp_path)


def test_a_place_that_can_not_be_written_is_told(known, tmp_path):
    with pytest.raises(StorageError, match="can't write"):
        known.save(tmp_path / "missing")
