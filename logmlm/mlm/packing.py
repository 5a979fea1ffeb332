"""Where to cut rows that are sorted by length into batches, so that little of these is padding."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

SLACK = 0.25
"""How much smaller or larger than asked a batch may be, as a share."""

_NEVER = 2**50
"""More tokens than can be; a few times as many still fit in 64 bits."""
_Indices = npt.NDArray[np.int64]


def largest_batch(batch_size: int) -> int:
    """Rows that a batch has at most."""
    return math.ceil(batch_size * (1 + SLACK))


def pack_by_length(lengths: _Indices, batch_size: int) -> _Indices:
    """The first row of each batch, of N >= 1 rows whose `lengths` ascend.

    There are as many batches as with `batch_size` rows each, all rows are in one, and no other
    cut within `SLACK` has less padding (by dynamic programming over the ends of batches).
    """
    count = -(-len(lengths) // batch_size)
    least = min(math.ceil(batch_size * (1 - SLACK)), len(lengths) // count)
    sizes = range(max(1, least), min(largest_batch(batch_size), len(lengths)) + 1)
    longest = np.concatenate(([0], lengths))
    cost = np.where(np.arange(len(longest)) == 0, 0, _NEVER)  # tokens of all batches up to a row
    chosen = []
    for _ in range(count):
        options = np.full((len(sizes), len(cost)), _NEVER)
        for option, size in zip(options, sizes, strict=True):
            option[size:] = cost[:-size] + size * longest[size:]
        chosen.append(options.argmin(axis=0) + sizes.start)
        cost = options.min(axis=0)
    return _followed_back(chosen, len(lengths))


def _followed_back(chosen: list[_Indices], end: int) -> _Indices:
    starts = []
    for size_up_to in reversed(chosen):
        end -= int(size_up_to[end])
        starts.append(end)
    return np.array(starts[::-1])
