"""Files from a place that is not trusted run no code, whatever they hold."""

import io
import json
import os
import pickle
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pytest

from logmlm.config.loader import read_config
from logmlm.detection.model_dir import TrainingWindows
from logmlm.errors import ConfigError, ModelError
from logmlm.mlm.model import build_model
from logmlm.mlm.pretrained import load_model, save_model
from logmlm.mlm.tokenizer import Vocabulary

VOCABULARY = Vocabulary.build(dict.fromkeys("abcdef", 9), 1)


class Trap:
    """What makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "model"
    save_model(build_model("tiny", len(VOCABULARY), 8, 1), VOCABULARY, directory)
    return directory


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "was-run"


def test_the_trap_works(mark):
    pickle.loads(pickle.dumps(Trap(mark)))  # noqa: S301  the trap's own bytes
    assert mark.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors", "tokenizer.json"])
def test_a_pickle_in_the_place_of_a_models_file_is_not_opened(model, mark, name):
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ModelError, match="can't open the model"):
        load_model(model, "cpu")
    assert not mark.exists()


def with_code(model, mark, name, **more):
    """Let one of a model's files name code that lies beside it."""
    code = f"import os\nos.mkdir({str(mark)!r})\nclass Evil: pass\n"
    (model / "evil.py").write_text(code)
    kinds = dict.fromkeys(("AutoConfig", "AutoModelForMaskedLM"), "evil.Evil")
    kinds["AutoTokenizer"] = ["evil.Evil", "evil.Evil"]
    config = json.loads((model / name).read_text())
    (model / name).write_text(json.dumps(config | {"auto_map": kinds} | more))


@pytest.fixture
def says_yes(monkeypatch):
    """Somebody, or a log, who says yes to whatever is asked."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))


@pytest.mark.usefixtures("says_yes")
@pytest.mark.parametrize("kind", ["roformer", "evil"])
def test_code_that_a_models_config_names_is_not_run_nor_asked_about(model, mark, kind, capfd):
    with_code(model, mark, "config.json", model_type=kind)
    with (
        nullcontext()
        if kind == "roformer"
        else pytest.raises(ModelError, match="no bert or roformer")
    ):
        load_model(model, "cpu")
    assert not mark.exists()
    assert "[y/N]" not in "".join(capfd.readouterr())


@pytest.mark.usefixtures("says_yes")
@pytest.mark.parametrize("kind", ["TokenizersBackend", "Evil"])
def test_code_that_a_tokenizers_config_names_is_not_run(model, mark, kind, capfd):
    with_code(model, mark, "tokenizer_config.json", tokenizer_class=kind)
    with suppress(ModelError):
        load_model(model, "cpu")
    assert not mark.exists()
    assert "[y/N]" not in "".join(capfd.readouterr())


def test_a_pickle_among_the_training_windows_is_not_opened(tmp_path, mark):
    TrainingWindows((("a", "b"),), (0,)).save(tmp_path)
    with np.load(tmp_path / "windows.npz") as arrays:
        parts = dict(arrays)
    parts["vocabulary"] = np.array([Trap(mark)], dtype=object)
    np.savez(tmp_path / "windows.npz", **parts)
    with pytest.raises(ModelError, match=r"can't read .*windows\.npz"):
        TrainingWindows.read(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir [{mark}]",
        "!!python/object/new:os.mkdir [{mark}]",
        "!!python/name:os.mkdir ''",
        "!!python/object/apply:os.mkdir {{args: [{mark}]}}",
    ],
)
@pytest.mark.parametrize("key", ["out", "logs", "labels", "name"])
def test_a_config_that_asks_for_python_objects_runs_nothing(tmp_path, mark, key, value):
    path: Path = tmp_path / "c.yaml"
    keys = {"logs": "a.log", "out": "m", key: value.format(mark=mark)}
    path.write_text("".join(f"{name}: {each}\n" for name, each in keys.items()))
    with suppress(ConfigError):
        read_config(path, {})
    assert not mark.exists()
