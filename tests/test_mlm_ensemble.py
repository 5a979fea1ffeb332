"""Several models as one: means of what each says."""

from __future__ import annotations

import numpy as np
import pytest
from mlm_parts import VOCABULARY, WINDOW_SIZE, ids
from transformers import BertForMaskedLM

from logmlm.mlm.ensemble import Ensemble
from logmlm.mlm.model import build_model
from logmlm.mlm.pll import Scorer

WINDOWS = [ids("ABCDE"), ids("BCA", end=False), ids("HGFEA"), ids("")]


@pytest.fixture(scope="module")
def models() -> list[BertForMaskedLM]:
    return [build_model("tiny", len(VOCABULARY), WINDOW_SIZE, seed) for seed in (1, 2, 3)]


def test_surprisals_are_the_mean_of_the_members_in_both_readings(
    models: list[BertForMaskedLM],
) -> None:
    alone = [Scorer(model) for model in models]
    ensemble = Ensemble(models)
    for place, (reading, bag) in enumerate(
        zip(ensemble.in_order(WINDOWS), ensemble.as_bag(WINDOWS), strict=True)
    ):
        in_order = [scorer.in_order(WINDOWS)[place] for scorer in alone]
        assert np.allclose(reading.surprisals, np.mean([r.surprisals for r in in_order], axis=0))
        assert (reading.guessed == in_order[0].guessed).all()
        assert np.allclose(
            bag, np.mean([scorer.as_bag(WINDOWS)[place] for scorer in alone], axis=0)
        )
    spread = np.ptp([scorer.in_order(WINDOWS)[0].surprisals for scorer in alone], axis=0)
    assert spread.max() > 0.1  # the members do differ


def test_of_one_member_it_is_that_model(models: list[BertForMaskedLM]) -> None:
    one, scorer = Ensemble(models[:1], stride=2), Scorer(models[0], 2)
    for found, expected in zip(one.in_order(WINDOWS), scorer.in_order(WINDOWS), strict=True):
        assert (found.surprisals == expected.surprisals).all()
    assert one.in_order([]) == []
    assert one.as_bag([]) == []


def test_what_is_expected_is_what_the_first_expects(models: list[BertForMaskedLM]) -> None:
    assert Ensemble(models).expected(WINDOWS[0]) == Scorer(models[0]).expected(WINDOWS[0])
