"""Parts of finished logs, read side by side and put together again to the very same windows.

A large plain file is cut where no event goes on, so that nothing before a shard matters to it but
how many lines and events there were and how far event time had come (`ShardContext`); a first pass
finds these, and reads a shard once more where what was before it changes which of its clocks are
wrong. The second pass matches the lines, and sends each event, with the watermark as it stood then,
to the bucket of what it can't be parted from (`Rule.shard_key`). There a `Windower` takes them in
the order of their lines: the same windows, whatever the shards and buckets (Akidau et al., "The
Dataflow Model", VLDB 2015, on why event time makes that possible), each with its `WindowOrder`.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, pairwise
from math import inf
from pathlib import Path
from types import MappingProxyType

from logmlm.config.training import WindowConfig
from logmlm.detection.seams import BOUNDARY_LINES, RotationSeam, first_time
from logmlm.detection.watermark import (
    LOOKAHEAD_EVENTS,
    host_of,
    is_far_ahead,
    tolerance_of,
    with_watermarks,
)
from logmlm.detection.window_policies import rule_of
from logmlm.detection.windows import Windower
from logmlm.distributed.window_order import WindowOrder, WindowOrderTracker
from logmlm.errors import DataError, StorageError
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import LineFormat
from logmlm.parsing.formats.assembler import ContainerFormat
from logmlm.parsing.formats.timestamps import DAY_S
from logmlm.records import NO_ATTRIBUTES, BlankLines, Event, Fields, LogLine, Window, one_by_one
from logmlm.sources.archive.reader import is_compressed, line_start_after, read_range

LOOKBACK_BYTES = 2 << 20
"""So much is read before a place where a file of a container runtime may be cut."""
MATCH_BATCH_LINES = 4_096
BLOCK_EVENTS = 100_000

Read = Callable[[], EventParser]
"""Makes a reader of lines; of the first pass one that need not match templates."""
EventRow = tuple[str, int, int, int, float, str, float, str, str, float]


@dataclass(frozen=True, slots=True)
class Shard:
    """Lines of a file that begin at byte `start` or later, and before `end` (None: to its end)."""

    path: str
    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What the first pass finds: how much a shard holds, and how its event time goes.

    `latest` is the watermark at its end if nothing came before; if something did, it is the later
    of that and the watermark before, provided that the summary `holds_after` this. `misfits` are
    lines that are not of the line format, blank ones aside, and of how many; `warning` is a
    sentence on a damaged archive of which the beginning is used.
    """

    size: int
    lines: int
    events: int
    latest: float | None
    misfits: tuple[int, int]
    warning: str = ""
    start: Start | None = None

    def holds_after(self, watermark: float | None, tolerance: float) -> bool:
        """Whether lines before the shard leave all its events what they are, right or wrong."""
        start = self.start
        if start is None or watermark is None:
            return True
        if start.first > watermark + tolerance:
            return start.is_borne_out
        return watermark <= start.calm_until


@dataclass(frozen=True, slots=True)
class Start:
    """How a shard begins: its `first` event time, and whether what follows bears that out.

    Up to the watermark `calm_until` none of its events is far ahead of those before it.
    """

    first: float
    is_borne_out: bool
    calm_until: float


@dataclass(frozen=True, slots=True)
class ShardContext:
    """What lies before a shard in its file: lines, events, and the watermark there.

    `final` is the watermark at the end of the file; `seam` is what lies beside it.
    """

    lines: int = 0
    events: int = 0
    watermark: float | None = None
    final: float = 0.0
    seam: RotationSeam | None = None


@dataclass(frozen=True, slots=True)
class ShuffleBlock:
    """Events of one shard for one bucket, in the order of their lines, the first at `start`."""

    path: str
    start: int
    final: float
    rows: tuple[EventRow, ...]
    seam: RotationSeam | None = None


def split_at_events(path: str, shard_bytes: int, line_format: LineFormat | None) -> list[Shard]:
    """Cut a file into shards of about `shard_bytes`; into one if it is packed.

    A shard begins with a line that starts an event with a time of its own, below another one
    that starts an event: whatever was before, an event ends there. `line_format` None says that
    lines can't be told apart by themselves (`multiline`): one shard. So is a file in which time
    goes back by a day or more from cut to cut: the years of its lines may hang on those before.

    Raises:
        StorageError: the file is missing or can't be read.

    """
    size = _size(path)
    if size is None or line_format is None or size <= shard_bytes:
        return [Shard(path, 0, size)]
    borders, times = [0], first_time(path, line_format)
    for position in range(shard_bytes, size, shard_bytes):
        if position > borders[-1]:
            for start, time in _boundary(path, position, line_format):
                borders.append(start)
                times.append(time)
    if any(later < earlier - DAY_S for earlier, later in pairwise(times)):
        borders = [0]
    return _between(path, borders, size)


def split_at_lines(path: str, shard_bytes: int) -> list[Shard]:
    """Cut a file into shards of about `shard_bytes`, each of whole lines; into one if it is packed.

    Raises:
        StorageError: the file is missing or can't be read.

    """
    size = _size(path)
    if size is None:
        return [Shard(path)]
    starts = (line_start_after(path, place) for place in range(shard_bytes, size, shard_bytes))
    return _between(path, sorted({0, *(start for start in starts if start < size)}), size)


def summarize(
    shard: Shard,
    read: Read,
    window: WindowConfig,
    keep_going: bool = False,
    watermark: float | None = None,
) -> Summary:
    """Read a shard for what those after it must know; `watermark` is that before it, if known.

    Raises:
        DataError: the file is binary or damaged (unless `keep_going`).
        StorageError: it can't be read.

    """
    lines, reader = ShardLines(shard, keep_going), read()
    tolerance, events = tolerance_of(window), _events(lines, reader)
    count, before, calm_until = 0, watermark, inf
    head: list[Event] = []
    for event, latest in with_watermarks(events, watermark, tolerance, _after(shard, read)):
        if calm_until == inf and is_far_ahead(event, before, tolerance):
            calm_until = -inf if before is None else before
        if count <= LOOKAHEAD_EVENTS:
            head.append(event)
        count, before = count + 1, latest
    start = _start(head, _after(shard, read), calm_until, tolerance) if head else None
    size, misfits = (lines.size, lines.count, count), reader.unmatched
    return Summary(*size, before, misfits, lines.warning, start)


def shard_contexts(
    shards: Sequence[Shard],
    summaries: Sequence[Summary],
    read: Read,
    window: WindowConfig,
    beside: Mapping[str, RotationSeam] = MappingProxyType({}),
) -> list[ShardContext]:
    """What each shard must know, of shards in the order of their lines in each file.

    Where what comes before a shard makes a difference to which of its clocks are wrong, it is
    summarised once more, by a reader of `read`.
    """
    tolerance = tolerance_of(window)
    found: list[ShardContext] = []
    for path, group in groupby(zip(shards, summaries, strict=True), lambda pair: pair[0].path):
        here, carry = [], ShardContext()
        for shard, alone in group:
            here.append(carry)
            before, summary = carry.watermark, alone
            if not alone.holds_after(before, tolerance):
                summary = summarize(shard, read, window, keep_going=True, watermark=before)
            times = [time for time in (before, summary.latest) if time is not None]
            lines, events = carry.lines + summary.lines, carry.events + summary.events
            carry = ShardContext(lines, events, max(times, default=None))
        final, seam = carry.watermark or 0.0, beside.get(path)
        found += [replace(each, final=final, seam=seam) for each in here]
    return found


def shuffle_map(
    shard: Shard, carry: ShardContext, read: Read, window: WindowConfig, buckets: int
) -> Iterator[tuple[int, ShuffleBlock]]:
    """Read and match a shard, and give out its events in parts, each for one bucket of `buckets`.

    Raises:
        StorageError: the file can't be read any more.

    """
    unit_of = rule_of(window).shard_key
    index, held = carry.events, 0
    rows: dict[int, list[EventRow]] = defaultdict(list)
    events = _events(ShardLines(shard, keep_going=True), read())
    after, tolerance = _after(shard, read), tolerance_of(window)
    for event, watermark in with_watermarks(events, carry.watermark, tolerance, after):
        bucket = _bucket(shard.path, unit_of(event, index), buckets)
        host = host_of(event) if window.host_skew_s else ""
        rows[bucket].append(_row(event, carry.lines, host, watermark))
        index, held = index + 1, held + 1
        if held == BLOCK_EVENTS:
            yield from _parts(shard, carry, rows)
            rows, held = defaultdict(list), 0
    yield from _parts(shard, carry, rows)


def shuffle_reduce(
    parts: Iterable[ShuffleBlock], window: WindowConfig
) -> Iterator[tuple[WindowOrder, Window]]:
    """The windows of all parts of one bucket, each with its turn among those of its file.

    Of their lines' fields nothing is known here but the host, where it counts.
    """
    in_order = sorted(parts, key=lambda part: (part.path, part.start))
    for path, group in groupby(in_order, lambda part: part.path):
        windower, turns, final = Windower(window, is_part=True), WindowOrderTracker(window), 0.0
        for part in group:
            if part.seam is not None and not windower.partitions:
                windower.join_partitions(path, part.seam.begins, part.seam.goes_on)
            final = part.final
            for row in part.rows:
                yield from turns.flush(windower.advance_watermark(path, row[-1]))
                event = _event(path, row)
                turns.count(event, row[-1])
                yield from turns.cut(windower.add([event]), event)
        yield from turns.flush(windower.advance_watermark(path, final) + windower.close_all())


class ShardLines:
    """A shard's lines; how many there were, and what was wrong, once they are read."""

    def __init__(self, shard: Shard, keep_going: bool) -> None:
        self.count = self.size = 0
        self.warning = ""
        self._shard = shard
        self._keep_going = keep_going

    def __iter__(self) -> Iterator[LogLine]:
        place = self._shard.path, self._shard.start, self._shard.end
        try:
            for line in read_range(*place, keep_going=self._keep_going):
                self.count, self.size = line.number, line.end - self._shard.start
                if isinstance(line, BlankLines):
                    self.count += line.lines - 1
                yield line
        except DataError as error:
            if not self._keep_going:
                raise
            self.warning = str(error)


def _events(lines: Iterable[LogLine], reader: EventParser) -> Iterator[Event]:
    iterator = iter(lines)
    while batch := list(islice(iterator, MATCH_BATCH_LINES)):
        yield from reader.feed(batch)
    yield from reader.flush()


def _after(shard: Shard, read: Read) -> Iterator[Event]:
    """The events that follow a shard in its file; it is read on only if they are asked for."""
    if shard.end is not None:
        yield from _events(ShardLines(Shard(shard.path, shard.end), keep_going=True), read())


def _start(
    head: Sequence[Event], after: Iterator[Event], calm_until: float, tolerance: float
) -> Start:
    """How a shard begins that has these events first, and then those `after` it."""
    first, *following = (event.timestamp for event in head)
    following += [event.timestamp for event in islice(after, LOOKAHEAD_EVENTS - len(following))]
    is_told = len(following) == LOOKAHEAD_EVENTS and min(following) >= first - tolerance
    return Start(first, is_told, calm_until)


def _size(path: str) -> int | None:
    """Bytes of a plain file; None of a packed one."""
    if is_compressed(path):
        return None
    try:
        return Path(path).stat().st_size
    except OSError as error:
        raise StorageError(f"can't read {path}: {error.strerror}") from error


def _between(path: str, borders: Sequence[int], size: int) -> list[Shard]:
    return [Shard(path, *ends) for ends in zip(borders, [*borders[1:], size], strict=True)]


def _boundary(path: str, position: int, line_format: LineFormat) -> list[tuple[int, float]]:
    """The first place at `position` or later where the file can be cut, and the time there.

    There is none where the next `BOUNDARY_LINES` lines have none. No line that was cut, of whatever
    stream, goes on behind it: those before `position` are looked at too.
    """
    back = LOOKBACK_BYTES if isinstance(line_format, ContainerFormat) else 0
    begin = line_start_after(path, position - back) if position > back else 0
    is_start, cut, lines = False, dict[str | None, bool](), 0
    for line in one_by_one(read_range(path, begin)):
        fields = line_format.parse(line.text, line.received_at)
        time = None if fields is None else fields.timestamp
        if line.start >= position:
            if time is not None and is_start and not any(cut.values()):
                return [(line.start, time)]
            lines += 1
            if lines == BOUNDARY_LINES:
                break
        is_start = fields is not None
        if fields is not None:
            cut[fields.attributes.get("log.iostream")] = fields.partial
    return []


def _bucket(path: str, unit: tuple[str, float], buckets: int) -> int:
    """The same on every machine, so not `hash`."""
    return zlib.crc32(repr((path, unit)).encode("utf-8", "backslashreplace")) % buckets


def _parts(
    shard: Shard, carry: ShardContext, rows: dict[int, list[EventRow]]
) -> Iterator[tuple[int, ShuffleBlock]]:
    for bucket, own in rows.items():
        yield bucket, ShuffleBlock(shard.path, own[0][1], carry.final, tuple(own), carry.seam)


def _row(event: Event, lines_before: int, host: str, watermark: float) -> EventRow:
    line = event.line
    number = lines_before + line.number
    place = (line.text, line.start, line.end, number, line.received_at, host)
    return (*place, event.timestamp, event.key, event.template_id, watermark)


def _event(path: str, row: EventRow) -> Event:
    text, start, end, number, received_at, host, timestamp, key, template_id, _ = row
    line = LogLine(text, path, start, end, received_at, number)
    attributes = {"host.name": host} if host else NO_ATTRIBUTES
    return Event(line, Fields(timestamp, "", "", attributes), timestamp, key, template_id)
