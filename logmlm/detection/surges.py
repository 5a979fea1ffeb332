"""Surge detection: alarm on many slightly odd windows, none of which reaches the threshold.

A fault may make each session only slightly unusual, but dozens of them within seconds. An
e-detector (Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change
detection", 2024) accumulates evidence over the windows of a partition, in closing order:

1. Turn each p-value into an e-value, whose mean is at most 1 for normal windows (Vovk & Wang,
   "E-values: calibration, combination and applications", Annals of Statistics 2021).
2. Multiply the e-values; restart when the product falls below 1 (CUSUM: Page, Biometrika 1954).
3. Alarm when the product reaches 1 / (false-alarm rate). This holds for independent normal windows;
   the threshold is raised if held-out windows show dependence.
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
"""Share of the asked false-alarm rate that surges may use. A small share suffices: the threshold
grows only with the logarithm of 1 / rate."""
ODD_SHARE = 0.2
"""Alternative hypothesis: this share of windows is odd, with p-values of density
ODD_SHAPE p^(ODD_SHAPE - 1)."""
ODD_SHAPE = 0.2
OLD_SHARE = 0.5
"""An odd window is the onset of a surge if the evidence before it is less than this share of its
own."""
Array = npt.NDArray[np.float64]
ScoreAll = Callable[[Sequence[Window]], list[Score]]


@dataclass(frozen=True, slots=True)
class SurgeRule:
    """Alarm condition of a surge.

    `threshold` is the accumulated log e-value, in nats, that alarms. Smaller p-values count as
    `least_p`: an odder window alarms by itself.
    """

    threshold: float
    least_p: float

    @classmethod
    def fit(cls, p_values: Array, alarms: npt.NDArray[np.bool_], rate: float) -> SurgeRule:
        """Fit the rule so that surges among normal held-out windows keep `rate`.

        `p_values` [N] are in closing order, `alarms` [N] is true for windows that alarm by
        themselves, and `rate` is the share of windows at which a surge may alarm.
        """
        rule = cls(math.log(1 / rate), rate)
        log_e_values = [rule.log_e_value(p) for p in p_values[~alarms].tolist()]
        allowed = rate * len(p_values)
        # If less than one alarm is allowed, extrapolate from the highest level that occurred: the
        # number of alarms falls like exp(-level).
        beyond = max(0.0, -math.log(allowed)) if allowed else 0.0
        needed = _level(log_e_values, int(allowed)) + beyond
        return replace(rule, threshold=max(rule.threshold, needed))

    def at_rate(self, rate: float) -> SurgeRule:
        """Return the rule for another share of windows at which a surge may alarm.

        The number of alarms falls like exp(-threshold), as in `fit`.
        """
        change = math.log(self.least_p / rate)
        return SurgeRule(max(math.log(1 / rate), self.threshold + change), rate)

    def log_e_value(self, p_value: float) -> float:
        """Return the log e-value of a p-value, in nats; positive if the window is odd.

        The e-value is a mixture with mean 1 under the uniform distribution:
        (1 - ODD_SHARE) + ODD_SHARE ODD_SHAPE p^(ODD_SHAPE - 1).
        """
        p = max(p_value, self.least_p)
        return math.log(1 - ODD_SHARE + ODD_SHARE * ODD_SHAPE * p ** (ODD_SHAPE - 1))

    def update(self, state: SurgeState | None, score: Score) -> SurgeState | None:
        """Return the state after one more window; None if the accumulated level is 0 or less.

        An odd window is the onset if the level before it is below `OLD_SHARE` of its own log
        e-value: evidence of older windows stays in the level, but the alert does not report them.
        """
        log_e = self.log_e_value(score.p_value)
        level = log_e if state is None else state.level + log_e
        if level <= 0:
            return None
        if state is None or state.level < OLD_SHARE * log_e:
            state = SurgeState(0.0, score.window.start, 0, 0)
        return SurgeState(level, state.since, state.windows + 1, state.odd + (log_e > 0))

    def as_dict(self) -> dict[str, float]:
        """Return the rule as plain JSON values."""
        return {"threshold": self.threshold, "least_p": self.least_p}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SurgeRule:
        """Load what `as_dict` gave.

        Raises:
            KeyError, TypeError, ValueError: the dict is damaged.

        """
        return cls(require_positive(state["threshold"]), require_positive(state["least_p"]))


class SurgeMonitor:
    """Scorer with surge detection per partition; one instance per run over a log.

    The window at which a surge reaches the threshold gets a value of at least 1.0 and carries the
    surge; the partition's state is then reset. Windows that alarm by themselves do not contribute.
    The state is part of a checkpoint, so that a replay finds the same surges.
    """

    def __init__(
        self,
        score: ScoreAll,
        rule: SurgeRule | None = None,
        exactly: Callable[[Score], Score] = lambda score: score,
    ) -> None:
        """Take the scoring function; `exactly` rescores a window that carries a surge exactly."""
        self._score = score
        self._rule = rule
        self._rescore_exact = exactly
        self._states: dict[str, SurgeState] = {}

    def score(self, windows: Sequence[Window]) -> list[Score]:
        """Score windows that are in closing order within each partition."""
        return list(self.monitor(self._score(windows)))

    def monitor(self, scores: Iterable[Score]) -> Iterator[Score]:
        """Apply surge detection to scores that were computed elsewhere, in closing order.

        Of scores that cannot alarm (see `can_contribute`), only partition, value and p-value are
        read.
        """
        rule = self._rule
        return iter(scores) if rule is None else (self._monitor(score, rule) for score in scores)

    def can_contribute(self, score: Score) -> bool:
        """Return true if the window alarms by itself or could complete a surge."""
        return score.is_anomaly or (
            self._rule is not None and self._rule.log_e_value(score.p_value) > 0
        )

    def state(self, partition: str) -> SurgeState | None:
        """Return the partition's accumulated state; None if there is none."""
        return self._states.get(partition)

    def resume(self, partition: str, state: SurgeState | None) -> None:
        """Restore the partition's state from a checkpoint; None resets it."""
        self.drop(partition)
        if state is not None:
            self._states[partition] = state

    def drop(self, partition: str) -> None:
        """Drop the state of a partition."""
        self._states.pop(partition, None)

    def _monitor(self, score: Score, rule: SurgeRule) -> Score:
        if score.is_anomaly:
            return score
        partition = score.window.partition
        state = rule.update(self._states.get(partition), score)
        surges = state is not None and state.level >= rule.threshold
        self.resume(partition, None if surges else state)
        if state is None or not surges:
            return score
        value = max(1.0, state.level / rule.threshold)
        return self._rescore_exact(replace(score, value=value, surge=state))


def _level(log_e_values: Sequence[float], allowed: int) -> float:
    """Return the least level, within 0.01 nats, that is reached at most `allowed` times."""
    low, high = 0.0, math.fsum(max(0.0, log_e) for log_e in log_e_values) + 0.01
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if _crossings(log_e_values, middle) > allowed else (low, middle)
    return high


def _crossings(log_e_values: Sequence[float], level: float) -> int:
    """Count how often the CUSUM of log e-values reaches `level`; it restarts after each time."""
    total, count = 0.0, 0
    for log_e in log_e_values:
        total = max(0.0, total) + log_e
        if total >= level:
            total, count = 0.0, count + 1
    return count
