"""What can be said of a line by itself: its fields, its key, and its masked message.

None of it hangs on the lines before, so that any process may find it out, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from logmlm.config import FormatConfig, MultilineConfig
from logmlm.formats import (
    Attributes,
    Joiner,
    LineFormat,
    PatternFormat,
    attribute,
    first_line,
    get_format,
)
from logmlm.keys import KeyExtractor
from logmlm.layouts import Parse, Parsed, parser
from logmlm.masks import Masks, Pair
from logmlm.records import Fields, LogLine

BATCH_LINES, BATCH_CHARS = 4_096, 4 << 20

Packed = tuple[Any, ...] | None
"""A line's `Parsed` as plain values, with None for attributes that its text says again."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one partition in order; `last` says that the partition ends with them.

    They came from `read` lines, of which `too_long` were left out of the messages they belong to.
    """

    lines: list[LogLine]
    last: bool
    read: int
    too_long: int = 0


Packer = Callable[[Sequence[str], Sequence[float]], list[Packed]]
"""Parses texts, each with the time when it was received."""
Found = list[Fields | None]
"""What was found in each line of a batch; None: it does not match the format."""


@dataclass(frozen=True, slots=True)
class Parsing:
    """How lines are parsed, as plain data; the format's name is never `auto`."""

    format: FormatConfig
    key: str | None
    masks: tuple[Pair, ...]

    def parser(self) -> Parse:
        """A function that parses lines so, many by their shapes."""
        return parser(*self._parts())

    def packer(self) -> Packer:
        """A function that parses so, for another process."""
        line_format, key_of, masks = self._parts()
        parse = parser(line_format, key_of, masks)

        def pack(text: str, received_at: float) -> Packed:
            fields = parse(text, received_at)
            if fields is None:
                return None
            waits = isinstance(fields.attributes, Attributes)
            attributes = None if waits else fields.attributes
            known = fields if isinstance(fields, Parsed) else None
            key = key_of(fields, attribute) if known is None else known.key
            masked = None if known is None else known.masked
            found = (attributes, fields.label, fields.partial, key)
            masked = masks.mask_message(fields.message) if masked is None else masked
            return (fields.timestamp, fields.level, fields.message, *found, masked)

        return lambda texts, times: list(map(pack, texts, times))

    def _parts(self) -> tuple[LineFormat, KeyExtractor, Masks]:
        return get_format(self.format), KeyExtractor(self.key), Masks(self.masks)


def unpacked(packed: Packed, text: str, line_format: LineFormat) -> Parsed | None:
    """Give what `pack` found in a text, with the attributes again."""
    if packed is None:
        return None
    timestamp, level, message, attributes, *rest = packed
    if isinstance(line_format, PatternFormat):
        attributes = Attributes(line_format, first_line(text))
    return Parsed(timestamp, level, message, attributes, *rest)


def batched(lines: Iterable[LogLine], multiline: MultilineConfig | None) -> Iterator[Batch]:
    """Batches of `by_partition`, with the lines of messages joined."""
    batches = by_partition(lines)
    return batches if multiline is None else _joined(batches, Joiner(multiline))


def _joined(batches: Iterable[Batch], joiner: Joiner) -> Iterator[Batch]:
    for batch in batches:
        before = joiner.discarded.total()
        lines = joiner.add(batch.lines) + (joiner.flush() if batch.last else [])
        yield replace(batch, lines=lines, too_long=joiner.discarded.total() - before)


def by_partition(lines: Iterable[LogLine]) -> Iterator[Batch]:
    """Batches of `BATCH_LINES` lines or about `BATCH_CHARS` characters, each of one partition."""
    batch: list[LogLine] = []
    chars = 0
    for line in lines:
        changed = bool(batch) and batch[0].partition != line.partition
        if changed or len(batch) == BATCH_LINES or chars >= BATCH_CHARS:
            yield Batch(batch, changed, len(batch))
            batch, chars = [], 0
        batch.append(line)
        chars += len(line.text)
    if batch:
        yield Batch(batch, True, len(batch))
