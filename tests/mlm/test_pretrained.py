"""Model and tokenizer as Hugging Face files."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from logmlm.errors import ModelError, StorageError, UsageError
from logmlm.mlm.model import build_model, weights_of
from logmlm.mlm.pretrained import load_model, save_model
from logmlm.mlm.tokenizer import Vocabulary, save_tokenizer

VOCABULARY = Vocabulary.build(dict.fromkeys("abcdef", 9), 1)
A_WEIGHT = "roformer.encoder.layer.0.attention.self.query.weight"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("model") / "saved"
    save_model(build_model("tiny", len(VOCABULARY), 8, 1), VOCABULARY, directory)
    return directory


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_a_saved_model_reads_back_with_its_words(saved: Path) -> None:
    model, vocabulary = load_model(saved, "cpu")
    expected = weights_of(build_model("tiny", len(VOCABULARY), 8, 1))
    found = model.state_dict()
    kept = {name for name in expected if "decoder" not in name}  # those are tied to others
    assert kept == found.keys() - {"cls.words"}
    assert all((found[name].numpy() == expected[name]).all() for name in kept)
    assert vocabulary == VOCABULARY
    assert not model.training


def test_what_is_saved_is_json_and_safetensors_that_all_may_read(saved: Path) -> None:
    names = {path.name for path in saved.iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert load_file(saved / "model.safetensors")
    assert {path.suffix for path in saved.iterdir()} == {".json", ".safetensors"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in saved.iterdir()}
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {0o666 & ~umask}


def test_a_device_that_is_not_there_is_an_error_of_use(saved: Path) -> None:
    with pytest.raises(UsageError, match="device 'abacus'"):
        load_model(saved, "abacus")


def _without_a_weight(directory: Path) -> None:
    tensors = load_file(directory / "model.safetensors")
    tensors.pop(A_WEIGHT)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def _other_sizes(directory: Path) -> None:
    save_model(build_model("tiny", len(VOCABULARY) + 3, 8, 1), VOCABULARY, directory / "other")
    shutil.copy(directory / "other" / "model.safetensors", directory)


def _other_words(directory: Path) -> None:
    save_tokenizer(Vocabulary.build(dict.fromkeys("abcdefgh", 9), 1), directory)


def _pickled(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    model = build_model("tiny", len(VOCABULARY), 8, 1)
    torch.save(model.state_dict(), directory / "pytorch_model.bin")


def _other_kind(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without_a_weight, f"the weights {A_WEIGHT} are missing"),
        (_other_sizes, ""),
        (_other_words, "the model has 13 words and the tokenizer 15"),
        (_pickled, "No such file or directory"),
        (_other_kind, "config.json is of no bert or roformer model"),
        (shutil.rmtree, ""),
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(
    copy: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(copy)
    with pytest.raises(ModelError) as caught:
        load_model(copy, "cpu")
    assert str(caught.value).startswith(f"can't open the model in {copy}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe{", b"[]", b"{}", b'{"a": 1', "half"])
def test_a_damaged_file_is_a_sentence_and_no_traceback(
    copy: Path, name: str, content: bytes | str | None
) -> None:
    whole = (copy / name).read_bytes()
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(
            content if isinstance(content, bytes) else whole[: len(whole) // 2]
        )
    with pytest.raises(ModelError, match="can't open the model in"):
        load_model(copy, "cpu")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many KiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()

    def mounted(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting a small file system needs root: {done.stderr.decode()}")
        return place

    yield mounted
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", [4, 296, 300])
def test_a_full_disk_is_an_error_whichever_file_it_meets(
    small_disk: Callable[[int], Path], size: int
) -> None:
    place = small_disk(size)
    with pytest.raises(StorageError, match=f"can't write the model to {place}"):
        save_model(build_model("tiny", len(VOCABULARY), 8, 1), VOCABULARY, place)


def test_a_file_in_the_directorys_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't write the model to"):
        save_model(build_model("tiny", len(VOCABULARY), 8, 1), VOCABULARY, tmp_path / "file")
