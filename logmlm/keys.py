"""What events are grouped by: a named attribute, or what a regular expression finds."""

from __future__ import annotations

import re
from collections.abc import Callable


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

    def __call__(self, message: str, attribute: Callable[[str], str | None]) -> str:
        """Key of a line with this message and these attributes; empty where it has none."""
        if self._name is not None:
            return attribute(self._name) or ""
        match = self._pattern.search(message) if self._pattern is not None else None
        return (match[min(match.re.groups, 1)] or "") if match is not None else ""
