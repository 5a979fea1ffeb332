"""From surprisals to a value whose 1.0 keeps a promised rate of false alarms, without labels.

Normal windows that the model did not see are scored. Each statistic of a window becomes an
empirical p-value among them. Their join is what the oddest statistic and all together say:
-ln of the smallest p-value (Tippett, 1931) plus half the mean of -ln p (Fisher, 1932). It is itself
a statistic, and its own quantile over the same windows, each judged by the others, is the
threshold. So nothing is assumed about how the statistics depend on each other (as in Westfall
& Young, 1993), and as long as enough windows were held out no tail is modelled (Vovk et al.,
2005: conformal p-values).
Past what was held out a tail model goes on, and `method` says so.

*Evidence* is -ln p, in nats: high means odd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logmlm.detection.surges import RATE_SHARE, SurgeRule
from logmlm.detection.tail_model import TAIL_SHARE, Array, TailModel, require_positive
from logmlm.errors import ModelError

Method = Literal["quantile", "tail model"]

STATISTICS = ("max", "mean", "bag_max", "bag_mean", "total")
"""Of one window, in nats: the most surprising event and the mean, as it came and as a bag; and
the sum of all as it came, which tells of many events that are a little odd."""
Kind = Literal["head", "tail", "middle"]
"""Which part of a session a window is: a head has lost its end, a tail its beginning, a middle
both."""
KINDS: tuple[Kind, ...] = ("head", "tail", "middle")
MARGIN = 1e-3
"""A threshold lies this much evidence above where the held-out windows put it."""
MEAN_WEIGHT = 0.5
"""The oddest statistic leads, as an anomaly may show in one alone; the others are heard."""
MAX_SHARE_FOR_SURGES = 0.02
"""Who asks for more has each window flagged that is a little odd; many of them are no news."""
UNCERTAIN_FACTOR = 3.0
"""A rate whose interval ends past so many times what was asked is warned of."""
MAX_EVIDENCE = 700.0
"""exp(-700) is about the least number that float64 holds at full precision."""


def part_kind(begun: bool, complete: bool) -> Kind | None:
    """Tell which part of a session a window is; None of a whole one."""
    if begun:
        return None if complete else "head"
    return "tail" if complete else "middle"


def window_statistics(
    surprisals: Sequence[float] | Array, bag_surprisals: Sequence[float] | Array
) -> tuple[float, ...]:
    """The statistics of one window, in the order of `STATISTICS`; of no events, all are 0."""
    if not len(bag_surprisals):
        return (0.0,) * len(STATISTICS)
    if not len(surprisals):
        return (0.0, 0.0, float(np.max(bag_surprisals)), float(np.mean(bag_surprisals)), 0.0)
    return (
        float(np.max(surprisals)),
        float(np.mean(surprisals)),
        float(np.max(bag_surprisals)),
        float(np.mean(bag_surprisals)),
        float(np.sum(surprisals)),
    )


@dataclass(frozen=True, slots=True)
class FalseAlarmGuarantee:
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

    @property
    def is_uncertain(self) -> bool:
        """Whether the held-out windows allow for far more false alarms than were asked for."""
        return self.interval[1] > UNCERTAIN_FACTOR * self.rate


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns a window's statistics into its value and p-value."""

    tails: Mapping[str, TailModel]
    joined: TailModel
    threshold: float
    promise: FalseAlarmGuarantee
    surge: SurgeRule | None = None
    """When windows alarm together; None where the order of the held-out windows was not known."""

    @classmethod
    def fit(
        cls,
        held_out: Array,
        rate: float,
        windows_per_day: float,
        folds: int = 0,
        alerts_per_day: float | None = None,
        *,
        in_order: bool = False,
    ) -> Calibration:
        """Calibrate on statistics [N, 5] of normal windows that the model did not see.

        `in_order` says that they are in the order of their time: surges are watched for then,
        and have a share of the rate, unless that is over `MAX_SHARE_FOR_SURGES`.
        """
        in_order = in_order and rate <= MAX_SHARE_FOR_SURGES
        tails = {name: TailModel.fit(held_out[:, i]) for i, name in enumerate(STATISTICS)}
        each = [tails[name].leave_one_out(held_out[:, i]) for i, name in enumerate(STATISTICS)]
        joined = _combine(each)
        threshold, method = _threshold(joined, _rate_without_surges(rate, in_order))
        alarms = joined >= threshold
        tail, surge = TailModel.fit(joined), None
        if in_order:
            surge = SurgeRule.fit(np.exp(-tail.leave_one_out(joined)), alarms, rate * RATE_SHARE)
        exceeding = int(alarms.sum())
        promise = FalseAlarmGuarantee(
            rate=rate,
            alerts_per_day=alerts_per_day,
            windows=len(held_out),
            windows_per_day=windows_per_day,
            folds=folds,
            method=method,
            observed_rate=exceeding / len(held_out),
            interval=clopper_pearson(exceeding, len(held_out)),
        )
        return cls(tails, tail, threshold, promise, surge)

    def warning(self) -> str | None:
        """A sentence for the user where the data can't carry what was asked."""
        promise = self.promise
        asked = f"the asked false-alarm rate {promise.rate:.2g} rests on {promise.windows} held-out"
        if promise.method == "tail model":
            # Times 1 - 1e-9, as 1 / 0.001 should need 999 windows whatever floats make of it.
            needed = ceil(
                (1 / _rate_without_surges(promise.rate, self.surge is not None) - 1) * (1 - 1e-9)
            )
            return (
                f"{asked} windows, and would need {needed} or more: a tail model goes on past them,"
                " so the number of false alarms is an estimate, not a promise; train on more logs"
                " or ask for more"
            )
        if promise.is_uncertain:
            low, high = promise.interval
            return (
                f"{asked} windows, too few to promise it: by them it may be anything from"
                f" {low:.1g} to {high:.1g} (95 % confidence); train on more logs or ask for more"
            )
        return None

    def values(self, statistics: Array) -> tuple[Array, Array]:
        """Values [N] (1.0 = threshold) and p-values [N], never 0, of statistics [N, 5]."""
        each = [self.tails[name](statistics[:, i]) for i, name in enumerate(STATISTICS)]
        joined = _combine(each)
        return joined / self.threshold, np.exp(-np.minimum(self.joined(joined), MAX_EVIDENCE))

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
            tails = {name: TailModel.from_dict(state["tails"][name]) for name in STATISTICS}
            interval = tuple(state["promise"]["interval"])
            promise = FalseAlarmGuarantee(**state["promise"] | {"interval": interval})
            surge = state.get("surge")
            return cls(
                tails,
                TailModel.from_dict(state["joined"]),
                require_positive(state["threshold"]),
                promise,
                None if surge is None else SurgeRule.from_dict(surge),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"calibration.json is damaged ({error!r}); train again") from error


def folds_needed(windows: int, held_out: int, rate: float, asked: int | Literal["auto"]) -> int:
    """How many folds to cross-fit with; 0 where the latest part held out carries the rate.

    By itself: 4 where fewer than 5 / rate windows were held out.
    """
    if asked != "auto":
        return 0 if asked < 2 else min(asked, windows)
    return 0 if held_out >= 5 / rate else min(4, windows)


def fold_numbers(windows: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """The fold, from 0, of each window: of equal size, and drawn by lot."""
    return np.random.default_rng(seed).permutation(np.arange(windows) % count)


def clopper_pearson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Exact confidence interval of a share (Clopper & Pearson, Biometrika 1934)."""
    from scipy.stats import beta

    rest = (1 - level) / 2
    low = beta.ppf(rest, count, total - count + 1) if count else 0.0
    high = beta.ppf(1 - rest, count + 1, total - count) if count < total else 1.0
    return float(low), float(high)


def _combine(evidence: Sequence[Array]) -> Array:
    """Of the evidence [N] of each statistic: the largest, and a part of the mean."""
    joined: Array = np.max(evidence, axis=0) + MEAN_WEIGHT * np.mean(evidence, axis=0)
    return joined


def _rate_without_surges(rate: float, in_order: bool) -> float:
    """The share of the asked rate that windows have by themselves, surges left out."""
    return rate * (1 - RATE_SHARE) if in_order else rate


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
