"""The corpus, and what an epoch is made of."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logmlm.mlm.corpus import Corpus, EpochSample
from logmlm.mlm.tokenizer import END

VOCABULARY = 30
WINDOWS = st.lists(
    st.lists(st.integers(END + 1, VOCABULARY - 1), min_size=1, max_size=9), min_size=1, max_size=40
)


def every(corpus: Corpus) -> EpochSample:
    return EpochSample.of(corpus, np.arange(len(corpus)))


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


def test_the_commonest_token_is_found_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logmlm.mlm.corpus.PIECE_WINDOWS", 2)
    assert Corpus.of([[7, 8, 9], [7, 30, 7], [29, 8]]).majority_share() == 3 / 8
    assert Corpus.of([[30, 8, 9], [7, 8]]).majority_share() == 2 / 5
    assert Corpus.of([]).majority_share() == 0.0


def test_a_part_of_a_corpus_is_a_corpus_of_these_windows() -> None:
    whole = Corpus.of([[7, 7, 7], [8, 9], [30], [8, 31]])
    part, same = whole.take(np.array([1, 3])), Corpus.of([[8, 9], [8, 31]])
    assert [part[i].tolist() for i in range(len(part))] == [[8, 9], [8, 31]]
    assert part.digest() == same.digest()
    assert part.majority_share() == 2 / 4
    assert part.tokens is whole.tokens


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
    draws = EpochSample.of(corpus, np.arange(1, 16))  # nine [7], one [8], four [9], one [7]
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
