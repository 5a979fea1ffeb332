"""Label matchers in Alertmanager's syntax: `name=value`, `name!=…`, `name=~regex`, `name!~…`.

https://prometheus.io/docs/alerting/latest/configuration/#matcher
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from logmlm.config.regex import compile_user_pattern
from logmlm.errors import UsageError

_MATCHER = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
MAX_PATTERN = 1000


@dataclass(frozen=True, slots=True)
class LabelMatcher:
    """One condition on a label; a label that is missing is empty. Regexes match the whole value."""

    name: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> LabelMatcher:
        """Read a matcher; its value may stand in double quotes.

        Raises:
            UsageError: it is none, or its regular expression can't be used.

        """
        found = _MATCHER.fullmatch(text)
        if found is None:
            raise UsageError(f"'{text}' is no matcher; write name=value or name=~regex")
        name, operator, value = found.groups()
        if value.startswith('"'):
            value = _unquoted(text, value)
        matcher = cls(name, operator, value)
        if operator in ("=~", "!~"):
            matcher.check()
        return matcher

    def check(self) -> None:
        """Check that the regular expression can be used.

        Raises:
            UsageError: it can't.

        """
        try:
            compile_user_pattern(self.value, is_anchored=True)
        except re.error as error:
            raise UsageError(f"'{self.value}' is no regular expression: {error}") from error
        if len(self.value) > MAX_PATTERN:
            raise UsageError(f"a matcher's expression has {MAX_PATTERN} characters at most")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet the condition."""
        value = labels.get(self.name, "")
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return (_compiled(self.value).fullmatch(value) is not None) == (self.operator == "=~")

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{json.dumps(self.value, ensure_ascii=False)}"


@lru_cache(maxsize=1_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile once: a pattern that took too long is given up sooner the next time."""
    return compile_user_pattern(pattern, is_anchored=True)


def _unquoted(text: str, value: str) -> str:
    try:
        found = json.loads(value)
    except ValueError as error:
        raise UsageError(f"'{text}' has a quote that does not end") from error
    return str(found)
