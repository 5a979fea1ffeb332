"""Interpolated n-gram model of windows: what a masked language model has to beat.

Witten-Bell smoothing (Witten & Bell, IEEE Transactions on Information Theory 1991) in its recursive
form (Chen & Goodman, ACL 1996): with c(h, w) occurrences of w after the context h, and T(h)
distinct followers of h,

    P(w | h) = (c(h, w) + T(h) P(w | h')) / (c(h) + T(h)),

where h' is h without its oldest word. Below the shortest context all words are equally likely, one
that training never saw included. A window is read in both directions; each sees its begin and end.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Ids = Sequence[str]

ORDERS = (2, 3, 4, 5, 6, 8)
"""Orders to choose from; a model of order n predicts a word from n - 1 others."""
_EDGE = ""
"""Begin and end of a window; no template has this id."""


class NGramModel:
    """One direction: probabilities of each word, and of the end, given the words before."""

    def __init__(self, windows: Iterable[Ids], order: int) -> None:
        """Count in windows of template ids.

        Raises:
            ValueError: the order is below 1.

        """
        if order < 1:
            raise ValueError(f"an n-gram has 1 word at least, not {order}")
        self.order = order
        counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for window in windows:
            for context, word in _positions(window, order):
                for start in range(len(context) + 1):
                    counts[context[start:]][word] += 1
        self._counts = dict(counts)
        self._totals = {context: each.total() for context, each in counts.items()}
        self._words = len(self._counts.get((), ())) + 1  # and one for all that was never seen

    def probability(self, word: str, context: tuple[str, ...] = ()) -> float:
        """Return P(word | context); the empty word is the end of a window."""
        found = 1.0 / self._words
        for start in range(len(context), -1, -1):
            followers = self._counts.get(context[start:])
            if followers is None:
                break  # nor did any longer context occur
            kinds = len(followers)
            total = self._totals[context[start:]]
            found = (followers[word] + kinds * found) / (total + kinds)
        return found

    def surprisals(self, window: Ids) -> FloatArray:
        """Return -ln P of each word and of the end [n + 1], in nats."""
        return np.array(
            [-math.log(self.probability(w, c)) for c, w in _positions(window, self.order)]
        )

    def perplexity(self, windows: Sequence[Ids]) -> float:
        """Return exp of the mean surprisal over all words and ends."""
        return math.exp(float(np.mean(np.concatenate([self.surprisals(w) for w in windows]))))


def choose_order(train: Sequence[Ids], held_out: Sequence[Ids]) -> int:
    """Return the order of the model of `train` that predicts `held_out` best."""
    return min(ORDERS, key=lambda order: NGramModel(train, order).perplexity(held_out))


class BothDirections:
    """Two models of one order: the words from those before, and from those after."""

    def __init__(self, windows: Sequence[Ids], order: int) -> None:
        self._forward = NGramModel(windows, order)
        self._backward = NGramModel([window[::-1] for window in windows], order)

    def surprisals(self, window: Ids) -> tuple[FloatArray, FloatArray]:
        """Return the surprisals [n + 1] of both directions; the last is the end's or begin's."""
        return self._forward.surprisals(window), self._backward.surprisals(window[::-1])


def _positions(window: Ids, order: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each word, and the end, with the `order` - 1 words before it."""
    padded = (*[_EDGE] * (order - 1), *window, _EDGE)
    for start in range(len(window) + 1):
        end = start + order - 1
        yield padded[start:end], padded[end]
