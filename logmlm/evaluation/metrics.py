"""Figures of a detector against labels: precision, recall, F1, the two areas.

A figure that the windows cannot give is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from logmlm.errors import DataError
from logmlm.evaluation.baselines import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class DetectionMetrics:
    """What flags and scores are worth against labels; counts are sums of weights.

    `pr_auc` is the average precision; both areas need windows of both kinds. `precision`
    needs a flagged window, `recall` and `f1` an anomalous one, `false_alarm_rate` (the share
    of normal windows that are flagged) a normal one; otherwise they are None.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    pr_auc: float | None
    false_alarm_rate: float | None
    true_positives: float
    false_positives: float
    true_negatives: float
    false_negatives: float


def compute(
    flagged: BoolArray, scores: FloatArray, labels: BoolArray, weights: FloatArray | None = None
) -> DetectionMetrics:
    """Compare flags and scores with labels, all of shape (windows,), high score = odd.

    A weight, at least 0, says how many windows a window stands for; NaN is a DataError.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    cells = (flagged & labels, flagged & ~labels, ~flagged & ~labels, ~flagged & labels)
    tp, fp, tn, fn = counts = [float(weights[cell].sum()) for cell in cells]
    precision, recall = _ratio(tp, tp + fp), _ratio(tp, tp + fn)
    f1 = _ratio(2 * tp, 2 * tp + fp + fn) if tp + fn else None
    areas = _areas(scores, labels, weights)
    return DetectionMetrics(precision, recall, f1, *areas, _ratio(fp, fp + tn), *counts)


def oracle_f1(
    scores: FloatArray, labels: BoolArray, weights: FloatArray | None = None
) -> float | None:
    """Find the best F1 of any threshold, chosen on the labels: a ceiling, never a result.

    None without an anomalous window; a NaN is a DataError as in `compute`.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    if not (anomalous := weights[labels].sum()):
        return None
    ranks = _ranks(scores)
    tp = np.bincount(ranks, weights * labels)[::-1].cumsum()  # flagged: this rank and above
    fp = np.bincount(ranks, weights * ~labels)[::-1].cumsum()
    return float(np.max(2 * tp / (tp + fp + anomalous)))


def _areas(
    scores: FloatArray, labels: BoolArray, weights: FloatArray
) -> tuple[float | None, float | None]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    ranks = _ranks(scores)
    if not weights[labels].sum() or not weights[~labels].sum():
        return None, None
    return (
        float(roc_auc_score(labels, ranks, sample_weight=weights)),
        float(average_precision_score(labels, ranks, sample_weight=weights)),
    )


def _ranks(scores: FloatArray) -> Any:
    """Integers in the order of the scores, equal for equal ones, so that infinity is fine."""
    if bad := int(np.isnan(scores).sum()):
        raise DataError(f"{bad} of {len(scores)} scores are NaN: the model is damaged; train again")
    return np.unique(scores, return_inverse=True)[1]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
