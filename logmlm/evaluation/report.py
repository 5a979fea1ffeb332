"""The evaluation's report: three plots, the table as CSV and Markdown, the numbers as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from logmlm.errors import StorageError
from logmlm.evaluation.baselines import FloatArray, Predictions
from logmlm.evaluation.results import GroundTruth, ResultTable
from logmlm.system.atomic_files import ORDINARY, atomic_path, write_json, write_text

_NORMAL, _LABELLED = "tab:blue", "tab:red"
_DOTS_PER_INCH = 120
_BINS = 40
"""Bars below the threshold, and as many edges from there on."""


def write_report(
    evaluation: ResultTable, verdicts: Sequence[Predictions], truth: GroundTruth, out: Path
) -> None:
    """Write the report into the folder `out`, which is made if it is not there.

    `verdicts` are those that were evaluated, the model's first. Files: pr_curve.png,
    histogram.png, timeline.png (where `truth` knows its windows), table.csv, table.md,
    evaluation.json. Each is either whole or, after an error, what it was before.

    Raises:
        StorageError: the folder can't be made or a file can't be written.

    """
    model = verdicts[0]
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"can't make {out}: {error.strerror or error}") from error
    _save(_pr_curve(evaluation, verdicts, truth), out / "pr_curve.png")
    _save(_histogram(model, truth), out / "histogram.png")
    if truth.windows:
        _save(_timeline(model, truth), out / "timeline.png")
    with atomic_path(out / "table.csv", ORDINARY) as path:
        evaluation.as_frame().to_csv(path, index=False)
    write_text(out / "table.md", _markdown(evaluation), ORDINARY)
    write_json(out / "evaluation.json", evaluation.as_json(), ORDINARY)


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path, ORDINARY) as temporary:
        figure.savefig(temporary, format="png", dpi=_DOTS_PER_INCH)


def _axes(title: str, x_label: str, y_label: str) -> tuple[Figure, Any]:
    """Make a figure of its own, so that no global state of matplotlib is touched."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    return figure, axes


def _pr_curve(
    evaluation: ResultTable, verdicts: Sequence[Predictions], truth: GroundTruth
) -> Figure:
    figure, axes = _axes("Precision and recall (dot: at the threshold)", "recall", "precision")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if not truth.anomalous.any():
        axes.text(0.5, 0.5, "not defined: no window is labelled anomalous", ha="center")
        return figure
    for verdict, row in zip(verdicts, evaluation.rows, strict=True):
        precision, recall = _curve(verdict.scores, truth)
        width = 2.5 if verdict is verdicts[0] else 1.0
        (line,) = axes.step(recall, precision, where="post", label=row.name, linewidth=width)
        if row.metrics.precision is not None:
            axes.plot(row.metrics.recall, row.metrics.precision, "o", color=line.get_color())
    axes.legend(loc="lower left")
    return figure


def _curve(scores: FloatArray, truth: GroundTruth) -> tuple[FloatArray, FloatArray]:
    from sklearn.metrics import precision_recall_curve

    ranks = np.unique(scores, return_inverse=True)[1]
    found = precision_recall_curve(truth.anomalous, ranks, sample_weight=truth.weights)
    return found[0], found[1]


def _histogram(model: Predictions, truth: GroundTruth) -> Figure:
    figure, axes = _axes("Values of the windows", "value (1.0 = threshold)", "windows")
    axes.set_xscale("symlog", linthresh=model.threshold)  # even below the threshold, log above
    axes.set_yscale("log")
    values = _drawn(model.scores)
    above = np.geomspace(model.threshold, max(values.max(), 10 * model.threshold), _BINS)
    edges = np.concatenate([np.linspace(0, model.threshold, _BINS, endpoint=False), above])
    for chosen, name, colour in _kinds(truth):
        weights = None if truth.weights is None else truth.weights[chosen]
        axes.hist(values[chosen], edges, weights=weights, label=name, color=colour, alpha=0.6)
    axes.axvline(model.threshold, color="black", linestyle="--", label="threshold")
    axes.legend(loc="upper right")
    return figure


def _timeline(model: Predictions, truth: GroundTruth) -> Figure:
    figure, axes = _axes("Value of each window over time", "time (UTC)", "value (1.0 = threshold)")
    axes.set_yscale("symlog", linthresh=model.threshold)
    starts = _dates([window.start for window in truth.windows])
    values = _drawn(model.scores)
    for chosen, name, colour in _kinds(truth):
        axes.scatter(starts[chosen], values[chosen], s=6, color=colour, label=name, zorder=2)
    axes.axhline(model.threshold, color="black", linestyle="--", label="threshold")
    axes.set_xlim(axes.get_xlim())  # the logs' time alone: intervals outside are not shown
    for interval in truth.labels.intervals if truth.labels else ():
        axes.axvspan(*_dates([interval.start, interval.end]), color=_LABELLED, alpha=0.2, zorder=1)
    locator = AutoDateLocator()
    axes.xaxis.set(major_locator=locator, major_formatter=ConciseDateFormatter(locator))
    axes.legend(loc="upper right")
    return figure


def _kinds(truth: GroundTruth) -> list[tuple[npt.NDArray[np.bool_], str, str]]:
    """Masks of the normal and the labelled windows, with name and colour; none is empty."""
    kinds = [(~truth.anomalous, "normal", _NORMAL), (truth.anomalous, "labelled", _LABELLED)]
    return [kind for kind in kinds if kind[0].any()]


def _dates(seconds: Sequence[float]) -> npt.NDArray[np.datetime64]:
    return (np.asarray(seconds) * 1e6).astype("datetime64[us]")


def _drawn(scores: FloatArray) -> FloatArray:
    """Scores as they are drawn: not below 0, infinity at the largest finite one."""
    largest = scores[np.isfinite(scores)].max(initial=1.0)
    return np.asarray(np.clip(scores, 0.0, largest))


def _markdown(evaluation: ResultTable) -> str:
    header, *rows = (f"| {' | '.join(cells)} |" for cells in evaluation.as_cells())
    rule = "|" + "---|" * len(evaluation.as_cells()[0])
    return "\n".join([header, rule, *rows, "", *evaluation.notes(), ""])
