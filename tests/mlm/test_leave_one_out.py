"""Copies that hide one place each: against whole copies, one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlm_parts import MODELS, padded

from logmlm.mlm.forward import logits_at_positions
from logmlm.mlm.leave_one_out import leave_one_out_logits
from logmlm.mlm.model import build_model
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, PAD, SEP

WINDOWS = st.lists(
    st.lists(st.sampled_from([END, 7, 8, 9]), min_size=1, max_size=6), min_size=1, max_size=4
)


def one_by_one(model, ids: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    rows = []
    for window, asked in zip(ids, places, strict=True):
        for place in asked.tolist():
            shown = window.clone()
            shown[place] = MASK
            shown = shown[shown != PAD]
            rows.append(
                logits_at_positions(model, shown[None], torch.tensor([place]), padding=False)[0]
            )
    return torch.stack(rows)


def asked(rows: list[list[int]], data: st.DataObject) -> torch.Tensor:
    count = data.draw(st.integers(1, 4))
    return torch.tensor(
        [[data.draw(st.integers(1, len(row))) for _ in range(count)] for row in rows]
    )


@settings(deadline=None, max_examples=40)
@given(WINDOWS, MODELS, st.data())
def test_a_copys_logits_are_those_of_the_window_with_that_place_hidden(
    rows: list[list[int]], kind: tuple[str, Any], data: st.DataObject
) -> None:
    preset, positions = kind
    model = build_model(preset, 10, 6, 1, positions).eval()
    ids, places = padded(rows, CLS), asked(rows, data)
    with torch.inference_mode():
        found = leave_one_out_logits(model, ids, places)
        assert torch.allclose(found, one_by_one(model, ids, places), atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(WINDOWS, MODELS)
def test_of_a_bag_the_last_of_a_kind_is_hidden_as_any_of_it(
    rows: list[list[int]], kind: tuple[str, Any]
) -> None:
    preset, positions = kind
    model = build_model(preset, 10, 6, 1, positions).eval()
    bags = [sorted(row) for row in rows]
    ids = padded(bags, BAG)
    last = torch.tensor([[len(bag)] for bag in bags])
    first = torch.tensor([[bag.index(bag[-1]) + 1] for bag in bags])
    with torch.inference_mode():
        found = leave_one_out_logits(model, ids, last)
        assert torch.allclose(found, one_by_one(model, ids, last), atol=1e-5)
        assert torch.allclose(found, one_by_one(model, ids, first), atol=1e-5)


@pytest.mark.parametrize("positions", ["rotary", "absolute"])
@pytest.mark.parametrize("steepness", [5.0, 160.0])
def test_attention_to_one_token_alone_is_left_when_that_token_is_hidden(
    steepness: float, positions: Any
) -> None:
    model = build_model("tiny", 10, 6, 1, positions).eval()
    ids = torch.tensor([[CLS, 7, 8, 9, 7, END, SEP]])
    with torch.inference_mode():
        for layer in model.base_model.encoder.layer:
            layer.attention.self.query.weight *= steepness
        places = torch.arange(1, 6)[None]
        expected = one_by_one(model, ids, places)
        assert torch.allclose(leave_one_out_logits(model, ids, places), expected, atol=1e-4)
    assert torch.isfinite(expected).all()


def test_many_rows_give_what_few_give() -> None:
    model = build_model("tiny", 10, 60, seed=1).eval()
    window = [CLS, *[7, 8, 9, 9, 7, 8] * 10, SEP]
    ids, places = torch.tensor([window] * 3), torch.arange(1, 61).expand(3, -1)
    with torch.inference_mode():
        together = leave_one_out_logits(model, ids, places).view(3, 60, -1)
        few = leave_one_out_logits(model, ids[:1], places[:1, 17:19])
    assert torch.allclose(together[2, 17:19], few, atol=1e-5)
