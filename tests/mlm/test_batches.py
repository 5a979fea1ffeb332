"""Batches: each draw once, packed by length, masked; whole or in parts."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.mlm.batches import SORTED_BATCHES, Batch, EpochBatches, RankSlice, largest_batch
from logmlm.mlm.corpus import Corpus, EpochSample
from logmlm.mlm.tokenizer import BAG, CLS, END, PAD, SEP

VOCABULARY = 30
CPU = torch.device("cpu")
WHOLE = RankSlice()


def epoch(
    corpus: Corpus,
    draws: EpochSample,
    batch_size: int,
    seed: int = 0,
    vocabulary: int = VOCABULARY,
    part: RankSlice = WHOLE,
) -> list[Batch]:
    return list(EpochBatches(corpus, batch_size, vocabulary, CPU).batches(draws, seed, 0, part))


def every(corpus: Corpus) -> EpochSample:
    return EpochSample.of(corpus, np.arange(len(corpus)))


def whole(batch: Batch) -> torch.Tensor:
    """What the batch's windows held before anything was hidden, [B, L]."""
    return batch.inputs.flatten().index_copy(0, batch.places, batch.truth).view_as(batch.inputs)


def rows(batch: Batch) -> list[list[int]]:
    """Its windows without their frames."""
    frame = (PAD, CLS, BAG, SEP)
    return [[token for token in row if token not in frame] for row in whole(batch).tolist()]


def row_weights(batch: Batch) -> list[float]:
    """Each window's weight, which stands at each of its hidden places."""
    of_row = {}
    for place, weight in zip(batch.places.tolist(), batch.weights.tolist(), strict=True):
        assert of_row.setdefault(place // batch.inputs.shape[1], weight) == weight
    assert sorted(of_row) == list(range(len(batch.inputs)))
    return [of_row[row] for row in sorted(of_row)]


def test_no_windows_make_no_draws() -> None:
    draws = EpochSample.of(Corpus.of([[7]]), np.empty(0, dtype=np.int64))
    assert len(draws) == 0
    assert epoch(Corpus.of([[7]]), draws, 4) == []


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 5), st.booleans()), min_size=1, max_size=20
    ),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_every_draw_is_trained_on_once_the_last_partial_batch_too(
    kinds: list[tuple[int, int, bool]], batch_size: int, seed: int
) -> None:
    """Each kind of window (length, copies, complete) has a word of its own, which tells it."""
    windows = [
        [END + 1 + kind] * length + [END] * complete
        for kind, (length, copies, complete) in enumerate(kinds)
        for _ in range(copies)
    ]
    corpus = Corpus.of(windows)
    draws = every(corpus)
    found = epoch(corpus, draws, batch_size, seed)
    expected = Counter(int(corpus[int(i)][0]) for i in draws.windows)
    assert Counter(row[0] for batch in found for row in rows(batch)) == expected
    assert len(found) == -(-len(draws) // batch_size)
    assert all(len(batch.inputs) <= largest_batch(batch_size) for batch in found)
    assert sum(batch.events for batch in found) == corpus.lengths[draws.windows].sum()
    assert sum(sum(row_weights(b)) for b in found) == pytest.approx(len(windows), rel=1e-5)


def test_the_longest_windows_are_never_dropped() -> None:
    windows = [[7 + i % 20] * (1 + i // 10) for i in range(99)]  # 10 a batch, one short
    corpus = Corpus.of(windows)
    words = {row[0] for batch in epoch(corpus, every(corpus), 10) for row in rows(batch)}
    assert words == {window[0] for window in windows}
    longest = max(len(row) for b in epoch(corpus, every(corpus), 10) for row in rows(b))
    assert longest == 10


def test_each_row_keeps_its_own_weight() -> None:
    corpus = Corpus.of([[7 + i] * (1 + i % 3) for i in range(20) for _ in range(1 + i % 4)])
    draws = every(corpus)
    weights = {corpus[int(i)][0]: w for i, w in zip(draws.windows, draws.weights, strict=True)}
    for batch in epoch(corpus, draws, 4):
        for row, weight in zip(rows(batch), row_weights(batch), strict=True):
            assert weights[row[0]] == weight


def test_batches_of_like_length_come_in_random_order_with_fresh_masks() -> None:
    corpus = Corpus.of([[7 + i % 20] * (1 + i % 8) + [END] for i in range(160)])
    draws = every(corpus)
    first, second = epoch(corpus, draws, 8, seed=1), epoch(corpus, draws, 8, seed=2)
    lengths = [batch.inputs.shape[1] for batch in first]
    assert lengths != sorted(lengths)
    padding = sum(int((batch.inputs == PAD).sum()) for batch in first)
    assert padding < 0.03 * sum(batch.inputs.numel() for batch in first)
    assert [b.places.tolist() for b in first] != [b.places.tolist() for b in second]


def test_the_same_seed_gives_the_same_epoch() -> None:
    corpus = Corpus.of([[7 + i % 5, 8, 9] for i in range(30)])
    first, second = epoch(corpus, every(corpus), 4), epoch(corpus, every(corpus), 4)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.places, b.places)


def test_corpora_larger_than_one_sorted_span_lose_nothing() -> None:
    count = 2 * SORTED_BATCHES * 2 + 3
    corpus = Corpus.of([[7 + i] for i in range(count)])
    found = epoch(corpus, every(corpus), 2, vocabulary=7 + count)
    tokens = sorted(token for batch in found for row in rows(batch) for token in row)
    assert tokens == list(range(7, 7 + count))


def test_padding_is_said_where_it_is_and_nowhere_else() -> None:
    corpus = Corpus.of([[7 + i % 20] * (1 + i // 7) for i in range(60)])
    found = epoch(corpus, every(corpus), 8)
    assert {batch.padded for batch in found} == {True, False}
    assert all(batch.padded == bool((batch.inputs == PAD).any()) for batch in found)


def test_total_is_the_weight_of_all_hidden_places() -> None:
    corpus = Corpus.of([[7 + i] * (1 + i % 3) for i in range(20) for _ in range(1 + i % 4)])
    for batch in epoch(corpus, every(corpus), 4):
        assert batch.total == pytest.approx(float(batch.weights.sum()), rel=1e-6)
        assert (batch.truth >= 1).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(2, 4), st.integers(0, 99))
def test_parts_together_are_the_whole_batch_with_the_same_masks(
    windows: int, batch_size: int, count: int, seed: int
) -> None:
    corpus = Corpus.of([[7 + i % 20] * (1 + i % 8) + [END] * (i % 2) for i in range(windows)])
    draws = every(corpus)
    one = epoch(corpus, draws, batch_size, seed)
    many = [
        epoch(corpus, draws, batch_size, seed, part=RankSlice(rank, count)) for rank in range(count)
    ]
    assert all(len(part) == len(one) for part in many)
    for whole_batch, *parts in zip(one, *many, strict=True):
        assert {part.total for part in parts} == {whole_batch.total}
        assert {part.events for part in parts} == {whole_batch.events}
        assert sum(float(part.weights.sum()) for part in parts) == pytest.approx(whole_batch.total)
        shown = Counter(tuple(_shown(row)) for row in whole_batch.inputs.tolist())
        parted = Counter(
            tuple(_shown(row))
            for rank, part in enumerate(parts)
            for row in part.inputs.tolist()
            if rank < len(whole_batch.inputs)
        )
        assert parted == shown
        for rank, part in enumerate(parts):
            assert len(part.inputs) == max(1, -(-(len(whole_batch.inputs) - rank) // count))
            assert (float(part.weights.sum()) > 0) == (rank < len(whole_batch.inputs))


def _shown(row: list[int]) -> list[int]:
    return [token for token in row if token != PAD]


def test_a_memory_mapped_corpus_gives_the_same_batches(tmp_path: Path) -> None:
    corpus = Corpus.of([[7 + i % 20] * (1 + i % 8) + [END] for i in range(50)])
    corpus.tokens.tofile(tmp_path / "tokens.i32")
    mapped = np.memmap(tmp_path / "tokens.i32", dtype=np.int32, mode="r")
    on_disk = Corpus(mapped, corpus.starts, corpus.lengths)
    pairs = zip(epoch(corpus, every(corpus), 8), epoch(on_disk, every(on_disk), 8), strict=True)
    for a, b in pairs:
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.truth, b.truth)
