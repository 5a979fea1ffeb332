"""Scoring cascade: precomputed scores, then approximations, then the exact score.

Most windows repeat and are looked up. Of the others, most are cleared by a cheap approximation
whose value is below a calibrated cut-off (`screening.py`). Only the rest is scored exactly, so
every window that alerts was. `CascadeResult.stage` names the stage that produced a result.
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
"""Capacity, in surprisals, of the cache of results: about 30 MB."""
CACHE_BELOW = 0.9
"""Precomputed scores with a value from here on, near the threshold of 1.0, are computed again."""
NO_RESULT = PrecomputedScores()
ENTRY_OVERHEAD_NUMBERS = 16
"""Memory of a cache entry beside its surprisals, counted in surprisals."""


@dataclass(frozen=True, slots=True)
class CascadeResult:
    """Result for one window: surprisals of both views in nats, value, p-value and stage.

    A `value` of 1.0 is the threshold; higher is odder.
    """

    surprisals: tuple[float, ...]
    bag_surprisals: tuple[float, ...]
    value: float
    p_value: float
    stage: ScoringStage


class ScoringCascade:
    """Staged scoring of windows; a result depends on its window alone. Not thread-safe."""

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
        """Set up the stages; without a `screen` every window is scored exactly.

        A `stride` g masks every g-th event of the ordered view at once, and disables the screen.
        If windows have not `begun`, the surprisal of their first event in the ordered view is
        ignored.
        """
        self._begun = begun
        self.scorer = scorer
        self.calibration = calibration
        self.stride = stride
        self._screen = screen
        self._given = {} if screen is None else self._cacheable(known)
        self._known: LRUCache[TokenIds, CascadeResult] = LRUCache(
            CACHE_NUMBERS, lambda result: ENTRY_OVERHEAD_NUMBERS + 2 * len(result.surprisals)
        )

    @property
    def surge(self) -> SurgeRule | None:
        """The rule by which results of this cascade are combined to surges, if there is one."""
        return self.calibration.surge if self._screen is None else self._screen.surge

    def exact(self, windows: Sequence[TokenIds]) -> list[CascadeResult]:
        """Score each window exactly, with one mask per position."""
        return self._to_results(read_surprisals(self.scorer, windows, EXACT), "exact")

    def score(
        self, windows: Sequence[TokenIds], is_checked: Callable[[int], bool] = lambda _: False
    ) -> list[CascadeResult]:
        """Return one result per window, in order.

        Windows that the screen cleared are scored exactly all the same where `is_checked` is true
        for their index: an audit of the screen. Their stage becomes `checked`, or `missed` with the
        exact result if that alarms. Audit results are not cached, so a result does not depend on
        earlier windows, and a replay makes the same alerts.
        """
        known = self._score_distinct(windows)
        results = [known[window] for window in windows]
        doubted = [i for i, one in enumerate(results) if one.stage == "screened" and is_checked(i)]
        exact = self.exact([windows[i] for i in doubted])
        for i, result in zip(doubted, exact, strict=True):
            is_missed = result.value >= 1.0
            results[i] = (
                replace(result, stage="missed")
                if is_missed
                else replace(results[i], stage="checked")
            )
        return results

    def _score_distinct(self, windows: Sequence[TokenIds]) -> dict[TokenIds, CascadeResult]:
        """Return the results of the distinct windows; cache the new ones."""
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
        """Return the precomputed results with a value below `CACHE_BELOW`."""
        found = self._to_results(list(known.surprisals.values()), "known")
        pairs = zip(known.surprisals, found, strict=True)
        return {window: result for window, result in pairs if result.value < CACHE_BELOW}

    def _run_stages(self, windows: Sequence[TokenIds]) -> list[CascadeResult]:
        if self.stride != NO_STRIDE:
            return self._strided(windows)
        if self._screen is None:
            return self.exact(windows)
        found: dict[TokenIds, CascadeResult] = {}
        left = list(windows)
        for step in self._screen.steps:
            pairs = read_surprisals(self.scorer, left, step.look)
            results = dict(zip(left, _to_results(step.calibration, pairs, "screened"), strict=True))
            found |= results
            left = [window for window in left if results[window].value >= step.level]
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
    """Compute the statistics [N, 5] of N windows by each approximation and exactly."""
    found = {
        approximation: _statistics(read_surprisals(scorer, windows, approximation))
        for approximation in (EXACT, FAST, ACCURATE)
    }
    return StatisticsTable(tuple(windows), found)


def exact_statistics(
    scorer: Scorer, windows: Sequence[TokenIds], *, begun: bool = True
) -> Surprisals:
    """Return the exact statistics [N, 5] of N windows; `begun`: they contain their first event."""
    return _statistics(read_surprisals(scorer, windows, EXACT), begun)


def read_surprisals(
    scorer: Scorer, windows: Sequence[TokenIds], approximation: Approximation
) -> list[BothSurprisals]:
    """Return the surprisals of both views of each window, in nats, by one approximation."""
    if approximation.in_order == "exact":
        in_order = [reading.surprisals for reading in scorer.score_ordered(windows)]
    else:
        in_order = scorer.approximate_ordered(windows)
    as_bag = scorer.score_bag if approximation.as_bag == "exact" else scorer.approximate_bag
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
    # The model cannot see what came before a partial window, so its first event is no evidence.
    first = 0 if begun else 1
    return np.array([window_statistics(a[first:], b) for a, b in pairs]).reshape(
        -1, len(STATISTICS)
    )
