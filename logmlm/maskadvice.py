"""Advice on masks: which one would help where texts do not template well."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

_HOLE: Final = "…"
_FAMILY: Final = 3
_LONGEST: Final = 64


def advice(texts: Sequence[str]) -> str:
    """Name in a sentence the worst of these template texts and a mask that would help."""
    family, words = max(_families(texts).items(), key=lambda item: len(item[1]), default=((), []))
    if len(words) < _FAMILY:
        some = ", ".join(f"'{text}'" for text in texts[-_FAMILY:])
        return f"Mask what varies in templates such as {some}: see templates.extra_masks."
    some = ", ".join(f"'{word}'" for word in words[:_FAMILY])
    sentence = f"{len(words)} templates differ only in '…' of '{' '.join(family)}', such as {some}"
    pattern = _suggest(family)
    if pattern is None:
        return f"{sentence}; write a mask for such words: see templates.extra_masks."
    quoted = pattern.replace("'", "''")
    return f"{sentence}; add to templates.extra_masks: {{name: WORD, pattern: '{quoted}'}}"


def _families(texts: Sequence[str]) -> dict[tuple[str, ...], list[str]]:
    """Map each text with one word left out to the words that stand there."""
    families: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for text in texts:
        words = text.split()
        for index, word in enumerate(words if len(words) <= _LONGEST else ()):
            families[(*words[:index], _HOLE, *words[index + 1 :])].append(word)
    return families


def _suggest(family: tuple[str, ...]) -> str | None:
    """Return a pattern for what stands in the hole, by the words beside it that no mask made."""
    hole = family.index(_HOLE)
    before = list(takewhile(_is_raw, family[hole - 1 :: -1] if hole else ()))[:_FAMILY]
    after = list(takewhile(_is_raw, family[hole + 1 :]))[:_FAMILY]
    if before:
        return rf"(?<={_literal(before[::-1])} )\S++"
    return rf"(?<!\S)\S++(?= {_literal(after)})" if after else None


def _is_raw(word: str) -> bool:
    return "<" not in word


def _literal(words: list[str]) -> str:
    return " ".join(map(re.escape, words))
