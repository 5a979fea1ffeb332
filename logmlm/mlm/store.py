"""Model and tokenizer as Hugging Face files: `from_pretrained` opens them as they are."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from transformers import AutoModelForMaskedLM, BertForMaskedLM
from transformers.utils import logging

from logmlm.errors import ModelError, StorageError
from logmlm.mlm.model import resolve_device
from logmlm.mlm.tokenizer import Vocabulary, load_vocabulary, save_tokenizer


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
            directory,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,  # or transformers asks standard input, which may be a log
            output_loading_info=True,
        )
        vocabulary = load_vocabulary(directory)
        _check(model, found["missing_keys"], vocabulary)
    except Exception as error:  # transformers raises what it meets in a damaged file
        reason = str(error).splitlines()[0]
        raise ModelError(f"can't open the model in {directory}: {reason}") from error
    return model.to(place).eval(), vocabulary


def _check(model: BertForMaskedLM, missing: Collection[str], vocabulary: Vocabulary) -> None:
    if missing:  # transformers would draw them at random
        raise ValueError(f"the weights {', '.join(sorted(missing))} are missing")
    if model.config.vocab_size != len(vocabulary):
        raise ValueError(
            f"the model has {model.config.vocab_size} words and the tokenizer {len(vocabulary)}"
        )
