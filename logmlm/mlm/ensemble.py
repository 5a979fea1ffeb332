"""Several models of one vocabulary, read as one: their surprisals are averaged.

Cross-fitting trains a model for each fold beside the one that is kept; together they say less of
what one of them says by the chance of its seed (Lakshminarayanan et al., NeurIPS 2017: deep
ensembles). Held-out windows are scored by the one model that did not see them, which is noisier
than the mean of all: so a threshold set on them is kept, and more often undercut than not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import BertForMaskedLM

from logmlm.mlm.pll import Reading, Scorer, Surprisals, Window


class Ensemble:
    """Scores windows as `Scorer` does, with the mean over its members.

    Which token was expected most is what the first member says, which saw all windows.
    """

    def __init__(self, models: Sequence[BertForMaskedLM], stride: int = 0) -> None:
        self._members = [Scorer(model, stride) for model in models]

    def in_order(self, windows: Sequence[Window]) -> list[Reading]:
        """Each window read as it came."""
        readings = [member.in_order(windows) for member in self._members]
        return [
            Reading(_mean([one.surprisals for one in each]), each[0].guessed)
            for each in zip(*readings, strict=True)
        ]

    def as_bag(self, windows: Sequence[Window]) -> list[Surprisals]:
        """Surprisal of each token of each window, read as a bag of events, in nats."""
        bags = [member.as_bag(windows) for member in self._members]
        return [_mean(each) for each in zip(*bags, strict=True)]

    def expected(self, window: Window, top: int = 3) -> list[list[tuple[int, float]]]:
        """The tokens that the first member holds most probable in each place, as it came."""
        return self._members[0].expected(window, top)


def _mean(surprisals: Sequence[Surprisals]) -> Surprisals:
    mean: Surprisals = np.mean(surprisals, axis=0)
    return mean
