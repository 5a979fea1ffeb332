"""The forward pass for few places, held against that of transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from hypothesis import given, settings
from hypothesis import strategies as st
from mlm_parts import MODELS, padded, theirs_at

from logmlm.mlm.forward import logits_at_positions, position_ids
from logmlm.mlm.model import build_model
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, PAD, SEP

ROWS = st.lists(
    st.lists(st.sampled_from([MASK, END, 7, 8, 9]), min_size=1, max_size=6), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=30)
@given(ROWS, MODELS, st.sampled_from([CLS, BAG]), st.data())
def test_logits_are_those_of_transformers_at_any_places(
    rows: list[list[int]], kind: tuple[str, Any], first: int, data: st.DataObject
) -> None:
    preset, positions = kind
    model = build_model(preset, 10, 6, 1, positions).eval()
    ids = padded(rows, first)
    real = (ids != PAD).flatten().nonzero()[:, 0].tolist()
    places = torch.tensor(data.draw(st.lists(st.sampled_from(real), max_size=9)), dtype=torch.long)
    found = logits_at_positions(
        model, ids, places, padding=bool((ids == PAD).any()), repeats=data.draw(st.booleans())
    )
    windows = [window[window != PAD][None] for window in ids]
    theirs = [theirs_at(model, each, position_ids(model, each).expand(1, -1)) for each in windows]
    longest = [F.pad(logits, (0, 0, 0, ids.shape[1] - len(logits))) for logits in theirs]
    assert torch.allclose(found, torch.cat(longest)[places], atol=1e-5)


@settings(deadline=None, max_examples=20)
@given(ROWS, MODELS, st.sampled_from([CLS, BAG]), st.data())
def test_places_that_each_window_has_as_many_of_are_read_without_the_others(
    rows: list[list[int]], kind: tuple[str, Any], first: int, data: st.DataObject
) -> None:
    preset, positions = kind
    model = build_model(preset, 10, 6, 1, positions).eval()
    ids = padded(rows, first)
    each = data.draw(st.integers(1, 3))
    columns = [data.draw(st.lists(st.integers(0, 2), min_size=each, max_size=each)) for _ in rows]
    places = (torch.tensor(columns) + torch.arange(len(rows))[:, None] * ids.shape[1]).flatten()
    padding = bool((ids == PAD).any())
    expected = logits_at_positions(model, ids, places, padding)
    for repeats in (False, True):
        found = logits_at_positions(model, ids, places, padding, each=each, repeats=repeats)
        assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("positions", ["rotary", "absolute"])
def test_gradients_are_those_of_transformers_too(positions: Any) -> None:
    model = build_model("small", 10, 6, 1, positions).train()
    ids = padded([[7, MASK, 9, END], [8, MASK]], CLS)
    places, truth = torch.tensor([2, 8]), torch.tensor([8, 7])

    def gradients(logits: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad()
        torch.nn.functional.cross_entropy(logits, truth).backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    theirs = model(ids, attention_mask=(ids != PAD).long()).logits.flatten(0, 1)
    expected, found = (
        gradients(theirs[places]),
        gradients(logits_at_positions(model, ids, places, True)),
    )
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, atol=1e-6), name


@pytest.mark.parametrize(("positions", "first"), [("rotary", 0), ("absolute", 9)])
def test_places_in_a_bag_tell_how_often_the_word_stood_before(positions: Any, first: int) -> None:
    model = build_model("tiny", 10, 6, 1, positions)  # absolute: a table of 2 * 9 places
    ids = torch.tensor([[BAG, 7, 8, 7, 7, MASK, MASK, SEP], [CLS, 7, 8, 7, 7, MASK, MASK, SEP]])
    assert position_ids(model, ids).tolist() == [
        [first + repeats for repeats in (0, 0, 0, 1, 2, 0, 0, 0)],
        list(range(8)),
    ]


@pytest.mark.parametrize("order", [[3, 1, 2], [2, 3, 1]])
def test_logits_come_in_the_order_asked_for(order: list[int]) -> None:
    model = build_model("tiny", 10, 6, seed=1).eval()
    ids = padded([[7, MASK, 9]], CLS)
    together = logits_at_positions(model, ids, torch.tensor(order), padding=False)
    alone = [
        logits_at_positions(model, ids, torch.tensor([place]), padding=False) for place in order
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)
