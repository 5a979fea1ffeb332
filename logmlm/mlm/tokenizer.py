"""Vocabulary: one token per template, in a Hugging Face fast tokenizer.

A window is encoded as `[CLS] id id … [END] [SEP]`; the bag view has `[BAG]` in place of `[CLS]`.
`[END]` is scored like an event; truncated windows lack it. Templates that occur fewer than
`min_count` times are encoded as `[UNK]`, which is scored too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from logmlm.records import END_TOKEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, UNK, CLS, SEP, MASK, BAG, END = range(7)
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BAG]")
NEVER_PREDICTED = (PAD, CLS, SEP, MASK, BAG)
"""Tokens whose probability is 0 at every position."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words in the order of token ids; the first seven are the special tokens and `[END]`."""

    words: tuple[str, ...]

    @classmethod
    def build(cls, counts: Mapping[str, int], min_count: int) -> Vocabulary:
        """Build from the words with at least `min_count` occurrences, by frequency, then name."""
        kept = [word for word, count in counts.items() if count >= min_count]
        kept.sort(key=lambda word: (-counts[word], word))
        return cls((*SPECIALS, END_TOKEN, *kept))

    def __len__(self) -> int:
        """Number of words, including the special tokens."""
        return len(self.words)

    def index(self) -> dict[str, int]:
        """Return the token id of each word."""
        return {word: position for position, word in enumerate(self.words)}


def save_tokenizer(vocabulary: Vocabulary, directory: Path) -> None:
    """Write the tokenizer files that `AutoTokenizer.from_pretrained` reads."""
    _fast_tokenizer(vocabulary).save_pretrained(directory)


def load_vocabulary(directory: Path) -> Vocabulary:
    """Load the vocabulary of a saved tokenizer."""
    index: dict[str, int] = Tokenizer.from_file(str(directory / "tokenizer.json")).get_vocab()
    return Vocabulary(tuple(sorted(index, key=index.__getitem__)))


def add_special_tokens(events: Sequence[int], first: int = CLS) -> list[int]:
    """Frame the token ids of a window by `first` (`CLS` or `BAG`) and `SEP`."""
    return [first, *events, SEP]


def _fast_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(vocabulary.index(), unk_token="[UNK]"))  # noqa: S106  a word, not a password
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    names: dict[str, Any] = {
        f"{name.strip('[]').lower()}_token": name for name in SPECIALS if name != "[BAG]"
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, additional_special_tokens=["[BAG]"], **names
    )
