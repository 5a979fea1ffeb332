"""Advice on masks: which one would help where texts do not template well."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, takewhile
from typing import Final

_HOLE: Final = "…"
_FAMILY: Final = 3
_LONGEST: Final = 64
_LENGTHS_OF_PAIRS: Final = range(5, 17)
_PAIRS_OF: Final = 1_000
"""Two words are left out of so many texts, and of no longer ones: there are many pairs."""

_Families = dict[tuple[str, ...], list[str]]


def suggest_mask(texts: Sequence[str]) -> str:
    """Name in a sentence the worst of these template texts and a mask that would help."""
    family, words = _largest(_group_by_hole(texts))
    if len(words) < _FAMILY:
        family, words = _largest(_families_of_pairs(texts[-_PAIRS_OF:]))
    if len(words) < _FAMILY:
        some = ", ".join(f"'{text}'" for text in texts[-_FAMILY:])
        return f"Mask what varies in templates such as {some}: see templates.extra_masks."
    some = ", ".join(f"'{word}'" for word in words[:_FAMILY])
    least = " or more" if len(words) == _PAIRS_OF else ""
    sentence = (
        f"{len(words)}{least} templates differ only in '…' of '{' '.join(family)}', such as {some}"
    )
    patterns = [_suggest(family, hole) for hole, word in enumerate(family) if word == _HOLE]
    pattern = "|".join(filter(None, patterns))
    if None in patterns:
        return f"{sentence}; write a mask for such words: see templates.extra_masks."
    quoted = pattern.replace("'", "''")
    return f"{sentence}; add to templates.extra_masks: {{name: WORD, pattern: '{quoted}'}}"


def _largest(families: _Families) -> tuple[tuple[str, ...], list[str]]:
    return max(families.items(), key=lambda item: len(item[1]), default=((), []))


def _group_by_hole(texts: Sequence[str]) -> _Families:
    """Map each text with one word left out to the words that stand there."""
    families: _Families = defaultdict(list)
    for text in texts:
        words = text.split()
        for index, word in enumerate(words if len(words) <= _LONGEST else ()):
            families[(*words[:index], _HOLE, *words[index + 1 :])].append(word)
    return families


def _families_of_pairs(texts: Sequence[str]) -> _Families:
    """As `_group_by_hole`, with two words left out, of texts in which more are left."""
    families: _Families = defaultdict(list)
    for words in map(str.split, texts):
        places = range(len(words) if len(words) in _LENGTHS_OF_PAIRS else 0)
        for one, other in combinations(places, 2):
            kept = (*words[:one], _HOLE, *words[one + 1 : other], _HOLE, *words[other + 1 :])
            families[kept].append(f"{words[one]} {_HOLE} {words[other]}")
    return families


def _suggest(family: tuple[str, ...], hole: int) -> str | None:
    """Return a pattern for what stands in a hole, by the words beside it that no mask made."""
    before = list(takewhile(_is_raw, family[hole - 1 :: -1] if hole else ()))[:_FAMILY]
    after = list(takewhile(_is_raw, family[hole + 1 :]))[:_FAMILY]
    if before:
        return rf"(?<={_literal(before[::-1])} )\S++"
    return rf"(?<!\S)\S++(?= {_literal(after)})" if after else None


def _is_raw(word: str) -> bool:
    return "<" not in word and word != _HOLE


def _literal(words: list[str]) -> str:
    return " ".join(map(re.escape, words))
