"""The encoder, and a model of three words whose numbers are known."""

import math

import numpy as np
import pytest
import torch

from logmlm.errors import UsageError
from logmlm.mlm.forward import TrainableModel
from logmlm.mlm.model import (
    build_model,
    forbid_special_tokens,
    resolve_device,
    set_weights,
    token_logits,
    weights_of,
)
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.tokenizer import CLS, END, MASK, NEVER_PREDICTED, PAD, SEP

SHARES = {7: 0.5, 8: 0.25, 9: 0.125, END: 0.125}


def model_of_known_shares() -> TrainableModel:
    """Gives each word its share in any place, whatever stands around it."""
    model = build_model("tiny", 10, 6, seed=0)
    with torch.no_grad():
        for parameter in model.cls.predictions.transform.parameters():
            parameter.zero_()
        bias = model.get_output_embeddings().bias
        bias.fill_(-10_000.0)
        for word, share in SHARES.items():
            bias[word] = math.log(share)
    return model.eval()


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    first, second, third = (weights_of(build_model("tiny", 10, 6, s)) for s in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all((first[name] == second[name]).all() for name in first)
    assert any((first[name] != third[name]).any() for name in first)


def test_the_model_takes_windows_of_the_size_asked_for_with_their_frame() -> None:
    model = build_model("tiny", 10, 6, 0)
    ids = torch.tensor([[CLS, *[7] * 6, END, SEP]])
    assert model(ids).logits.shape == (1, 9, 10)


def test_special_tokens_get_no_probability_at_all() -> None:
    model = build_model("tiny", 10, 6, 0).eval()
    shares = model(torch.tensor([[CLS, 7, MASK, END, SEP]])).logits.softmax(dim=-1)
    assert (shares[..., list(NEVER_PREDICTED)] == 0.0).all()
    assert torch.allclose(shares.sum(dim=-1), torch.ones(1, 5))
    halves = model(torch.tensor([[CLS, 7, MASK, END, SEP]])).logits.bfloat16().softmax(dim=-1)
    assert (halves[..., list(NEVER_PREDICTED)] == 0.0).all()


def test_suppressing_touches_nothing_but_the_output_bias_of_special_tokens() -> None:
    model = model_of_known_shares()
    before = {name: array.copy() for name, array in weights_of(model).items()}
    forbid_special_tokens(model)
    assert all((before[name] == array).all() for name, array in weights_of(model).items())


def test_surprisals_are_those_computed_by_hand() -> None:
    scorer = Scorer(model_of_known_shares())
    reading = scorer.score_ordered([(7, 9, 8, END)])[0]
    by_hand = [math.log(2), math.log(8), math.log(4), math.log(8)]
    assert reading.surprisals.tolist() == pytest.approx(by_hand, abs=1e-6)
    assert reading.guessed.tolist() == [True, False, False, False]
    bag = scorer.score_bag([(7, 9, 8, END)])[0]
    assert bag.tolist() == pytest.approx(by_hand, abs=1e-6)
    tokens, shares = zip(*scorer.expected((8, END), top=2)[0], strict=True)
    assert tokens == (7, 8)
    assert shares == pytest.approx((0.5, 0.25))


def test_logits_are_those_of_the_chosen_places_in_order_of_rows() -> None:
    model = build_model("tiny", 10, 6, 0).eval()
    ids = torch.tensor([[CLS, 7, 8, SEP], [CLS, 9, MASK, SEP]])
    places = torch.tensor([[False, True, True, False], [False, False, True, False]])
    logits = token_logits(model, ids, places)
    assert logits.shape == (3, 10)
    assert torch.allclose(logits, model(ids).logits[places], atol=1e-6)


def test_padding_changes_no_logits_where_it_is_declared() -> None:
    model = build_model("tiny", 10, 6, 0).eval()
    short, padded = [CLS, 7, 8, SEP], [CLS, 7, 8, SEP, PAD, PAD]
    place = torch.tensor([[False, True, False, False]])
    longer = torch.nn.functional.pad(place, (0, 2))
    plain = token_logits(model, torch.tensor([short]), place)
    with_padding = token_logits(model, torch.tensor([padded]), longer, padding=True)
    assert torch.allclose(plain, with_padding, atol=1e-5)
    careless = token_logits(model, torch.tensor([padded]), longer, padding=False)
    assert not torch.allclose(plain, careless, atol=1e-5)


def test_weights_travel_as_arrays() -> None:
    first, second = build_model("tiny", 10, 6, 1).eval(), build_model("tiny", 10, 6, 2).eval()
    set_weights(second, {name: np.array(array) for name, array in weights_of(first).items()})
    ids = torch.tensor([[CLS, 7, MASK, SEP]])
    assert torch.equal(first(ids).logits, second(ids).logits)


def test_a_device_that_is_not_there_is_a_sentence() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    for name in ("abacus", "cuda:99", ""):
        with pytest.raises(UsageError, match=rf"device '{name}' can't be used: .*take 'auto'"):
            resolve_device(name)
