"""From raw lines to events: format, continuation lines, key, and template."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import compress, count, pairwise
from operator import attrgetter, ne
from typing import NamedTuple, cast

from logmlm.config.regex import overruns
from logmlm.config.training import MultilineConfig
from logmlm.errors import DataError, FormatError
from logmlm.parsing.batches import LineBatch, needs_single_blank
from logmlm.parsing.formats import (
    ALIASES,
    AssembledLine,
    EventAssembler,
    LineFormat,
    MultilineJoiner,
    attribute,
)
from logmlm.parsing.input_check import SUSPICIOUS_SHARE, InputCheck
from logmlm.parsing.keys import KeyExtractor
from logmlm.parsing.masking import LogMasker
from logmlm.parsing.parsed import ParsedBatch, ParsedLine
from logmlm.parsing.shape_parser import make_line_parser, to_columns
from logmlm.records import DeferredFields, Event, LogLine, line_count, make_records, one_by_one

NO_LINES = "the logs hold no lines; name a log that does"
FEW_LINES = 4
"""So few are dealt with one by one."""
_KINDS = attrgetter("partition"), attrgetter("is_whole")
_ATTRIBUTES = attrgetter("attributes")
logger = logging.getLogger(__name__)


TemplateLookup = Callable[[str], str]
"""A message's template id: `TemplateMiner.match` while serving, a learner's while training."""


class MaskedTemplateLookup(NamedTuple):
    """Gives the template id for what masks made of a message, which itself is to be had by a call.

    `masks` are those that messages are put through, where it does not learn.
    """

    template_of: Callable[[str, Callable[[], str]], str]
    masks: LogMasker | None = None


class EventParser:
    """Turns lines into events, in the order of their positions in each partition.

    In formats with continuation lines (stack traces), and with `multiline`, a partition's last
    event is held back until the next one begins, `flush_due` finds the partition quiet, or
    `flush`. It is then no part of any window, so no checkpoint ever lies behind it. For `finished`
    logs see `EventAssembler`.
    """

    def __init__(
        self,
        line_format: LineFormat,
        key: str | None,
        template_of: TemplateLookup,
        multiline: MultilineConfig | None = None,
        *,
        finished: bool = False,
        by_mask: MaskedTemplateLookup | None = None,
    ) -> None:
        """`by_mask` gives the ids that `template_of` gives."""
        self._joiner = None if multiline is None else MultilineJoiner(multiline)
        self._assembler = EventAssembler(line_format, finished=finished)
        self.needs_single_blank = needs_single_blank(line_format, self._joiner)
        """Whether runs of empty lines are taken apart."""
        self._key_of = KeyExtractor(key)
        self._of_masked = by_mask and by_mask.template_of
        self._masks = by_mask and by_mask.masks
        self._parse = make_line_parser(line_format, self._key_of, self._masks).parse
        self._template_of = template_of
        self._check = InputCheck(line_format)
        self._name = line_format.name
        self._pattern = getattr(line_format, "pattern", None)
        self._lines = 0
        self._has_warned = self._has_doubted = False

    @property
    def discarded(self) -> Counter[str]:
        """Lines that became no part of an event, by reason."""
        joiner = self._joiner
        own = self._assembler.discarded
        return own if joiner is None else own + joiner.discarded

    @property
    def joined(self) -> dict[str, int]:
        """Lines that were taken for what goes on with the one before them, and further records.

        Of a line that holds several records the first is read.
        """
        further = self._assembler.further_records
        return {"continuation": self._assembler.joined, "further_record": further}

    @property
    def overruns(self) -> dict[str, int]:
        """How often a pattern of the user's took too long on a line, which counts as no match."""
        return {
            "format": overruns(self._pattern),
            "key": overruns(self._key_of.pattern),
            "multiline": overruns(*(() if self._joiner is None else self._joiner.patterns)),
            "mask": overruns(*(() if self._masks is None else self._masks.patterns)),
        }

    @property
    def lines(self) -> int:
        """How many lines were taken in."""
        return self._lines

    @property
    def foreign(self) -> int:
        """Lines that are not of the line format, but events, as they begin with a date."""
        return self._assembler.lenient

    @property
    def unmatched(self) -> tuple[int, int]:
        """How many lines were not of the line format, and of how many; blank ones aside.

        Comments are left aside too. Lines that begin with a date are events, and not of the format.
        """
        aside = self.discarded["blank"] + self.discarded["comment"]
        left_out = self.discarded.total() - aside
        return left_out + self.foreign, self._lines - aside

    def refuse_foreign(self) -> None:
        """See that finished logs are of the line format, and warn if many lines were not.

        Raises:
            DataError: there were no lines but blank ones.
            FormatError: there were lines, and not one is of it.

        """
        require_matching_format(*self.unmatched, self._name)
        self.warn_of_misfits()

    def warn_of_misfits(self, least_lines: int = 1) -> None:
        """Log warnings, once, if many of the lines (`least_lines` or more) were misread."""
        if self.unmatched[1] < least_lines:
            return
        if not self._has_warned:
            self._has_warned = warn_if_unmatched(*self.unmatched, self._name)
        if not self._has_doubted:
            for doubt in self.find_warnings():
                logger.warning("%s", doubt)
                self._has_doubted = True

    def find_warnings(self) -> list[str]:
        """Return a sentence for each sign that lines are misread; see `InputCheck`."""
        return self._check.find_warnings()

    def feed(self, lines: Iterable[LogLine]) -> list[Event]:
        """The events that these lines complete."""
        lines = list(one_by_one(lines) if self.needs_single_blank else lines)
        self._lines += line_count(lines)
        return self._assemble(lines if self._joiner is None else self._joiner.add(lines))

    def feed_batch(self, batch: LineBatch, found: ParsedBatch) -> list[Event]:
        """The events that the lines of a batch complete, by what was found in them.

        They are joined already (see `batched`). Where a partition ends with the batch, nothing is
        held back.
        """
        self._lines += batch.read
        if batch.discarded:
            self._assembler.discarded.update(batch.discarded)
        events = self._events(batch.lines, found)
        return events + (self.flush() if batch.last else [])

    def flush_due(self, idle: Mapping[str, float]) -> list[Event]:
        """Events held back in partitions that have gone quiet.

        `idle` says for how many seconds nothing more has waited in a partition (`Source.idle`).
        """
        due = [] if self._joiner is None else self._assemble(self._joiner.flush_due(idle))
        return due + [self._event(found) for found in self._assembler.flush_due(idle)]

    def held(self) -> list[str]:
        """Partitions of which a line is held back."""
        return self._assembler.held_partitions() + (
            [] if self._joiner is None else self._joiner.held()
        )

    def is_inside(self, partition: str, position: int) -> bool:
        """Whether reading can't begin at `position`; see `EventAssembler`."""
        return self._assembler.is_inside(partition, position)

    def adopt(self, before: EventParser) -> None:
        """Know where reading can't begin, as the reader did that read these lines before."""
        self._assembler.adopt(before._assembler)

    def drop(self, partition: str) -> None:
        """Forget a partition, with what is held back of it."""
        if self._joiner is not None:
            self._joiner.drop(partition)
        self._assembler.drop(partition)

    def has_pending(self, partition: str) -> bool:
        """Whether a line of the partition is held back."""
        is_joined = self._joiner is not None and self._joiner.holds(partition)
        return is_joined or self._assembler.has_pending(partition)

    def flush(self) -> list[Event]:
        """All events held back: the input has ended."""
        last = [] if self._joiner is None else self._assemble(self._joiner.flush())
        return last + [self._event(found) for found in self._assembler.flush()]

    def _assemble(self, lines: Sequence[LogLine]) -> list[Event]:
        return self._events(lines, self._parse(*to_columns(lines)))

    def _events(self, lines: Sequence[LogLine], found: ParsedBatch) -> list[Event]:
        """The events that these lines complete, by what was found in them."""
        self._check.add(lines, found)
        events: list[Event] = []
        for start, end, is_odd in _runs(lines, found):
            run = lines[start:end]
            if is_odd or len(run) < FEW_LINES or any(map(_ATTRIBUTES, run)):
                add = self._assembler.add
                pairs = ((line, found.at(place, line)) for place, line in enumerate(run, start))
                events += [self._event(one) for line, fields in pairs for one in add(line, fields)]
            else:
                events += self._run(run, found.part(start, end))
        return events

    def _run(self, lines: Sequence[LogLine], found: ParsedBatch) -> list[Event]:
        """The same, of lines of one partition of which the rest waits."""
        before, times = self._assembler.add_batch(lines, found)
        templates = self._templates(lines[: len(times)], found)
        own = make_records(Event, lines, found.deferred, times, found.keys, templates)
        return [self._event(one) for one in before] + own

    def _templates(self, lines: Sequence[LogLine], found: ParsedBatch) -> list[str]:
        """Ids for lines whose rest waits; equal masked messages are looked for but once."""
        rows = zip(lines, found.masked, found.deferred, strict=False)
        if self._of_masked is None or self._masks is None:
            return [
                self._template(line, masked, cast(DeferredFields, rest))
                for line, masked, rest in rows
            ]
        known = {m: self._of_masked(m, str) for m in set(found.masked) if m is not None}
        return [
            self._template(line, masked, cast(DeferredFields, rest))
            if masked is None
            else known[masked]
            for line, masked, rest in rows
        ]

    def _template(self, line: LogLine, masked: str | None, rest: DeferredFields) -> str:
        message = partial(rest.message, line)
        if masked is None or self._of_masked is None:
            return self._template_of(message())
        return self._of_masked(masked, message)

    def _event(self, assembled: AssembledLine) -> Event:
        line, found, timestamp = assembled
        if isinstance(found, ParsedLine) and not line.attributes:
            template = self._template(line, found.masked, found.rest)
            return Event(line, found.rest, timestamp, found.key, template)
        fields = found.fields
        if line.attributes:
            known = {ALIASES.get(name, name): text for name, text in line.attributes.items()}
            fields = replace(fields, attributes={**fields.attributes, **known})
        key = self._key_of(fields, attribute)
        return Event(line, fields, timestamp, key, self._template_of(fields.message))


def _runs(lines: Sequence[LogLine], found: ParsedBatch) -> Iterator[tuple[int, int, bool]]:
    """From where to where lines are of one partition and one kind; and whether these are odd."""
    edges = {0, len(lines)}
    for column in ([*map(kind, lines)] for kind in _KINDS):
        if len(set(column)) > 1:
            edges.update(compress(count(1), map(ne, column, column[1:])))
    odd = set(found.irregular)
    edges.update(place for place in odd if place - 1 not in odd)
    edges.update(place + 1 for place in odd if place + 1 not in odd)
    for start, end in pairwise(sorted(edges)):
        yield start, end, start in odd


def require_matching_format(unmatched: int, lines: int, name: str) -> None:
    """See that there are `lines` and not all are misfits of the line format `name`.

    Raises:
        DataError: there are none.
        FormatError: all are.

    """
    if not lines:
        raise DataError(NO_LINES)
    if lines <= unmatched:
        raise FormatError(
            f"none of the {lines} lines is of the format '{name}' that the model was trained on;"
            " is it the right model for these logs?"
        )


def warn_if_unmatched(unmatched: int, lines: int, name: str) -> bool:
    """Log a warning if many of the lines are not of the line format `name`; say whether."""
    if unmatched <= SUSPICIOUS_SHARE * lines:
        return False
    logger.warning(
        "%d of %d lines are not of the model's line format '%s' and were left out",
        *(unmatched, lines, name),
    )
    return True
