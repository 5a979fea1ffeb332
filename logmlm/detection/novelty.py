"""Novelty: lines that match no template of training, judged by their words and their level.

The model has one word, `[UNK]`, for all lines that it never saw; its probability is a matter of how
many rare templates training held, and no judgement. So never-seen lines have evidence of their own:

1. The *distance* of a line from what is known is the share of its words, weighted by inverse
   document frequency (Spärck Jones, 1972), that the nearest template lacks: 0 for a new order of
   the words of a known line, 1 for a line of words that no template has.
2. The statistic of a window is the sum of the distances of its distinct never-seen lines. It gets
   a conformal p-value (Vovk et al., 2005) among the windows of the later half of training, each
   compared with the templates that had occurred before it (prequential; Dawid, 1984). That tells
   how often new templates come in this log, which Good-Turing estimates (Good, 1953) assume.
3. A never-seen line that is an error (level, HTTP status, or words where it has no level) alarms
   by itself, unless the config says otherwise.

A line nearer than `SAME_WORDING` is a new wording of a known one, and no novelty.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from logmlm.errors import ModelError
from logmlm.parsing.severity import reads_as_error
from logmlm.parsing.template_miner import TemplateMiner
from logmlm.records import UNKNOWN_TEMPLATE, Window

SAME_WORDING = 0.3
"""Smallest distance of a line that counts as novel."""
ERROR_VALUE = 1.5
"""Value of a window with a never-seen error; 1.0 is the threshold."""
MIN_WINDOWS = 10
"""With fewer windows in the later half of training, novelty other than errors never alarms."""
KEPT_LINES = 10_000
"""Capacity, in masked messages, of the cache of distances."""
_MASK = re.compile(r"<(?:[A-Z][A-Z0-9_]*|\*)>")
_WORD = re.compile(r"[^\W\d_]{2,}")


def words_of(masked: str) -> frozenset[str]:
    """Return the words of a masked message or template, in lower case, without masks and digits."""
    return frozenset(_WORD.findall(_MASK.sub(" ", masked).lower()))


class WordIndex:
    """Words of the known templates; tells how far a new line is from the nearest of them."""

    def __init__(self, templates: Iterable[str] = ()) -> None:
        self._count = 0
        self._templates_with: defaultdict[str, list[int]] = defaultdict(list)
        self._has_wordless = False
        for text in templates:
            self.add(text)

    def add(self, template: str) -> None:
        """Make a template known."""
        words = words_of(template)
        self._has_wordless = self._has_wordless or not words
        for word in words:
            self._templates_with[word].append(self._count)
        self._count += 1

    def distance(self, masked: str) -> float:
        """Return the distance, from 0 to 1, of a masked message from the nearest template."""
        words = words_of(masked)
        if not words:
            return 0.0 if self._has_wordless else 1.0
        explained: defaultdict[int, float] = defaultdict(float)
        total = 0.0
        for word in sorted(words):  # the order of a set, and so the last bit of a sum, may vary
            having = self._templates_with.get(word, ())
            weight = math.log((self._count + 1) / (len(having) + 0.5))
            total += weight
            for number in having:
                explained[number] += weight
        return 1.0 - max(explained.values(), default=0.0) / total


@dataclass(frozen=True, slots=True)
class NoveltyRule:
    """Calibrated novelty: how often new templates came in the later half of training.

    `held_out` are the statistics above 0, ascending, of `windows` windows; `error_windows` of them
    held a new template that is an error. `rate` is the asked share of windows that alarm.
    """

    windows: int
    held_out: tuple[float, ...]
    error_windows: int
    rate: float

    def p_value(self, statistic: float) -> float:
        """Return the conformal p-value of a window's statistic."""
        at_least = (
            sum(value >= statistic for value in self.held_out) if statistic > 0 else (self.windows)
        )
        return (1 + at_least) / (1 + self.windows)

    @property
    def reachable_rate(self) -> float:
        """The asked rate or, if that takes more windows than there are, the strictest level."""
        return max(self.rate, 1 / (1 + self.windows))

    def value(self, statistic: float) -> float:
        """Return the value of a window, where 1.0 is the threshold; 0.0 without novelty."""
        if statistic <= 0 or self.windows < MIN_WINDOWS:
            return 0.0
        return math.log(self.p_value(statistic)) / math.log(self.reachable_rate)

    def summary(self, windows_per_day: float) -> str:
        """Say how often new templates came, and so how often they will alarm."""
        novel = len(self.held_out)
        share = self.windows and min(1.0, self.reachable_rate)
        return (
            f"never-seen lines: new templates came in {novel} of the later {self.windows} windows"
            f" ({self.error_windows} with errors); at most {share:.2%} of windows alarm by them,"
            f" {share * windows_per_day:,.3g} a day, beside never-seen errors, which always do"
            " (threshold.new_errors)"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as plain JSON values."""
        return {
            "windows": self.windows,
            "held_out": list(self.held_out),
            "error_windows": self.error_windows,
            "rate": self.rate,
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> NoveltyRule:
        """Load what `as_dict` gave.

        Raises:
            ModelError: the dict is damaged.

        """
        try:
            held_out = tuple(map(float, state["held_out"]))
            rule = cls(
                int(state["windows"]),
                held_out,
                int(state["error_windows"]),
                float(state["rate"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the novelty rule is damaged ({error!r}); train again") from error
        if not 0 < rule.rate < 1 or not len(held_out) <= rule.windows:
            raise ModelError("the novelty rule is damaged (its numbers); train again")
        return rule


class NoveltyDetector:
    """Judges the never-seen lines of windows; a judgement depends on the window alone."""

    def __init__(
        self, rule: NoveltyRule, templates: TemplateMiner, errors_alarm: bool = True
    ) -> None:
        """Set up; `errors_alarm`: a never-seen error alarms by itself."""
        self._rule = rule
        self._errors_alarm = errors_alarm
        self._mask = templates.mask
        self._index = WordIndex(template.text for template in templates)
        self._distances: LRUCache[str, float] = LRUCache(KEPT_LINES)

    def novel_events(self, window: Window) -> list[int]:
        """Return the indices of the never-seen lines that are no new wording of known ones."""
        return [index for index, _ in self._novel(window)]

    def value(self, window: Window) -> float:
        """Return the novelty's value, where 1.0 is the threshold; 0.0 without never-seen lines."""
        novel = self._novel(window)
        if not novel:
            return 0.0
        distinct = dict.fromkeys(masked for _, masked in novel)
        statistic = sum(self._distance(masked) for masked in distinct)
        value = self._rule.value(statistic)
        fields = (window.events[index].fields for index, _ in novel)
        if self._errors_alarm and any(map(reads_as_error, fields)):
            return max(value, ERROR_VALUE)
        return value

    def _novel(self, window: Window) -> list[tuple[int, str]]:
        """Return index and masked message of each novel line."""
        unseen = [
            (index, self._mask(event.fields.message))
            for index, event in enumerate(window.events)
            if event.template_id == UNKNOWN_TEMPLATE
        ]
        return [
            (index, masked) for index, masked in unseen if self._distance(masked) >= SAME_WORDING
        ]

    def _distance(self, masked: str) -> float:
        found: float | None = self._distances.get(masked)
        if found is None:
            found = self._distances[masked] = self._index.distance(masked)
        return found


def fit_novelty(
    first_windows: Mapping[str, int],
    windows: int,
    texts: Mapping[str, str],
    errors: frozenset[str],
    rate: float,
) -> NoveltyRule:
    """Calibrate on the later half of `windows` windows in order of time.

    `first_windows` tells in which window each template came first, `texts` what it says, and
    `errors` which are errors. The first half only makes templates known.
    """
    index, half = WordIndex(), windows // 2
    held_out: list[float] = []
    error_windows = 0
    came_in: defaultdict[int, list[str]] = defaultdict(list)
    for name, number in first_windows.items():
        came_in[number].append(name)
    for number in sorted(came_in):
        new = sorted(came_in[number])
        if number >= half:
            distances = {name: index.distance(texts[name]) for name in new}
            novel = {name: far for name, far in distances.items() if far >= SAME_WORDING}
            held_out += [sum(novel.values())] if novel else []
            error_windows += not errors.isdisjoint(novel)
        for name in new:
            index.add(texts[name])
    return NoveltyRule(windows - half, tuple(sorted(held_out)), error_windows, rate)
