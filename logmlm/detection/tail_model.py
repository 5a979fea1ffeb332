"""One statistic's distribution over held-out normal windows, and its tail past them.

*Evidence* is -ln p, in nats: high means odd. Past what was held out a generalised Pareto tail
goes on (Pickands, 1975).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

KNOTS = 1_000
"""How many of the largest held-out values are kept one by one, and how many below them."""
LEAST_SCALE = 0.01
"""Least scale of a tail, in nats: smaller differences are arithmetic, and say nothing."""
TAIL_SHARE = 0.05
"""Of the held-out values, the share that a tail is fitted to."""


@dataclass(frozen=True, slots=True)
class TailModel:
    """One statistic's distribution over held-out normal windows.

    `values` ascend, `evidence` belongs to each; between them it is interpolated, and past the
    last the generalised Pareto tail (`shape` at least 0, `scale` at `origin`) goes on.
    """

    values: tuple[float, ...]
    evidence: tuple[float, ...]
    origin: float
    scale: float
    shape: float

    @classmethod
    def fit(cls, held_out: Array) -> TailModel:
        """The tail of `held_out` [N]: p of a value is (1 + how many are at least it) / (N + 1)."""
        values, counts = np.unique(held_out, return_counts=True)
        at_least = counts[::-1].cumsum()[::-1]
        evidence = -np.log((at_least + 1) / (len(held_out) + 1))
        kept = _knots(len(values))
        origin, scale, shape = _fit_pareto(held_out)
        return cls(
            tuple(values[kept].tolist()), tuple(evidence[kept].tolist()), origin, scale, shape
        )

    def __call__(self, statistic: Array) -> Array:
        """Evidence [N] of values [N]; it rises with the value everywhere."""
        inside = np.interp(statistic, self.values, self.evidence, left=0.0)
        last = self.values[-1]
        past = self._evidence_gain(last, np.maximum(statistic, last))
        return np.where(statistic > last, self.evidence[-1] + past, inside)

    def leave_one_out(self, held_out: Array) -> Array:
        """Evidence [N] of each of the values [N] of `fit`, had it not been among them.

        That is what a new window gets. If a window judged itself too, the largest of all
        statistics would tie, and new windows pass them several times as often as asked.
        """
        values, places, counts = np.unique(held_out, return_inverse=True, return_counts=True)
        repeated = np.log(len(held_out) / counts[::-1].cumsum()[::-1])
        once = repeated.copy()
        if len(values) > 1:
            share = (values[1:-1] - values[:-2]) / (values[2:] - values[:-2])
            once[1:-1] = repeated[:-2] + share * np.diff(repeated)[:-1]
            once[-1] = repeated[-2] + self._evidence_gain(values[-2], values[-1])
        return np.where(counts > 1, repeated, once)[places]

    def _evidence_gain(self, low: float, high: Array) -> Array:
        """How much evidence the tail model gains from one value to a higher one."""
        return self._pareto(high) - self._pareto(np.array(low))

    def _pareto(self, statistic: Array) -> Array:
        excess = np.maximum(0.0, statistic - self.origin) / self.scale
        if self.shape < 1e-6:
            return excess
        return np.log1p(self.shape * excess) / self.shape

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> TailModel:
        """Read back a tail that was written as a dict.

        Raises:
            KeyError, TypeError, ValueError: it is damaged.

        """
        values, evidence = _ascending(state["values"]), _ascending(state["evidence"])
        if len(values) != len(evidence):
            raise ValueError("a tail has as many values as evidence")
        origin, shape = float(state["origin"]), float(state["shape"])
        return cls(values, evidence, origin, require_positive(state["scale"]), shape)


def _knots(count: int) -> npt.NDArray[np.int64]:
    """The largest values one by one, and as many spread over all that lie below."""
    top = max(0, count - KNOTS)
    below = np.unique(np.linspace(0, max(0, top - 1), min(KNOTS, top)).astype(np.int64))
    return np.concatenate((below, np.arange(top, count)))


def _fit_pareto(held_out: Array) -> tuple[float, float, float]:
    """Origin, scale and shape of the tail above the 95 % quantile; the shape is 0 or more."""
    from scipy.stats import genpareto

    origin = float(np.quantile(held_out, 1 - TAIL_SHARE))
    excess = held_out[held_out > origin] - origin
    spread = float(np.ptp(held_out))
    if len(excess) < 10:
        return origin, max(float(np.mean(excess)) if len(excess) else spread, LEAST_SCALE), 0.0
    shape, _, _ = genpareto.fit(excess, floc=0)
    shape = float(np.clip(shape, 0.0, 0.5))
    _, _, scale = genpareto.fit(excess, floc=0, f0=shape)
    return origin, max(float(scale), LEAST_SCALE), shape


def _ascending(state: Sequence[Any]) -> tuple[float, ...]:
    numbers = tuple(map(float, state))
    if not numbers or not np.isfinite(numbers).all() or (np.diff(numbers) < 0).any():
        raise ValueError("a tail's numbers ascend")
    return numbers


def require_positive(state: Any) -> float:
    """Read a finite number over 0; ValueError if it is none."""
    number = float(state)
    if not 0 < number < np.inf:
        raise ValueError(f"{number} is no positive number")
    return number
