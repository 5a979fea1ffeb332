"""Partial windows: sessions that a cut by age or length, or a rotation, leaves incomplete.

The missing beginning or end of a partial window is no evidence of an anomaly. Each kind of partial
window (head, middle, tail) has a calibration of its own, fitted on held-out training windows of
that kind and on others that are cut artificially (Mondrian conformal prediction: Vovk et al.,
"Algorithmic Learning in a Random World", 2005). The false-alarm rate among partial windows is then
the asked one, however the model scores a missing beginning.

The probability that a cut falls into a session grows with its duration, and is largest in its
longest pause. Cut positions are therefore drawn uniformly in time, while timestamps are at hand.
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
"""Cut positions drawn per window."""
MIN_PARTIAL_WINDOWS = 20
"""Least number of partial windows of a kind from which it is calibrated."""

Tokens = tuple[int, ...]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WindowCuts:
    """Candidate cuts of N windows.

    `begun` [N]: the window contains its beginning. `seconds` [N]: its duration. `places`
    [N, PLACES]: the number of its events before each cut.
    """

    begun: Flags
    seconds: npt.NDArray[np.float64]
    places: npt.NDArray[np.int32]

    def take(self, indices: Indices) -> WindowCuts:
        """Return the cuts of the windows at `indices`, in that order."""
        return WindowCuts(self.begun[indices], self.seconds[indices], self.places[indices])


class CutSampler:
    """Random source of cut positions, window by window."""

    def __init__(self, seed: int = 0) -> None:
        self._luck = Random(seed)  # noqa: S311  no secret
        self._begun = array("b")
        self._seconds = array("d")
        self._places = array("i")

    def add(self, window: Window) -> None:
        """Draw the cut positions of the next window, uniformly in time."""
        times = list(accumulate((event.timestamp for event in window.events), max))
        begin, end = times[0], times[-1]
        chances = [self._luck.random() for _ in range(PLACES)]
        self._begun.append(window.begun)
        self._seconds.append(end - begin)
        # A draw rounded up to the end of the window would cut after its last event.
        last = len(times) - 1
        self._places.extend(
            min(bisect_right(times, begin + chance * (end - begin)), last) for chance in chances
        )

    def cuts(self) -> WindowCuts:
        """Return all cuts drawn so far."""
        return WindowCuts(
            np.array(self._begun, dtype=np.bool_),
            np.array(self._seconds, dtype=np.float64),
            np.array(self._places, dtype=np.int32).reshape(-1, PLACES),
        )


def are_whole(corpus: Corpus, cuts: WindowCuts, windows: Indices) -> Flags:
    """Return true for the windows that have both their beginning and their end [n]."""
    return cuts.begun[windows] & _complete(corpus, windows)


def sample_partial_windows(
    corpus: Corpus, cuts: WindowCuts, windows: Indices, count: int, seed: int
) -> dict[Kind, list[Tokens]]:
    """Return partial windows by kind: those among `windows`, and about `count` artificial ones."""
    complete = _complete(corpus, windows)
    found: dict[Kind, list[Tokens]] = {kind: [] for kind in KINDS}
    for window, is_complete in zip(windows.tolist(), complete.tolist(), strict=True):
        kind = part_kind(bool(cuts.begun[window]), is_complete)
        if kind is not None:
            found[kind].append(tuple(corpus[window].tolist()))
    generator = np.random.default_rng((seed, len(windows)))
    for kind, part in _heads_and_tails(corpus, cuts, windows, count, generator):
        found[kind].append(part)
    found["middle"] += _middles(corpus, cuts, windows, count, generator)
    return found


def _heads_and_tails(
    corpus: Corpus, cuts: WindowCuts, windows: Indices, count: int, generator: np.random.Generator
) -> list[tuple[Kind, Tokens]]:
    """Return both sides of one random cut in each of `count` windows, with their kinds."""
    found = []
    for window in _drawn(cuts, windows, count, 1, generator):
        tokens = tuple(corpus[window].tolist())
        place = int(cuts.places[window, generator.integers(PLACES)])
        kinds = (
            part_kind(bool(cuts.begun[window]), complete=False),
            part_kind(begun=False, complete=tokens[-1] == END),
        )
        for kind, part in zip(kinds, (tokens[:place], tokens[place:]), strict=True):
            if kind is not None:  # never None: each side lacks an end or a beginning
                found.append((kind, part))
    return found


def _middles(
    corpus: Corpus, cuts: WindowCuts, windows: Indices, count: int, generator: np.random.Generator
) -> list[Tokens]:
    """Return the events between two random cuts in each of `count` windows."""
    found = []
    for window in _drawn(cuts, windows, count, 2, generator):
        places = generator.choice(cuts.places[window], 2, replace=False)
        first, last = int(places.min()), int(places.max())
        if first < last:
            found.append(tuple(corpus[window][first:last].tolist()))
    return found


def _drawn(
    cuts: WindowCuts, windows: Indices, count: int, power: int, generator: np.random.Generator
) -> list[int]:
    """Draw `count` windows, with probability proportional to duration ** power (`power` cuts)."""
    chances = cuts.seconds[windows] ** power
    if not chances.sum():
        return []
    drawn: list[int] = generator.choice(windows, count, p=chances / chances.sum()).tolist()
    return drawn


def _complete(corpus: Corpus, windows: Indices) -> Flags:
    last = corpus.starts[windows] + corpus.lengths[windows] - 1
    return np.asarray(corpus.tokens[last] == END)


def pool_statistics(
    parts: Sequence[Mapping[Kind, npt.NDArray[np.float64]]],
) -> dict[Kind, npt.NDArray[np.float64]]:
    """Concatenate the statistics [N, 5] of each kind; leave out kinds with too few windows."""
    together = {kind: np.concatenate([part[kind] for part in parts]) for kind in KINDS}
    return {kind: found for kind, found in together.items() if len(found) >= MIN_PARTIAL_WINDOWS}
