"""Distribution of one statistic over held-out normal windows, with an extrapolated tail.

*Evidence* is -ln p, in nats: high means odd. Beyond the largest held-out value, a generalized
Pareto distribution extrapolates (Pickands, Annals of Statistics 1975).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

KNOTS = 1_000
"""Number of the largest held-out values that are all kept, and of those kept from the rest."""
LEAST_SCALE = 0.01
"""Smallest scale of a tail, in nats: smaller differences are rounding."""
TAIL_SHARE = 0.05
"""Share of the held-out values, the largest ones, that the tail is fitted to."""


@dataclass(frozen=True, slots=True)
class TailModel:
    """Distribution of one statistic over held-out normal windows.

    `values` ascend, and `evidence` holds -ln p of each, in nats. Evidence is interpolated between
    them; beyond the last, the generalized Pareto tail (`shape` >= 0, `scale`, above `origin`)
    extrapolates.
    """

    values: tuple[float, ...]
    evidence: tuple[float, ...]
    origin: float
    scale: float
    shape: float

    @classmethod
    def fit(cls, held_out: Array) -> TailModel:
        """Fit to `held_out` [N], where p of a value is (1 + #{held out >= value}) / (N + 1).

        This is the conformal p-value (Vovk et al., "Algorithmic Learning in a Random World", 2005).
        """
        # K distinct values, ascending; all arrays here are [K].
        values, counts = np.unique(held_out, return_counts=True)
        at_least = counts[::-1].cumsum()[::-1]
        evidence = -np.log((at_least + 1) / (len(held_out) + 1))
        kept = _knots(len(values))
        origin, scale, shape = _fit_pareto(held_out)
        return cls(
            tuple(values[kept].tolist()), tuple(evidence[kept].tolist()), origin, scale, shape
        )

    def __call__(self, statistic: Array) -> Array:
        """Return the evidence [N] of values [N], in nats; it never falls as the value rises."""
        inside = np.interp(statistic, self.values, self.evidence, left=0.0)
        last = self.values[-1]
        past = self._evidence_gain(last, np.maximum(statistic, last))
        return np.where(statistic > last, self.evidence[-1] + past, inside)

    def held_out(self, count: int) -> Array:
        """Return the `count` held-out values [count] again, ascending, as far as they were kept.

        The largest are all there; what lies between kept ones lower down counts as the lower one.
        """
        at_least = np.rint(np.exp(-np.array(self.evidence)) * (count + 1) - 1).astype(np.int64)
        repeats = -np.diff(at_least, append=0)
        return np.repeat(np.array(self.values), np.maximum(repeats, 0))

    def leave_one_out(self, held_out: Array) -> Array:
        """Return the leave-one-out evidence [N], in nats, of the values [N] given to `fit`.

        It is computed as if the value were not in the sample, as for a new window. Otherwise the
        largest values of all statistics would have the same evidence, and new windows would exceed
        it several times as often as asked.
        """
        # K distinct values, `places` [N] indexes them; the arrays below are [K].
        values, places, counts = np.unique(held_out, return_inverse=True, return_counts=True)
        # p = (1 + (at_least - 1)) / N: the value itself is not in its sample of N - 1.
        repeated = np.log(len(held_out) / counts[::-1].cumsum()[::-1])
        once = repeated.copy()
        # A value that occurs once leaves a gap: interpolate between its neighbours. The largest is
        # extrapolated by the tail.
        if len(values) > 1:
            share = (values[1:-1] - values[:-2]) / (values[2:] - values[:-2])
            once[1:-1] = repeated[:-2] + share * np.diff(repeated)[:-1]
            once[-1] = repeated[-2] + self._evidence_gain(values[-2], values[-1])
        return np.where(counts > 1, repeated, once)[places]

    def _evidence_gain(self, low: float, high: Array) -> Array:
        """Return the gain of evidence from `low` to `high` under the Pareto tail, in nats."""
        return self._pareto(high) - self._pareto(np.array(low))

    def _pareto(self, statistic: Array) -> Array:
        """Return -ln of the survival function of the generalized Pareto tail."""
        excess = np.maximum(0.0, statistic - self.origin) / self.scale
        if self.shape < 1e-6:
            return excess
        return np.log1p(self.shape * excess) / self.shape

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> TailModel:
        """Load a tail from the dict that `asdict` gave.

        Raises:
            KeyError, TypeError, ValueError: the dict is damaged.

        """
        values, evidence = _ascending(state["values"]), _ascending(state["evidence"])
        if len(values) != len(evidence):
            raise ValueError("a tail has as many values as evidence")
        origin, shape = float(state["origin"]), float(state["shape"])
        return cls(values, evidence, origin, require_positive(state["scale"]), shape)


def _knots(count: int) -> npt.NDArray[np.int64]:
    """Return the indices of the largest `KNOTS` values, and of as many spread over the rest."""
    top = max(0, count - KNOTS)
    below = np.unique(np.linspace(0, max(0, top - 1), min(KNOTS, top)).astype(np.int64))
    return np.concatenate((below, np.arange(top, count)))


def _fit_pareto(held_out: Array) -> tuple[float, float, float]:
    """Fit origin, scale and shape of the tail above the 95 % quantile, by maximum likelihood.

    The shape is clipped to [0, 0.5]. With fewer than 10 values the tail is exponential (shape 0).
    """
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
    """Return a finite number above 0.

    Raises:
        TypeError, ValueError: it is none.

    """
    number = float(state)
    if not 0 < number < np.inf:
        raise ValueError(f"{number} is no positive number")
    return number
