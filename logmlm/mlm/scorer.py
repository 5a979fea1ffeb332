"""Surprisals of windows: -ln P of each token given all others, in nats; high = odd.

Exact surprisals mask one position at a time (Wang & Cho, NeuralGen 2019; Salazar et al., ACL 2020);
approximate ones need fewer passes (`scoring_schemes.py`). Each window is scored in two views:

- ordered: the tokens as they came;
- bag: the tokens without their order. A bag does not contain `[END]`. An event is scored as the
  one that is missing from the others, where `[END]` is a candidate too; `[END]` is scored as the
  one that is missing from all events. Repeats of an event have the same surprisal, so masking one
  of each kind is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from cachetools import LRUCache

from logmlm.mlm.cpu_threads import map_batches
from logmlm.mlm.forward import MaskedLM
from logmlm.mlm.inference_batches import (
    Indices,
    InferenceBatch,
    TokenIds,
    batch_budget,
    make_batches,
)
from logmlm.mlm.scoring_schemes import (
    BAG_END,
    BAG_LEAVE_ONE_OUT,
    BAG_UNMASKED,
    LEAVE_ONE_OUT,
    TWO_STREAM,
    ScoringScheme,
    strided,
)
from logmlm.mlm.tokenizer import END

KEPT_TOKENS = 1_000_000
"""Capacity, in tokens, of the cache of scored windows; 20 to 30 MB."""
ENTRY_OVERHEAD = 32
"""Memory of a cache entry beside its tokens, counted in tokens."""
KEPT_EXPECTED = 500
"""Capacity, in windows, of the cache of most probable tokens."""

Surprisals = npt.NDArray[np.float64]
BothSurprisals = tuple[Surprisals, Surprisals]
"""Surprisals of one window in nats: ordered view, bag view; [n] each."""
Flags = npt.NDArray[np.bool_]
Expected = list[tuple[int, float]]
Surprisal = npt.NDArray[np.float32]
Tell = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Reduces logits [M, V] and true tokens [M] to the wanted result [M, ...]."""
NO_SURPRISALS = np.empty((0, 2), dtype=np.float32)
NO_STRIDE = 0
"""The stride that masks one position at a time: exact scores."""


@dataclass(frozen=True, slots=True)
class PositionScores:
    """Scores of the n scored positions of a window.

    `surprisals` [n] are in nats; `guessed` [n] is true where the true token is the most probable.
    """

    surprisals: Surprisals
    guessed: Flags


class Scorer:
    """Surprisals of windows of token ids under one model.

    Results do not depend on batching or order. Most windows repeat, so the scores of recent ones
    are cached. Not thread-safe.
    """

    def __init__(self, model: MaskedLM) -> None:
        self.model = model.eval()
        self._device = next(model.parameters()).device
        self._known: LRUCache[tuple[ScoringScheme, TokenIds], PositionScores] = LRUCache(
            KEPT_TOKENS, lambda reading: ENTRY_OVERHEAD + len(reading.surprisals)
        )
        self._expected: LRUCache[tuple[TokenIds, int], list[Expected]] = LRUCache(KEPT_EXPECTED)

    def score_ordered(
        self, windows: Sequence[TokenIds], stride: int = NO_STRIDE
    ) -> list[PositionScores]:
        """Score the ordered view of each window; a `stride` g masks every g-th event at once."""
        return self._read(windows, LEAVE_ONE_OUT if stride == NO_STRIDE else strided(stride))

    def score_bag(self, windows: Sequence[TokenIds]) -> list[Surprisals]:
        """Return the bag-view surprisals of each window [n], in nats, in the window's order."""
        bags = [_bag(window) for window in windows]
        readings = self._read(bags, BAG_LEAVE_ONE_OUT)
        whole = [(*bag, END) for bag, w in zip(bags, windows, strict=True) if END in w]
        ends = dict(zip(whole, self._read(whole, BAG_END), strict=True))
        found = []
        for window, bag, reading in zip(windows, bags, readings, strict=True):
            by_token = dict(zip(dict.fromkeys(bag), reading.surprisals, strict=True))
            by_token |= {END: ends[*bag, END].surprisals[0]} if END in window else {}
            found.append(np.array([by_token[token] for token in window]))
        return found

    def approximate_ordered(self, windows: Sequence[TokenIds]) -> list[Surprisals]:
        """Approximate `score_ordered` with two-stream attention, at two passes per window."""
        return [reading.surprisals for reading in self._read(windows, TWO_STREAM)]

    def approximate_bag(self, windows: Sequence[TokenIds]) -> list[Surprisals]:
        """Approximate `score_bag` in one pass, in which only `[END]` is masked.

        These surprisals are far lower than the exact ones. Odd windows still stand out: training
        leaves a tenth of the tokens that it predicts unmasked (Devlin et al., NAACL 2019), so the
        model does not simply copy its input.
        """
        orders = [_canonical(window) for window in windows]
        bags = [tuple(w[i] for i in order) for w, order in zip(windows, orders, strict=True)]
        readings = self._read(bags, BAG_UNMASKED)
        back = map(np.argsort, orders)
        return [reading.surprisals[i] for reading, i in zip(readings, back, strict=True)]

    def expected(self, window: TokenIds, top: int = 3) -> list[Expected]:
        """Return the `top` most probable tokens, with probability, of each position (ordered)."""
        found: list[Expected] | None = self._expected.get((window, top))
        if found is None:
            found = self._expected[window, top] = self._most_probable(window, top)
        return found

    def _most_probable(self, window: TokenIds, top: int) -> list[Expected]:
        (shares,) = self._found([window], LEAVE_ONE_OUT, _shares)
        best = torch.as_tensor(shares).topk(min(top, shares.shape[-1]))
        return [
            list(zip(tokens, shares, strict=True))
            for tokens, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _read(self, windows: Sequence[TokenIds], way: ScoringScheme) -> list[PositionScores]:
        """Score each distinct window that is not cached once; return one result per window."""
        known = {window: self._known.get((way, window)) for window in dict.fromkeys(windows)}
        new = [window for window, reading in known.items() if reading is None]
        for window, found in zip(new, self._found(new, way, _surprisal_and_hit), strict=True):
            reading = PositionScores(found[:, 0].astype(np.float64), found[:, 1] > 0)
            known[window] = self._known[way, window] = reading
        return [known[window] for window in windows]

    def _found(
        self, windows: Sequence[TokenIds], way: ScoringScheme, tell: Tell
    ) -> list[Surprisal]:
        """Return `tell`'s result at the scored positions of each window [n, ...]."""
        places = [way.places(window) for window in windows]
        parts = make_batches(windows, places, way.first, way.cost, batch_budget(self._device))
        found: list[list[Surprisal]] = [[] for _ in windows]

        @torch.inference_mode()
        def one(part: InferenceBatch) -> Surprisal:
            # [B, L], [B, n], [B, n]
            ids, asked, truth = map(self._tensor, (part.ids, part.places, part.truth))
            return tell(way.logits(self.model, ids, asked).float(), truth.flatten()).cpu().numpy()

        for part, scores in zip(parts, map_batches(one, parts, self._device), strict=True):
            for number, row in part.rows(scores):
                found[number].append(row)
        return [np.concatenate(rows) if rows else NO_SURPRISALS for rows in found]

    def _tensor(self, array: Indices) -> torch.Tensor:
        return torch.as_tensor(array, device=self._device)


def _shares(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Return the probabilities [M, V]."""
    return logits.softmax(dim=-1)


def _surprisal_and_hit(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return [M, 2]: surprisals in nats, and 1 where the true token is the most probable."""
    loss = torch.nn.functional.cross_entropy(logits, truth, reduction="none")
    return torch.stack([loss, (logits.argmax(dim=-1) == truth).float()], dim=1)


def _canonical(window: TokenIds) -> list[int]:
    """Return the permutation that sorts a window's tokens, with `[END]` last."""
    return sorted(range(len(window)), key=lambda i: (window[i] == END, window[i]))


def _bag(window: TokenIds) -> TokenIds:
    """Return the window's events in canonical order, without `[END]`."""
    return tuple(sorted(token for token in window if token != END))
