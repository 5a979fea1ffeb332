"""From raw lines to events: format, continuation lines, key, and template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from logmlm.formats import Assembler, LineFormat, attribute
from logmlm.records import Event, Fields, LogLine
from logmlm.windows import KeyExtractor

TemplateOf = Callable[[str], str]
"""A message's template id: `Templates.match` while serving, a learner's while training."""


class EventReader:
    """Turns lines into events, in the order of their positions in each partition.

    In formats with continuation lines (stack traces) a partition's last event is held back
    until the next one begins, `flush_due` finds the partition quiet, or `flush`. It is then no
    part of any window, so no checkpoint ever lies behind it.
    """

    def __init__(self, line_format: LineFormat, key: str | None, template_of: TemplateOf) -> None:
        self._assembler = Assembler(line_format)
        self._key_of = KeyExtractor(key)
        self._template_of = template_of

    @property
    def discarded(self) -> Counter[str]:
        """Lines that became no part of an event, by reason."""
        return self._assembler.discarded

    def add(self, lines: Iterable[LogLine]) -> list[Event]:
        """The events that these lines complete."""
        return [self._event(*found) for line in lines for found in self._assembler.add(line)]

    def flush_due(self, now: float) -> list[Event]:
        """Events held back in partitions that have gone quiet."""
        return [self._event(*found) for found in self._assembler.flush_due(now)]

    def flush(self) -> list[Event]:
        """All events held back: the input has ended."""
        return [self._event(*found) for found in self._assembler.flush()]

    def _event(self, line: LogLine, fields: Fields, timestamp: float) -> Event:
        key = self._key_of(fields.message, partial(attribute, fields))
        return Event(line, fields, timestamp, key, self._template_of(fields.message))
