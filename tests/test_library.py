"""The library: what is public, how light it is, and that it says what the command line says."""

import ast
import doctest
import importlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from offline_parts import KEY, ODD_SESSIONS, logmlm, service_log, write_log

import logmlm as library
from logmlm.detection import detector as detector_module
from logmlm.detection.score_files import window_object
from logmlm.errors import UsageError
from logmlm.training import library as training_module

ODD_KEYS = [f"req-{5000 + i}" for i in ODD_SESSIONS]
README = (Path(__file__).parents[1] / "README.md").read_text()
PUBLIC = [
    *("Alert", "Detector", "Event", "Expectation", "LogLine", "Score", "Window"),
    *("__version__", "errors", "load", "train"),
]


@pytest.fixture(scope="module")
def opened(trained):
    return library.load(trained.model, device="cpu")


@pytest.fixture(scope="module")
def scores(opened, trained):
    return list(opened.score_files([trained.odd_log]))


@pytest.fixture(scope="module")
def lines(trained):
    return trained.odd_log.read_text().splitlines(keepends=True)


def test_these_names_are_public_and_all_are_there():
    assert library.__all__ == PUBLIC
    assert [name for name in PUBLIC if not hasattr(library, name)] == []
    assert set(PUBLIC) <= set(dir(library))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        library.nothing  # noqa: B018  asking is what fails


def test_type_checkers_are_told_of_the_same_names():
    module = ast.parse(Path(library.__file__).read_text())
    block = next(each for each in module.body if isinstance(each, ast.If))
    imports = [each for each in block.body if isinstance(each, ast.ImportFrom)]
    told = {alias.name: each.module for each in imports for alias in each.names}
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    assert sorted({*told, "__version__"}) == PUBLIC
    for name, where in told.items():
        found = getattr(importlib.import_module(where), name)
        assert found is getattr(library, name)


def test_importing_the_package_imports_nothing_heavy():
    heavy = ("torch", "kafka", "pydantic", "numpy", "sklearn", "pandas", "transformers", "click")
    code = f"import sys, logmlm; print([each for each in {heavy} if each in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_files_are_scored_as_by_the_command_line(trained, scores):
    told = logmlm("score", trained.model, trained.odd_log, "--device", "cpu").out.splitlines()
    found = [window_object(each, "") | {"window": ""} for each in scores]
    assert found == [json.loads(line) | {"window": ""} for line in told]
    assert [each.window.key for each in scores if each.is_anomaly] == ODD_KEYS


def test_one_path_will_do(opened, trained, scores):
    assert [each.value for each in opened.score_files(str(trained.odd_log))] == [
        each.value for each in scores
    ]


def test_a_stream_gives_the_scores_of_the_file(opened, lines, scores):
    stream = opened.stream()
    streamed = [score for line in lines for score in stream.feed(line)]
    assert streamed  # before the end
    streamed += stream.flush()
    assert stream.flush() == []
    assert [each.window.key for each in streamed] == [each.window.key for each in scores]
    assert [each.value for each in streamed] == pytest.approx([each.value for each in scores])
    assert _places(streamed) == _places(scores)


def _places(scores):
    return [
        [(event.line.text, event.line.start, event.line.number) for event in each.window.events]
        for each in scores
    ]


def test_a_detector_decides_window_by_window(opened, lines, scores):
    values = opened.decision_function(lines)
    assert values.shape == (len(scores),)
    assert values.tolist() == pytest.approx([each.value for each in scores])
    told = opened.predict([line.rstrip("\n") for line in lines])
    assert told.dtype == np.int64
    assert told.tolist() == [int(each.is_anomaly) for each in scores]


def test_explanations_mark_what_is_odd(opened, scores):
    odd = next(each for each in scores if each.is_anomaly)
    found = opened.explain(odd)
    assert [item.index for item in found] == list(range(len(odd.surprisals)))
    assert any(item.odd for item in found)


def test_training_refuses_what_is_no_option_and_what_has_no_meaning(trained, tmp_path):
    with pytest.raises(TypeError, match="no option 'presets'"):
        library.train([trained.log], tmp_path / "model", presets="tiny")
    with pytest.raises(UsageError, match="--gap says nothing of count windows"):
        library.train(trained.log, tmp_path / "model", gap="30s")


@pytest.fixture
def at_home(trained, tmp_path, monkeypatch):
    """A folder as the examples have it."""
    monkeypatch.chdir(tmp_path)
    write_log(Path("app.log"), service_log(sessions=160))
    shutil.copy(trained.odd_log, "today.log")
    shutil.copytree(trained.model, "models/app")


def _examples(module):
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return [each for each in found if each.examples]


@pytest.mark.parametrize(
    "example",
    [*_examples(detector_module), *_examples(training_module)],
    ids=lambda each: each.name,
)
@pytest.mark.usefixtures("at_home", "one_cpu")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_the_examples_of_the_docstrings_work(example):
    said = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert said == []


@pytest.mark.usefixtures("at_home")
def test_the_example_of_the_readme_works(lines, monkeypatch, capsys):
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (code,) = [code for code in examples if "logmlm.load" in code]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(lines)))
    exec(compile(code, "README.md", "exec"), {})  # noqa: S102  ours
    assert len(capsys.readouterr().out.splitlines()) > len(ODD_KEYS)


@pytest.mark.usefixtures("at_home", "one_cpu")
def test_options_win_over_a_config():
    Path("app.yaml").write_text(
        f"logs: [nowhere.log]\nout: nowhere\nwindow: {{kind: session, key: '{KEY}', gap: 20s}}\n"
        "model: {epochs: 1}\nthreshold: {folds: 0}\n"
    )
    made = library.train("app.log", "models/new", config="app.yaml", gap=30, name="shop")
    assert (made.manifest.name, made.manifest.window.gap) == ("shop", 30.0)
    assert made.manifest.window.key == KEY
    assert Path("models/new/manifest.json").exists()
