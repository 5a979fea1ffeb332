"""The report: every file is there, whole, and says what the evaluation says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from logmlm.errors import StorageError
from logmlm.evaluation.baselines import Predictions
from logmlm.evaluation.labels import Interval, Labels
from logmlm.evaluation.report import write_report
from logmlm.evaluation.results import GroundTruth, ResultTable, build_results, model_verdict
from logmlm.records import Event, Fields, LogLine, Window

PLOTS = ("pr_curve.png", "histogram.png", "timeline.png")
TABLES = ("table.csv", "table.md", "evaluation.json")


def a_window(start: float) -> Window:
    event = Event(LogLine("x", "p", 0, 2, start), Fields(start, "", "x"), start, "", "t")
    return Window("p", "", (event,), "end", complete=True)


def a_case(
    values: list[float], intervals: list[tuple[float, float]]
) -> tuple[list[Predictions], GroundTruth]:
    windows = [a_window(1_714_953_600 + 600 * number) for number in range(len(values))]
    spans = tuple(Interval(windows[0].start + a, windows[0].start + b, "") for a, b in intervals)
    verdict = model_verdict(values)
    quiet = np.zeros(len(values))
    rule = Predictions("length", quiet, quiet > 0, 0.0, "by definition")
    return [verdict, rule], GroundTruth.of(windows, Labels("x", spans))


def written(
    out: Path, verdicts: list[Predictions], truth: GroundTruth, **numbers: float
) -> tuple[ResultTable, set[str]]:
    evaluation = build_results(verdicts, truth, **numbers)
    write_report(evaluation, verdicts, truth, out)
    return evaluation, {path.name for path in out.iterdir()}


def colours(path: Path) -> set[tuple[int, ...]]:
    """Every colour in a plot, of 8 steps a channel."""
    steps = (imread(path)[..., :3] * 8).astype(int).reshape(-1, 3)
    codes = np.unique(steps @ np.array([100, 10, 1]))
    return {(code // 100, code // 10 % 10, code % 10) for code in codes.tolist()}


RED, BLUE, SHADE = (6, 1, 1), (0, 3, 5), (7, 6, 6)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ResultTable, set[str]]:
    """A report of six windows: a false alarm, a missed window, and an infinite value."""
    values = [0.2, 1.0, 0.9, 40.0, 0.1, math.inf]
    verdicts, truth = a_case(values, [(1000, 2000), (3000, 3100), (90_000, 90_001)])
    out = tmp_path_factory.mktemp("report") / "deep" / "report"
    return out, *written(out, verdicts, truth, perplexity=2.5)


def test_a_report_is_three_plots_and_the_table_three_times(
    report: tuple[Path, ResultTable, set[str]],
) -> None:
    out, evaluation, files = report
    assert files == {*PLOTS, *TABLES}
    for name in PLOTS:
        assert imread(out / name).shape == (600, 1080, 4)
    assert json.loads((out / "evaluation.json").read_text()) == evaluation.as_json()
    table = pd.read_csv(out / "table.csv")
    assert table["detector"].tolist() == ["logmlm", "length"]
    assert table["recall"].tolist() == [2 / 3, 0.0]
    assert table["perplexity"].tolist()[0] == 2.5


def test_the_markdown_table_has_the_cells_of_the_text_and_its_notes(
    report: tuple[Path, ResultTable, set[str]],
) -> None:
    out, evaluation, _ = report
    lines = (out / "table.md").read_text().splitlines()
    cells = evaluation.as_cells()
    assert lines[0] == "| " + " | ".join(cells[0]) + " |"
    assert lines[1] == "|" + "---|" * len(cells[0])
    assert [line.strip("| ").split(" | ") for line in lines[2:4]] == cells[1:]
    assert lines[5:] == evaluation.notes()


def test_the_timeline_draws_normal_and_labelled_windows_apart(
    report: tuple[Path, ResultTable, set[str]],
) -> None:
    assert {RED, BLUE, SHADE} <= colours(report[0] / "timeline.png")


def test_a_single_normal_window_makes_a_report_in_the_place_of_an_older_one(
    tmp_path: Path,
) -> None:
    before = dict(mpl.rcParams)
    (tmp_path / "table.csv").write_text("old")
    truth = GroundTruth.of([a_window(0)], Labels("x", keys={"": False}))
    _, files = written(tmp_path, [model_verdict([0.5])], truth)
    assert files == {*PLOTS, *TABLES}
    assert pd.read_csv(tmp_path / "table.csv")["detector"].tolist() == ["logmlm"]
    drawn = colours(tmp_path / "timeline.png")
    assert BLUE in drawn
    assert not {RED, SHADE} & drawn
    assert dict(mpl.rcParams) == before


def test_windows_without_times_have_no_timeline(tmp_path: Path) -> None:
    truth = GroundTruth(np.array([True, False, False]), np.array([1.0, 50.0, 50.0]))
    _, files = written(tmp_path, [model_verdict([3.0, 0.5, 1.2])], truth)
    assert files == {*PLOTS, *TABLES} - {"timeline.png"}


def test_a_report_that_fails_leaves_no_half_file(tmp_path: Path) -> None:
    verdicts, truth = a_case([0.4, 2.0], [(0, 1)])
    (tmp_path / "histogram.png").mkdir()
    (tmp_path / "histogram.png" / "kept").write_text("x")
    with pytest.raises(StorageError, match=r"can't write .*histogram\.png"):
        write_report(build_results(verdicts, truth), verdicts, truth, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"pr_curve.png", "histogram.png"}


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    verdicts, truth = a_case([0.4, 2.0], [(0, 1)])
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(StorageError, match=r"can't make .*report: File exists"):
        write_report(build_results(verdicts, truth), verdicts, truth, tmp_path / "report")
