"""Exact pseudo-log-likelihood: how surprising each event is, given all the others.

One mask a position (Wang & Cho, NeuralGen 2019; Salazar et al., ACL 2020), or with `stride` g
every g-th position hidden at once, which takes g passes instead of one an event. Surprisal is
-ln P in nats. A window is read as it came, and as a bag: shuffled four times, by a generator
that the bag's content seeds, so that a window has the same scores on each run.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import BertForMaskedLM

from logmlm.mlm.masking import Tokens, shuffled
from logmlm.mlm.model import token_logits
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, framed

SHUFFLES = 4
TOKENS_A_PASS = 16_384

Window = tuple[int, ...]
Surprisals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reading:
    """A window read once.

    `surprisals` [n] holds each token's in nats, and `guessed` [n] whether it was the one that
    the model expected most.
    """

    surprisals: Surprisals
    guessed: npt.NDArray[np.bool_]


class Scorer:
    """Scores windows of token ids with one model; results do not depend on batches or order."""

    def __init__(self, model: BertForMaskedLM, stride: int = 0) -> None:
        """`stride` 0 hides one position at a time; g hides every g-th at once."""
        self._model = model.eval()
        self._stride = stride
        self._device = next(model.parameters()).device

    def in_order(self, windows: Sequence[Window]) -> list[Reading]:
        """Each window read as it came."""
        return self._distinct(windows, CLS)

    def as_bag(self, windows: Sequence[Window]) -> list[Surprisals]:
        """Surprisal of each token as part of an unordered bag, in nats.

        A token's number is the mean over the shuffles and over its repeats in the window.
        """
        bags = dict.fromkeys(map(_bag, windows))
        orders = [order for bag in bags for order in _shuffles(bag)]
        scored = iter(self._distinct(orders, BAG))
        means = {}
        for bag in bags:
            pairs = [(order, next(scored).surprisals) for order in _shuffles(bag)]
            means[bag] = _mean_by_token(pairs)
        return [np.array([means[_bag(w)][token] for token in w]) for w in windows]

    def expected(self, window: Window, top: int = 3) -> list[list[tuple[int, float]]]:
        """The most probable tokens, with probability, in each place of a window as it came."""
        places = np.arange(len(window))[:, None]
        rows = torch.cat([logits for _, logits in self._passes(np.array([window]), CLS, places)])
        best = torch.softmax(rows.float(), dim=-1).topk(min(top, rows.shape[-1]))
        return [
            list(zip(tokens, shares, strict=True))
            for tokens, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _distinct(self, windows: Sequence[Window], first: int) -> list[Reading]:
        """Each distinct window is scored once, with others of its length."""
        by_length: dict[int, list[Window]] = defaultdict(list)
        for window in dict.fromkeys(windows):
            by_length[len(window)].append(window)
        known: dict[Window, Reading] = {}
        for group in by_length.values():
            known.update(zip(group, self._equal_length(np.array(group), first), strict=True))
        return [known[window] for window in windows]

    def _equal_length(self, events: Tokens, first: int) -> Iterator[Reading]:
        """One reading for each of N windows of n tokens [N, n]."""
        surprisals = np.zeros(events.shape)
        guessed = np.zeros(events.shape, dtype=bool)
        hidden = _hidden_places(events.shape[1], self._stride)
        for places, logits in self._passes(events, first, hidden):
            truth = torch.as_tensor(events[places], device=self._device)
            loss = torch.nn.functional.cross_entropy(logits.float(), truth, reduction="none")
            surprisals[places] = loss.double().cpu().numpy()
            guessed[places] = (logits.argmax(dim=-1) == truth).cpu().numpy()
        return map(Reading, surprisals, guessed)

    @torch.inference_mode()
    def _passes(
        self, events: Tokens, first: int, hidden: npt.NDArray[np.int64]
    ) -> Iterator[tuple[tuple[Tokens, Tokens], torch.Tensor]]:
        """Hide each row of `hidden` [P, h] in each window; yield the places and their logits."""
        framed_ids = np.array([framed(row, first) for row in events.tolist()])
        jobs = np.indices((len(events), len(hidden))).reshape(2, -1)
        size = max(1, TOKENS_A_PASS // framed_ids.shape[1])
        for start in range(0, jobs.shape[1], size):
            rows, passes = jobs[:, start : start + size]
            mask = _mask(hidden[passes], events.shape[1])
            ids = framed_ids[rows]
            ids[:, 1:-1][mask] = MASK
            inner = np.pad(mask, ((0, 0), (1, 1)))
            logits = token_logits(self._model, self._tensor(ids), self._tensor(inner))
            job, column = np.nonzero(mask)
            yield (rows[job], column), logits

    def _tensor(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.as_tensor(array, device=self._device)


def _hidden_places(length: int, stride: int) -> npt.NDArray[np.int64]:
    """Places hidden in each pass [P, h]; -1 where a pass hides fewer than h."""
    passes = length if stride == 0 else min(stride, length)
    rounds = -(-length // passes)
    places = np.arange(passes)[:, None] + passes * np.arange(rounds)
    return np.where(places < length, places, -1)


def _mask(places: npt.NDArray[np.int64], length: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((len(places), length + 1), dtype=bool)
    np.put_along_axis(mask, places, True, axis=1)
    return mask[:, :length]


def _bag(window: Window) -> Window:
    """The window's events in canonical order, `[END]` last where it has one."""
    end = window[-1:] == (END,)
    return (*sorted(window[: len(window) - end]), *window[len(window) - end :])


def _shuffles(bag: Window) -> list[Window]:
    """The same few random orders of a bag each time, on every machine."""
    events = np.array(bag, dtype="<i8")
    seed = int.from_bytes(hashlib.sha256(events.tobytes()).digest()[:8], "little")
    rng = np.random.default_rng(seed)
    return [tuple(shuffled(events, rng).tolist()) for _ in range(SHUFFLES)]


def _mean_by_token(pairs: Iterable[tuple[Window, Surprisals]]) -> dict[int, float]:
    found: dict[int, list[float]] = defaultdict(list)
    for order, surprisals in pairs:
        for token, surprisal in zip(order, surprisals.tolist(), strict=True):
            found[token].append(surprisal)
    return {token: float(np.mean(values)) for token, values in found.items()}
