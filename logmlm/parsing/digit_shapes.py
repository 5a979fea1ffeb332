"""The shape of a text: the text with all its digits alike, and what a pattern sees beyond it.

Most of what differs between two lines of a log are digits, and most patterns treat all digits
alike: there, texts of one shape match in the same places. Where a pattern tells digits apart (it
holds a literal `0`, or `[1-5]`), the places are found where that can matter. Only the digits 0 to
9 of ASCII count; all other characters stay in the shape as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from re import _compiler, _constants, _parser  # type: ignore[attr-defined]  # the parse tree has no public name
from typing import Any, Final

DIGITS: Final = "0123456789"
_DIGIT: Final = re.compile("[0-9]")
ALIKE: Final = bytes.maketrans(DIGITS.encode(), b"0" * len(DIGITS))
_ANY_DIGIT: Final = (_constants.RANGE, (ord("0"), ord("9")))
_CHARACTERS: Final = (
    _constants.LITERAL,
    _constants.NOT_LITERAL,
    _constants.IN,
    _constants.ANY,
)
_LOOKAROUNDS: Final = (_constants.ASSERT, _constants.ASSERT_NOT)
_REPEATS: Final = (
    _constants.MAX_REPEAT,
    _constants.MIN_REPEAT,
    _constants.POSSESSIVE_REPEAT,
)
Node = tuple[Any, Any]
"""An operation of a pattern's parse tree, and what it works on."""


def has_digit(text: str) -> bool:
    """Whether the text is another than its shape."""
    return _DIGIT.search(text) is not None


def digit_shape(text: str) -> bytes:
    """The text in UTF-8 (lone surrogates too), every digit a `0`."""
    return text.encode("utf-8", "surrogatepass").translate(ALIKE)


class DigitSensitivity:
    """What of a text's digits decides what a pattern matches in it, beyond the text's shape.

    A pattern whose sets of characters each hold all digits or none sees the shape alone. One that
    tells digits apart is widened, so that it takes any digit there: where the widened pattern
    finds nothing, neither does the pattern, whatever the digits are. Where it finds something,
    the digits of the words matter in which it did; or all digits if the pattern can match a space.
    Where telling apart happens in a repetition, a lookaround or an atomic group, and where there
    is a backreference, nothing is widened, and all digits always matter.
    """

    def __init__(self, regex: re.Pattern[str]) -> None:
        tree = _parser.parse(regex.pattern, regex.flags)
        self._flags = regex.flags
        self._spans_words = False
        self._widened: re.Pattern[str] | None = None
        self._digit_tests: list[_DigitTest] = []
        self.ignores_digits = True
        """Whether the shape alone decides what matches; then `sensitive_spans` is always empty."""
        try:
            wide = list(self._widen(tree))
            if not self.ignores_digits:
                heads: list[list[Node]] = []
                for head in self._heads(tree, []):
                    if head not in heads:
                        heads.append(head)
                self._digit_tests = [_DigitTest(head, regex.flags) for head in heads]
                self._widened = _compiled(wide, tree.state, regex.flags)
        except _OpaqueError:
            self.ignores_digits = False

    def sensitive_spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Spans of `text` (start, end) whose digits matter; the same for all texts of a shape."""
        if self.ignores_digits:
            return
        if self._widened is None:
            yield 0, len(text)
            return
        for found in self._widened.finditer(text):
            if self._spans_words:
                yield from self._sensitive_digits(text, 0, len(text))
                return
            end = text.find(" ", found.end())
            start = text.rfind(" ", 0, found.start()) + 1
            yield from self._sensitive_digits(text, start, len(text) if end < 0 else end)

    def _sensitive_digits(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The digits in a span of the text that the pattern may tell from others."""
        yield from sorted(
            {at for each in self._digit_tests for at in each.sensitive_spans(text, start, end)}
        )

    def _heads(self, nodes: Iterable[Node], before: list[Node]) -> Iterator[list[Node]]:
        """What matches before each set that tells digits apart, widened."""
        for node in nodes:
            op, content = node
            if op in _CHARACTERS:
                wide = self._wide_set(node)
                if wide != node:
                    yield before
            elif op is _constants.BRANCH:
                for branch in content[1]:
                    yield from self._heads(branch, before)
                (wide,) = self._widen([node])
            elif op is _constants.SUBPATTERN:
                inner = list(self._heads(content[3], before))
                if inner and (content[1] or content[2]):
                    raise _OpaqueError  # flags of its own, which what stands before would lose
                yield from inner
                (wide,) = self._widen([node])
            else:
                wide = node
            before = [*before, wide]

    def _widen(self, nodes: Iterable[Node]) -> Iterator[Node]:
        for op, content in nodes:
            if op in _CHARACTERS:
                yield self._wide_set((op, content))
            elif op is _constants.BRANCH:
                yield op, (content[0], [self._wide_list(branch) for branch in content[1]])
            elif op is _constants.SUBPATTERN:
                yield op, (*content[:3], self._wide_list(content[3]))
            else:
                yield op, self._checked(op, content)

    def _wide_list(self, tree: Any) -> Any:
        return _parser.SubPattern(tree.state, list(self._widen(tree)))

    def _wide_set(self, node: Node) -> Node:
        op, content = node
        if op is _constants.LITERAL and chr(content) not in f" {DIGITS}":
            return node
        matches = _compiled([node], _parser.State(), self._flags).match
        self._spans_words = self._spans_words or matches(" ") is not None
        if sum(matches(digit) is not None for digit in DIGITS) in (0, len(DIGITS)):
            return node
        self.ignores_digits = False
        if op is _constants.LITERAL:
            return _constants.IN, [_ANY_DIGIT]
        if op is _constants.IN and content[0][0] is not _constants.NEGATE:
            return op, [*content, _ANY_DIGIT]
        raise _OpaqueError

    def _checked(self, op: Any, content: Any) -> Any:
        """What is kept as it is, as it tells no digits apart."""
        if op is _constants.AT:
            return content
        if op in _LOOKAROUNDS:
            spans_words = self._spans_words  # what it looks at, it does not take
            self._keep(content[1])
            self._spans_words = spans_words
        elif op in _REPEATS:
            self._keep(content[2])
        elif op is _constants.ATOMIC_GROUP:
            self._keep(content)
        else:
            raise _OpaqueError
        return content

    def _keep(self, tree: Any) -> None:
        was_of_shape, self.ignores_digits = self.ignores_digits, True
        list(self._widen(tree))
        if not self.ignores_digits:
            raise _OpaqueError
        self.ignores_digits = was_of_shape


class _DigitTest:
    """Where something that tells digits apart may look at one, by what must match before it."""

    def __init__(self, before: list[Node], flags: int) -> None:
        state = _parser.State()
        least, most = _parser.SubPattern(state, before).getwidth()
        digit = _constants.IN, [_ANY_DIGIT]
        ahead = _parser.SubPattern(state, [*before, digit])
        self._offset = least
        self._regex = (
            _compiled([(_constants.ASSERT, (1, ahead))], state, flags) if least == most else None
        )

    def sensitive_spans(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Spans of digits between start and end; all is one where the place is not certain."""
        if self._regex is None:
            yield start, end
            return
        for found in self._regex.finditer(text):
            place = found.start() + self._offset
            if start <= place < end:
                yield place, place + 1


class _OpaqueError(Exception):
    """A pattern can't be widened in a simple way."""


def _compiled(nodes: list[Node], state: Any, flags: int) -> re.Pattern[str]:
    pattern: re.Pattern[str] = _compiler.compile(_parser.SubPattern(state, nodes), flags)
    return pattern
