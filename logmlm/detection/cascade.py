"""The ladder: known windows first, then a look or two, and the exact score last.

Most windows were seen before, and a look tells most of the others from those that could alarm.
Only these are scored exactly, so every alert is; the rest has the screen's numbers, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from cachetools import LRUCache

from logmlm.detection.approximations import ACCURATE, EXACT, FAST, Approximation, StatisticsTable
from logmlm.detection.calibration import STATISTICS, Calibration, window_statistics
from logmlm.detection.known_windows import PrecomputedScores
from logmlm.detection.screening import Screen
from logmlm.detection.surges import SurgeRule
from logmlm.mlm.inference_batches import TokenIds
from logmlm.mlm.scorer import NO_STRIDE, BothSurprisals, Scorer, Surprisals
from logmlm.records import ScoringStage

CACHE_NUMBERS = 1_000_000
"""How many surprisals are kept, of windows that may come again: about 30 MB."""
CACHE_BELOW = 0.9
"""Values from here on are near the threshold."""
NO_RESULT = PrecomputedScores()
ENTRY_OVERHEAD_NUMBERS = 16
"""What a window takes beside its surprisals, counted in surprisals."""


@dataclass(frozen=True, slots=True)
class CascadeResult:
    """Result for one window: surprisals in nats in both readings, value, p-value, and stage."""

    surprisals: tuple[float, ...]
    bag_surprisals: tuple[float, ...]
    value: float
    p_value: float
    stage: ScoringStage


class ScoringCascade:
    """Scores windows in stages; a result depends on its window alone. For one thread."""

    def __init__(
        self,
        scorer: Scorer,
        calibration: Calibration,
        screen: Screen | None,
        known: PrecomputedScores = NO_RESULT,
        stride: int = NO_STRIDE,
        *,
        begun: bool = True,
    ) -> None:
        """Without a `screen` every window is scored exactly, here and now.

        A `stride` hides every g-th event at once in order, and leaves the screen out. Unless
        windows have `begun`, their first event is no evidence of order.
        """
        self._begun = begun
        self.scorer = scorer
        self.calibration = calibration
        self.stride = stride
        self._screen = screen
        self._given = {} if screen is None else self._cacheable(known)
        self._known: LRUCache[TokenIds, CascadeResult] = LRUCache(
            CACHE_NUMBERS, lambda verdict: ENTRY_OVERHEAD_NUMBERS + 2 * len(verdict.surprisals)
        )

    @property
    def surge(self) -> SurgeRule | None:
        """When such verdicts alarm together."""
        return self.calibration.surge if self._screen is None else self._screen.surge

    def exact(self, windows: Sequence[TokenIds]) -> list[CascadeResult]:
        """One verdict a window, each event hidden by itself."""
        return self._to_results(read_surprisals(self.scorer, windows, EXACT), "exact")

    def score(
        self, windows: Sequence[TokenIds], is_checked: Callable[[int], bool] = lambda _: False
    ) -> list[CascadeResult]:
        """One verdict a window; `is_checked` says of a place whether it is scored exactly anyway.

        A check changes nothing but what it is there to find: a window that alarms though the look
        let it pass. That is not kept for the next such window, so that a verdict hangs on nothing
        that came before, and a replay makes the same alerts.
        """
        known = self._score_distinct(windows)
        verdicts = [known[window] for window in windows]
        doubted = [i for i, one in enumerate(verdicts) if one.stage == "screened" and is_checked(i)]
        exact = self.exact([windows[i] for i in doubted])
        for i, verdict in zip(doubted, exact, strict=True):
            is_missed = verdict.value >= 1.0
            verdicts[i] = (
                replace(verdict, stage="missed")
                if is_missed
                else replace(verdicts[i], stage="checked")
            )
        return verdicts

    def _score_distinct(self, windows: Sequence[TokenIds]) -> dict[TokenIds, CascadeResult]:
        """Verdicts of the distinct windows; what is new is remembered."""
        found: dict[TokenIds, CascadeResult] = {}
        new = []
        for window in dict.fromkeys(windows):
            known = self._given.get(window) or self._known.get(window)
            if known is None:
                new.append(window)
            else:
                found[window] = known
        fresh = dict(zip(new, self._run_stages(new), strict=True))
        self._known.update(fresh)
        return found | fresh

    def _cacheable(self, known: PrecomputedScores) -> dict[TokenIds, CascadeResult]:
        """What is known of windows far from the threshold; near it, all is scored here."""
        found = self._to_results(list(known.readings.values()), "known")
        pairs = zip(known.readings, found, strict=True)
        return {window: verdict for window, verdict in pairs if verdict.value < CACHE_BELOW}

    def _run_stages(self, windows: Sequence[TokenIds]) -> list[CascadeResult]:
        if self.stride != NO_STRIDE:
            return self._strided(windows)
        if self._screen is None:
            return self.exact(windows)
        found: dict[TokenIds, CascadeResult] = {}
        left = list(windows)
        for step in self._screen.steps:
            pairs = read_surprisals(self.scorer, left, step.look)
            verdicts = dict(
                zip(left, _to_results(step.calibration, pairs, "screened"), strict=True)
            )
            found |= verdicts
            left = [window for window in left if verdicts[window].value >= step.level]
        found |= dict(zip(left, self.exact(left), strict=True))
        return [found[window] for window in windows]

    def _strided(self, windows: Sequence[TokenIds]) -> list[CascadeResult]:
        in_order = [each.surprisals for each in self.scorer.score_ordered(windows, self.stride)]
        pairs = list(zip(in_order, self.scorer.score_bag(windows), strict=True))
        return self._to_results(pairs, "strided")

    def _to_results(
        self, pairs: Sequence[BothSurprisals], stage: ScoringStage
    ) -> list[CascadeResult]:
        return _to_results(self.calibration, pairs, stage, self._begun)


def compute_statistics(scorer: Scorer, windows: Sequence[TokenIds]) -> StatisticsTable:
    """What each look sees of windows, for calibration."""
    found = {
        look: _statistics(read_surprisals(scorer, windows, look))
        for look in (EXACT, FAST, ACCURATE)
    }
    return StatisticsTable(tuple(windows), found)


def exact_statistics(
    scorer: Scorer, windows: Sequence[TokenIds], *, begun: bool = True
) -> Surprisals:
    """The exact statistics [N, 5] of N windows, which have `begun` or not."""
    return _statistics(read_surprisals(scorer, windows, EXACT), begun)


def read_surprisals(
    scorer: Scorer, windows: Sequence[TokenIds], look: Approximation
) -> list[BothSurprisals]:
    """Surprisals of each window in both readings, as a look sees them."""
    if look.in_order == "exact":
        in_order = [reading.surprisals for reading in scorer.score_ordered(windows)]
    else:
        in_order = scorer.approximate_ordered(windows)
    as_bag = scorer.score_bag if look.as_bag == "exact" else scorer.approximate_bag
    return list(zip(in_order, as_bag(windows), strict=True))


def _to_results(
    calibration: Calibration,
    pairs: Sequence[BothSurprisals],
    stage: ScoringStage,
    begun: bool = True,
) -> list[CascadeResult]:
    if not pairs:
        return []
    values, p_values = calibration.values(_statistics(pairs, begun))
    return [
        CascadeResult(tuple(in_order.tolist()), tuple(bag.tolist()), value, p_value, stage)
        for (in_order, bag), value, p_value in zip(
            pairs, values.tolist(), p_values.tolist(), strict=True
        )
    ]


def _statistics(pairs: Sequence[BothSurprisals], begun: bool = True) -> Surprisals:
    # What comes before the first event of a part is hidden from the model as well.
    first = 0 if begun else 1
    return np.array([window_statistics(a[first:], b) for a, b in pairs]).reshape(
        -1, len(STATISTICS)
    )
