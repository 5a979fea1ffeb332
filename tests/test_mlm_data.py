"""The corpus, and what an epoch is made of."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.mlm.data import SORTED_BATCHES, Batch, Corpus, Draws, batches
from logmlm.mlm.masking import IGNORED
from logmlm.mlm.tokenizer import BAG, CLS, END, PAD, SEP

VOCABULARY = 30
WINDOWS = st.lists(
    st.lists(st.integers(END + 1, VOCABULARY - 1), min_size=1, max_size=9), min_size=1, max_size=40
)


def epoch(
    corpus: Corpus, draws: Draws, batch_size: int, seed: int = 0, vocabulary: int = VOCABULARY
) -> list[Batch]:
    rng = np.random.default_rng(seed)
    return list(batches(corpus, draws, batch_size, vocabulary, rng))


def every(corpus: Corpus) -> Draws:
    return Draws.of(corpus, np.arange(len(corpus)))


def rows(batch: Batch) -> list[list[int]]:
    """What the batch's windows held before anything was hidden, without their frames."""
    whole = np.where(batch.targets == IGNORED, batch.inputs, batch.targets)
    return [[token for token in row if token not in (PAD, CLS, BAG, SEP)] for row in whole.tolist()]


def test_a_corpus_gives_back_its_windows() -> None:
    corpus = Corpus.of([[7, 8, 6], [], [9]])
    assert len(corpus) == 3
    assert [corpus[i].tolist() for i in range(3)] == [[7, 8, 6], [], [9]]
    assert corpus[0].dtype == np.int64
    assert len(Corpus.of([])) == 0


def test_equal_windows_have_equal_contents_and_others_do_not() -> None:
    corpus = Corpus.of([[7, 8], [8, 7], [7, 8], [7], [7, 8, 9]])
    contents = [corpus.content(i) for i in range(5)]
    assert contents[0] == contents[2]
    assert len(set(contents)) == 4


def test_the_digest_tells_where_windows_end_and_in_which_order_they_come() -> None:
    corpora = ([[7, 8], [9]], [[7], [8, 9]], [[9], [7, 8]], [[7, 8]])
    assert len({Corpus.of(windows).digest() for windows in corpora}) == 4
    assert Corpus.of([[7, 8], [9]]).digest() == Corpus.of(([7, 8], [9])).digest()


def test_a_memory_mapped_corpus_travels_as_the_name_of_its_file(tmp_path: Path) -> None:
    tokens = np.arange(7, 100_007, dtype=np.int32)
    tokens.tofile(tmp_path / "tokens.i32")
    mapped = np.memmap(tmp_path / "tokens.i32", dtype=np.int32, mode="r")
    corpus = Corpus(mapped, np.array([4, 0]), np.array([3, 2]))
    state = pickle.dumps(corpus)
    assert len(state) < 1_000
    assert str(tmp_path / "tokens.i32").encode() in state
    read = pickle.loads(state)  # noqa: S301  made by this test
    assert [read[i].tolist() for i in range(2)] == [[11, 12, 13], [7, 8]]
    assert isinstance(read.tokens, np.memmap)
    assert read.digest() == corpus.digest()


def test_a_corpus_in_memory_travels_whole() -> None:
    corpus = Corpus.of([[7, 8], [9]])
    read = pickle.loads(pickle.dumps(corpus))  # noqa: S301  made by this test
    assert read.digest() == corpus.digest()


def test_a_content_is_drawn_as_often_as_the_root_of_its_count_at_a_weight_for_the_rest() -> None:
    corpus = Corpus.of([[7]] * 10 + [[8]] + [[9]] * 4 + [[7]])
    draws = Draws.of(corpus, np.arange(1, 16))  # nine [7], one [8], four [9], one [7]
    found = {
        int(corpus[int(i)][0]): ((draws.windows == i).sum(), draws.weights[draws.windows == i])
        for i in set(draws.windows)
    }
    assert {token: count for token, (count, _) in found.items()} == {7: 4, 8: 1, 9: 2}
    assert found[7][1].tolist() == [2.5] * 4
    assert found[8][1].tolist() == [1.0]
    assert found[9][1].tolist() == [2.0] * 2
    assert 0 not in draws.windows
    assert 15 not in draws.windows


@given(WINDOWS)
def test_the_weights_of_an_epoch_sum_to_the_number_of_windows(windows: list[list[int]]) -> None:
    corpus = Corpus.of(windows)
    draws = every(corpus)
    assert draws.weights.sum() == pytest.approx(len(windows), rel=1e-6)
    drawn = {tuple(corpus[int(i)].tolist()) for i in draws.windows}
    assert drawn == set(map(tuple, windows))


def test_no_windows_make_no_draws() -> None:
    draws = Draws.of(Corpus.of([[7]]), np.empty(0, dtype=np.int64))
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
    assert all(len(batch.inputs) <= batch_size for batch in found)
    assert sum(batch.events for batch in found) == corpus.lengths[draws.windows].sum()
    assert sum(float(b.weights.sum()) for b in found) == pytest.approx(len(windows), rel=1e-5)


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
        for row, weight in zip(rows(batch), batch.weights, strict=True):
            assert weights[row[0]] == weight


def test_batches_of_like_length_come_in_random_order_with_fresh_masks() -> None:
    corpus = Corpus.of([[7 + i % 20] * (1 + i % 8) + [END] for i in range(160)])
    draws = every(corpus)
    first, second = epoch(corpus, draws, 8, seed=1), epoch(corpus, draws, 8, seed=2)
    lengths = [batch.inputs.shape[1] for batch in first]
    assert lengths != sorted(lengths)
    padding = sum(int((batch.inputs == PAD).sum()) for batch in first)
    assert padding < 0.10 * sum(batch.inputs.size for batch in first)
    assert [b.targets.tolist() for b in first] != [b.targets.tolist() for b in second]


def test_the_same_seed_gives_the_same_epoch() -> None:
    corpus = Corpus.of([[7 + i % 5, 8, 9] for i in range(30)])
    first, second = epoch(corpus, every(corpus), 4), epoch(corpus, every(corpus), 4)
    for a, b in zip(first, second, strict=True):
        assert (a.inputs == b.inputs).all()
        assert (a.targets == b.targets).all()


def test_corpora_larger_than_one_sorted_span_lose_nothing() -> None:
    count = 2 * SORTED_BATCHES * 2 + 3
    corpus = Corpus.of([[7 + i] for i in range(count)])
    found = epoch(corpus, every(corpus), 2, vocabulary=7 + count)
    tokens = sorted(token for batch in found for row in rows(batch) for token in row)
    assert tokens == list(range(7, 7 + count))
