"""Screening: clear windows by an approximate score, with a bound on the alarms that are missed.

An approximation (`approximations.py`) scores the ordered view in two passes by two-stream
attention, and the bag view in one pass or exactly. Calibration chooses the sequence of
approximations that costs least on held-out windows without precomputed scores.

The statistics of an approximation are calibrated like the exact ones (`calibration.py`), so a
screened value of 1.0 has the same false-alarm rate. A window whose exact value alarms may have a
screened value below 1.0. Calibration measures that on held-out windows with one to eight random
edits each: of those that alarm, at most a share `1 - exactness` has a screened value below the
cut-off `level`, for every number of edits with enough of them. A sequence of n approximations gives
each 1 / n of that share. With too few windows for the quantile, a tail model extrapolates.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logmlm.detection.approximations import (
    CANDIDATE_CASCADES,
    Approximation,
    StatisticsTable,
    TokenIds,
)
from logmlm.detection.calibration import Calibration, clopper_pearson
from logmlm.detection.surges import SurgeRule
from logmlm.detection.tail_model import Array, TailModel
from logmlm.errors import ModelError

MIN_ALARMS = 50
"""Least number of distinct alarming windows from which a screen can be calibrated."""
SAME = 4
"""Windows whose statistics agree to this many decimals count once."""
MIN_VALUE = 1e-3
"""Lower limit of screened values, before their logarithm is taken."""
MAX_COST = 0.75
"""A screen that costs more than this share of scoring all windows exactly is not used."""


@dataclass(frozen=True, slots=True)
class ScreenReport:
    """Measured error and cost of a screen.

    `exactness` is the asked share of alarming windows that the screen keeps. Of `alarms` distinct
    alarming windows, most of them edited, it would clear `missed`; `interval` is the 95 %
    confidence interval of that share. `rescored` is the share of held-out normal windows without
    precomputed scores that are scored exactly.
    """

    exactness: float
    alarms: int
    missed: int
    interval: tuple[float, float]
    rescored: float

    def __str__(self) -> str:
        return (
            f"{self.rescored:.1%} of new normal windows are scored exactly; of {self.alarms:,}"
            f" windows made odd that alarm, {self.missed} would be missed"
            f" (95 % confidence: {self.interval[1]:.2%} at most)"
        )


@dataclass(frozen=True, slots=True)
class ScreenStage:
    """An approximation, its calibration, and the value `level` <= 1.0 below which it clears."""

    look: Approximation
    calibration: Calibration
    level: float

    @classmethod
    def fit(
        cls,
        exact: Calibration,
        held_out: StatisticsTable,
        alarming: Sequence[StatisticsTable],
        exactness: float,
        approximation: Approximation,
    ) -> ScreenStage:
        """Fit the calibration on held-out normal windows, the level on several alarming kinds.

        The level keeps `exactness` over all kinds together and for each kind of at least
        `MIN_ALARMS` windows.
        """
        promise = exact.promise
        own = Calibration.fit(
            held_out.by_approximation[approximation],
            promise.rate,
            promise.windows_per_day,
            promise.folds,
            promise.alerts_per_day,
        )
        kinds = [own.values(kind.by_approximation[approximation])[0] for kind in alarming]
        enough = [kind for kind in kinds if len(kind) >= MIN_ALARMS]
        judged_by = (np.concatenate(kinds), *enough)
        return cls(
            approximation, own, min(1.0, *(_level(values, exactness) for values in judged_by))
        )

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ScreenStage:
        """Load what `asdict` gave.

        Raises:
            KeyError, TypeError, ValueError: the dict is damaged.

        """
        level = float(state["level"])
        if not level <= 1.0:
            raise ValueError(f"{level} is no level")
        calibration = Calibration.from_dict(state["calibration"])
        return cls(Approximation.from_dict(state["look"]), calibration, level)


@dataclass(frozen=True, slots=True)
class Screen:
    """Sequence of screening stages; windows that none of them clears are scored exactly.

    `surge` is the rule for surges among windows of which some have p-values of the screen; None
    without surge detection.
    """

    steps: tuple[ScreenStage, ...]
    measured: ScreenReport
    surge: SurgeRule | None = None

    @classmethod
    def fit(
        cls,
        exact: Calibration,
        held_out: StatisticsTable,
        edited: Sequence[StatisticsTable],
        exactness: float,
        known: Container[TokenIds] = frozenset(),
    ) -> Screen | None:
        """Fit on held-out normal windows and on several kinds of edited ones.

        Windows in `known` have precomputed scores and never reach the screen, so they are left out
        of its cost. Return None with too few alarming windows, or if the screen saves too little.
        """
        alarming = [_alarms(exact, kind) for kind in (held_out, *edited)]
        if sum(len(kind.windows) for kind in alarming) < MIN_ALARMS:
            return None
        new = _without_known(held_out, known)
        ladders = [
            tuple(
                ScreenStage.fit(exact, held_out, alarming, 1 - (1 - exactness) / len(ladder), each)
                for each in ladder
            )
            for ladder in CANDIDATE_CASCADES
        ]
        costs = [
            new.cost([step.look for step in steps], clearing_stage(steps, new)) for steps in ladders
        ]
        cheapest = int(np.argmin(costs))
        if costs[cheapest] > MAX_COST * new.cost((), np.zeros(len(new.windows), dtype=np.int64)):
            return None
        steps = ladders[cheapest]
        return cls(steps, _report(steps, new, StatisticsTable.concat(alarming), exactness))

    def with_surges(
        self, exact: Calibration, held_out: StatisticsTable, known: npt.NDArray[np.bool_]
    ) -> Screen:
        """Return the screen with a surge rule that keeps its rate for screened p-values too.

        `held_out` are N normal windows sorted by time; `known` [N] is true for those with
        precomputed scores, which are never screened. The threshold is at least the exact rule's.
        """
        if exact.surge is None:
            return self
        values, p_values = exact.values(held_out.exact)
        seen, numbers = p_values.copy(), clearing_stage(self.steps, held_out)
        passes = (numbers < len(self.steps)) & ~known
        for number, step in enumerate(self.steps):
            here = passes & (numbers == number)
            seen[here] = step.calibration.values(held_out.by_approximation[step.look])[1][here]
        rule = SurgeRule.fit(seen, ~passes & (values >= 1.0), exact.surge.least_p)
        highest = max(rule.threshold, exact.surge.threshold)
        return replace(self, surge=replace(rule, threshold=highest))

    def as_dict(self) -> dict[str, Any]:
        """Return the screen as plain JSON values."""
        return asdict(self) | {
            "steps": [
                asdict(step) | {"calibration": step.calibration.as_dict()} for step in self.steps
            ]
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Screen:
        """Load what `as_dict` gave.

        Raises:
            ModelError: the dict is damaged.

        """
        try:
            interval = tuple(map(float, state["measured"]["interval"]))
            measured = ScreenReport(**state["measured"] | {"interval": interval})
            steps, surge = tuple(map(ScreenStage.from_dict, state["steps"])), state["surge"]
            return cls(steps, measured, None if surge is None else SurgeRule.from_dict(surge))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"calibration.json is damaged ({error!r}); train again") from error


def clearing_stage(steps: Sequence[ScreenStage], windows: StatisticsTable) -> npt.NDArray[np.int64]:
    """Return the index of the first stage that clears each window [N]; `len(steps)` for none."""
    found = np.full(len(windows.windows), len(steps))
    for number, step in reversed(list(enumerate(steps))):
        values = step.calibration.values(windows.by_approximation[step.look])[0]
        found[values < step.level] = number
    return found


def _report(
    steps: Sequence[ScreenStage], new: StatisticsTable, alarming: StatisticsTable, exactness: float
) -> ScreenReport:
    missed = int((clearing_stage(steps, alarming) < len(steps)).sum())
    alarms = len(alarming.windows)
    return ScreenReport(
        exactness=exactness,
        alarms=alarms,
        missed=missed,
        interval=clopper_pearson(missed, alarms),
        rescored=float((clearing_stage(steps, new) == len(steps)).mean()),
    )


def _alarms(exact: Calibration, windows: StatisticsTable) -> StatisticsTable:
    """Return the windows that alarm, without duplicates, which are no independent evidence."""
    _, first = np.unique(windows.exact.round(SAME), axis=0, return_index=True)
    return windows.take(first[exact.values(windows.exact[first])[0] >= 1.0])


def _without_known(windows: StatisticsTable, known: Container[TokenIds]) -> StatisticsTable:
    """Return the distinct windows that are not in `known`; all windows if there is none."""
    first = {window: i for i, window in reversed(list(enumerate(windows.windows)))}
    places = sorted(i for window, i in first.items() if window not in known)
    return windows.take(np.array(places)) if places else windows


def _level(values: Array, exactness: float) -> float:
    """Return the value that a new alarming window is below with probability 1 - exactness.

    A new value is below the k-th smallest of n with probability k / (n + 1) (conformal prediction,
    Vovk et al., 2005). Below the smallest, a tail model of -ln(value) extrapolates, down to
    `MIN_VALUE`.
    """
    rank = int((1 - exactness) * (len(values) + 1))
    if rank >= 1:
        return float(np.sort(values)[rank - 1])
    lowness = -np.log(np.maximum(values, MIN_VALUE))
    tail, wanted = TailModel.fit(lowness), -np.log(1 - exactness)
    low, high = float(lowness.min()), float(-np.log(MIN_VALUE))
    # Bisect for the lowness whose evidence under the tail model is `wanted`, in nats.
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if tail(np.array([middle]))[0] >= wanted else (middle, high)
    return min(float(values.min()), float(np.exp(-high)))
