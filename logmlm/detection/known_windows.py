"""Precomputed exact scores of the most frequent training windows, stored with the model.

Most incoming windows are among them, so a newly started daemon need not score them. Surge detection
also gets their exact p-values; the screen's are calibrated for single alarms and less precise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from logmlm.detection.model_dir import ARRAY_DAMAGE
from logmlm.errors import ModelError, StorageError
from logmlm.mlm.inference_batches import TokenIds
from logmlm.mlm.scorer import BothSurprisals, Scorer

KNOWN_FILE = "known.npz"
MOST_WINDOWS = 5_000
"""Largest number of precomputed windows."""
MOST_TOKENS = 2_000_000
"""Budget of precomputing, in tokens through the model: about 2 n^2 for a window of n tokens."""


@dataclass(frozen=True, slots=True)
class PrecomputedScores:
    """Surprisals of both views in nats, by window."""

    surprisals: dict[TokenIds, BothSurprisals] = field(default_factory=dict)

    @classmethod
    def of(cls, scorer: Scorer, windows: Iterable[TokenIds]) -> PrecomputedScores:
        """Score the windows that occur more than once, the most frequent first, within budget."""
        chosen = list(_affordable(Counter(windows)))
        in_order = [reading.surprisals for reading in scorer.score_ordered(chosen)]
        pairs = zip(in_order, scorer.score_bag(chosen), strict=True)
        return cls(dict(zip(chosen, pairs, strict=True)))

    def save(self, directory: Path) -> None:
        """Write the scores to `KNOWN_FILE` as numpy arrays, without pickle.

        Raises:
            StorageError: the file can't be written.

        """
        windows, pairs = list(self.surprisals), list(self.surprisals.values())
        try:
            np.savez_compressed(
                directory / KNOWN_FILE,
                tokens=np.fromiter(chain.from_iterable(windows), dtype=np.int32),
                lengths=np.array([len(window) for window in windows], dtype=np.int64),
                in_order=np.concatenate([[], *(pair[0] for pair in pairs)]).astype(np.float32),
                as_bag=np.concatenate([[], *(pair[1] for pair in pairs)]).astype(np.float32),
            )
        except OSError as error:
            raise StorageError(f"can't write {directory / KNOWN_FILE}: {error}") from error

    @classmethod
    def read(cls, directory: Path) -> PrecomputedScores:
        """Read what `save` wrote; a directory without the file has no precomputed scores.

        Raises:
            ModelError: the file is damaged.

        """
        path = directory / KNOWN_FILE
        if not path.exists():
            return cls()
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                if not len(arrays["lengths"]):
                    return cls()
                ends = np.cumsum(arrays["lengths"])[:-1]
                tokens, in_order, as_bag = (
                    np.split(arrays[name], ends) for name in ("tokens", "in_order", "as_bag")
                )
                windows = [tuple(window.tolist()) for window in tokens]
                surprisals = [part.astype(np.float64) for part in (*in_order, *as_bag)]
            pairs = zip(surprisals[: len(windows)], surprisals[len(windows) :], strict=True)
            return cls(dict(zip(windows, pairs, strict=True)))
        except (OSError, *ARRAY_DAMAGE) as error:
            raise ModelError(f"can't read {path}: {error}; train again") from error


def _affordable(counts: Counter[TokenIds]) -> Iterator[TokenIds]:
    left = MOST_TOKENS
    for window, count in counts.most_common(MOST_WINDOWS):
        left -= 2 * len(window) ** 2
        if count < 2 or left < 0:
            return
        yield window
