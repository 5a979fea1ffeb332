"""Evaluation: how well the model and the simple rules find the labelled windows.

Thresholds come from training (the calibration, the held-out windows), never from the labels
measured here. A number that these windows cannot give is None, and printed "not defined".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from logmlm.evaluation.baselines import BoolArray, FloatArray, Predictions
from logmlm.evaluation.labels import Labels
from logmlm.evaluation.metrics import DetectionMetrics, compute, oracle_f1
from logmlm.records import Window

if TYPE_CHECKING:
    import pandas as pd

MODEL = "logmlm"
"""The model's name in tables, beside the rules'."""
_NORMAL = "the windows that are not labelled anomalous"


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Which of the tested windows are anomalous, and how many windows each stands for.

    `anomalous` and `weights` have the shape (windows,); without `weights` each counts once.
    `windows` and `labels` are given where time matters; `of` fills them.
    """

    anomalous: BoolArray
    weights: FloatArray | None = None
    windows: tuple[Window, ...] = ()
    labels: Labels | None = None

    @classmethod
    def of(cls, windows: Sequence[Window], labels: Labels) -> GroundTruth:
        """Label `windows`; that the labels match none of them is a DataError."""
        labels.check(windows)
        anomalous = np.array([labels.is_anomaly(window) for window in windows], dtype=np.bool_)
        return cls(anomalous, None, tuple(windows), labels)

    @cached_property
    def span_s(self) -> float | None:
        """Seconds from the first event to the last; None without windows."""
        if not self.windows:
            return None
        return max(w.end for w in self.windows) - min(w.start for w in self.windows)

    @cached_property
    def covered(self) -> int | None:
        """Number of labelled intervals that any window overlaps; None without any."""
        return self.incidents(np.ones(len(self.anomalous), dtype=np.bool_))

    def incidents(self, chosen: BoolArray) -> int | None:
        """Count the labelled intervals that the chosen windows overlap; None without any."""
        if self.labels is None or not self.labels.intervals:
            return None
        windows = (w for w, yes in zip(self.windows, chosen, strict=True) if yes)
        return len(self.labels.matched_intervals(windows))


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One detector's line of the table.

    `false_alarms_per_day` counts windows, before alerts are grouped. `incidents` are the
    labelled intervals that the windows cover, `incidents_found` those with a flagged window.
    `oracle_f1` is there only when asked for.
    """

    name: str
    metrics: DetectionMetrics
    threshold: float
    threshold_from: str
    false_alarms_per_day: float | None = None
    incidents_found: int | None = None
    incidents: int | None = None
    oracle_f1: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Give all in one flat mapping, without the name."""
        values = asdict(self.metrics) | asdict(self)
        del values["name"], values["metrics"]
        return values


@dataclass(frozen=True, slots=True)
class ResultTable:
    """The table: the model's row first, then the rules', over the same windows.

    `unit` says what was counted: windows, or keys, each judged by its oddest window. `screened` is
    how many windows a look let pass, which are ranked by what it saw. `keyless` counts windows
    without a key where labels go by key: no label speaks of them, so they are in no row.
    """

    rows: tuple[ResultRow, ...]
    windows: int
    anomalies: int
    perplexity: float | None = None
    masked_accuracy: float | None = None
    unit: str = "windows"
    screened: int = 0
    keyless: int = 0
    keyless_flagged: int = 0

    def as_json(self) -> dict[str, dict[str, Any]]:
        """Give each row's numbers under its name; None is a number that is not defined."""
        table = {row.name: row.as_json() for row in self.rows}
        language = {"perplexity": self.perplexity, "masked_accuracy": self.masked_accuracy}
        if MODEL in table:
            table[MODEL] |= {k: v for k, v in language.items() if v is not None and isfinite(v)}
        if MODEL in table and self.keyless:
            table[MODEL] |= {"keyless": self.keyless, "keyless_flagged": self.keyless_flagged}
        return table

    def as_frame(self) -> pd.DataFrame:
        """One row a detector, its name in the column `detector`, and all numbers."""
        import pandas as pd

        return pd.DataFrame([{"detector": k} | v for k, v in self.as_json().items()])

    def as_cells(self) -> list[list[str]]:
        """Give the table for people: a header and the rows, without columns that are empty."""
        table = [_cells(row) for row in self.rows]
        return [list(table[0]), *(list(cells.values()) for cells in table)]

    def as_text(self) -> str:
        """Give the table for a terminal: aligned columns, then what is the model's alone."""
        cells = self.as_cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in cells
        ]
        return "\n".join([*lines, "", *self.notes()])

    def notes(self) -> list[str]:
        """Say in sentences what was tested and what stands in no column."""
        notes = [f"{self.windows} {self.unit}, {self.anomalies} of them labelled anomalous."]
        if self.unit == "keys":
            notes.append("A key is judged by its oddest window.")
        if self.keyless:
            notes.append(
                f"{self.keyless} windows have no key, so no label speaks of them and no row counts"
                f" them; the model flags {self.keyless_flagged} of them."
            )
        known = "them" if self.anomalies == self.windows else _NORMAL
        if self.perplexity is not None:
            notes.append(f"The model's perplexity on {known}: {self.perplexity:.4g}.")
        if self.masked_accuracy is not None:
            notes.append(f"The model's masked accuracy on {known}: {self.masked_accuracy:.4f}.")
        if self.screened:
            notes.append(
                f"{self.screened} windows were let pass by a quick look, and are ranked by what it"
                " saw; --exact ranks all by their exact values."
            )
        if any(row.oracle_f1 is not None for row in self.rows):
            notes.append("Oracle F1: the threshold was chosen on these labels; not a result.")
        return notes


def model_verdict(values: Sequence[float] | FloatArray) -> Predictions:
    """Give the model's verdict on windows by their calibrated values (1.0 = threshold)."""
    scores = np.asarray(values, dtype=np.float64)
    return Predictions(MODEL, scores, scores >= 1.0, 1.0, "calibration")


def build_results(
    verdicts: Sequence[Predictions],
    truth: GroundTruth,
    *,
    perplexity: float | None = None,
    masked_accuracy: float | None = None,
    oracle: bool = False,
    unit: str = "windows",
) -> ResultTable:
    """Measure verdicts on the same windows; the rows keep their order: the model's first.

    `perplexity` and `masked_accuracy` are the model's, on the windows that are not labelled
    anomalous, or on all where all are; `oracle` adds the oracle F1.

    Raises:
        DataError: a score is NaN.

    """
    rows = [_row(verdict, truth, oracle) for verdict in verdicts]
    return ResultTable(
        tuple(rows),
        len(truth.anomalous),
        int(truth.anomalous.sum()),
        perplexity,
        masked_accuracy,
        unit,
    )


def _row(verdict: Predictions, truth: GroundTruth, oracle: bool) -> ResultRow:
    found = compute(verdict.flagged, verdict.scores, truth.anomalous, truth.weights)
    return ResultRow(
        verdict.name,
        found,
        verdict.threshold,
        verdict.threshold_from,
        false_alarms_per_day(found.false_positives, truth.span_s),
        truth.incidents(verdict.flagged),
        truth.covered,
        oracle_f1=oracle_f1(verdict.scores, truth.anomalous, truth.weights) if oracle else None,
    )


def false_alarms_per_day(number: float, span_s: float | None) -> float | None:
    """Spread a number of false alarms over `span_s` seconds of logs; None without a span."""
    return number / span_s * 86400 if span_s else None


def _cells(row: ResultRow) -> dict[str, str]:
    """Texts of a row by column title."""
    found = row.metrics
    cells = {
        "detector": row.name,
        "precision": _number(found.precision),
        "recall": _number(found.recall),
        "F1": _number(found.f1),
        "ROC-AUC": _number(found.roc_auc),
        "PR-AUC": _number(found.pr_auc),
        "false alarm rate": _number(found.false_alarm_rate, ".5f"),
        "threshold": _number(row.threshold, ".4g"),
        "threshold from": row.threshold_from,
    }
    if row.false_alarms_per_day is not None:
        cells["false alarms a day"] = _number(row.false_alarms_per_day, ".4g")
    if row.incidents is not None:
        cells["incidents found"] = f"{row.incidents_found} of {row.incidents}"
    if row.oracle_f1 is not None:
        cells["oracle F1"] = _number(row.oracle_f1)
    return cells


def _number(value: float | None, style: str = ".4f") -> str:
    return "not defined" if value is None else format(value, style)
