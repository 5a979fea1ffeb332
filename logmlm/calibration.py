"""From surprisals to a value whose 1.0 keeps a promised rate of false alarms, without labels.

Normal windows that the model did not see are scored. Each statistic of a window becomes an
empirical p-value among them. Their join is what the oddest statistic and all together say:
-ln of the smallest p-value (Tippett, 1931) plus half the mean of -ln p (Fisher, 1932). It is itself
a statistic, and its own quantile over the same windows, each judged by the others, is the
threshold. So nothing is assumed about how the statistics depend on each other (as in Westfall
& Young, 1993), and as long as enough windows were held out no tail is modelled (Vovk et al.,
2005: conformal p-values).
Past what was held out a generalised Pareto tail goes on (Pickands, 1975), and `method` says so.

*Evidence* is -ln p, in nats: high means odd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logmlm.errors import ModelError

Array = npt.NDArray[np.float64]
Method = Literal["quantile", "tail model"]

STATISTICS = ("max", "mean", "bag_max", "bag_mean", "total")
"""Of one window, in nats: the most surprising event and the mean, as it came and as a bag; and
the sum of all as it came, which tells of many events that are a little odd."""
MARGIN = 1e-3
"""A threshold lies this much evidence above where the held-out windows put it."""
KNOTS = 1_000
"""How many of the largest held-out values are kept one by one, and how many below them."""
LEAST_SCALE = 0.01
"""Least scale of a tail, in nats: smaller differences are arithmetic, and say nothing."""
TAIL_SHARE = 0.05
MEAN_WEIGHT = 0.5
"""The oddest statistic leads, as an anomaly may show in one alone; the others are heard."""
MOST_EVIDENCE = 700.0
"""exp(-700) is about the least number that float64 holds at full precision."""


def statistics(
    surprisals: Sequence[float] | Array, bag_surprisals: Sequence[float] | Array
) -> tuple[float, ...]:
    """The statistics of one window, in the order of `STATISTICS`; of no events, all are 0."""
    if not len(surprisals):
        return (0.0,) * len(STATISTICS)
    return (
        float(np.max(surprisals)),
        float(np.mean(surprisals)),
        float(np.max(bag_surprisals)),
        float(np.mean(bag_surprisals)),
        float(np.sum(surprisals)),
    )


@dataclass(frozen=True, slots=True)
class Tail:
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
    def fit(cls, held_out: Array) -> Tail:
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
        past = self._between(last, np.maximum(statistic, last))
        return np.where(statistic > last, self.evidence[-1] + past, inside)

    def among_others(self, held_out: Array) -> Array:
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
            once[-1] = repeated[-2] + self._between(values[-2], values[-1])
        return np.where(counts > 1, repeated, once)[places]

    def _between(self, low: float, high: Array) -> Array:
        """How much evidence the tail model gains from one value to a higher one."""
        return self._pareto(high) - self._pareto(np.array(low))

    def _pareto(self, statistic: Array) -> Array:
        excess = np.maximum(0.0, statistic - self.origin) / self.scale
        if self.shape < 1e-6:
            return excess
        return np.log1p(self.shape * excess) / self.shape


@dataclass(frozen=True, slots=True)
class Promise:
    """What was asked of the threshold, and what it rests on.

    `rate` is the asked share of normal windows that alarm; `observed_rate` is that of the
    held-out windows, and `interval` its 95 % confidence interval (Clopper & Pearson, 1934).
    """

    rate: float
    alerts_per_day: float | None
    windows: int
    windows_per_day: float
    folds: int
    method: Method
    observed_rate: float
    interval: tuple[float, float]

    def warning(self) -> str | None:
        """A sentence for the user where the data can't carry what was asked."""
        if self.method == "quantile":
            return None
        needed = int(np.ceil(1 / self.rate))
        return (
            f"the asked false-alarm rate {self.rate:.2g} rests on {self.windows} held-out windows,"
            f" and would need {needed} or more: a tail model goes on past them, so the number of"
            f" false alarms is an estimate, not a promise; train on more logs or ask for more"
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns a window's statistics into its value and p-value."""

    tails: Mapping[str, Tail]
    joined: Tail
    threshold: float
    promise: Promise

    @classmethod
    def fit(
        cls,
        held_out: Array,
        rate: float,
        windows_per_day: float,
        folds: int = 0,
        alerts_per_day: float | None = None,
    ) -> Calibration:
        """Calibrate on statistics [N, 5] of normal windows that the model did not see."""
        tails = {name: Tail.fit(held_out[:, i]) for i, name in enumerate(STATISTICS)}
        each = [tails[name].among_others(held_out[:, i]) for i, name in enumerate(STATISTICS)]
        joined = _join(each)
        threshold, method = _threshold(joined, rate)
        exceeding = int((joined >= threshold).sum())
        promise = Promise(
            rate=rate,
            alerts_per_day=alerts_per_day,
            windows=len(held_out),
            windows_per_day=windows_per_day,
            folds=folds,
            method=method,
            observed_rate=exceeding / len(held_out),
            interval=clopper_pearson(exceeding, len(held_out)),
        )
        return cls(tails, Tail.fit(joined), threshold, promise)

    def values(self, statistics: Array) -> tuple[Array, Array]:
        """Values [N] (1.0 = threshold) and p-values [N], never 0, of statistics [N, 5]."""
        each = [self.tails[name](statistics[:, i]) for i, name in enumerate(STATISTICS)]
        joined = _join(each)
        return joined / self.threshold, np.exp(-np.minimum(self.joined(joined), MOST_EVIDENCE))

    def event_values(self, surprisals: Array, bag_surprisals: Array) -> Array:
        """How odd each event is by itself [n].

        1.0: a share of `promise.rate` of normal windows holds an event as odd.
        """
        each = np.maximum(self.tails["max"](surprisals), self.tails["bag_max"](bag_surprisals))
        return each / -float(np.log(self.promise.rate))

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self) | {"version": 1}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Calibration:
        """Read back what `as_dict` gave.

        Raises:
            ModelError: it is damaged, or of a newer version.

        """
        if isinstance(state, Mapping) and state.get("version", 1) != 1:
            raise ModelError("calibration.json is of another version; train again")
        try:
            tails = {name: _tail(state["tails"][name]) for name in STATISTICS}
            interval = tuple(state["promise"]["interval"])
            promise = Promise(**state["promise"] | {"interval": interval})
            return cls(tails, _tail(state["joined"]), _positive(state["threshold"]), promise)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"calibration.json is damaged ({error!r}); train again") from error


def folds_needed(windows: int, held_out: int, rate: float, asked: int | Literal["auto"]) -> int:
    """How many folds to cross-fit with; 0 where the latest part held out carries the rate.

    By itself: 4 where fewer than 5 / rate windows were held out.
    """
    if asked != "auto":
        return 0 if asked < 2 else min(asked, windows)
    return 0 if held_out >= 5 / rate else min(4, windows)


def clopper_pearson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Exact confidence interval of a share (Clopper & Pearson, Biometrika 1934)."""
    from scipy.stats import beta

    rest = (1 - level) / 2
    low = beta.ppf(rest, count, total - count + 1) if count else 0.0
    high = beta.ppf(1 - rest, count + 1, total - count) if count < total else 1.0
    return float(low), float(high)


def _join(evidence: Sequence[Array]) -> Array:
    """Of the evidence [N] of each statistic: the largest, and a part of the mean."""
    joined: Array = np.max(evidence, axis=0) + MEAN_WEIGHT * np.mean(evidence, axis=0)
    return joined


def _threshold(joined: Array, rate: float) -> tuple[float, Method]:
    """The evidence that a share `rate` of new normal windows reaches.

    A new window reaches the k-th largest of n with probability k / (n + 1); between two ranks
    the level is interpolated, as to take the higher one would keep fewer false alarms than
    were asked for, and miss what lies between.
    """
    allowed = rate * (len(joined) + 1)
    if allowed >= 1:
        rank = int(allowed)
        higher, lower = _level(joined, rank), _level(joined, min(rank + 1, len(joined)))
        return higher + (allowed - rank) * (lower - higher) + MARGIN, "quantile"
    # The join falls like exp(-t) where one statistic is odd, like exp(-t / 1.5) where all are;
    # the held-out windows tell the level that they do reach, and how it falls from there.
    reached = max(1, round(len(joined) * TAIL_SHARE))
    level = _level(joined, reached)
    scale = float(np.clip(np.mean(np.sort(joined)[-reached:] - level), 1.0, 1 + MEAN_WEIGHT))
    return level + scale * float(np.log(reached / len(joined) / rate)), "tail model"


def _level(joined: Array, rank: int) -> float:
    """The evidence of the window of that rank, from the top.

    Where windows are alike, so that they tie, it is at least what it would be without ties:
    above a tie of all, any difference would be an alarm.
    """
    return max(float(np.sort(joined)[-rank]), float(np.log(len(joined) / (rank + 1))))


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


def _tail(state: Mapping[str, Any]) -> Tail:
    values, evidence = _ascending(state["values"]), _ascending(state["evidence"])
    if len(values) != len(evidence):
        raise ValueError("a tail has as many values as evidence")
    origin, shape = float(state["origin"]), float(state["shape"])
    return Tail(values, evidence, origin, _positive(state["scale"]), shape)


def _ascending(state: Sequence[Any]) -> tuple[float, ...]:
    numbers = tuple(map(float, state))
    if not numbers or not np.isfinite(numbers).all() or (np.diff(numbers) < 0).any():
        raise ValueError("a tail's numbers ascend")
    return numbers


def _positive(state: Any) -> float:
    number = float(state)
    if not 0 < number < np.inf:
        raise ValueError(f"{number} is no positive number")
    return number
