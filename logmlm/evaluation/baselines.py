"""The simple rules: what a learned detector has to beat on the same windows.

Each rule is fitted on windows of template ids, all of them taken as normal, and then scores
windows: high = odd. The first three are membership rules: by definition they flag whatever
they score above 0, which is also their strongest published use (Landauer et al., FSE 2024).
The others flag what scores above a quantile of held-out normal windows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low
from typing import Any

import numpy as np
import numpy.typing as npt

from logmlm.detection.calibration import Calibration, window_statistics
from logmlm.errors import DataError
from logmlm.evaluation.ngram import BothDirections, choose_order

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Ids = Sequence[str]
"""A window as the template ids of its events, in order."""
BaselineScorer = Callable[[Sequence[Ids]], FloatArray]
"""Scores windows, one number each, high = odd."""

_MAX_REFERENCES = 1000
"""Training count vectors, the commonest, that an unseen one is compared with."""
_MAX_COLUMNS = 500
"""Template ids, the commonest, with a column of their own in a matrix of counts."""
_MAX_ROWS = 10_000
"""Training windows that the PCA and the isolation forest are fitted on."""
_NGRAM_RATE = 0.01
"""Rate at which the n-gram's statistics are joined; its threshold is set as that of other rules."""
_KEPT_VARIANCE = 0.95
"""Share of the variance that the PCA's normal subspace holds (Xu et al., SOSP 2009)."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A simple rule: `fit` takes normal windows and a seed and returns the scorer.

    `natural_threshold` is None where only held-out windows can say how odd is too odd.
    """

    name: str
    fit: Callable[[Sequence[Ids], int], BaselineScorer]
    natural_threshold: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What one detector says of a list of windows.

    `scores` (float64) and `flagged` have the shape (windows,); `threshold_from` says in a few
    words how the threshold was set.
    """

    name: str
    scores: FloatArray
    flagged: BoolArray
    threshold: float
    threshold_from: str


def run_baselines(
    train: Sequence[Ids], folds: Sequence[int], test: Sequence[Ids], rate: float, seed: int
) -> list[Predictions]:
    """Fit every rule on `train` and judge `test`, at thresholds that saw only `train`.

    `folds` gives each training window its fold for cross-fitting: a fold is scored by a rule
    fitted on all others, and a window of fold -1 is fitted on and never held out. Of the
    held-out scores the (1 - rate) quantile is the threshold, so at most that share of them
    lies above it. The rule that judges `test` is fitted on all of `train`.

    Raises:
        DataError: there is no training window, or no fold that leaves something to fit on.

    """
    if not train:
        raise DataError("the simple rules need training windows, and there are none")
    return [_judge(rule, train, np.asarray(folds), test, (rate, seed)) for rule in RULES]


def _judge(
    rule: Baseline,
    train: Sequence[Ids],
    folds: npt.NDArray[np.int_],
    test: Sequence[Ids],
    rate_and_seed: tuple[float, int],
) -> Predictions:
    rate, seed = rate_and_seed
    scores = rule.fit(train, seed)(test)
    threshold, origin = rule.natural_threshold, "by definition, whatever the asked rate"
    if threshold is None:
        held_out = cross_fitted(rule, train, folds, seed)
        threshold = float(np.quantile(held_out, 1 - rate, method="inverted_cdf"))
        origin = f"{1 - rate:.5g} quantile of held-out normal windows"
    return Predictions(rule.name, scores, scores > threshold, threshold, origin)


def cross_fitted(
    rule: Baseline, train: Sequence[Ids], folds: npt.NDArray[np.int_], seed: int
) -> FloatArray:
    """Scores of the training windows, fold after fold, each by a rule that never saw its fold.

    Raises:
        DataError: no fold leaves something to fit on.

    """
    if len(folds) != len(train):
        raise DataError(f"{len(folds)} fold numbers for {len(train)} training windows")
    held_out = [number for number in np.unique(folds) if number >= 0]
    if not held_out or len(np.unique(folds)) < 2:
        raise DataError(
            "the simple rules' thresholds need held-out windows: give the training windows at"
            " least two fold numbers, not all of them -1"
        )
    parts = []
    for number in held_out:
        score = rule.fit([w for w, fold in zip(train, folds, strict=True) if fold != number], seed)
        parts.append(score([w for w, fold in zip(train, folds, strict=True) if fold == number]))
    return np.concatenate(parts)


def _once_each(
    key: Callable[[Ids], Hashable], score: Callable[[Ids], float], windows: Sequence[Ids]
) -> FloatArray:
    """Score each window, but windows of equal key only once."""
    known: dict[Hashable, float] = {}
    scores = np.empty(len(windows))
    for index, window in enumerate(windows):
        content = key(window)
        if content not in known:
            known[content] = score(window)
        scores[index] = known[content]
    return scores


def _bag(window: Ids) -> tuple[str, ...]:
    """Drop the order: equal for equal count vectors."""
    return tuple(sorted(window))


def _fit_unseen_template(train: Sequence[Ids], _seed: int) -> BaselineScorer:
    """Count the events whose template training never saw."""
    seen = {template for window in train for template in window}
    return lambda windows: np.array(
        [sum(template not in seen for template in window) for window in windows], dtype=np.float64
    )


def _fit_two_gram(train: Sequence[Ids], _seed: int) -> BaselineScorer:
    """Count the pairs of neighbours, begin and end included, that training never saw."""
    seen = {pair for window in train for pair in _pairs(window)}

    def unseen(window: Ids) -> float:
        return float(sum(pair not in seen for pair in _pairs(window)))

    return lambda windows: _once_each(tuple, unseen, windows)


def _pairs(window: Ids) -> list[tuple[str | None, str | None]]:
    return list(pairwise((None, *window, None)))


def _fit_ngram(train: Sequence[Ids], seed: int) -> BaselineScorer:
    """Surprisals of an interpolated n-gram model in both directions, calibrated as the model's are.

    A fifth of the windows is held out: it chooses the order and calibrates. A single one is both.
    """
    held = np.zeros(len(train), dtype=np.bool_)
    held[np.random.default_rng(seed).permutation(len(train))[: max(1, len(train) // 5)]] = True
    learned = [window for window, is_held in zip(train, held, strict=True) if not is_held] or train
    held_out = [window for window, is_held in zip(train, held, strict=True) if is_held]
    model = BothDirections(learned, choose_order(learned, held_out))

    def statistics(window: Ids) -> tuple[float, ...]:
        return window_statistics(*model.surprisals(window))

    known = np.array([statistics(window) for window in held_out])
    calibration = Calibration.fit(known, _NGRAM_RATE, windows_per_day=1.0)

    def value(window: Ids) -> float:
        return float(calibration.values(np.array([statistics(window)]))[0][0])

    return lambda windows: _once_each(tuple, value, windows)


def _fit_count_vector(train: Sequence[Ids], _seed: int) -> BaselineScorer:
    """0 where training saw the count vector, else the smallest distance to one, up to 1.

    The distance of two count vectors is their L1 distance over the sum of their lengths
    (Bray and Curtis, 1957), to the commonest training vectors only.
    """
    bags = Counter(map(_bag, train))
    references = [bag for bag, _ in bags.most_common(_MAX_REFERENCES)]
    column = {template: i for i, template in enumerate(sorted({t for b in references for t in b}))}
    counts = np.zeros((len(column), len(references)))  # (templates, references)
    for index, bag in enumerate(references):
        for template in bag:
            counts[column[template], index] += 1
    lengths = counts.sum(axis=0)

    def distance(window: Ids) -> float:
        if _bag(window) in bags:
            return 0.0
        own = {column[t]: n for t, n in Counter(window).items() if t in column}
        rows = counts[list(own)]  # (own templates, references)
        shared = np.minimum(rows, np.array(list(own.values()))[:, None]).sum(axis=0)
        return float(np.min(1 - 2 * shared / (lengths + len(window))))

    return lambda windows: _once_each(_bag, distance, windows)


def _fit_length(train: Sequence[Ids], _seed: int) -> BaselineScorer:
    """How far the length lies outside training's range, then (below 1) from its median."""
    lengths = [len(window) for window in train]
    shortest, longest, usual = min(lengths), max(lengths), median_low(lengths)

    def distance(window: Ids) -> float:
        outside = max(shortest - len(window), len(window) - longest, 0)
        deviation = abs(len(window) - usual)
        return outside + deviation / (deviation + usual + 1)

    return lambda windows: _once_each(len, distance, windows)


class _Counts:
    """Windows as rows of template counts: the commonest ids, and one column for all others."""

    def __init__(self, train: Sequence[Ids]) -> None:
        counts = Counter(template for window in train for template in window)
        self._column = {t: i for i, (t, _) in enumerate(counts.most_common(_MAX_COLUMNS))}

    def sample(self, train: Sequence[Ids], seed: int) -> FloatArray:
        """Rows of all windows, or of a random choice of them where they are many."""
        if len(train) <= _MAX_ROWS:
            return self.rows(train)
        chosen = np.random.default_rng(seed).choice(len(train), _MAX_ROWS, replace=False)
        return self.rows([train[index] for index in chosen])

    def rows(self, windows: Sequence[Ids]) -> FloatArray:
        """Count: an array of shape (windows, templates + 1)."""
        matrix = np.zeros((len(windows), len(self._column) + 1))
        for row, window in zip(matrix, windows, strict=True):
            for template, number in Counter(window).items():
                row[self._column.get(template, -1)] += number
        return matrix

    def scorer(self, score: Callable[[FloatArray], FloatArray]) -> BaselineScorer:
        """Score windows by their counts: equal ones once, and not too many at a time."""

        def scores(windows: Sequence[Ids]) -> FloatArray:
            bags = list(map(_bag, windows))
            distinct = list(dict.fromkeys(bags))
            parts = (distinct[i : i + _MAX_ROWS] for i in range(0, len(distinct), _MAX_ROWS))
            found = [float(value) for part in parts for value in score(self.rows(part))]
            known = dict(zip(distinct, found, strict=True))
            return np.array([known[bag] for bag in bags], dtype=np.float64)

        return scores


def _fit_isolation_forest(train: Sequence[Ids], seed: int) -> BaselineScorer:
    """Isolation forest on counts (Liu et al., ICDM 2008): minus scikit-learn's score.

    By its nature it never looks at templates that training did not hold.
    """
    from sklearn.ensemble import IsolationForest

    counts = _Counts(train)
    forest = IsolationForest(random_state=seed).fit(counts.sample(train, seed))
    return counts.scorer(lambda rows: -forest.score_samples(rows))


def _fit_pca(train: Sequence[Ids], seed: int) -> BaselineScorer:
    """Squared error of a reconstruction from the main components of the counts.

    Without any variance there is no component, and the mean stands for the reconstruction.
    Source: Xu et al., SOSP 2009.
    """
    from sklearn.decomposition import PCA

    counts = _Counts(train)
    rows = counts.sample(train, seed)
    if not np.ptp(rows, axis=0).any():
        return counts.scorer(lambda others: np.asarray(((others - rows[0]) ** 2).sum(axis=1)))
    pca: Any = PCA(n_components=_KEPT_VARIANCE, random_state=seed).fit(rows)

    def error(rows: FloatArray) -> FloatArray:
        residual: FloatArray = rows - pca.inverse_transform(pca.transform(rows))
        return np.asarray((residual**2).sum(axis=1))

    return counts.scorer(error)


RULES = (
    Baseline("unseen_template", _fit_unseen_template, natural_threshold=0.0),
    Baseline("count_vector", _fit_count_vector, natural_threshold=0.0),
    Baseline("two_gram", _fit_two_gram, natural_threshold=0.0),
    Baseline("ngram", _fit_ngram),
    Baseline("length", _fit_length),
    Baseline("isolation_forest", _fit_isolation_forest),
    Baseline("pca", _fit_pca),
)
"""All simple rules, in the order of the table."""
