"""Model and tokenizer as Hugging Face files, which `from_pretrained` can open.

Loading here does without transformers, which takes seconds to import; see `encoder.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import load

from logmlm.errors import ModelError, StorageError
from logmlm.mlm.encoder import EncoderDimensions, InferenceEncoder
from logmlm.mlm.forward import TrainableModel
from logmlm.mlm.model import resolve_device
from logmlm.mlm.tokenizer import Vocabulary, load_vocabulary, save_tokenizer


def save_model(model: TrainableModel, vocabulary: Vocabulary, directory: Path) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer files.

    Raises:
        StorageError: the files can't be written.

    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model.to("cpu").save_pretrained(directory)
        save_tokenizer(vocabulary, directory)
        mode = (directory / "config.json").stat().st_mode
        (directory / "model.safetensors").chmod(mode)  # safetensors lets only the owner read
    except Exception as error:  # safetensors and tokenizers say so in types of their own
        raise StorageError(f"can't write the model to {directory}: {error}") from error


def load_model(directory: Path, device: str) -> tuple[InferenceEncoder, Vocabulary]:
    """Load the model, in evaluation mode on `device`, and its vocabulary.

    Raises:
        ModelError: the files can't be read.
        UsageError: this machine has no such device.

    """
    place = resolve_device(device)
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        # Read a copy: with a memory map, a file that is replaced or truncated would change the
        # weights or end the process by SIGBUS.
        weights = (directory / "model.safetensors").read_bytes()
        model = InferenceEncoder(EncoderDimensions.of(config), load(weights))
        vocabulary = load_vocabulary(directory)
        if model.config.vocab_size != len(vocabulary):
            raise ValueError(
                f"the model has {model.config.vocab_size} words and the tokenizer {len(vocabulary)}"
            )
    except Exception as error:  # safetensors and tokenizers say so in types of their own
        reason = str(error).splitlines()[0]
        raise ModelError(f"can't open the model in {directory}: {reason}") from error
    return model.to(place).eval(), vocabulary
