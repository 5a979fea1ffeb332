"""A tiny language of logs, and models trained on it, for the tests of the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from logmlm.config.training import ModelConfig
from logmlm.mlm.checkpoint import TrainingCheckpoint
from logmlm.mlm.corpus import Corpus
from logmlm.mlm.forward import TrainableModel
from logmlm.mlm.tokenizer import END, MASK, PAD, SEP, Vocabulary
from logmlm.mlm.trainer import EpochReport, TrainingJob, train_model

WORDS = tuple("ABCDEFGH")
VOCABULARY = Vocabulary.build({word: 99 - i for i, word in enumerate(WORDS)}, 1)
WINDOW_SIZE = 8


def ids(text: str, end: bool = True) -> tuple[int, ...]:
    """Token ids of words written together, with the end token."""
    index = VOCABULARY.index()
    return (*(index[word] for word in text), *([END] * end))


def corpus_of(*texts: str) -> Corpus:
    return Corpus.of([ids(text) for text in texts])


def job_of(corpus: Corpus, validation: int = 0, **settings: object) -> TrainingJob:
    """A job whose last `validation` windows are validated on."""
    everything = np.arange(len(corpus))
    split = len(corpus) - validation
    config = {"preset": "tiny", "epochs": 2, "batch_size": 4, "device": "cpu"} | settings
    return TrainingJob(
        corpus=corpus,
        training=everything[:split],
        validation=everything[split:],
        vocabulary_size=len(VOCABULARY),
        window_size=WINDOW_SIZE,
        config=ModelConfig.model_validate(config),
    )


def trained(
    job: TrainingJob, directory: Path | None = None, identity: str = "one"
) -> tuple[TrainableModel, list[EpochReport]]:
    reports: list[EpochReport] = []
    model = train_model(job, TrainingCheckpoint(directory, identity), reports.append)
    return model, reports


def cyclic_model() -> TrainableModel:
    """Knows one language: the alphabet in its order, from any letter on, and then the end."""
    texts = ["ABCDEFGH"[a : a + n] for a in range(5) for n in (3, 4, 5) if a + n <= len(WORDS)]
    corpus = corpus_of(*texts, *["ABCDEF"] * 100)
    return trained(job_of(corpus, epochs=250, batch_size=8, learning_rate=3e-3))[0]


def padded(rows: list[list[int]], first: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[first, *row, SEP, *[PAD] * (longest - len(row))] for row in rows])


MODELS = st.sampled_from([("tiny", "rotary"), ("base", "rotary"), ("tiny", "absolute")])
"""Preset and positions of a model."""


def theirs_at(
    model: Any, tokens: torch.Tensor, positions: torch.Tensor, **more: torch.Tensor
) -> torch.Tensor:
    """Return transformers' logits [L, V] of one window [1, L] at position ids [1, L]."""
    if model.config.model_type == "bert":
        absolute: torch.Tensor = model(tokens, position_ids=positions, **more).logits[0]
        return absolute
    # RoFormer takes no position ids: each layer is handed the angles of these instead.
    angles = model.roformer.encoder.embed_positions.weight[positions][:, None]
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: (*given[:2], angles, *given[3:]))
        for layer in model.roformer.encoder.layer
    ]
    logits: torch.Tensor = model(tokens, **more).logits[0]
    for hook in hooks:
        hook.remove()
    return logits


def bag_positions(model: Any, bag: Sequence[int]) -> torch.Tensor:
    """Return the position ids [1, L] of a bag: how often each token stood before; a mask's is 0."""
    first = model.config.max_position_embeddings // 2 if model.config.model_type == "bert" else 0
    repeats = [0 if word == MASK else bag[:i].count(word) for i, word in enumerate(bag)]
    return torch.tensor([[first + repeat for repeat in repeats]])
