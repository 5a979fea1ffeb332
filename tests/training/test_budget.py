"""A training's budget: epochs follow from data and time, and are the same when repeated."""

import pytest
from offline_parts import KEY, service_log, write_log
from pydantic import ValidationError

from logmlm.config.training import ModelConfig, ThresholdConfig, TrainingConfig
from logmlm.detection.manifest import Manifest
from logmlm.errors import UsageError
from logmlm.mlm.corpus import Corpus
from logmlm.sources.archive.reader import read_lines
from logmlm.training.budget import EPOCHS, PLAN_FILE, budget_of, make_plan, with_budget
from logmlm.training.fit import FitTask
from logmlm.training.options import training_config
from logmlm.training.train import Reporter, train


def task_of(count=200, **model):
    windows = [[3 + (i + k) % 7 for k in range(3 + i % 9)] for i in range(count)]
    return FitTask(
        corpus=Corpus.of(windows),
        vocabulary_size=16,
        window_size=16,
        windows_per_day=1_000.0,
        model=ModelConfig(device="cpu", **model),
        threshold=ThresholdConfig(false_alarm_rate=0.01),
    )


@pytest.mark.parametrize(
    ("model", "budget_s"),
    [
        ({}, 300.0),
        ({"budget": "90s"}, 90.0),
        ({"budget": "none"}, None),
        ({"epochs": 3}, None),
        ({"epochs": 3, "budget": "none"}, None),
    ],
)
def test_a_budget_is_five_minutes_unless_epochs_or_another_one_are_given(model, budget_s):
    assert budget_of(ModelConfig(device="cpu", **model)) == budget_s


def test_several_processes_have_no_budget_unless_one_is_given(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert budget_of(ModelConfig(device="cpu")) is None
    assert budget_of(ModelConfig(device="cpu", budget="1m")) == 60.0


def test_epochs_and_a_budget_are_not_given_at_once():
    with pytest.raises(ValidationError, match="not both"):
        ModelConfig(epochs=3, budget="5m")


def test_a_plan_is_cut_to_few_steps_where_time_is_short():
    task = task_of()
    ample, short = make_plan(task, 1e6), make_plan(task, 1e-6)
    assert not ample.is_cut
    assert (short.is_cut, short.epochs) == (True, EPOCHS[0])
    half = make_plan(task, ample.seconds / 3)
    assert half.is_cut
    assert half.epochs in EPOCHS
    assert half.epochs < ample.epochs


def test_a_plan_that_was_made_is_kept(tmp_path):
    said = []
    first = with_budget(task_of(budget="1ms"), tmp_path, said.append)
    (tmp_path / PLAN_FILE).write_text(
        (tmp_path / PLAN_FILE).read_text().replace("1,", "17,", 1), encoding="utf-8"
    )
    again = with_budget(task_of(budget="1ms"), tmp_path, said.append)
    other = with_budget(task_of(201, budget="1ms"), tmp_path, said.append)
    assert (first.model.epochs, again.model.epochs, other.model.epochs) == (1, 17, 1)
    assert "--epochs" in said[0]


def test_where_there_is_time_enough_nothing_is_changed(tmp_path):
    said = []
    task = task_of(60, budget="1h")
    assert with_budget(task, tmp_path, said.append) == task
    assert "5 models of" in said[0]


def test_a_budget_holds_for_all_folds_and_its_epochs_repeat_the_weights(tmp_path):
    log = write_log(tmp_path / "a.log", service_log(60))
    settings = {
        "logs": str(log),
        "window": {"kind": "session", "key": KEY, "gap": "30s"},
        "threshold": {"false_alarm_rate": 0.001, "folds": 2},
    }

    def trained(name, **model):
        config = TrainingConfig.model_validate(settings | {"out": tmp_path / name, "model": model})
        train(config, read_lines(config.logs, 0.0), Reporter(lambda _: None, lambda *_: None))
        return Manifest.read(tmp_path / name)

    cut = trained("m", budget="1s")
    assert cut.model.epochs in EPOCHS
    again = trained("n", epochs=cut.model.epochs)
    assert again.files["model.safetensors"] == cut.files["model.safetensors"]


def test_a_budget_that_is_no_duration_is_told_in_our_words(tmp_path):
    with pytest.raises(UsageError, match=r"^--budget should be 'auto' or 'none' or '5x' is no dur"):
        training_config(["a.log"], tmp_path / "m", None, {"budget": "5x"})
