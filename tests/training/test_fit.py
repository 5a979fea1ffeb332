"""Models, held-out scores and calibration, from a corpus."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mlm_parts import VOCABULARY, WINDOW_SIZE, ids, trained

from logmlm.config.training import ModelConfig, ThresholdConfig
from logmlm.detection.calibration import STATISTICS, Calibration, window_statistics
from logmlm.detection.tail_model import Array
from logmlm.errors import DataError
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.model import weights_of
from logmlm.mlm.scorer import PositionScores, Scorer
from logmlm.mlm.trainer import EpochReport
from logmlm.training import fit as fitting
from logmlm.training.fit import FitResult, FitTask, fit

KINDS = ("ABCD", "ABC", "BCDE", "CDE", "ABD", "HGF")


def task_of(count: int, folds: int | str = 0, rate: float = 0.1, **settings: object) -> FitTask:
    model = {"preset": "tiny", "epochs": 2, "batch_size": 8, "device": "cpu"}
    model |= {"positions": "absolute"} | settings
    return FitTask(
        corpus=Corpus.of([ids(KINDS[i * i % len(KINDS)]) for i in range(count)]),
        vocabulary_size=len(VOCABULARY),
        window_size=WINDOW_SIZE,
        windows_per_day=100.0,
        model=ModelConfig.model_validate(model),
        threshold=ThresholdConfig.model_validate({"false_alarm_rate": rate, "folds": folds}),
    )


def windows_of(task: FitTask, indices: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(task.corpus[int(i)].tolist()) for i in indices]


def scored(scorer: Scorer, windows: list[tuple[int, ...]]) -> tuple[Array, list[PositionScores]]:
    readings = scorer.score_ordered(windows)
    pairs = zip(readings, scorer.score_bag(windows), strict=True)
    return np.array(
        [window_statistics(reading.surprisals, bag) for reading, bag in pairs]
    ), readings


def check_metrics(fitted: FitResult, readings: list[PositionScores]) -> None:
    surprisals = np.concatenate([reading.surprisals for reading in readings])
    guessed = np.concatenate([reading.guessed for reading in readings])
    assert fitted.metrics["perplexity"] == pytest.approx(np.exp(surprisals.mean()), rel=1e-5)
    assert fitted.metrics["masked_accuracy"] == pytest.approx(guessed.mean())


def silent(_name: str, _epoch: EpochReport) -> None:
    pass


def test_too_few_windows_are_refused_with_their_number() -> None:
    with pytest.raises(DataError, match="19 windows are too few to train on; 20 are needed"):
        fit(task_of(19), None, silent)
    assert fit(task_of(20, epochs=1), None, silent).calibration.promise.windows == 2


def test_the_latest_part_is_held_out_and_what_is_before_it_validates() -> None:
    task = task_of(60)
    request = fitting._hold_out(task, None, 6)[0]
    assert request.job.training.tolist() == list(range(51))
    assert request.job.validation.tolist() == [51, 52, 53]
    assert request.scored.tolist() == list(range(54, 60))


def test_with_enough_windows_the_latest_part_calibrates() -> None:
    task = task_of(60)
    reports: list[tuple[str, int]] = []
    fitted = fit(task, None, lambda name, epoch: reports.append((name, epoch.epoch)))
    assert reports == [("model", 1), ("model", 2)]
    assert fitted.folds.tolist() == [-1] * 54 + [0] * 6
    job = fitting._hold_out(task, None, 6)[0].job
    model, epochs = trained(job)
    assert epochs[0].validation_loss is not None
    weights = weights_of(fitted.model)
    assert all((weights[name] == array).all() for name, array in weights_of(model).items())
    found, readings = scored(Scorer(model), windows_of(task, np.arange(54, 60)))
    expected = Calibration.fit(found, 0.1, 100.0)
    assert fitted.calibration == expected
    check_metrics(fitted, readings)


def test_a_model_that_knows_no_more_than_the_commonest_event_is_told_of() -> None:
    fitted = fit(task_of(60), None, silent)
    counts = Counter(token for i in range(60) for token in task_of(60).corpus[i].tolist())
    majority = fitted.metrics["majority_accuracy"]
    assert majority == pytest.approx(max(counts.values()) / counts.total())
    for accuracy, is_told in ((majority, True), (majority + 0.06 * (1 - majority), False)):
        metrics = fitted.metrics | {"masked_accuracy": accuracy}
        said = dataclasses.replace(fitted, metrics=metrics).warnings()
        assert any("found next to no order" in each for each in said) == is_told
        assert fitted.calibration.warning() in said


def test_cross_fitting_holds_every_window_out_once_from_a_model_that_did_not_see_it() -> None:
    task = task_of(50, folds=4)
    kept, *folds = fitting._cross_fit(task, None, 4)
    assert kept.job.training.tolist() == list(range(50))
    assert len(kept.scored) == 0
    assert sorted(np.concatenate([fold.scored for fold in folds])) == list(range(50))
    for fold in folds:
        assert len(fold.scored) in (12, 13)
        assert sorted([*fold.job.training, *fold.scored]) == list(range(50))
        assert len(fold.job.validation) == 0
        assert np.diff(fold.scored).max() > 1  # drawn from all times, and not a stretch of one
    assert [fold.name for fold in folds] == [f"fold {i} of 4" for i in range(1, 5)]


@pytest.mark.usefixtures("one_cpu")
def test_the_calibration_rests_on_the_scores_of_the_models_that_did_not_see_the_window() -> None:
    task = task_of(30, folds=3, seed=7)
    names: list[str] = []
    fitted = fit(task, None, lambda name, _: names.append(name))
    assert list(dict.fromkeys(names)) == ["model", "fold 1 of 3", "fold 2 of 3", "fold 3 of 3"]
    assert sorted(set(fitted.folds)) == [1, 2, 3]
    found, readings = np.zeros((30, len(STATISTICS))), []
    everything = np.arange(30)
    whole = fitting._cross_fit(task, None, 3)[0].job
    for fold in (1, 2, 3):
        mine = np.flatnonzero(fitted.folds == fold)
        job = dataclasses.replace(whole, training=np.setdiff1d(everything, mine))
        found[mine], some = scored(Scorer(trained(job)[0]), windows_of(task, mine))
        readings += some
    expected = Calibration.fit(found, 0.1, 100.0, 3)
    assert fitted.calibration == expected
    assert fitted.calibration.promise.folds == 3
    check_metrics(fitted, readings)
    weights = weights_of(trained(whole)[0])
    assert all((weights[n] == array).all() for n, array in weights_of(fitted.model).items())


def test_processes_side_by_side_fit_the_same_as_one(request: pytest.FixtureRequest) -> None:
    task = task_of(24, folds=2, epochs=1)
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("side by side needs two CPUs")
    reports: list[str] = []
    beside = fit(task, None, lambda name, _: reports.append(name))
    request.getfixturevalue("one_cpu")
    alone = fit(task, None, silent)
    assert sorted(reports) == ["fold 1 of 2", "fold 2 of 2", "model"]
    assert beside.calibration == alone.calibration
    assert beside.metrics == alone.metrics
    assert (beside.folds == alone.folds).all()
    weights = weights_of(alone.model)
    assert all((weights[n] == array).all() for n, array in weights_of(beside.model).items())


def test_without_patience_a_cross_fit_learns_from_every_window_that_it_does_not_score() -> None:
    for request in fitting._cross_fit(task_of(60), None, 3):
        assert request.job.validation.tolist() == []
        assert sorted([*request.job.training, *request.scored]) == list(range(60))


def test_with_patience_each_training_of_a_cross_fit_validates_on_its_latest_part() -> None:
    for request in fitting._cross_fit(task_of(60, patience=2), None, 3):
        training, validation = request.job.training.tolist(), request.job.validation.tolist()
        assert len(validation) == (3 if request.name == "model" else 2)
        assert min(validation) > max(training)
        assert sorted([*training, *validation, *request.scored]) == list(range(60))


@pytest.mark.usefixtures("one_cpu")
def test_with_patience_the_trainings_of_a_cross_fit_stop_early() -> None:
    epochs: dict[str, list[EpochReport]] = {}
    task = task_of(24, folds=2, patience=2, epochs=60, learning_rate=2e-2)
    fit(task, None, lambda name, epoch: epochs.setdefault(name, []).append(epoch))
    assert sorted(epochs) == ["fold 1 of 2", "fold 2 of 2", "model"]
    for reports in epochs.values():
        losses = [report.validation_loss or np.inf for report in reports]
        assert int(np.argmin(losses)) == len(losses) - 3 < 57


@pytest.mark.usefixtures("one_cpu")
def test_a_fit_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    task = task_of(24, folds=2)
    whole = fit(task, None, silent)
    seen: list[tuple[str, int]] = []

    def cut_off(name: str, epoch: EpochReport) -> None:
        seen.append((name, epoch.epoch))
        if seen[-1] == ("fold 1 of 2", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(task, tmp_path, cut_off)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fold-1-of-2", "model"]
    seen.clear()
    again = fit(task, tmp_path, lambda name, epoch: seen.append((name, epoch.epoch)))
    assert seen[-3:] == [("fold 1 of 2", 2), ("fold 2 of 2", 1), ("fold 2 of 2", 2)]
    assert "model" not in {name for name, _ in seen}  # it was done
    assert again.calibration == whole.calibration
    weights = weights_of(whole.model)
    assert all((weights[n] == array).all() for n, array in weights_of(again.model).items())


def test_what_was_trained_for_another_task_is_not_gone_on_with() -> None:
    task = task_of(20)
    others = [
        task_of(21),
        task_of(20, seed=1),
        task_of(20, epochs=3),
        task_of(20, folds=3),
        task_of(20, rate=0.2),
        dataclasses.replace(task, window_size=9),
        dataclasses.replace(task, vocabulary_size=99),
    ]
    assert task.identity() == task_of(20).identity()
    assert len({task.identity(), *(other.identity() for other in others)}) == 8


def test_the_asked_rate_is_given_or_follows_from_the_alerts_a_day() -> None:
    task = task_of(20, rate=0.01)
    assert (task.rate, task.alerts_per_day) == (0.01, None)
    per_day = dataclasses.replace(task, threshold=ThresholdConfig(alerts_per_day=2.0))
    assert (per_day.rate, per_day.alerts_per_day) == (0.02, 2.0)
    by_itself = dataclasses.replace(task, threshold=ThresholdConfig())
    assert (by_itself.rate, by_itself.alerts_per_day) == (0.01, 1.0)
    few = dataclasses.replace(by_itself, windows_per_day=1.2)
    assert few.rate == 0.5


@pytest.mark.usefixtures("one_cpu")
def test_windows_that_are_all_alike_can_be_learned() -> None:
    alike = dataclasses.replace(task_of(40, folds="auto"), corpus=Corpus.of([ids("ABC")] * 40))
    fitted = fit(alike, None, silent)
    assert fitted.calibration.promise.folds == 4
    found, _ = scored(Scorer(fitted.model), [ids("ABC")])
    values, p_values = fitted.calibration.values(found)
    assert np.isfinite(values).all()
    assert 0 < p_values[0] <= 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "bert"),
        ({"has_beginnings": False}, "roformer"),
        ({"corpus": Corpus.of([ids("ABCD" * 20)] * 30)}, "roformer"),
        ({"model": ModelConfig(epochs=1, positions="rotary", device="cpu")}, "roformer"),
    ],
)
def test_short_sessions_have_places_and_other_windows_distances(
    change: dict[str, object], expected: str
) -> None:
    task = dataclasses.replace(task_of(30, epochs=1, positions="auto"), window_size=81, **change)
    assert fit(task, None, lambda *_: None).model.config.model_type == expected
