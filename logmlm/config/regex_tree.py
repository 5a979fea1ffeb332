"""Parse trees of `re`: the one module that imports its private parts.

`re._parser`, `re._constants` and `re._compiler` have no public name, and may change in any version
of Python. Where the tree is not the one that this package was written for, `is_known` says so.
Then no pattern counts as linear, and each pattern of a user is matched by `regex`, slower and with
that package's classes of characters, but still in bounded time.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final

_NAMES: Final = (
    *("ANY", "ASSERT", "ASSERT_NOT", "AT", "AT_BEGINNING", "AT_BEGINNING_STRING", "BRANCH"),
    *("CATEGORY", "IN", "LITERAL", "MAXREPEAT", "MAX_REPEAT", "MIN_REPEAT", "NEGATE"),
    *("NOT_LITERAL", "POSSESSIVE_REPEAT", "RANGE", "SUBPATTERN"),
)
"""The constants that are used."""


def _private(name: str) -> Any:
    """Return a private module of `re`, or None where this Python has none of that name."""
    try:
        return import_module(f"re.{name}")
    except ImportError:
        return None


compiler = _private("_compiler")
parser = _private("_parser")
_found = _private("_constants")
constants = SimpleNamespace(**{name: getattr(_found, name, None) for name in _NAMES})

_PROBE: Final = r"(?P<n>ab|[^c-d\w])*?(?=e{2,3}+)\b(?>f)(?i:g)(?!h)(?(1)i|j)(?P=n)\Z[^k].l*"
_PROBE_TREE: Final = (
    "[(MIN_REPEAT, (0, MAXREPEAT, [(SUBPATTERN, (1, 0, 0, [(BRANCH, (None, [[(LITERAL, 97),"
    " (LITERAL, 98)], [(IN, [(NEGATE, None), (RANGE, (99, 100)), (CATEGORY, CATEGORY_WORD)])]]))"
    "]))])), (ASSERT, (1, [(POSSESSIVE_REPEAT, (2, 3, [(LITERAL, 101)]))])), (AT, AT_BOUNDARY),"
    " (ATOMIC_GROUP, [(LITERAL, 102)]), (SUBPATTERN, (None, 2, 0, [(LITERAL, 103)])), (ASSERT_NOT,"
    " (1, [(LITERAL, 104)])), (GROUPREF_EXISTS, (1, [(LITERAL, 105)], [(LITERAL, 106)])),"
    " (GROUPREF, 1), (AT, AT_END_STRING), (NOT_LITERAL, 107), (ANY, None), (MAX_REPEAT, (0,"
    " MAXREPEAT, [(LITERAL, 108)]))]"
)
"""A pattern with each kind of node, and its tree in Python 3.11 and later."""


@cache
def is_known() -> bool:
    """Return whether this Python's parse trees are those that this package was written for."""
    if None in (compiler, parser, *vars(constants).values()):
        return False
    try:
        tree = parser.parse(_PROBE)
        node = parser.SubPattern(parser.State(), [tree[-1]])
        is_compiled = compiler.compile(node, tree.state.flags).match("ll") is not None
        found = repr(list(tree)), tree.state.groupdict, node.getwidth()[0], is_compiled
    except (AttributeError, TypeError, ValueError, LookupError):
        return False
    return found == (_PROBE_TREE, {"n": 1}, 0, True)
