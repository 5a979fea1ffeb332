"""Templates as words: one token a template, in a Hugging Face fast tokenizer.

A window is written `[CLS] id id … [END] [SEP]` (`[BAG]` in place of `[CLS]` when it is read as
an unordered bag). `[END]` is an ordinary word, scored like any event; a window that was cut has
none. `[UNK]` is a word too: templates seen fewer than `min_count` times are written so.
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
"""Tokens that get no probability anywhere."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words in the order of their token ids; the first seven are special or `[END]`."""

    words: tuple[str, ...]

    @classmethod
    def build(cls, counts: Mapping[str, int], min_count: int) -> Vocabulary:
        """Words seen at least `min_count` times, the most frequent first, ties by name."""
        kept = [word for word, count in counts.items() if count >= min_count]
        kept.sort(key=lambda word: (-counts[word], word))
        return cls((*SPECIALS, END_TOKEN, *kept))

    def __len__(self) -> int:
        """Number of words, the special ones among them."""
        return len(self.words)

    def index(self) -> dict[str, int]:
        """Token id by word."""
        return {word: position for position, word in enumerate(self.words)}


def save_tokenizer(vocabulary: Vocabulary, directory: Path) -> None:
    """Write the tokenizer files that `AutoTokenizer.from_pretrained` reads."""
    _fast_tokenizer(vocabulary).save_pretrained(directory)


def load_vocabulary(directory: Path) -> Vocabulary:
    """The words of a saved tokenizer, in the order of their token ids."""
    index: dict[str, int] = Tokenizer.from_file(str(directory / "tokenizer.json")).get_vocab()
    return Vocabulary(tuple(sorted(index, key=index.__getitem__)))


def add_special_tokens(events: Sequence[int], first: int = CLS) -> list[int]:
    """Token ids of a window between its first token (`CLS` or `BAG`) and `[SEP]`."""
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
