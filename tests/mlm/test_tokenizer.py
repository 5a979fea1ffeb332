"""Templates as words."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from logmlm.mlm.tokenizer import (
    BAG,
    CLS,
    END,
    MASK,
    NEVER_PREDICTED,
    PAD,
    SEP,
    UNK,
    Vocabulary,
    add_special_tokens,
    load_vocabulary,
    save_tokenizer,
)

COUNTS = {"t-b": 3, "t-a": 3, "t-rare": 1, "t-often": 9, "<weird>[#]": 2}
WORDS = Vocabulary.build(COUNTS, min_count=2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(WORDS, directory)
    return directory


@pytest.fixture(scope="module")
def tokenizer(saved: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(saved, local_files_only=True)


def test_the_first_seven_words_are_special_and_then_come_the_most_frequent() -> None:
    specials = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BAG]", "[END]")
    assert WORDS.words == (*specials, "t-often", "t-a", "t-b", "<weird>[#]")
    assert tuple(range(7)) == (PAD, UNK, CLS, SEP, MASK, BAG, END)
    assert len(WORDS) == 11
    assert WORDS.index()["t-a"] == 8


def test_words_seen_fewer_times_than_min_count_are_left_out() -> None:
    assert "t-rare" not in WORDS.words
    assert "t-rare" in Vocabulary.build(COUNTS, min_count=1).words
    assert len(Vocabulary.build(COUNTS, min_count=10)) == 7


def test_only_events_the_end_and_the_unknown_can_be_predicted() -> None:
    assert set(range(END + 1)) - set(NEVER_PREDICTED) == {UNK, END}


def test_a_window_stands_between_its_first_token_and_sep() -> None:
    assert add_special_tokens([8, 9, END]) == [CLS, 8, 9, END, SEP]
    assert add_special_tokens([8], BAG) == [BAG, 8, SEP]


def test_the_saved_tokenizer_reads_a_window_as_one_token_a_template(tokenizer) -> None:
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    ids = tokenizer("t-a t-often <weird>[#] t-b [END]")["input_ids"]
    assert ids == add_special_tokens([8, 7, 10, 9, END])
    assert tokenizer("t-a", "t-b")["input_ids"] == [CLS, 8, SEP, 9, SEP]


def test_what_the_model_has_no_word_for_is_unknown(tokenizer) -> None:
    assert tokenizer("t-rare t-a T-A")["input_ids"] == add_special_tokens([UNK, 8, UNK])


def test_the_saved_tokenizer_knows_its_special_tokens_and_end_is_none_of_them(tokenizer) -> None:
    assert tokenizer.pad_token_id == PAD
    assert tokenizer.unk_token_id == UNK
    assert tokenizer.cls_token_id == CLS
    assert tokenizer.sep_token_id == SEP
    assert tokenizer.mask_token_id == MASK
    assert set(tokenizer.all_special_ids) == {PAD, UNK, CLS, SEP, MASK, BAG}
    assert tokenizer("[BAG] [MASK]", add_special_tokens=False)["input_ids"] == [BAG, MASK]


def test_a_saved_vocabulary_reads_back_in_order(saved: Path) -> None:
    assert load_vocabulary(saved) == WORDS


def test_a_vocabulary_of_thousands_keeps_its_order(tmp_path: Path) -> None:
    many = Vocabulary.build({f"t{i}": 10_000 - i for i in range(3_000)}, 1)
    save_tokenizer(many, tmp_path)
    assert load_vocabulary(tmp_path) == many
