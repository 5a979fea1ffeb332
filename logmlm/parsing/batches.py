"""What can be said of a line by itself: its fields, its key, and its masked message.

None of it hangs on the lines before, so that any process may find it out, in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from operator import attrgetter

from logmlm.config.regex import overruns
from logmlm.config.training import FormatConfig, MultilineConfig
from logmlm.parsing.formats import RECORDS, LineFormat, MultilineJoiner, attribute, get_format
from logmlm.parsing.keys import KeyExtractor
from logmlm.parsing.masking import LogMasker, MaskPair
from logmlm.parsing.parsed import ParsedBatch
from logmlm.parsing.shape_parser import LineParser, make_line_parser
from logmlm.records import DeferredFields, Fields, LogLine, line_count, one_by_one

BATCH_LINES, BATCH_CHARS = 4_096, 4 << 20
PIECE_LINES = 64
"""So many lines, which may be long, are read before it is looked how long they are."""

WireColumns = tuple[list[float | None], list[str], list[str | None], dict[int, Fields | None], int]
"""Columns of `ParsedBatch`: times, keys, and masked messages of all lines; and which lines, by
their places, match no format, or go on in the next: these have all fields; and `overruns`."""


@dataclass(frozen=True, slots=True)
class LineBatch:
    """Lines of one partition in order; `last` says that the partition ends with them.

    They came from `read` lines, of which those of `discarded`, counted by reason, were left out of
    the messages they belong to. On `overruns` of them a pattern that joins lines was given up.
    """

    lines: list[LogLine]
    last: bool
    read: int
    discarded: Counter[str] = field(default_factory=Counter)
    overruns: int = 0


Packer = Callable[[Sequence[str], Sequence[float]], WireColumns]
"""Parses texts, each with the time when it was received."""


@dataclass(frozen=True, slots=True)
class ParserSpec:
    """How lines are parsed, as plain data; the format's name is never `auto`."""

    format: FormatConfig
    key: str | None
    masks: tuple[MaskPair, ...]

    def parser(self) -> LineParser:
        """What parses lines so, many by their shapes, and counts overruns."""
        return _Counting(*self._parts())

    def packer(self) -> Packer:
        """A function that parses so, for another process."""
        return _WorkerParser(*self._parts()).pack

    def batched(self, lines: Iterable[LogLine]) -> Iterator[LineBatch]:
        """Batches of lines, those of one message joined; runs of empty lines as they can be."""
        multiline = self.format.multiline
        joiner = None if multiline is None else MultilineJoiner(multiline)
        if needs_single_blank(get_format(self.format), joiner):
            lines = one_by_one(lines)
        return batch_lines(lines, multiline)

    def _parts(self) -> tuple[LineFormat, KeyExtractor, LogMasker]:
        return get_format(self.format), KeyExtractor(self.key), LogMasker(self.masks)


class _Counting:
    """A `LineParser` that says on how many texts a pattern of the user's was given up."""

    def __init__(self, line_format: LineFormat, key_of: KeyExtractor, masks: LogMasker) -> None:
        self._parse = make_line_parser(line_format, key_of, masks).parse
        self._patterns = getattr(line_format, "pattern", None), key_of.pattern, *masks.patterns
        self._counted = 0

    def parse(self, texts: Sequence[str], nows: Sequence[float]) -> ParsedBatch:
        """See `LineParser`."""
        found = self._parse(texts, nows)
        return replace(found, overruns=new) if (new := self.overruns()) else found

    def overruns(self) -> int:
        """How often it was since this was asked before."""
        before, self._counted = self._counted, overruns(*self._patterns)
        return self._counted - before


class _WorkerParser:
    """Finds out all that can be of lines, and keeps of it what can be sent."""

    def __init__(self, line_format: LineFormat, key_of: KeyExtractor, masks: LogMasker) -> None:
        self._parser = _Counting(line_format, key_of, masks)
        self._key_of = key_of
        self._mask = masks.mask_message

    def pack(self, texts: Sequence[str], nows: Sequence[float]) -> WireColumns:
        """See `Packer`."""
        found = self._parser.parse(texts, nows)
        odd: dict[int, Fields | None] = {}
        for place, rest in enumerate(found.deferred):
            if isinstance(rest, Fields) and not rest.partial and not _has_several(rest):
                found.times[place], found.keys[place] = (
                    rest.timestamp,
                    self._key_of(rest, attribute),
                )
                found.masked[place] = self._mask(rest.message)
            elif rest is None or isinstance(rest, Fields):
                odd[place] = rest and replace(rest, attributes=dict(rest.attributes))
            elif found.masked[place] is None:
                line = LogLine(texts[place], "", 0, 0, nows[place])
                found.masked[place] = self._mask(rest.message(line))
        given_up = found.overruns + self._parser.overruns()
        return found.times, found.keys, found.masked, odd, given_up


def _has_several(fields: Fields) -> bool:
    """Whether a line holds several records, which are counted where all its fields are known."""
    return type(fields.attributes) is dict and RECORDS in fields.attributes


class ReparseOnDemand:
    """Parses a line once more for what another process left out."""

    def __init__(self, line_format: LineFormat) -> None:
        self._parse = line_format.parse

    def fields(self, line: LogLine) -> Fields:
        """See `DeferredFields`."""
        found = self._parse(line.text, line.received_at)
        return Fields(None, "", line.text) if found is None else found

    def message(self, line: LogLine) -> str:
        """See `DeferredFields`."""
        return self.fields(line).message


def from_wire(packed: WireColumns, rest: ReparseOnDemand) -> ParsedBatch:
    """Give what `pack` found."""
    times, keys, masked, odd, given_up = packed
    rests: list[DeferredFields | Fields | None] = [rest] * len(times)
    for place, fields in odd.items():
        rests[place] = fields
    return ParsedBatch(times, keys, masked, rests, sorted(odd), given_up)


def needs_single_blank(line_format: LineFormat, joiner: MultilineJoiner | None) -> bool:
    """Whether an empty line may be an event or begin a message: then none is part of a run."""
    begins = joiner is not None and joiner.begins_blank
    return begins or line_format.parse("", 0.0) is not None


def batch_lines(lines: Iterable[LogLine], multiline: MultilineConfig | None) -> Iterator[LineBatch]:
    """Batches of `by_partition`, with the lines of messages joined."""
    batches = by_partition(lines)
    return batches if multiline is None else _joined(batches, MultilineJoiner(multiline))


def _joined(batches: Iterable[LineBatch], joiner: MultilineJoiner) -> Iterator[LineBatch]:
    for batch in batches:
        before, given_up = joiner.discarded.copy(), overruns(*joiner.patterns)
        lines = joiner.add(batch.lines) + (joiner.flush() if batch.last else [])
        yield replace(
            batch,
            lines=lines,
            discarded=joiner.discarded - before,
            overruns=overruns(*joiner.patterns) - given_up,
        )


def by_partition(lines: Iterable[LogLine]) -> Iterator[LineBatch]:
    """Batches of `BATCH_LINES` lines or about `BATCH_CHARS` characters, each of one partition."""
    for _, group in groupby(lines, attrgetter("partition")):
        yield from _batches(group)


def _batches(lines: Iterator[LogLine]) -> Iterator[LineBatch]:
    following = next(lines, None)
    while following is not None:
        batch = _filled([following], lines)
        following = next(lines, None)
        yield LineBatch(batch, following is None, line_count(batch))


def _filled(batch: list[LogLine], lines: Iterator[LogLine]) -> list[LogLine]:
    """A batch with the lines that follow, as many as make it full."""
    chars = len(batch[0].text)
    while chars < BATCH_CHARS:
        piece = list(islice(lines, min(PIECE_LINES, BATCH_LINES - len(batch))))
        if not piece:
            break
        batch += piece
        chars += sum(map(len, map(attrgetter("text"), piece)))
    return batch
