"""Two streams: against transformers' model with the same attention, written out."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mlm_parts import MODELS, cyclic_model, ids, padded, theirs_at

from logmlm.mlm.leave_one_out import two_stream_logits
from logmlm.mlm.model import build_model
from logmlm.mlm.scorer import Scorer
from logmlm.mlm.tokenizer import CLS, END, MASK, SEP

WINDOWS = st.lists(
    st.lists(st.sampled_from([END, 7, 8, 9]), min_size=1, max_size=6), min_size=1, max_size=4
)


@torch.no_grad()
def written_out(model, window: list[int]) -> torch.Tensor:
    """One window: its tokens hear each other, each `[MASK]` itself and all tokens but its own."""
    count, size = len(window), len(window) + 2
    hears = torch.zeros(1, 1, size + count, size + count, dtype=torch.bool)
    hears[..., :size] = True
    for place in range(count):
        hears[..., size + place, place + 1] = False
        hears[..., size + place, size + place] = True
    tokens = torch.tensor([[CLS, *window, SEP, *[MASK] * count]])
    positions = torch.tensor([[*range(size), *range(1, count + 1)]])
    mask = torch.where(hears, 0.0, -torch.inf)
    return theirs_at(model, tokens, positions, attention_mask=mask)[size:]


@settings(deadline=None, max_examples=30)
@given(WINDOWS, MODELS)
def test_askers_hear_all_tokens_but_their_own(rows: list[list[int]], kind: tuple[str, Any]) -> None:
    preset, positions = kind
    model = build_model(preset, 10, 12, 1, positions).eval()
    longest = max(map(len, rows))
    places = torch.tensor([[min(i, len(row)) for i in range(1, longest + 1)] for row in rows])
    with torch.inference_mode():
        found = two_stream_logits(model, padded(rows, CLS), places).unflatten(0, places.shape)
    for row, own in zip(rows, found, strict=True):
        assert torch.allclose(own[: len(row)], written_out(model, row), atol=1e-5)


def test_what_is_odd_is_so_in_two_streams_nearly_as_much_as_exactly() -> None:
    scorer = Scorer(cyclic_model())
    windows = [ids(text) for text in ("ABCDEF", "ABCHEF", "BADCEF", "CDEFGH", "AB")]
    exact = [reading.surprisals for reading in scorer.score_ordered(windows)]
    for found, expected in zip(scorer.approximate_ordered(windows), exact, strict=True):
        assert expected[found.argmax()] > expected.max() - 0.5
    right, wrong = scorer.approximate_ordered(windows[:2])
    assert wrong[3] > right.max() + 2.0
