"""Calibration: map surprisals to a value whose threshold 1.0 keeps a false-alarm rate, unlabelled.

1. Score held-out normal windows. Each statistic of a window gets a conformal p-value among them
   (Vovk et al., "Algorithmic Learning in a Random World", 2005).
2. Combine the statistics: -ln of the smallest p-value (Tippett, 1931) plus half the mean of -ln p
   (Fisher, 1932).
3. The combination is a statistic too. The threshold is its quantile over the same windows, with
   leave-one-out p-values, so the dependence between the statistics needs no assumption (as in
   Westfall & Young, 1993).

If too few windows were held out for the quantile, a tail model extrapolates, and `method` says so.

*Evidence* is -ln p, in nats: high means odd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logmlm.detection.surges import RATE_SHARE, SurgeRule
from logmlm.detection.tail_model import TAIL_SHARE, Array, TailModel, require_positive
from logmlm.errors import ModelError

Method = Literal["quantile", "tail model"]

STATISTICS = ("max", "mean", "bag_max", "bag_mean", "total")
"""Statistics of one window, in nats: maximum and mean surprisal in the ordered and the bag view,
and the sum in the ordered view, which rises with many slightly odd events."""
Kind = Literal["head", "tail", "middle"]
"""Kind of a partial window: a head lacks its end, a tail its beginning, a middle both."""
KINDS: tuple[Kind, ...] = ("head", "tail", "middle")
MARGIN = 1e-3
"""Nats of evidence added to the threshold that the held-out windows give."""
MEAN_WEIGHT = 0.5
"""Weight of the mean evidence beside the maximum: an anomaly may show in one statistic alone."""
MAX_SHARE_FOR_SURGES = 0.02
"""Largest false-alarm rate with surge detection; above it, slightly odd windows alarm anyway."""
UNCERTAIN_FACTOR = 3.0
"""Warn if the confidence interval of the rate ends above this multiple of the asked rate."""
HELD_OUT_SHARE = 0.10
"""Share of the windows, the latest, that calibrate where no cross-fitting is needed."""
EXTRAPOLATION = 10.0
"""How many times more seldom than one in all held-out windows a false alarm may be asked for. The
tail model goes on for so far; with a threshold beyond, what it says is made up, and little alarms.
"""
MAX_EVIDENCE = 700.0
"""Upper limit of evidence: exp(-700) is close to the smallest normal float64."""


def part_kind(begun: bool, complete: bool) -> Kind | None:
    """Return the kind of a partial window; None for a whole one."""
    if begun:
        return None if complete else "head"
    return "tail" if complete else "middle"


def window_statistics(
    surprisals: Sequence[float] | Array, bag_surprisals: Sequence[float] | Array
) -> tuple[float, ...]:
    """Return the statistics of one window, in the order of `STATISTICS`; without events, zeros."""
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
    """The asked false-alarm rate and its evidence.

    `rate` is the share of normal windows that alarm: `asked_rate`, or the strictest that the
    held-out windows can carry (None: a model of before). `observed_rate` is the share of the
    held-out `windows` that do, and `interval` its 95 % confidence interval (Clopper & Pearson,
    1934).
    """

    rate: float
    alerts_per_day: float | None
    windows: int
    windows_per_day: float
    folds: int
    method: Method
    observed_rate: float
    interval: tuple[float, float]
    asked_rate: float | None = None

    @property
    def is_beyond_reach(self) -> bool:
        """Whether the asked rate is stricter than the held-out windows can carry."""
        return self.asked_rate is not None and self.asked_rate < self.rate

    def expected(self) -> str:
        """Say how many false alarms a day to expect, as far as the held-out windows tell."""
        about = self.rate * self.windows_per_day
        low, high = (share * self.windows_per_day for share in self.interval)
        if self.method == "tail model":
            return f"about {about:.2g} false alarms a day, by a tail model; {high:.2g} at most"
        return f"about {about:.2g} false alarms a day ({low:.2g} to {high:.2g}, 95 % confidence)"

    def days_for(self, windows: int) -> str:
        """Say how many days of such logs hold out so many windows."""
        share = 1.0 if self.folds else HELD_OUT_SHARE
        days = windows / share / self.windows_per_day
        return (
            f"about {days:.2g} days of such logs" if days >= 1 else "less than a day of such logs"
        )

    @property
    def is_uncertain(self) -> bool:
        """Whether the interval allows for far more false alarms than were asked for."""
        return self.interval[1] > UNCERTAIN_FACTOR * self.rate


@dataclass(frozen=True, slots=True)
class Calibration:
    """Map from a window's statistics to its value and p-value."""

    tails: Mapping[str, TailModel]
    joined: TailModel
    threshold: float
    promise: FalseAlarmGuarantee
    surge: SurgeRule | None = None
    """Rule for surges; None if the order of the held-out windows is unknown or the rate is high."""

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

        `in_order`: they are sorted by time. Surge detection is then calibrated too, and takes a
        share of the rate, unless the rate is over `MAX_SHARE_FOR_SURGES`. A rate that is stricter
        than the windows can carry becomes the strictest that they can (`strictest_rate`).
        """
        asked, rate = rate, max(rate, strictest_rate(len(held_out)))
        in_order = in_order and asked <= MAX_SHARE_FOR_SURGES
        tails = {name: TailModel.fit(held_out[:, i]) for i, name in enumerate(STATISTICS)}
        each = [tails[name].leave_one_out(held_out[:, i]) for i, name in enumerate(STATISTICS)]
        joined = _combine(each)  # [N], leave-one-out
        threshold, method = _threshold(joined, _rate_without_surges(rate, in_order))
        alarms = joined >= threshold
        tail, surge = TailModel.fit(joined), None
        if in_order:
            surge = SurgeRule.fit(np.exp(-tail.leave_one_out(joined)), alarms, rate * RATE_SHARE)
        exceeding = int(alarms.sum())
        promise = FalseAlarmGuarantee(
            rate=rate,
            asked_rate=asked,
            alerts_per_day=alerts_per_day,
            windows=len(held_out),
            windows_per_day=windows_per_day,
            folds=folds,
            method=method,
            observed_rate=exceeding / len(held_out),
            interval=clopper_pearson(exceeding, len(held_out)),
        )
        return cls(tails, tail, threshold, promise, surge)

    def at_rate(self, rate: float, alerts_per_day: float | None = None) -> Calibration:
        """Return the calibration for another rate, from the held-out windows that are kept here.

        As in `fit`, it is not stricter than the windows can carry. The threshold of surges rises
        with the logarithm of 1 / rate, as for alarms that come independently.
        """
        asked, rate = rate, max(rate, strictest_rate(self.promise.windows))
        in_order = self.surge is not None and asked <= MAX_SHARE_FOR_SURGES
        joined = self.joined.held_out(self.promise.windows)
        threshold, method = _threshold(joined, _rate_without_surges(rate, in_order))
        exceeding = int((joined >= threshold).sum())
        promise = replace(
            self.promise,
            rate=rate,
            asked_rate=asked,
            alerts_per_day=alerts_per_day,
            method=method,
            observed_rate=exceeding / len(joined),
            interval=clopper_pearson(exceeding, len(joined)),
        )
        surge = self.surge.at_rate(rate * RATE_SHARE) if self.surge and in_order else None
        return replace(self, threshold=threshold, promise=promise, surge=surge)

    def warning(self) -> str | None:
        """Return a warning if there are too few held-out windows for the asked rate, else None."""
        promise = self.promise
        asked = promise.rate if promise.asked_rate is None else promise.asked_rate
        rests = f"the asked false-alarm rate {asked:.2g} rests on {promise.windows} held-out"
        # Guard `ceil` against rounding: a rate of 0.001 needs exactly 999 windows.
        share = _rate_without_surges(asked, self.surge is not None)
        needed = ceil((1 / share - 1) * (1 - 1e-9))
        needs = f"{rests} windows, and would need {needed} or more ({promise.days_for(needed)})"
        if promise.is_beyond_reach:
            return (
                f"{needs}; the strictest level that they carry is taken in its place,"
                f" {promise.rate:.2g} of all windows: {promise.expected()}; train on more logs, or"
                " ask for more"
            )
        if promise.method == "tail model":
            return (
                f"{needs}: a tail model goes on past them, so the number of false alarms is an"
                " estimate, not a promise; train on more logs or ask for more"
            )
        if promise.is_uncertain:
            low, high = promise.interval
            return (
                f"{rests} windows, too few to promise it: by them it may be anything from"
                f" {low:.1g} to {high:.1g} (95 % confidence); train on more logs or ask for more"
            )
        return None

    def values(self, statistics: Array) -> tuple[Array, Array]:
        """Return values [N] (1.0 = threshold) and p-values [N], never 0, of statistics [N, 5]."""
        each = [self.tails[name](statistics[:, i]) for i, name in enumerate(STATISTICS)]
        joined = _combine(each)
        return joined / self.threshold, np.exp(-np.minimum(self.joined(joined), MAX_EVIDENCE))

    def event_values(self, surprisals: Array, bag_surprisals: Array) -> Array:
        """Return the value of each single event [n].

        At 1.0, a share `promise.rate` of normal windows contains an event at least as odd.
        """
        each = np.maximum(self.tails["max"](surprisals), self.tails["bag_max"](bag_surprisals))
        return each / -float(np.log(self.promise.rate))

    def as_dict(self) -> dict[str, Any]:
        """Return the calibration as plain JSON values."""
        return asdict(self) | {"version": 1}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Calibration:
        """Load what `as_dict` gave.

        Raises:
            ModelError: the dict is damaged, or of another version.

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
    """Return the number of folds for cross-fitting; 0: the held-out windows suffice.

    `auto` gives 4 if fewer than 5 / rate windows are held out.
    """
    if asked != "auto":
        return 0 if asked < 2 else min(asked, windows)
    return 0 if held_out >= 5 / rate else min(4, windows)


def fold_numbers(windows: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the fold, from 0, of each window [windows]: random, of equal sizes."""
    return np.random.default_rng(seed).permutation(np.arange(windows) % count)


def strictest_rate(windows: int) -> float:
    """Return the least false-alarm rate that so many held-out windows can carry."""
    return 1 / (EXTRAPOLATION * max(1, windows))


def clopper_pearson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact confidence interval of a share (Clopper & Pearson, Biometrika 1934)."""
    from scipy.stats import beta

    rest = (1 - level) / 2
    low = beta.ppf(rest, count, total - count + 1) if count else 0.0
    high = beta.ppf(1 - rest, count + 1, total - count) if count < total else 1.0
    return float(low), float(high)


def _combine(evidence: Sequence[Array]) -> Array:
    """Combine the evidence [N] of the statistics: maximum plus `MEAN_WEIGHT` times mean; [N]."""
    joined: Array = np.max(evidence, axis=0) + MEAN_WEIGHT * np.mean(evidence, axis=0)
    return joined


def _rate_without_surges(rate: float, in_order: bool) -> float:
    """Return the part of the asked rate that is left for single windows."""
    return rate * (1 - RATE_SHARE) if in_order else rate


def _threshold(joined: Array, rate: float) -> tuple[float, Method]:
    """Return the evidence, in nats, that a share `rate` of new normal windows reaches.

    A new window reaches the k-th largest of n with probability k / (n + 1). Between two ranks the
    level is interpolated; the higher one would give fewer false alarms than asked for, and miss
    the anomalies in between.
    """
    allowed = rate * (len(joined) + 1)
    if allowed >= 1:
        rank = int(allowed)
        higher, lower = _level(joined, rank), _level(joined, min(rank + 1, len(joined)))
        return higher + (allowed - rank) * (lower - higher) + MARGIN, "quantile"
    # The tail of the combination falls like exp(-t) if one statistic is odd, and like exp(-t / 1.5)
    # if all are. The held-out windows give the level where it starts and its scale in between.
    reached = max(1, round(len(joined) * TAIL_SHARE))
    level = _level(joined, reached)
    scale = float(np.clip(np.mean(np.sort(joined)[-reached:] - level), 1.0, 1 + MEAN_WEIGHT))
    return level + scale * float(np.log(reached / len(joined) / rate)), "tail model"


def _level(joined: Array, rank: int) -> float:
    """Return the evidence of the `rank`-th largest window.

    It is at least the level without ties: if all windows tied, any difference would alarm.
    """
    return max(float(np.sort(joined)[-rank]), float(np.log(len(joined) / (rank + 1))))
