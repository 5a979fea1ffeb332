"""Many windows that are each a little odd, none at the threshold: together they may alarm.

A fault can make each session only slightly unusual, but dozens of them within seconds. Evidence
against "as usual" is gathered over a partition's windows in the order in which they close, by an
e-detector (Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential
change detection", 2024): each p-value is turned into a bet that has a mean of at most 1 as long
as windows are normal (Vovk & Wang, "E-values: calibration, combination and applications", 2021),
the bets are multiplied, and a product under 1 begins anew (Page's CUSUM, 1954). Where normal
windows are independent, 1 / a false alarm rate is then the product to wait for, whatever the
bets are; where held-out windows show that they are not, more is asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logmlm.detection.tail_model import require_positive
from logmlm.records import Score, SurgeState, Window

RATE_SHARE = 0.1
"""Of the false alarms asked for, the share that surges may make. As the level to wait for grows
with the logarithm of 1 / rate alone, little costs little."""
ODD_SHARE = 0.2
"""The bet: this share of windows is odd, with p-values that fall like p^(ODD_SHAPE - 1)."""
ODD_SHAPE = 0.2
OLD_SHARE = 0.5
"""An odd window starts the surge that is told of if the evidence before it is less than this share
of its own."""
Array = npt.NDArray[np.float64]
ScoreAll = Callable[[Sequence[Window]], list[Score]]


@dataclass(frozen=True, slots=True)
class SurgeRule:
    """When windows alarm together.

    `threshold` is the sum of logarithms of bets to wait for, in nats. A p-value counts as
    `least_p` at least, as a window that is odder alarms by itself.
    """

    threshold: float
    least_p: float

    @classmethod
    def fit(cls, p_values: Array, alarms: npt.NDArray[np.bool_], rate: float) -> SurgeRule:
        """The rule by which normal held-out windows, in order [N], alarm as often as asked.

        `alarms` [N] are those that do so by themselves; `rate` is the share of windows that
        surges may add.
        """
        rule = cls(math.log(1 / rate), rate)
        bets = [rule.log_e_value(p) for p in p_values[~alarms].tolist()]
        allowed = rate * len(p_values)
        # Where less than one alarm is asked for, the highest level seen is too common by 1 / that;
        # from there on the number of alarms falls like exp(-level).
        beyond = max(0.0, -math.log(allowed)) if allowed else 0.0
        needed = _level(bets, int(allowed)) + beyond
        return replace(rule, threshold=max(rule.threshold, needed))

    def log_e_value(self, p_value: float) -> float:
        """Logarithm of the bet on a p-value, in nats; positive if the window is odd."""
        p = max(p_value, self.least_p)
        return math.log(1 - ODD_SHARE + ODD_SHARE * ODD_SHAPE * p ** (ODD_SHAPE - 1))

    def update(self, rise: SurgeState | None, score: Score) -> SurgeState | None:
        """Return the rise once this window is counted; None if nothing is left of it.

        An odd window that finds less than `OLD_SHARE` of its own evidence is the onset: what is
        left of older odd windows stays in the level, but is no part of what the alert tells.
        """
        bet = self.log_e_value(score.p_value)
        level = bet if rise is None else rise.level + bet
        if level <= 0:
            return None
        if rise is None or rise.level < OLD_SHARE * bet:
            rise = SurgeState(0.0, score.window.start, 0, 0)
        return SurgeState(level, rise.since, rise.windows + 1, rise.odd + (bet > 0))

    def as_dict(self) -> dict[str, float]:
        """As plain JSON."""
        return {"threshold": self.threshold, "least_p": self.least_p}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SurgeRule:
        """Read back what `as_dict` gave; KeyError, TypeError or ValueError if it is damaged."""
        return cls(require_positive(state["threshold"]), require_positive(state["least_p"]))


class SurgeMonitor:
    """Scores windows and monitors each partition for surges: one monitor for one run of a log.

    The window at which a surge reaches the threshold gets a value of 1.0 or more, and tells of
    the surge; then counting begins anew. A window that alarms by itself counts for nothing.
    What was counted so far is part of a checkpoint, so that a replay finds the same surges.
    """

    def __init__(
        self,
        score: ScoreAll,
        rule: SurgeRule | None = None,
        exactly: Callable[[Score], Score] = lambda score: score,
    ) -> None:
        """`exactly` gives the score of a window that tells of a surge its exact numbers."""
        self._score = score
        self._rule = rule
        self._rescore_exact = exactly
        self._states: dict[str, SurgeState] = {}

    def score(self, windows: Sequence[Window]) -> list[Score]:
        """Scores of windows, which are in the order in which they closed in each partition."""
        return list(self.monitor(self._score(windows)))

    def monitor(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Do as `score` does with windows that were scored before, wherever that was.

        Of those that can't alarm (`can_contribute`) nothing counts but partition, value and
        p-value.
        """
        rule = self._rule
        return iter(scores) if rule is None else (self._monitor(score, rule) for score in scores)

    def can_contribute(self, score: Score) -> bool:
        """Whether a window alarms by itself, or tells of a surge if enough is counted by then."""
        return score.is_anomaly or (
            self._rule is not None and self._rule.log_e_value(score.p_value) > 0
        )

    def state(self, partition: str) -> SurgeState | None:
        """What was counted in the partition so far; None if nothing was."""
        return self._states.get(partition)

    def resume(self, partition: str, rise: SurgeState | None) -> None:
        """Go on from what `rise` gave when the partition was at its checkpoint."""
        self.drop(partition)
        if rise is not None:
            self._states[partition] = rise

    def drop(self, partition: str) -> None:
        """Forget a partition."""
        self._states.pop(partition, None)

    def _monitor(self, score: Score, rule: SurgeRule) -> Score:
        if score.is_anomaly:
            return score
        partition = score.window.partition
        rise = rule.update(self._states.get(partition), score)
        surges = rise is not None and rise.level >= rule.threshold
        self.resume(partition, None if surges else rise)
        if rise is None or not surges:
            return score
        value = max(1.0, rise.level / rule.threshold)
        return self._rescore_exact(replace(score, value=value, surge=rise))


def _level(bets: Sequence[float], allowed: int) -> float:
    """The least level, to 0.01 nats, that is reached at most `allowed` times."""
    low, high = 0.0, math.fsum(max(0.0, bet) for bet in bets) + 0.01
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if _crossings(bets, middle) > allowed else (low, middle)
    return high


def _crossings(bets: Sequence[float], level: float) -> int:
    total, count = 0.0, 0
    for bet in bets:
        total = max(0.0, total) + bet
        if total >= level:
            total, count = 0.0, count + 1
    return count
