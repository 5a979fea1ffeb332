"""How a screen looks at a window: what it hides, what that costs, and what was seen so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logmlm.calibration import STATISTICS
from logmlm.tails import Array

Stride = int | None
"""Which events one pass hides: none, every g-th, or (0) one alone, which is the exact reading."""
EACH = 0
FRAME = 2
"""Tokens before and behind a window's own."""
OF_BAG = np.array([name.startswith("bag") for name in STATISTICS])


@dataclass(frozen=True, slots=True)
class Look:
    """The strides of the two readings."""

    in_order: Stride
    as_bag: Stride

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Look:
        """Read back what `asdict` gave; KeyError, TypeError or ValueError if it is damaged."""
        look = cls(state["in_order"], state["as_bag"])
        if look not in LOOKS:
            raise ValueError(f"{look} is no look")
        return look


EXACT = Look(EACH, EACH)
LOOKS = (Look(None, None), Look(None, EACH), Look(2, None), Look(2, 2))
"""Those that were the best on some log (`tests/bench/RESULTS.md`)."""
STRIDES: tuple[Stride, ...] = (None, 2, EACH)


@dataclass(frozen=True, slots=True)
class Looks:
    """Statistics [N, 5] of the same N windows by the stride of both readings.

    `passes` [N, 2] is how many an exact reading takes, in order (so many tokens a window has) and
    as a bag; `new_bags` is the share of windows whose bag is no other's.
    """

    by_stride: Mapping[Stride, Array]
    passes: Array
    new_bags: float

    @property
    def exact(self) -> Array:
        """The exact statistics."""
        return self.by_stride[EACH]

    @classmethod
    def together(cls, parts: Sequence[Looks]) -> Looks:
        """All windows of the parts."""
        sizes = [len(part.passes) for part in parts]
        new_bags = sum(part.new_bags * size for part, size in zip(parts, sizes, strict=True))
        return cls(
            {s: np.concatenate([part.by_stride[s] for part in parts]) for s in STRIDES},
            np.concatenate([part.passes for part in parts]),
            new_bags / max(1, sum(sizes)),
        )

    def seen(self, look: Look) -> Array:
        """The statistics of a look."""
        return np.where(OF_BAG, self.by_stride[look.as_bag], self.by_stride[look.in_order])

    def ordered(self, order: npt.NDArray[np.int64]) -> Looks:
        """The same windows in another order."""
        by_stride = {stride: found[order] for stride, found in self.by_stride.items()}
        return Looks(by_stride, self.passes[order], self.new_bags)

    def cost(self, look: Look, rescored: npt.NDArray[np.bool_]) -> float:
        """Tokens through the model a window, where those `rescored` [N] are read exactly after it.

        A bag that was read before costs nothing.
        """
        tokens, kinds = self.passes.T
        again = tokens + (0.0 if look.as_bag == EACH else self.new_bags * kinds)
        first = _passes(look.in_order, tokens) + self.new_bags * _passes(look.as_bag, kinds)
        return float(((first + rescored * again) * (tokens + FRAME)).mean())


def _passes(stride: Stride, exact: Array) -> Array:
    if stride is None:
        return np.ones_like(exact)
    return exact if stride == EACH else np.minimum(stride, exact)
