"""What can be said of a line by itself: its fields, its key, and its masked message.

None of it hangs on the lines before, so that any process may find it out, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from logmlm.config import FormatConfig, MultilineConfig
from logmlm.formats import Joiner, LineFormat, attribute, get_format
from logmlm.keys import KeyExtractor
from logmlm.layouts import Parse, parser
from logmlm.masks import Masks, Pair
from logmlm.records import Fields, LineFields, LogLine, Parsed

BATCH_LINES, BATCH_CHARS = 4_096, 4 << 20

Packed = tuple[float | None, str, str, str | None] | Fields | None
"""A line's `Parsed` without its text; or all fields, of a line that goes on in the next."""


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
Found = list[LineFields | None]
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
            found = parse(text, received_at)
            if found is None:
                return None
            if isinstance(found, Parsed):
                key, masked = found.key, found.masked
            elif found.partial:
                return replace(found, attributes=dict(found.attributes))
            else:
                key, masked = key_of(found, attribute), None
            masked = masks.mask_message(found.message) if masked is None else masked
            return found.timestamp, found.message, key, masked

        return lambda texts, times: list(map(pack, texts, times))

    def _parts(self) -> tuple[LineFormat, KeyExtractor, Masks]:
        return get_format(self.format), KeyExtractor(self.key), Masks(self.masks)


class Again:
    """Parses a line once more for what another process left out."""

    def __init__(self, line_format: LineFormat) -> None:
        self._parse = line_format.parse

    def fields(self, parsed: Parsed) -> Fields:
        """See `Rest`."""
        found = self._parse(parsed.text, parsed.timestamp or 0.0)
        return replace(found or Fields(None, "", parsed.message), timestamp=parsed.timestamp)


def unpacked(packed: Packed, text: str, rest: Again) -> LineFields | None:
    """Give what `pack` found in a text."""
    return Parsed(*packed, text, rest) if isinstance(packed, tuple) else packed


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
