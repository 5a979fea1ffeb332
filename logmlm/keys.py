"""What events are grouped by: a named attribute, or what a regular expression finds."""

from __future__ import annotations

import re
from collections.abc import Callable

from logmlm.records import Fields


class KeyExtractor:
    """Finds what an event is grouped by; stateless once it is made.

    A `key` that reads like a name, dotted or not (`host`, `client.address`), is an attribute
    of the line; any other is a regular expression (`WindowConfig` has checked it), searched in
    the message, whose first group, or whole match if it has none, is the key.
    """

    def __init__(self, key: str | None) -> None:
        is_name = key is not None and all(part.isidentifier() for part in key.split("."))
        self._name = key if is_name else None
        self._pattern = None if key is None or is_name else re.compile(key)
        self._group = 0 if self._pattern is None else min(self._pattern.groups, 1)

    def __call__(self, fields: Fields, attribute: Callable[[Fields, str], str | None]) -> str:
        """Key of a line with these fields, `attribute` taking one out; empty where it has none."""
        if self._name is not None:
            return attribute(fields, self._name) or ""
        match = self._pattern.search(fields.message) if self._pattern is not None else None
        return (match[self._group] or "") if match is not None else ""
