"""Parts of sessions: what a cut by age or length, or the seam of a rotation, leaves of a window.

Neither the beginning of a part that was cut off is evidence, nor its end. So parts are held
against parts: of each kind there is a calibration of its own, fitted on held-out training windows
that are cut on purpose, and on those that were cut anyway (Mondrian conformal prediction: Vovk et
al., "Algorithmic Learning in a Random World", 2005). False alarms among parts then come at the
asked rate, whatever the model makes of a missing beginning.

A cut falls into a session with a probability that grows with how long it lasts, and most often
into its longest pause. So places to cut are drawn evenly in time, when the times are still known.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

import numpy as np
import numpy.typing as npt

from logmlm.detection.calibration import KINDS, Kind, part_kind
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.tokenizer import END
from logmlm.records import Window

PLACES = 4
"""So many places to cut are drawn in each window."""
MIN_PARTIAL_WINDOWS = 20
"""With fewer of a kind, nothing is known of it."""

Tokens = tuple[int, ...]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WindowCuts:
    """Where time would cut N windows.

    `begun` [N] says whether a window's beginning is there, `seconds` [N] how long it lasts, and
    `places` [N, PLACES] how many of its events lie before each cut.
    """

    begun: Flags
    seconds: npt.NDArray[np.float64]
    places: npt.NDArray[np.int32]

    def take(self, indices: Indices) -> WindowCuts:
        """Give those of the windows of these numbers, in their order."""
        return WindowCuts(self.begun[indices], self.seconds[indices], self.places[indices])


class CutSampler:
    """Draws places to cut, window after window."""

    def __init__(self, seed: int = 0) -> None:
        self._luck = Random(seed)  # noqa: S311  no secret
        self._begun = array("b")
        self._seconds = array("d")
        self._places = array("i")

    def add(self, window: Window) -> None:
        """Draw the places of the next window."""
        times = list(accumulate((event.timestamp for event in window.events), max))
        begin, end = times[0], times[-1]
        chances = [self._luck.random() for _ in range(PLACES)]
        self._begun.append(window.begun)
        self._seconds.append(end - begin)
        # Rounded up to the end, a place would lie behind it.
        last = len(times) - 1
        self._places.extend(
            min(bisect_right(times, begin + chance * (end - begin)), last) for chance in chances
        )

    def cuts(self) -> WindowCuts:
        """Give all that was drawn."""
        return WindowCuts(
            np.array(self._begun, dtype=np.bool_),
            np.array(self._seconds, dtype=np.float64),
            np.array(self._places, dtype=np.int32).reshape(-1, PLACES),
        )


def are_whole(corpus: Corpus, cuts: WindowCuts, windows: Indices) -> Flags:
    """Tell which of the windows have both their beginning and their end [n]."""
    return cuts.begun[windows] & _complete(corpus, windows)


def sample_partial_windows(
    corpus: Corpus, cuts: WindowCuts, windows: Indices, count: int, seed: int
) -> dict[Kind, list[Tokens]]:
    """Give of each kind the parts that are among the windows, and `count` more, cut at random."""
    complete = _complete(corpus, windows)
    found: dict[Kind, list[Tokens]] = {kind: [] for kind in KINDS}
    for window, is_complete in zip(windows.tolist(), complete.tolist(), strict=True):
        kind = part_kind(bool(cuts.begun[window]), is_complete)
        if kind is not None:
            found[kind].append(tuple(corpus[window].tolist()))
    luck = np.random.default_rng((seed, len(windows)))
    for kind, part in _heads_and_tails(corpus, cuts, windows, count, luck):
        found[kind].append(part)
    found["middle"] += _middles(corpus, cuts, windows, count, luck)
    return found


def _heads_and_tails(
    corpus: Corpus, cuts: WindowCuts, windows: Indices, count: int, luck: np.random.Generator
) -> list[tuple[Kind, Tokens]]:
    """Both sides of one cut in each of `count` windows, of windows that are parts, parts too."""
    found = []
    for window in _drawn(cuts, windows, count, 1, luck):
        tokens = tuple(corpus[window].tolist())
        place = int(cuts.places[window, luck.integers(PLACES)])
        kinds = (
            part_kind(bool(cuts.begun[window]), complete=False),
            part_kind(begun=False, complete=tokens[-1] == END),
        )
        for kind, part in zip(kinds, (tokens[:place], tokens[place:]), strict=True):
            if kind is not None:  # as each is
                found.append((kind, part))
    return found


def _middles(
    corpus: Corpus, cuts: WindowCuts, windows: Indices, count: int, luck: np.random.Generator
) -> list[Tokens]:
    """What lies between two cuts."""
    found = []
    for window in _drawn(cuts, windows, count, 2, luck):
        places = luck.choice(cuts.places[window], 2, replace=False)
        first, last = int(places.min()), int(places.max())
        if first < last:
            found.append(tuple(corpus[window][first:last].tolist()))
    return found


def _drawn(
    cuts: WindowCuts, windows: Indices, count: int, power: int, luck: np.random.Generator
) -> list[int]:
    """Windows, each as often as so many cuts fall into it."""
    chances = cuts.seconds[windows] ** power
    if not chances.sum():
        return []
    drawn: list[int] = luck.choice(windows, count, p=chances / chances.sum()).tolist()
    return drawn


def _complete(corpus: Corpus, windows: Indices) -> Flags:
    last = corpus.starts[windows] + corpus.lengths[windows] - 1
    return np.asarray(corpus.tokens[last] == END)


def pool_statistics(
    parts: Sequence[Mapping[Kind, npt.NDArray[np.float64]]],
) -> dict[Kind, npt.NDArray[np.float64]]:
    """Give statistics [N, 5] of all parts of each kind of which there are enough."""
    together = {kind: np.concatenate([part[kind] for part in parts]) for kind in KINDS}
    return {kind: found for kind, found in together.items() if len(found) >= MIN_PARTIAL_WINDOWS}
