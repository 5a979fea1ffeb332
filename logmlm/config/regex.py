"""Regular expressions that users write, matched in bounded time.

`re` can't be interrupted: a pattern that backtracks holds the whole process up. A pattern that is
shown to take linear time runs in `re`. Any other one runs in the `regex` package, which gives up
after a limit of CPU time. RE2 is no replacement: it has no lookaround and no backreferences, and
its classes of characters are those of ASCII.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any, Final, cast

import regex

from logmlm.config.regex_analysis import is_linear_time
from logmlm.config.regex_translation import translated

CPU_LIMIT_S: Final = 0.1
"""CPU after which a match is given up."""
_TRIES: Final = 10
"""So many texts may take too long; then, texts half as long as the shortest are not tried."""

logger = logging.getLogger(__name__)


class TimeLimitedPattern:
    """A pattern whose matching is given up after `CPU_LIMIT_S` seconds of CPU.

    It has the meaning that `re` gives the pattern. A text on which it is given up does not match;
    `overruns` counts these, and the first is logged. Once `_TRIES` texts took too long, those at
    least half as long as the shortest of them are given up at once, so that lines which somebody
    made for that cost no more than a few seconds in all.
    """

    def __init__(self, pattern: str) -> None:
        plain = re.compile(pattern)
        self.pattern = pattern
        self.flags = plain.flags
        self.groups = plain.groups
        self.groupindex = plain.groupindex
        self.overruns = 0
        self._regex = regex.compile(translated(pattern))
        self._tries = 0
        self._shortest: int | None = None
        self._most: int | None = None

    def search(self, string: str) -> Any:
        """See `re.Pattern.search`."""
        return self._within(self._regex.search, string, None)

    def match(self, string: str) -> Any:
        """See `re.Pattern.match`."""
        return self._within(self._regex.match, string, None)

    def fullmatch(self, string: str) -> Any:
        """See `re.Pattern.fullmatch`."""
        return self._within(self._regex.fullmatch, string, None)

    def finditer(self, string: str) -> Iterator[Any]:
        """See `re.Pattern.finditer`; nothing is found where it takes too long."""
        return iter(self._within(self._all, string, []))

    def sub(self, repl: str, string: str) -> str:
        """See `re.Pattern.sub`; `repl` is plain text, and the text stays as it is at an overrun."""
        parts: list[str] = []
        end = 0
        for found in self.finditer(string):
            parts += (string[end : found.start()], repl)
            end = found.end()
        return "".join((*parts, string[end:]))

    def _all(self, string: str, timeout: float) -> list[Any]:
        return list(self._regex.finditer(string, timeout=timeout))

    def _within(self, call: Any, string: str, otherwise: Any) -> Any:
        if self._most is not None and len(string) >= self._most:
            self.overruns += 1
            return otherwise
        try:
            return call(string, timeout=CPU_LIMIT_S)
        except TimeoutError:
            self._note(len(string))
            return otherwise

    def _note(self, length: int) -> None:
        if not self.overruns:
            logger.warning(
                "the pattern '%s' took over %g s on a text of %d characters, which counts as no"
                " match; write it without repetitions inside of repetitions",
                *(self.pattern, CPU_LIMIT_S, length),
            )
        self.overruns += 1
        self._tries += 1
        self._shortest = length if self._shortest is None else min(length, self._shortest)
        if self._tries == _TRIES:
            self._most, self._tries = self._shortest // 2, 0


def compile_user_pattern(pattern: str, *, is_anchored: bool = False) -> re.Pattern[str]:
    """Compile a user's pattern: by `re` where that takes linear time, else with a limit of time.

    `is_anchored`: only `match` and `fullmatch` are asked for.

    Raises:
        re.error: it is no regular expression.

    """
    plain = re.compile(pattern)
    if is_linear_time(pattern, is_anchored=is_anchored):
        return plain
    return cast("re.Pattern[str]", TimeLimitedPattern(pattern))  # it has all that is used of one


def is_limited(pattern: re.Pattern[str] | None) -> bool:
    """Return whether matching is given up after `CPU_LIMIT_S`."""
    return isinstance(pattern, TimeLimitedPattern)


def overruns(*patterns: re.Pattern[str] | None) -> int:
    """Return how often these patterns were given up."""
    limited = [each for each in patterns if is_limited(each)]
    return sum(cast(TimeLimitedPattern, each).overruns for each in limited)
