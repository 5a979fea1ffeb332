"""The screen: which windows a look lets pass, and what that may miss.

A look hides nothing, or every g-th event at once, or reads the bag exactly, which costs little
where bags repeat (`looks.py`). What hides more costs more and sees more. Calibration takes the
look that is cheapest on the held-out windows, by what each lets pass.

The statistics of what a look shows are calibrated as the exact ones are (`calibration.py`), so a
screened value of 1.0 has the same rate of false alarms. Windows whose exact value alarms have
lower screened values than 1.0 now and then. How much lower is measured at calibration, on
held-out windows with one to eight edits each (`edits.py`): of those that alarm, whatever the number
of edits, at most a share `1 - exactness` has a screened value below `level`. With too few of them
for that quantile, the lower tail is modelled as those of the statistics are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logmlm.calibration import Calibration, clopper_pearson
from logmlm.errors import ModelError
from logmlm.looks import EXACT, LOOKS, Look, Looks
from logmlm.surges import SurgeRule
from logmlm.tails import Array, Tail

LEAST_ALARMS = 50
"""With fewer different windows that alarm, nothing is known of the screen, and there is none."""
SAME = 4
"""Windows whose statistics agree to so many decimals count once."""
LEAST_VALUE = 1e-3
MOST_COST = 0.5
"""A screen that takes more of the passes than exact scores for all windows is left out."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the level rests on.

    `exactness` is the asked share of alarms that pass the screen's level; of `alarms` different
    windows that alarm, most of them edited, `missed` do not, and `interval` is the 95 %
    confidence interval of that share. `rescored` is the share of held-out normal windows that are
    scored exactly.
    """

    exactness: float
    alarms: int
    missed: int
    interval: tuple[float, float]
    rescored: float

    def __str__(self) -> str:
        return (
            f"{self.rescored:.1%} of normal windows are scored exactly; of {self.alarms:,} windows"
            f" made odd that alarm, {self.missed} would be missed"
            f" (95 % confidence: {self.interval[1]:.2%} at most)"
        )


@dataclass(frozen=True, slots=True)
class Screen:
    """Values of what a look sees, and the `level`, 1.0 at most, from which they don't do.

    `surge` is when windows alarm together where some have the screen's p-values; None where that is
    not watched for.
    """

    calibration: Calibration
    level: float
    look: Look
    measured: Measured
    surge: SurgeRule | None = None

    @classmethod
    def fit(
        cls, exact: Calibration, held_out: Looks, edited: Sequence[Looks], exactness: float
    ) -> Screen | None:
        """Fit on held-out normal windows and on several kinds of edited ones.

        None where that is of no use.
        """
        alarming = [_alarms(exact, kind) for kind in (held_out, *edited)]
        if sum(len(kind.passes) for kind in alarming) < LEAST_ALARMS:
            return None
        found = [cls._fit(exact, held_out, alarming, exactness, look) for look in LOOKS]
        costs = [held_out.cost(screen.look, screen.holds_up(held_out)) for screen in found]
        cheapest = int(np.argmin(costs))
        enough = MOST_COST * held_out.cost(EXACT, np.zeros(len(held_out.exact), dtype=bool))
        return found[cheapest] if costs[cheapest] <= enough else None

    @classmethod
    def _fit(
        cls,
        exact: Calibration,
        held_out: Looks,
        alarming: Sequence[Looks],
        exactness: float,
        look: Look,
    ) -> Screen:
        promise, normal = exact.promise, held_out.seen(look)
        own = Calibration.fit(
            normal,
            promise.rate,
            promise.windows_per_day,
            promise.folds,
            promise.alerts_per_day,
        )
        kinds = [own.values(kind.seen(look))[0] for kind in alarming]
        values = np.concatenate(kinds)
        enough = [kind for kind in kinds if len(kind) >= LEAST_ALARMS]
        level = min(1.0, *(_level(each, exactness) for each in (values, *enough)))
        missed = int((values < level).sum())
        measured = Measured(
            exactness=exactness,
            alarms=len(values),
            missed=missed,
            interval=clopper_pearson(missed, len(values)),
            rescored=float((own.values(normal)[0] >= level).mean()),
        )
        return cls(own, level, look, measured)

    def holds_up(self, windows: Looks) -> npt.NDArray[np.bool_]:
        """Which windows have to be scored exactly [N]."""
        held_up: npt.NDArray[np.bool_] = (
            self.calibration.values(windows.seen(self.look))[0] >= self.level
        )
        return held_up

    def watching(self, exact: Calibration, held_out: Looks, known: npt.NDArray[np.bool_]) -> Screen:
        """The same screen, with surges such that its own p-values keep the rate too.

        `held_out` are N normal windows in the order of their time; those `known` [N] are never
        screened.
        """
        if exact.surge is None:
            return self
        screened, own = self.calibration.values(held_out.seen(self.look))
        values, p_values = exact.values(held_out.exact)
        passes = (screened < self.level) & ~known
        seen = np.where(passes, own, p_values)
        rule = SurgeRule.fit(seen, ~passes & (values >= 1.0), exact.surge.least_p)
        highest = max(rule.threshold, exact.surge.threshold)
        return replace(self, surge=replace(rule, threshold=highest))

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self) | {"calibration": self.calibration.as_dict()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Screen:
        """Read back what `as_dict` gave.

        Raises:
            ModelError: it is damaged.

        """
        try:
            interval = tuple(map(float, state["measured"]["interval"]))
            measured = Measured(**state["measured"] | {"interval": interval})
            level = float(state["level"])
            if not level <= 1.0:
                raise ValueError(f"{level} is no level")
            calibration = Calibration.from_dict(state["calibration"])
            look, surge = Look.from_dict(state["look"]), state["surge"]
            rule = None if surge is None else SurgeRule.from_dict(surge)
            return cls(calibration, level, look, measured, rule)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"calibration.json is damaged ({error!r}); train again") from error


def _alarms(exact: Calibration, windows: Looks) -> Looks:
    """Those that alarm, each content once: what comes twice is no further evidence."""
    _, first = np.unique(windows.exact.round(SAME), axis=0, return_index=True)
    return windows.ordered(first[exact.values(windows.exact[first])[0] >= 1.0])


def _level(values: Array, exactness: float) -> float:
    """What a new alarm's screened value is below with a probability of 1 - exactness.

    The k-th smallest of n is passed by the next one with probability k / (n + 1) (conformal;
    Vovk et al., 2005). Past the smallest a tail of -ln of the value goes on, which ends above 0.
    """
    rank = int((1 - exactness) * (len(values) + 1))
    if rank >= 1:
        return float(np.sort(values)[rank - 1])
    lowness = -np.log(np.maximum(values, LEAST_VALUE))
    tail, wanted = Tail.fit(lowness), -np.log(1 - exactness)
    low, high = float(lowness.min()), float(-np.log(LEAST_VALUE))
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if tail(np.array([middle]))[0] >= wanted else (middle, high)
    return min(float(values.min()), float(np.exp(-high)))
