"""Which windows are left out of logs that hold anomalies which nobody labelled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mlm_parts import VOCABULARY, WINDOW_SIZE, ids

from logmlm.config.training import ModelConfig, ThresholdConfig
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.trainer import EpochReport
from logmlm.training import contamination as sifting
from logmlm.training.contamination import remove_contamination
from logmlm.training.fit import FitTask

pytestmark = pytest.mark.usefixtures("one_cpu")

COMMON, ODD = ("ABCD", "ABC", "BCDE"), "HGF"
EVERY = 25


def task_of(windows: list[str], contamination: float, **model: object) -> FitTask:
    settings = {"preset": "tiny", "epochs": 50, "batch_size": 8, "device": "cpu"} | model
    return FitTask(
        corpus=Corpus.of([ids(window) for window in windows]),
        vocabulary_size=len(VOCABULARY),
        window_size=WINDOW_SIZE,
        windows_per_day=100.0,
        model=ModelConfig.model_validate(settings),
        threshold=ThresholdConfig.model_validate({"contamination": contamination}),
    )


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sifting, "BRIEF_WINDOWS", 480)


@pytest.fixture
def windows() -> list[str]:
    """Two hundred windows, of which one in `EVERY` is of the odd kind."""
    return [COMMON[i * i % 3] if i % EVERY else ODD for i in range(200)]


def run(
    task: FitTask, work: Path | None = None
) -> tuple[FitTask, list[str], list[tuple[str, int]]]:
    said: list[str] = []
    reports: list[tuple[str, int]] = []

    def report(name: str, epoch: EpochReport) -> None:
        reports.append((name, epoch.epochs))

    return remove_contamination(task, work, report, said.append), said, reports


def texts(task: FitTask) -> list[list[int]]:
    return [task.corpus[i].tolist() for i in range(len(task.corpus))]


def test_anomalies_that_come_by_the_dozen_are_left_out_and_the_others_stay_in_order(
    windows: list[str],
) -> None:
    task = task_of(windows, 1 / EVERY)
    kept, said, reports = run(task)
    assert texts(kept) == [list(ids(window)) for window in windows if window != ODD]
    assert said == ["leaving out the oddest 8 of 200 windows (0.04 of all)"]
    # Each is shown 150 windows, 480 in all: about 3 epochs, whatever is asked.
    assert set(reports) == {(f"sift {fold} of 4", 3) for fold in range(1, 5)}


def test_without_a_contamination_all_stays_and_nothing_is_trained(windows: list[str]) -> None:
    task = task_of(windows, 0.0)
    assert run(task) == (task, [], [])


def test_of_many_windows_the_brief_models_see_no_more_than_they_need(
    windows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sifting, "BRIEF_WINDOWS", 80)
    parts = [sifting._fold(task_of(windows, 0.1), None, fold) for fold in range(4)]
    assert [len(part.job.training) for part in parts] == [80] * 4
    assert all(part.job.config.epochs == 1 for part in parts)
    assert sorted(np.concatenate([part.scored for part in parts])) == list(range(200))
    assert not any(set(part.job.training) & set(part.scored) for part in parts)


def test_a_sifting_that_was_killed_goes_on_where_it_was(windows: list[str], tmp_path: Path) -> None:
    task = task_of(windows, 1 / EVERY)
    first, _, _ = run(task, tmp_path)
    again, _, reports = run(task, tmp_path)
    assert reports == []
    assert texts(again) == texts(first)
