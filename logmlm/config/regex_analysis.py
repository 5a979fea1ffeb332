"""Patterns that take linear time on any text, as far as their structure shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from logmlm.config.regex_tree import compiler, constants, is_known, parser

_MAX_AMBIGUITY: Final = 256
"""Ways to match the bounded parts of a pattern at one place: what each place may cost."""
_LONGEST: Final = 64
"""A repetition of more is taken for one without an end."""
_ONE_CHARACTER: Final = (
    constants.LITERAL,
    constants.NOT_LITERAL,
    constants.IN,
    constants.ANY,
)
_REPEATS: Final = (
    constants.MAX_REPEAT,
    constants.MIN_REPEAT,
    constants.POSSESSIVE_REPEAT,
)
_EXAMPLES: Final = "".join(
    map(chr, (*range(0x180), 0x416, 0x661, 0x2003, 0x2028, 0x4E2D, 0x301, 0x1F600))
)
"""One at least of each kind of characters that classes tell apart."""


@dataclass(slots=True)
class _Part:
    """A piece of a pattern, in the order of the text: `first` are characters it can begin with."""

    first: frozenset[str] = frozenset()
    is_optional: bool = True
    is_endless: bool = False
    is_start: bool = False
    """It matches at the beginning of the text alone."""


@dataclass(slots=True)
class _Analysis:
    flags: int
    examples: str
    ambiguity: int = 1
    parts: list[_Part] = field(default_factory=list)


class _UnknownError(Exception):
    """Nothing is shown of the pattern."""


def is_linear_time(pattern: str, *, is_anchored: bool = False) -> bool:
    r"""Whether a pattern is shown to take time linear in the text; a pattern that is not may too.

    It is where repetitions without an end are of single characters, none inside another or an
    alternative; where each but the last ends at a character that it does not repeat; and where no
    match can begin in what one repeats, unless nothing behind it can fail. `\w+=(\d+)` is not: in
    a long word without `=`, each letter is tried as a beginning.

    Nothing is shown of any pattern where `regex_tree.is_known` is false.
    """
    if not is_known():
        return False
    tree = parser.parse(pattern)
    more = "".join(
        chr(ord(each) + step) for each in pattern if ord(each) > 1 for step in (-1, 0, 1)
    )
    analysis = _Analysis(tree.state.flags, "".join({*_EXAMPLES, *pattern, *more}))
    try:
        _collect(tree, analysis)
    except _UnknownError:
        return False
    if analysis.ambiguity > _MAX_AMBIGUITY:
        return False
    parts = analysis.parts
    is_anchored = is_anchored or bool(parts and parts[0].is_start)
    if parts and parts[-1].is_endless and parts[-1].is_optional:
        parts = parts[:-1]  # what comes last can't fail
    endless = [place for place, part in enumerate(parts) if part.is_endless]
    if any(_follow(parts[place + 1 :]) & parts[place].first for place in endless[:-1]):
        return False
    if is_anchored or not endless:
        return True
    repeated = frozenset().union(*(parts[place].first for place in endless))
    return not _follow(parts) & repeated


def _follow(parts: Sequence[_Part]) -> frozenset[str]:
    """Return the characters that what follows can begin with."""
    first: frozenset[str] = frozenset()
    for part in parts:
        first |= part.first
        if not part.is_optional:
            break
    return first


def _collect(nodes: Iterable[tuple[Any, Any]], analysis: _Analysis) -> None:
    for op, content in nodes:
        if op in _ONE_CHARACTER:
            analysis.parts.append(_Part(_characters((op, content), analysis), is_optional=False))
        elif op in _REPEATS:
            _collect_repeat(op, content, analysis)
        elif op is constants.SUBPATTERN and not content[1] and not content[2]:
            _collect(content[3], analysis)
        else:
            _collect_bounded(op, content, analysis)


def _collect_repeat(op: Any, content: Any, analysis: _Analysis) -> None:
    least, most, tree = content
    inner = tree[0] if len(tree) == 1 else (None, None)
    if inner[0] in _ONE_CHARACTER and least <= 1 and most > _LONGEST:
        first = _characters(inner, analysis)
        if least:
            analysis.parts.append(_Part(first, is_optional=False))
        analysis.parts.append(_Part(first, is_endless=True))
        return
    _collect_bounded(op, content, analysis)


def _collect_bounded(op: Any, content: Any, analysis: _Analysis) -> None:
    """Take in what has an end: its length, and the number of ways to match it, are bounded."""
    if op is constants.AT:
        beginnings = constants.AT_BEGINNING, constants.AT_BEGINNING_STRING
        is_start = content in beginnings and not analysis.flags & re.MULTILINE
        analysis.parts.append(_Part(is_start=is_start))
        return
    ways = _count_ambiguity([(op, content)])
    analysis.ambiguity = min(analysis.ambiguity * ways, _MAX_AMBIGUITY + 1)
    is_lookaround = op in (constants.ASSERT, constants.ASSERT_NOT)
    least, _ = parser.SubPattern(parser.State(), [(op, content)]).getwidth()
    first = frozenset() if is_lookaround else frozenset(analysis.examples)
    analysis.parts.append(_Part(first, is_optional=is_lookaround or least == 0))


def _count_ambiguity(nodes: Iterable[tuple[Any, Any]]) -> int:
    """Return an upper bound of the ways to match nodes at one place.

    Raises:
        _UnknownError: there is none, or it isn't known.

    """
    ways = 1
    for op, content in nodes:
        if op not in _ONE_CHARACTER and op is not constants.AT:
            ways *= _ambiguity_of(op, content)
        if ways > _MAX_AMBIGUITY:
            raise _UnknownError
    return ways


def _ambiguity_of(op: Any, content: Any) -> int:
    if op is constants.BRANCH:
        return sum(map(_count_ambiguity, content[1]))
    if op is constants.SUBPATTERN:
        return _count_ambiguity(content[3])
    if op in (constants.ASSERT, constants.ASSERT_NOT):
        return _count_ambiguity(content[1])
    if op in _REPEATS:
        least, most, tree = content
        if most > _LONGEST:
            raise _UnknownError
        inner = _count_ambiguity(tree)
        return int(most - least + 1) if inner == 1 else int(min((inner + 1) ** most, 10**9))
    raise _UnknownError


def _characters(node: tuple[Any, Any], analysis: _Analysis) -> frozenset[str]:
    """Return the examples that a node for one character takes."""
    tree = parser.SubPattern(parser.State(), [node])
    match: Callable[[str], object] = compiler.compile(tree, analysis.flags).match
    return frozenset(each for each in analysis.examples if match(each))
