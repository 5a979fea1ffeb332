"""The screen: which windows a look or two let pass, and what that may miss.

A look reads in order nearly as the exact score does, for two passes, and the bag with nothing
hidden, or exactly, which costs little where bags repeat (`looks.py`). Calibration takes the look,
or the two one after the other, that cost least on held-out windows which were not known before,
by what each lets pass.

The statistics of what a look shows are calibrated as the exact ones are (`calibration.py`), so a
screened value of 1.0 has the same rate of false alarms. Windows whose exact value alarms have
lower screened values than 1.0 now and then. How much lower is measured at calibration, on
held-out windows with one to eight edits each (`edits.py`): of those that alarm, whatever the number
of edits, at most a share `1 - exactness` has a screened value below `level`; of two looks each has
half of that share. With too few of them for that quantile, the lower tail is modelled as those of
the statistics are.
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
"""With fewer different windows that alarm, nothing is known of the screen, and there is none."""
SAME = 4
"""Windows whose statistics agree to so many decimals count once."""
MIN_VALUE = 1e-3
MAX_COST = 0.75
"""A screen that takes more of the passes than exact scores for all windows is left out."""


@dataclass(frozen=True, slots=True)
class ScreenReport:
    """What the level rests on.

    `exactness` is the asked share of alarms that pass the screen's level; of `alarms` different
    windows that alarm, most of them edited, `missed` do not, and `interval` is the 95 %
    confidence interval of that share. `rescored` is the share of held-out normal windows that are
    scored exactly, of those that were not known.
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
    """A look, the calibration of what it sees, and the `level`, up to 1.0, of what it holds up."""

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
        look: Approximation,
    ) -> ScreenStage:
        """Fit on held-out normal windows, and on several kinds of windows that alarm."""
        promise = exact.promise
        own = Calibration.fit(
            held_out.by_approximation[look],
            promise.rate,
            promise.windows_per_day,
            promise.folds,
            promise.alerts_per_day,
        )
        kinds = [own.values(kind.by_approximation[look])[0] for kind in alarming]
        enough = [kind for kind in kinds if len(kind) >= MIN_ALARMS]
        judged_by = (np.concatenate(kinds), *enough)
        return cls(look, own, min(1.0, *(_level(values, exactness) for values in judged_by)))

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ScreenStage:
        """Read back what `asdict` gave; KeyError, TypeError, ValueError if it is damaged."""
        level = float(state["level"])
        if not level <= 1.0:
            raise ValueError(f"{level} is no level")
        calibration = Calibration.from_dict(state["calibration"])
        return cls(Approximation.from_dict(state["look"]), calibration, level)


@dataclass(frozen=True, slots=True)
class Screen:
    """Looks one after the other; what none of them lets pass has to be scored exactly.

    `surge` is when windows alarm together where some have the screen's p-values; None where that is
    not watched for.
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

        Those `known` never come to the screen, so what it costs is counted on the others.
        None where that is of no use.
        """
        alarming = [_alarms(exact, kind) for kind in (held_out, *edited)]
        if sum(len(kind.windows) for kind in alarming) < MIN_ALARMS:
            return None
        new = _without_known(held_out, known)
        ladders = [
            tuple(
                ScreenStage.fit(exact, held_out, alarming, 1 - (1 - exactness) / len(ladder), look)
                for look in ladder
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
        """The same screen, with surges such that its own p-values keep the rate too.

        `held_out` are N normal windows in the order of their time; those `known` [N] are never
        screened.
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
        """As plain JSON."""
        return asdict(self) | {
            "steps": [
                asdict(step) | {"calibration": step.calibration.as_dict()} for step in self.steps
            ]
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Screen:
        """Read back what `as_dict` gave.

        Raises:
            ModelError: it is damaged.

        """
        try:
            interval = tuple(map(float, state["measured"]["interval"]))
            measured = ScreenReport(**state["measured"] | {"interval": interval})
            steps, surge = tuple(map(ScreenStage.from_dict, state["steps"])), state["surge"]
            return cls(steps, measured, None if surge is None else SurgeRule.from_dict(surge))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"calibration.json is damaged ({error!r}); train again") from error


def clearing_stage(steps: Sequence[ScreenStage], windows: StatisticsTable) -> npt.NDArray[np.int64]:
    """The number of the step that lets each window pass [N]; that of steps where none does."""
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
    """Those that alarm, each content once: what comes twice is no further evidence."""
    _, first = np.unique(windows.exact.round(SAME), axis=0, return_index=True)
    return windows.take(first[exact.values(windows.exact[first])[0] >= 1.0])


def _without_known(windows: StatisticsTable, known: Container[TokenIds]) -> StatisticsTable:
    """Each content once that is not known; all windows where there is none."""
    first = {window: i for i, window in reversed(list(enumerate(windows.windows)))}
    places = sorted(i for window, i in first.items() if window not in known)
    return windows.take(np.array(places)) if places else windows


def _level(values: Array, exactness: float) -> float:
    """What a new alarm's screened value is below with a probability of 1 - exactness.

    The k-th smallest of n is passed by the next one with probability k / (n + 1) (conformal;
    Vovk et al., 2005). Past the smallest a tail of -ln of the value goes on, which ends above 0.
    """
    rank = int((1 - exactness) * (len(values) + 1))
    if rank >= 1:
        return float(np.sort(values)[rank - 1])
    lowness = -np.log(np.maximum(values, MIN_VALUE))
    tail, wanted = TailModel.fit(lowness), -np.log(1 - exactness)
    low, high = float(lowness.min()), float(-np.log(MIN_VALUE))
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if tail(np.array([middle]))[0] >= wanted else (middle, high)
    return min(float(values.min()), float(np.exp(-high)))
