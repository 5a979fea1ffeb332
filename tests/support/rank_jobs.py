"""A small training that several processes share."""

from __future__ import annotations

from mlm_parts import corpus_of, job_of

from logmlm.mlm.trainer import TrainingJob

TEXTS = ("ABCD", "ABC", "BCDE", "ABCDE", "CDE", "AB", "ABD", "HGF", "ABCDH", "FABC", "HH")


def job(epochs: int, batch_size: int) -> TrainingJob:
    """Nine windows to train on: of some batch a process has none, where two make one."""
    corpus = corpus_of(*TEXTS)
    return job_of(corpus, validation=2, epochs=epochs, batch_size=batch_size, learning_rate=3e-3)
