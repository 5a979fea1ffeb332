"""Exact pseudo-log-likelihood: how surprising each event is, given all the others.

One mask a position (Wang & Cho, NeuralGen 2019; Salazar et al., ACL 2020), or with `stride` g
every g-th position hidden at once, which takes g passes instead of one an event. Surprisal is
-ln P in nats. A window is read as it came, and as a bag, in which order can't be read. A bag
does not show its end: each event is asked for as what all others lack, which may as well be
the end, and the end as what a whole window lacks. Repeats of an event have the same surprisal
there, so one pass for each distinct event is exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from cachetools import LRUCache

from logmlm.mlm.encoder import Model
from logmlm.mlm.masking import Tokens
from logmlm.mlm.model import token_logits
from logmlm.mlm.threads import each
from logmlm.mlm.tokenizer import BAG, CLS, END, MASK, framed

TOKENS_A_PASS = 2_048
"""On a CPU, so that what a pass makes stays in its cache."""
KEPT_TOKENS = 1_000_000
"""Tokens of readings that are kept for windows that come again; 20 to 30 MB of each kind."""
OVERHEAD = 32
"""What a reading takes beside its tokens, counted in tokens."""
KEPT_EXPECTED = 500

Window = tuple[int, ...]
Surprisals = npt.NDArray[np.float64]
Pair = tuple[Surprisals, Surprisals]
"""In nats, as a window came and as a bag."""
Flags = npt.NDArray[np.bool_]
Passes = npt.NDArray[np.int64]
Plan = Callable[[Tokens, int], Passes]
"""In which pass each place of windows [N, n] is hidden [N, n], -1 for never, by the stride."""
Expected = list[tuple[int, float]]
EACH = 0
"""The stride that hides one place at a time."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A window read once.

    `surprisals` [n] holds each token's in nats, and `guessed` [n] whether it was the one that
    the model expected most.
    """

    surprisals: Surprisals
    guessed: Flags


class Scorer:
    """Scores windows of token ids with one model; results do not depend on batches or order.

    Windows mostly repeat, so readings of the latest are kept and given again. For one thread.
    """

    def __init__(self, model: Model) -> None:
        self.model = model.eval()
        self._device = next(model.parameters()).device
        self._known: LRUCache[tuple[Plan, int, Window], Reading] = LRUCache(
            KEPT_TOKENS, lambda reading: OVERHEAD + len(reading.surprisals)
        )
        self.shown: LRUCache[tuple[int, Window], Surprisals] = LRUCache(
            KEPT_TOKENS, lambda surprisals: OVERHEAD + len(surprisals)
        )
        """What `unmasked` said of windows, by their first token."""
        self._expected: LRUCache[tuple[Window, int], list[Expected]] = LRUCache(KEPT_EXPECTED)

    def in_order(self, windows: Sequence[Window], stride: int = EACH) -> list[Reading]:
        """Each window read as it came; a `stride` hides every g-th event at once."""
        return self._distinct(windows, CLS, _all, stride)

    def as_bag(self, windows: Sequence[Window], stride: int = EACH) -> list[Surprisals]:
        """Surprisal of each token of each window, read as a bag of events, in nats.

        A `stride` hides one of every g-th distinct event at once.
        """
        bags = [_bag(window) for window in windows]
        readings = self._distinct(bags, BAG, _firsts, stride)
        whole = [(*bag, END) for bag in bags]
        complete = [bag for bag, window in zip(whole, windows, strict=True) if END in window]
        ends = dict(zip(complete, self._distinct(complete, BAG, _last, EACH), strict=True))
        found = []
        for window, bag, reading in zip(windows, whole, readings, strict=True):
            by_token = dict(zip(bag[-2::-1], reading.surprisals[::-1], strict=True))
            by_token |= {END: ends[bag].surprisals[-1]} if END in window else {}
            found.append(np.array([by_token[token] for token in window]))
        return found

    def expected(self, window: Window, top: int = 3) -> list[Expected]:
        """The most probable tokens, with probability, in each place of a window as it came."""
        found: list[Expected] | None = self._expected.get((window, top))
        if found is None:
            found = self._expected[window, top] = self._most_probable(window, top)
        return found

    def _most_probable(self, window: Window, top: int) -> list[Expected]:
        events = np.array([window])
        passes = self._passes(events, CLS, _all(events, EACH))
        rows = torch.cat([logits for _, logits in passes])
        best = torch.softmax(rows.float(), dim=-1).topk(min(top, rows.shape[-1]))
        return [
            list(zip(tokens, shares, strict=True))
            for tokens, shares in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]

    def _distinct(
        self, windows: Sequence[Window], first: int, plan: Plan, stride: int
    ) -> list[Reading]:
        """Each distinct window that is not known yet is scored once, with others of its length."""
        known: dict[Window, Reading] = {}
        by_length: dict[int, list[Window]] = defaultdict(list)
        for window in dict.fromkeys(windows):
            if (plan, stride, window) in self._known:
                known[window] = self._known[plan, stride, window]
            else:
                by_length[len(window)].append(window)
        for group in by_length.values():
            events = np.array(group, dtype=np.int64)
            readings = self._equal_length(events, first, plan(events, stride))
            for window, reading in zip(group, readings, strict=True):
                known[window] = self._known[plan, stride, window] = reading
        return [known[window] for window in windows]

    def _equal_length(self, events: Tokens, first: int, hidden_in: Passes) -> Iterator[Reading]:
        """One reading for each of N windows of n tokens [N, n], by passes `hidden_in` [N, n]."""
        surprisals = np.zeros(events.shape)
        guessed = np.zeros(events.shape, dtype=bool)
        for places, logits in self._passes(events, first, hidden_in):
            truth = torch.as_tensor(events[places], device=self._device)
            loss = torch.nn.functional.cross_entropy(logits.float(), truth, reduction="none")
            surprisals[places] = loss.double().cpu().numpy()
            guessed[places] = (logits.argmax(dim=-1) == truth).cpu().numpy()
        for row, hits in zip(surprisals, guessed, strict=True):
            yield Reading(row.copy(), hits.copy())  # what is kept of a batch must not keep it all

    def _passes(
        self, events: Tokens, first: int, hidden_in: Passes
    ) -> Iterator[tuple[tuple[Tokens, Tokens], torch.Tensor]]:
        """Yield hidden places of windows [N, n], and the logits there, pass by pass."""
        counts = hidden_in.max(axis=1, initial=-1) + 1
        rows = np.repeat(np.arange(len(events)), counts)
        passes = np.concatenate([[0], *map(np.arange, counts.tolist())])[1:]
        framed_ids = np.array([framed(row, first) for row in events.tolist()])
        size = rows_a_pass(events.shape[1], self._device)
        parts = [slice(start, start + size) for start in range(0, len(rows), size)]

        @torch.inference_mode()
        def one(part: slice) -> tuple[tuple[Tokens, Tokens], torch.Tensor]:
            mask = hidden_in[rows[part]] == passes[part, None]
            ids = framed_ids[rows[part]]
            ids[:, 1:-1][mask] = MASK
            inner = np.pad(mask, ((0, 0), (1, 1)))
            logits = token_logits(self.model, self._tensor(ids), self._tensor(inner))
            job, column = np.nonzero(mask)
            return (rows[part][job], column), logits

        return each(one, parts, self._device)

    def _tensor(self, array: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.as_tensor(array, device=self._device)


def rows_a_pass(length: int, device: torch.device) -> int:
    """How many windows of so many tokens go through the model at once."""
    tokens = TOKENS_A_PASS if device.type == "cpu" else 16 * TOKENS_A_PASS
    return max(1, tokens // (length + 2))


def _all(events: Tokens, stride: int) -> Passes:
    """Every place once."""
    return np.broadcast_to(_strided(np.arange(events.shape[1]), stride), events.shape)


def _firsts(events: Tokens, stride: int) -> Passes:
    """The first event of each kind, in windows whose repeats are neighbours."""
    new = np.ones(events.shape, dtype=bool)
    new[:, 1:] = events[:, 1:] != events[:, :-1]
    return np.where(new, _strided(new.cumsum(axis=1) - 1, stride), -1)


def _last(events: Tokens, _: int) -> Passes:
    """The last place alone."""
    passes = np.full(events.shape, -1)
    passes[:, -1:] = 0
    return passes


def _strided(places: Passes, stride: int) -> Passes:
    return places if stride == EACH else places % stride


def _bag(window: Window) -> Window:
    """The window's events in canonical order, without the end."""
    return tuple(sorted(token for token in window if token != END))
