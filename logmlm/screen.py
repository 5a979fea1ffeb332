"""The screen: which windows one look with nothing hidden lets pass, and what that may miss.

The look has two kinds: nothing hidden in either reading, or nothing hidden in order beside the
exact bag, which costs little where bags repeat and sees more. Calibration takes the one that is
cheaper on the held-out windows, by what each lets pass.

The statistics of unmasked surprisals are calibrated as the exact ones are (`calibration.py`), so a
screened value of 1.0 has the same rate of false alarms. Windows whose exact value alarms have
lower screened values than 1.0 now and then. How much lower is measured at calibration, on
held-out windows with one edit each (`edits.py`): of those that alarm, at most a share
`1 - exactness` has a screened value below `level`. With too few of them for that quantile, the
lower tail is modelled as those of the statistics are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logmlm.calibration import STATISTICS, Calibration, clopper_pearson
from logmlm.errors import ModelError
from logmlm.surges import SurgeRule
from logmlm.tails import Array, Tail

LEAST_ALARMS = 50
"""With fewer edited windows that alarm, nothing is known of the screen, and there is none."""
LEAST_VALUE = 1e-3
BAG_COST = 0.5
"""What a bag's exact score costs, in exact scores in order: one pass a different event."""
OF_BAG = np.array([name.startswith("bag") for name in STATISTICS])
MOST_RESCORED = 0.5
"""A screen that lets fewer normal windows pass than it holds up is not worth its look."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Statistics [N, 5] of the same windows: exact, and of one look with nothing hidden.

    `new_bags` is how many different bags they are.
    """

    exact: Array
    unmasked: Array
    new_bags: int

    @classmethod
    def together(cls, parts: Sequence[Looks]) -> Looks:
        """All windows of the parts."""
        return cls(
            np.concatenate([part.exact for part in parts]),
            np.concatenate([part.unmasked for part in parts]),
            sum(part.new_bags for part in parts),
        )

    def seen(self, hides_bag: bool) -> Array:
        """The statistics of a look: unmasked, but for those of the bag if it `hides_bag`."""
        return np.where(OF_BAG & hides_bag, self.exact, self.unmasked)

    def ordered(self, order: npt.NDArray[np.int64]) -> Looks:
        """The same windows in another order."""
        return replace(self, exact=self.exact[order], unmasked=self.unmasked[order])


@dataclass(frozen=True, slots=True)
class Measured:
    """What the level rests on.

    `exactness` is the asked share of alarms that pass the screen's level; of `alarms` edited
    windows that alarm, `missed` do not, and `interval` is the 95 % confidence interval of that
    share. `rescored` is the share of held-out normal windows that are scored exactly.
    """

    exactness: float
    alarms: int
    missed: int
    interval: tuple[float, float]
    rescored: float


@dataclass(frozen=True, slots=True)
class Screen:
    """Values of unmasked statistics, and the `level`, 1.0 at most, from which they don't do."""

    calibration: Calibration
    level: float
    hides_bag: bool
    measured: Measured

    @classmethod
    def fit(
        cls, exact: Calibration, held_out: Looks, edited: Looks, exactness: float
    ) -> Screen | None:
        """Fit on held-out normal windows and on edited ones; None where that is of no use."""
        both = Looks.together([held_out, edited])
        alarms = exact.values(both.exact)[0] >= 1.0
        if int(alarms.sum()) < LEAST_ALARMS:
            return None
        bags = BAG_COST * held_out.new_bags / len(held_out.exact)
        shown, hidden = (
            cls._fit(exact, held_out, both.seen(hides)[alarms], exactness, hides)
            for hides in (False, True)
        )
        cheaper = shown
        if hidden.measured.rescored + bags < (1 + BAG_COST) * shown.measured.rescored:
            cheaper = hidden
        return cheaper if cheaper.measured.rescored <= MOST_RESCORED else None

    @classmethod
    def _fit(
        cls,
        exact: Calibration,
        held_out: Looks,
        alarming: Array,
        exactness: float,
        hides_bag: bool,
    ) -> Screen:
        promise, normal = exact.promise, held_out.seen(hides_bag)
        own = Calibration.fit(
            normal,
            promise.rate,
            promise.windows_per_day,
            promise.folds,
            promise.alerts_per_day,
        )
        values, _ = own.values(alarming)
        level = min(1.0, _level(values, exactness))
        missed = int((values < level).sum())
        measured = Measured(
            exactness=exactness,
            alarms=len(values),
            missed=missed,
            interval=clopper_pearson(missed, len(values)),
            rescored=float((own.values(normal)[0] >= level).mean()),
        )
        return cls(own, level, hides_bag, measured)

    def heeded(
        self, exact: Calibration, held_out: Looks, known: npt.NDArray[np.bool_]
    ) -> Calibration:
        """The exact calibration, its surges such that p-values of the screen keep the rate too.

        `held_out` are N normal windows in the order of their time; those `known` [N] are never
        screened.
        """
        if exact.surge is None:
            return exact
        screened, own = self.calibration.values(held_out.seen(self.hides_bag))
        values, p_values = exact.values(held_out.exact)
        passes = (screened < self.level) & ~known
        seen = np.where(passes, own, p_values)
        rule = SurgeRule.fit(seen, ~passes & (values >= 1.0), exact.surge.least_p)
        highest = max(rule.threshold, exact.surge.threshold)
        return replace(exact, surge=replace(rule, threshold=highest))

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
            return cls(calibration, level, bool(state["hides_bag"]), measured)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"calibration.json is damaged ({error!r}); train again") from error


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
    return float(np.exp(-high))
