r"""Patterns of `re` in the words of the `regex` package, with the same meaning.

`regex` has other classes of characters (its `\w` takes combining marks, its `\s` no separators
of ASCII), and reads `{e}` and `[[:alpha:]]` in its own way. So a pattern is written anew from its
parse tree, with each class spelled out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import Any, Final

from logmlm.config.regex_tree import constants, is_known, parser

_SPACES: Final = (
    r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # str.isspace
)
_CLASSES: Final = {"DIGIT": r"\p{Nd}", "WORD": r"\p{L}\p{N}_", "SPACE": _SPACES}
_ASCII_CLASSES: Final = {"DIGIT": "0-9", "WORD": "A-Za-z0-9_", "SPACE": r"\t-\r\x20"}


def translated(pattern: str) -> str:
    """Return the pattern as `regex` has to be told it.

    Where `regex_tree.is_known` is false, that is the pattern as it is.

    Raises:
        re.error: it is no regular expression.

    """
    if not is_known():
        return re.compile(pattern).pattern
    tree = parser.parse(pattern)
    names = {number: name for name, number in tree.state.groupdict.items()}
    return _PatternWriter(names).sequence(tree, tree.state.flags)


class _PatternWriter:
    def __init__(self, names: dict[int, str]) -> None:
        self._names = names

    def sequence(self, nodes: Iterable[tuple[Any, Any]], flags: int) -> str:
        return "".join(self._node(str(op), content, flags) for op, content in nodes)

    def _node(self, op: str, content: Any, flags: int) -> str:
        write = getattr(self, f"_{op.lower()}")
        text: str = write(content, flags)
        is_folded = flags & re.IGNORECASE and op in ("LITERAL", "NOT_LITERAL", "IN", "GROUPREF")
        return f"(?i:{text})" if is_folded else text

    def _literal(self, code: int, _: int) -> str:
        return _character(code)

    def _not_literal(self, code: int, _: int) -> str:
        return f"[^{_character(code)}]"

    def _any(self, _: None, flags: int) -> str:
        return "(?s:.)" if flags & re.DOTALL else r"[^\n]"

    def _in(self, items: list[tuple[Any, Any]], flags: int) -> str:
        is_negated = items[0][0] is constants.NEGATE
        either = "|".join(_one_of(op, content, flags) for op, content in items[is_negated:])
        return f"(?:(?!{either})(?s:.))" if is_negated else f"(?:{either})"

    def _branch(self, content: tuple[None, list[Any]], flags: int) -> str:
        return f"(?:{'|'.join(self.sequence(each, flags) for each in content[1])})"

    def _subpattern(self, content: tuple[Any, int, int, Any], flags: int) -> str:
        group, added, removed, tree = content
        inner = self.sequence(tree, (flags | added) & ~removed)
        if group is None:
            return f"(?:{inner})"
        name = self._names.get(group)
        return f"({inner})" if name is None else f"(?P<{name}>{inner})"

    def _max_repeat(self, content: tuple[int, Any, Any], flags: int) -> str:
        least, most, tree = content
        upper = "" if most is constants.MAXREPEAT else str(int(most))
        return f"(?:{self.sequence(tree, flags)}){{{int(least)},{upper}}}"

    def _min_repeat(self, content: tuple[int, Any, Any], flags: int) -> str:
        return f"{self._max_repeat(content, flags)}?"

    def _possessive_repeat(self, content: tuple[int, Any, Any], flags: int) -> str:
        return f"{self._max_repeat(content, flags)}+"

    def _atomic_group(self, tree: Any, flags: int) -> str:
        return f"(?>{self.sequence(tree, flags)})"

    def _assert(self, content: tuple[int, Any], flags: int) -> str:
        direction, tree = content
        return f"({'?=' if direction > 0 else '?<='}{self.sequence(tree, flags)})"

    def _assert_not(self, content: tuple[int, Any], flags: int) -> str:
        direction, tree = content
        return f"({'?!' if direction > 0 else '?<!'}{self.sequence(tree, flags)})"

    def _failure(self, *_: object) -> str:
        return "(?!)"

    def _groupref(self, group: int, _: int) -> str:
        return rf"(?:\g<{group}>)"

    def _groupref_exists(self, content: tuple[int, Any, Any], flags: int) -> str:
        group, yes, no = content
        other = self.sequence(no, flags) if no else ""
        return f"(?({group}){self.sequence(yes, flags)}|{other})"

    def _at(self, where: Any, flags: int) -> str:
        word = f"[{_class('WORD', flags)}]"
        lines = bool(flags & re.MULTILINE)
        return {
            "AT_BEGINNING": "(?m:^)" if lines else r"\A",
            "AT_BEGINNING_STRING": r"\A",
            "AT_END": "(?m:$)" if lines else r"(?=\n?\Z)",
            "AT_END_STRING": r"\Z",
            "AT_BOUNDARY": f"(?:(?<={word})(?!{word})|(?<!{word})(?={word}))",
            "AT_NON_BOUNDARY": f"{_NOT_EMPTY}(?:(?<={word})(?={word})|(?<!{word})(?!{word}))",
        }[str(where)]


_NOT_EMPTY = r"(?!\A\Z)" if sys.version_info < (3, 14) else ""  # where `\B` was in the empty text


def _one_of(op: Any, content: Any, flags: int) -> str:
    if op is constants.RANGE:
        return f"[{_character(content[0])}-{_character(content[1])}]"
    if op is constants.CATEGORY:
        name = str(content).removeprefix("CATEGORY_")
        negated = "^" if name.startswith("NOT_") else ""
        return f"[{negated}{_class(name.removeprefix('NOT_'), flags)}]"
    return _character(content)


def _class(name: str, flags: int) -> str:
    return (_ASCII_CLASSES if flags & re.ASCII else _CLASSES)[name]


def _character(code: int) -> str:
    if code < 0x80:
        return chr(code) if chr(code).isalnum() else f"\\x{code:02x}"
    return f"\\U{code:08x}"
