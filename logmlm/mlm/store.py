"""Model and tokenizer as Hugging Face files: `from_pretrained` opens them as they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import deepcopy
from pathlib import Path

from safetensors.numpy import load_file, save_file
from transformers import AutoModelForMaskedLM, BertForMaskedLM
from transformers.utils import logging

from logmlm.errors import ModelError, StorageError
from logmlm.mlm.model import resolve_device, set_weights, weights_of
from logmlm.mlm.tokenizer import Vocabulary, load_vocabulary, save_tokenizer

MEMBER_FILE = "fold-{}.safetensors"


def save_model(model: BertForMaskedLM, vocabulary: Vocabulary, directory: Path) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer's files.

    Raises:
        StorageError: they can't be written.

    """
    logging.disable_progress_bar()
    try:
        model.to("cpu").save_pretrained(directory)
        save_tokenizer(vocabulary, directory)
        mode = (directory / "config.json").stat().st_mode
        (directory / "model.safetensors").chmod(mode)  # safetensors lets only the owner read
    except Exception as error:  # safetensors and tokenizers say so in types of their own
        raise StorageError(f"can't write the model to {directory}: {error}") from error


def load_model(directory: Path, device: str) -> tuple[BertForMaskedLM, Vocabulary]:
    """The model, in evaluation mode on `device`, and its vocabulary.

    Raises:
        ModelError: the files can't be read.
        UsageError: this machine has no such device.

    """
    place = resolve_device(device)
    logging.disable_progress_bar()
    try:
        model, found = AutoModelForMaskedLM.from_pretrained(
            directory, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        vocabulary = load_vocabulary(directory)
        _check(model, found["missing_keys"], vocabulary)
    except Exception as error:  # transformers raises what it meets in a damaged file
        reason = str(error).splitlines()[0]
        raise ModelError(f"can't open the model in {directory}: {reason}") from error
    return model.to(place).eval(), vocabulary


def save_members(models: Sequence[BertForMaskedLM], directory: Path) -> None:
    """Write the weights of further models of the same form, `fold-1.safetensors` and on.

    Raises:
        StorageError: they can't be written.

    """
    for number, model in enumerate(models, start=1):
        try:
            save_file(weights_of(model), directory / MEMBER_FILE.format(number))
        except Exception as error:  # safetensors says so in a type of its own
            raise StorageError(f"can't write the model to {directory}: {error}") from error


def load_members(model: BertForMaskedLM, directory: Path, count: int) -> list[BertForMaskedLM]:
    """The `count` models that `save_members` wrote, of the form and on the device of `model`.

    Raises:
        ModelError: the files can't be read.

    """
    members = []
    for number in range(1, count + 1):
        path = directory / MEMBER_FILE.format(number)
        member = deepcopy(model)
        try:
            set_weights(member, load_file(path))
        except Exception as error:  # safetensors and torch raise what they meet in a damaged file
            reason = str(error).splitlines()[0]
            raise ModelError(f"can't open the model in {path}: {reason}") from error
        members.append(member)
    return members


def _check(model: BertForMaskedLM, missing: Collection[str], vocabulary: Vocabulary) -> None:
    if missing:  # transformers would draw them at random
        raise ValueError(f"the weights {', '.join(sorted(missing))} are missing")
    if model.config.vocab_size != len(vocabulary):
        raise ValueError(
            f"the model has {model.config.vocab_size} words and the tokenizer {len(vocabulary)}"
        )
