"""How a screen looks at a window: how it reads it, what that costs, and what was seen so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from logmlm.detection.tail_model import Array

Reading = Literal["exact", "streams", "shown"]
"""Each place hidden by itself; in order, hidden from its own asker (`mlm/streams.py`); as a bag,
nothing hidden but the end."""
TokenIds = tuple[int, ...]
FRAME = 2
"""Tokens before and behind a window's own."""


@dataclass(frozen=True, slots=True)
class Approximation:
    """How both readings of a window are approximated."""

    in_order: Reading
    as_bag: Reading

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Approximation:
        """Read back what `asdict` gave; KeyError, TypeError or ValueError if it is damaged."""
        look = cls(state["in_order"], state["as_bag"])
        if look not in (FAST, ACCURATE):
            raise ValueError(f"{look} is no look")
        return look


EXACT = Approximation("exact", "exact")
FAST, ACCURATE = Approximation("streams", "shown"), Approximation("streams", "exact")
CANDIDATE_CASCADES = ((ACCURATE,), (FAST, ACCURATE))
"""What may be looked at before a window is scored exactly."""


@dataclass(frozen=True, slots=True)
class StatisticsTable:
    """Statistics [N, 5] of N windows of token ids, by each look and the exact one."""

    windows: tuple[TokenIds, ...]
    by_approximation: Mapping[Approximation, Array]

    @property
    def exact(self) -> Array:
        """The exact statistics."""
        return self.by_approximation[EXACT]

    @classmethod
    def concat(cls, parts: Sequence[StatisticsTable]) -> StatisticsTable:
        """All windows of the parts."""
        return cls(
            tuple(window for part in parts for window in part.windows),
            {
                look: np.concatenate([part.by_approximation[look] for part in parts])
                for look in (EXACT, FAST, ACCURATE)
            },
        )

    def take(self, places: npt.NDArray[np.int64]) -> StatisticsTable:
        """Those at the places, in that order."""
        return StatisticsTable(
            tuple(self.windows[i] for i in places.tolist()),
            {look: found[places] for look, found in self.by_approximation.items()},
        )

    def cost(
        self, cascade: Sequence[Approximation], clearing_stage: npt.NDArray[np.int64]
    ) -> float:
        """Tokens through the model a window, where each passes at the look of that number [N].

        Those that pass at none, whose number is that of looks, are scored exactly. What was read
        before costs nothing, nor does a bag that another window has too.
        """
        prices, read, total = self._prices(), set(), 0.0
        for number, look in enumerate((*cascade, EXACT)):
            for reading in (("in order", look.in_order), ("as a bag", look.as_bag)):
                if reading not in read:
                    total += float((prices[reading] * (clearing_stage >= number)).mean())
                    read.add(reading)
        return total

    def _prices(self) -> dict[tuple[str, Reading], Array]:
        """Tokens through the model of each reading, by window [N]."""
        tokens = np.array([len(window) for window in self.windows], dtype=np.float64)
        kinds = np.array([len(set(window)) for window in self.windows], dtype=np.float64)
        new_bags = len({tuple(sorted(window)) for window in self.windows}) / len(self.windows)
        return {
            ("in order", "streams"): 2 * tokens + FRAME,
            ("in order", "exact"): tokens * (tokens + FRAME),
            ("as a bag", "shown"): new_bags * (tokens + FRAME),
            ("as a bag", "exact"): new_bags * kinds * (tokens + FRAME),
        }
