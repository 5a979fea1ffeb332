"""Surprisals of windows: how surprising each event is, given all the others.

Exactly, with one mask a position (Wang & Cho, NeuralGen 2019; Salazar et al., ACL 2020), or
roughly, for less work (`ways.py`). Surprisal is -ln P in nats. A window is read as it came, and as
a bag, in which order can't be read. A bag does not show its end: each event is asked for as what
all others lack, which may as well be the end, and the end as what a whole window lacks. Repeats
of an event have the same surprisal there, so hiding one of each kind is exact.
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
"""Tokens of readings that are kept for windows that come again; 20 to 30 MB."""
ENTRY_OVERHEAD = 32
"""What a reading takes beside its tokens, counted in tokens."""
KEPT_EXPECTED = 500

Surprisals = npt.NDArray[np.float64]
BothSurprisals = tuple[Surprisals, Surprisals]
"""In nats, as a window came and as a bag."""
Flags = npt.NDArray[np.bool_]
Expected = list[tuple[int, float]]
Surprisal = npt.NDArray[np.float32]
Tell = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""What is wanted of logits [M, V], and of the tokens that are there [M]: [M, ...]."""
NO_SURPRISALS = np.empty((0, 2), dtype=np.float32)
NO_STRIDE = 0
"""The stride that hides one place at a time."""


@dataclass(frozen=True, slots=True)
class PositionScores:
    """A window read once.

    Of each place asked for [n], `surprisals` holds its token's in nats, and `guessed` whether it
    was the one that the model expected most.
    """

    surprisals: Surprisals
    guessed: Flags


class Scorer:
    """Scores windows of token ids with one model; results do not depend on batches or order.

    Windows mostly repeat, so readings of the latest are kept and given again. For one thread.
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
        """Each window read as it came; a `stride` hides every g-th event at once."""
        return self._read(windows, LEAVE_ONE_OUT if stride == NO_STRIDE else strided(stride))

    def score_bag(self, windows: Sequence[TokenIds]) -> list[Surprisals]:
        """Surprisal of each token of each window, read as a bag of events, in nats."""
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
        """Nearly what `score_ordered` gives, for two passes a window."""
        return [reading.surprisals for reading in self._read(windows, TWO_STREAM)]

    def approximate_bag(self, windows: Sequence[TokenIds]) -> list[Surprisals]:
        """Surprisal of each token as a bag, in one pass: nothing is hidden but the end.

        These are far lower than the exact ones; but a tenth of the tokens that training asks for
        are shown as they are, so the model has learned to doubt what it sees (Devlin et al.,
        NAACL 2019), and odd windows stand out still.
        """
        orders = [_canonical(window) for window in windows]
        bags = [tuple(w[i] for i in order) for w, order in zip(windows, orders, strict=True)]
        readings = self._read(bags, BAG_UNMASKED)
        back = map(np.argsort, orders)
        return [reading.surprisals[i] for reading, i in zip(readings, back, strict=True)]

    def expected(self, window: TokenIds, top: int = 3) -> list[Expected]:
        """The most probable tokens, with probability, in each place of a window as it came."""
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
        """Each distinct window that is not known yet is read once, with others of its size."""
        known = {window: self._known.get((way, window)) for window in dict.fromkeys(windows)}
        new = [window for window, reading in known.items() if reading is None]
        for window, found in zip(new, self._found(new, way, _surprisal_and_hit), strict=True):
            reading = PositionScores(found[:, 0].astype(np.float64), found[:, 1] > 0)
            known[window] = self._known[way, window] = reading
        return [known[window] for window in windows]

    def _found(
        self, windows: Sequence[TokenIds], way: ScoringScheme, tell: Tell
    ) -> list[Surprisal]:
        """What `tell` says of the places that each window is asked for [n, ...]."""
        places = [way.places(window) for window in windows]
        parts = make_batches(windows, places, way.first, way.cost, batch_budget(self._device))
        found: list[list[Surprisal]] = [[] for _ in windows]

        @torch.inference_mode()
        def one(part: InferenceBatch) -> Surprisal:
            ids, asked, truth = map(self._tensor, (part.ids, part.places, part.truth))
            return tell(way.logits(self.model, ids, asked).float(), truth.flatten()).cpu().numpy()

        for part, told in zip(parts, map_batches(one, parts, self._device), strict=True):
            for number, row in part.rows(told):
                found[number].append(row)
        return [np.concatenate(rows) if rows else NO_SURPRISALS for rows in found]

    def _tensor(self, array: Indices) -> torch.Tensor:
        return torch.as_tensor(array, device=self._device)


def _shares(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Probabilities [M, V]."""
    return logits.softmax(dim=-1)


def _surprisal_and_hit(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Surprisals in nats, and whether each was guessed [M, 2]."""
    loss = torch.nn.functional.cross_entropy(logits, truth, reduction="none")
    return torch.stack([loss, (logits.argmax(dim=-1) == truth).float()], dim=1)


def _canonical(window: TokenIds) -> list[int]:
    """The places of a window's tokens when they are sorted, the end token last."""
    return sorted(range(len(window)), key=lambda i: (window[i] == END, window[i]))


def _bag(window: TokenIds) -> TokenIds:
    """The window's events in canonical order, without the end."""
    return tuple(sorted(token for token in window if token != END))
