"""What events are grouped by: a named attribute, or what a regular expression finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from logmlm.config.regex import compile_user_pattern
from logmlm.parsing.digit_shapes import DigitSensitivity
from logmlm.parsing.formats import ALIASES, EMPTY
from logmlm.records import Fields


class KeyExtractor:
    """Finds what an event is grouped by; stateless once it is made.

    A `key` that reads like a name, dotted or not (`host`, `client.address`), is an attribute
    of the line; any other is a regular expression (`WindowConfig` has checked it), searched in
    the message, whose first group, or whole match if it has none, is the key.
    """

    def __init__(self, key: str | None) -> None:
        self.is_name = key is not None and all(part.isidentifier() for part in key.split("."))
        self._name = key if self.is_name else None
        self.pattern = None if key is None or self.is_name else compile_user_pattern(key)
        self._group = 0 if self.pattern is None else min(self.pattern.groups, 1)

    def __call__(self, fields: Fields, attribute: Callable[[Fields, str], str | None]) -> str:
        """Key of a line with these fields, `attribute` taking one out; empty where it has none."""
        if self._name is not None:
            return attribute(fields, self._name) or ""
        match = self.pattern.search(fields.message) if self.pattern is not None else None
        return (match[self._group] or "") if match is not None else ""

    def ignores_digits(self, groups: Mapping[str, str]) -> bool:
        """Whether the key is at the same place in all lines of one shape.

        `groups` are the attributes that are groups of the line format's pattern as they stand.
        """
        if self._name is not None:
            return ALIASES.get(self._name, self._name) in groups
        return self.pattern is None or DigitSensitivity(self.pattern).ignores_digits

    def key_span(self, match: re.Match[str], groups: Mapping[str, str], message: slice) -> slice:
        """Where the key is in the line that the line format's pattern matched, if `ignores_digits`.

        `message` is where in it the message is.
        """
        if self._name is not None:
            group = groups[ALIASES.get(self._name, self._name)]
            return slice(*match.span(group)) if match[group] not in EMPTY else slice(0)
        found = self.pattern and self.pattern.search(match.string[message])
        if not found or not found[self._group]:
            return slice(0)
        start, end = found.span(self._group)
        return slice(message.start + start, message.start + end)
