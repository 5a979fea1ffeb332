"""Which template covers a line: a tree of words in which `<*>` stands for any word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

WILDCARD: Final = "<*>"


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    numbers: list[int] = field(default_factory=list)


class TemplateTree:
    """Templates by their words; `find` is exact where Drain's own search can miss.

    Drain's tree leads a line to where it would be learned now, which need not be where it
    was learned (drain3's `match` says so, and offers a linear search). This one follows both
    the word and the wildcard, so it finds a covering template whenever there is one, and the
    answer does not depend on the order in which templates came.
    """

    def __init__(self) -> None:
        self._roots: dict[int, _Node] = {}

    def add(self, tokens: Sequence[str], number: int) -> None:
        """Enter a template under its number."""
        node = self._roots.setdefault(len(tokens), _Node())
        for token in tokens:
            node = node.children.setdefault(token, _Node())
        node.numbers.append(number)

    def remove(self, tokens: Sequence[str], number: int) -> None:
        """Take out a template that was entered, and the branches that lead nowhere then."""
        path = [self._roots[len(tokens)]]
        for token in tokens:
            path.append(path[-1].children[token])
        path[-1].numbers.remove(number)
        for parent, token, node in zip(path[-2::-1], reversed(tokens), path[:0:-1], strict=True):
            if node.children or node.numbers:
                return
            del parent.children[token]

    def find(self, tokens: Sequence[str]) -> int | None:
        """Return the number of the template that covers `tokens`, None if none does.

        Where several do, the one that has a word where the others have their first wildcard;
        of equal ones the lowest number. Each node is visited at most once.
        """
        root = self._roots.get(len(tokens))
        open_nodes = [] if root is None else [(root, 0)]
        while open_nodes:
            node, depth = open_nodes.pop()
            if depth == len(tokens) and node.numbers:
                return min(node.numbers)
            if depth < len(tokens):
                # The word is pushed last, so that it is followed first.
                for token in dict.fromkeys((WILDCARD, tokens[depth])):
                    if token in node.children:
                        open_nodes.append((node.children[token], depth + 1))
        return None
