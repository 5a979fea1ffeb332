"""Approximations of the exact score: their schemes, their cost, and the statistics they yield."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logmlm.detection.tail_model import Array

Reading = Literal["exact", "streams", "shown"]
"""Scheme of one view: one mask at a time; two-stream attention (`mlm/leave_one_out.py`; ordered
view only); everything shown but `[END]` (bag view only)."""
TokenIds = tuple[int, ...]
FRAME = 2
"""Tokens that frame a window: `[CLS]` or `[BAG]`, and `[SEP]`."""


@dataclass(frozen=True, slots=True)
class Approximation:
    """The schemes by which the ordered and the bag view of a window are scored."""

    in_order: Reading
    as_bag: Reading

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Approximation:
        """Read back what `asdict` gave; KeyError, TypeError or ValueError if it is damaged."""
        approximation = cls(state["in_order"], state["as_bag"])
        if approximation not in (FAST, ACCURATE):
            raise ValueError(f"{approximation} is no approximation")
        return approximation


EXACT = Approximation("exact", "exact")
FAST, ACCURATE = Approximation("streams", "shown"), Approximation("streams", "exact")
CANDIDATE_CASCADES = ((ACCURATE,), (FAST, ACCURATE))
"""Sequences of approximations that calibration chooses from; the exact score follows each."""


@dataclass(frozen=True, slots=True)
class StatisticsTable:
    """Statistics [N, 5] of N windows of token ids, by each approximation and exactly."""

    windows: tuple[TokenIds, ...]
    by_approximation: Mapping[Approximation, Array]

    @property
    def exact(self) -> Array:
        """The exact statistics [N, 5]."""
        return self.by_approximation[EXACT]

    @classmethod
    def concat(cls, parts: Sequence[StatisticsTable]) -> StatisticsTable:
        """Concatenate the windows of all parts."""
        return cls(
            tuple(window for part in parts for window in part.windows),
            {
                each: np.concatenate([part.by_approximation[each] for part in parts])
                for each in (EXACT, FAST, ACCURATE)
            },
        )

    def take(self, places: npt.NDArray[np.int64]) -> StatisticsTable:
        """Return the windows at the indices `places`, in that order."""
        return StatisticsTable(
            tuple(self.windows[i] for i in places.tolist()),
            {each: found[places] for each, found in self.by_approximation.items()},
        )

    def cost(
        self, cascade: Sequence[Approximation], clearing_stage: npt.NDArray[np.int64]
    ) -> float:
        """Return the mean cost of a window, in tokens that go through the model.

        `clearing_stage` [N] is the index of the approximation that clears each window; windows with
        `len(cascade)` are scored exactly. A view that an earlier stage scored by the same scheme,
        and a bag that another window has too, cost nothing.
        """
        prices, read, total = self._prices(), set(), 0.0
        for number, stage in enumerate((*cascade, EXACT)):
            for reading in (("in order", stage.in_order), ("as a bag", stage.as_bag)):
                if reading not in read:
                    total += float((prices[reading] * (clearing_stage >= number)).mean())
                    read.add(reading)
        return total

    def _prices(self) -> dict[tuple[str, Reading], Array]:
        """Return the cost [N] of each view and scheme, in tokens that go through the model."""
        tokens = np.array([len(window) for window in self.windows], dtype=np.float64)
        kinds = np.array([len(set(window)) for window in self.windows], dtype=np.float64)
        new_bags = len({tuple(sorted(window)) for window in self.windows}) / len(self.windows)
        return {
            ("in order", "streams"): 2 * tokens + FRAME,
            ("in order", "exact"): tokens * (tokens + FRAME),
            ("as a bag", "shown"): new_bags * (tokens + FRAME),
            ("as a bag", "exact"): new_bags * kinds * (tokens + FRAME),
        }
