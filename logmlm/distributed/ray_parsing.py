"""Parse finished logs on Ray, for the one process that trains on them.

No line's parse depends on another line: files are split at any line end, and the parsed batches
come back in the order of files and lines. The result is the same however the work was divided.
`ParallelParser` does this with processes of one machine.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, groupby, pairwise
from pathlib import Path

from logmlm.distributed.ray_cluster import SHARD_BYTES, RayRow, indexed_dataset, unwrap_ray_errors
from logmlm.distributed.shards import Shard, ShardLines, split_at_lines
from logmlm.errors import LogmlmError
from logmlm.parsing.batches import (
    LineBatch,
    Packer,
    ParserSpec,
    ReparseOnDemand,
    WireColumns,
    from_wire,
)
from logmlm.parsing.formats import get_format
from logmlm.parsing.parsed import ParsedBatch
from logmlm.parsing.shape_parser import to_columns
from logmlm.records import BlankLines, LogLine
from logmlm.sources.archive.reader import require_nonempty

WarnFunction = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ParseJob:
    """What is parsed, and how: logs which each machine finds at the same paths."""

    logs: tuple[str, ...]
    parsing: ParserSpec
    keep_going: bool = False
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True, slots=True)
class _ParsedBlock:
    """A batch of a shard's lines, as columns of what can't be worked out again."""

    texts: list[str]
    places: list[tuple[int, int, int]]
    """Where each line starts and ends, and its number in the shard."""
    kinds: dict[int, type[LogLine]]
    """What the lines at these places are, that are runs of empty ones."""
    received_at: float
    packed: WireColumns
    read: int
    discarded: Counter[str]
    overruns: int

    def batch(self, log: str, before: int) -> LineBatch:
        """The batch as part of a log, with so many lines before the shard."""

        def kind(place: int) -> type[LogLine]:
            return self.kinds.get(place, LogLine)

        lines = [
            kind(at)(text, log, start, end, self.received_at, before + number)
            for at, (text, (start, end, number)) in enumerate(
                zip(self.texts, self.places, strict=True)
            )
        ]
        return LineBatch(lines, False, self.read, self.discarded, self.overruns)


_Outcome = _ParsedBlock | LogmlmError | str
"""What a row holds; a string is a warning of a damaged archive of which the beginning is used."""


def parse_on_ray(work: ParseJob, warn: WarnFunction) -> Iterator[tuple[LineBatch, ParsedBatch]]:
    """Parse all lines on Ray; the result is that of `ParallelParser.read`.

    Raises:
        DataError: all logs are empty, or one is binary or damaged.
        StorageError: a log is missing or can't be read.

    """
    require_nonempty(work.logs, warn)
    shards = [pair for log in work.logs for pair in _cut(log, work)]
    parse = partial(_parse, [shard for _, shard in shards], work)
    rows = indexed_dataset(len(shards), in_order=True).flat_map(parse).iter_rows()
    with unwrap_ray_errors():
        yield from _with_ends(_unpacked(rows, [log for log, _ in shards], work, warn))


def _cut(log: str, work: ParseJob) -> list[tuple[str, Shard]]:
    """Shards of a log, which goes by the name it was given, while workers may be elsewhere.

    It is one where messages go on from line to line.
    """
    path, is_whole = str(Path(log).absolute()), work.parsing.format.multiline
    shards = [Shard(path)] if is_whole else split_at_lines(path, work.shard_bytes)
    return [(log, shard) for shard in shards]


def _parse(shards: Sequence[Shard], work: ParseJob, row: RayRow) -> Iterator[RayRow]:
    """On Ray: read a shard, and give what was found in its lines, a row a batch."""
    number = row["id"]
    for outcome in _outcomes(shards[number], work):
        yield {"shard": number, "outcome": pickle.dumps(outcome)}


def _outcomes(shard: Shard, work: ParseJob) -> Iterator[_Outcome]:
    lines, pack = ShardLines(shard, work.keep_going), work.parsing.packer()
    try:
        for batch in work.parsing.batched(lines):
            yield _part(batch, pack)
    except LogmlmError as error:  # an answer, not a failure that Ray would try again
        yield error
    if lines.warning:
        yield lines.warning


def _part(batch: LineBatch, pack: Packer) -> _ParsedBlock:
    texts, times = to_columns(batch.lines)
    places = [(line.start, line.end, line.number) for line in batch.lines]
    packed = pack(texts, times)
    kinds = {
        place: type(line) for place, line in enumerate(batch.lines) if isinstance(line, BlankLines)
    }
    counts = batch.read, batch.discarded, batch.overruns
    return _ParsedBlock(texts, places, {**kinds}, max(times, default=0.0), packed, *counts)


def _unpacked(
    rows: Iterable[RayRow], logs: Sequence[str], work: ParseJob, warn: WarnFunction
) -> Iterator[tuple[str, LineBatch, ParsedBatch]]:
    """Each part as a batch, with what was found in its lines and the log that it is of."""
    again, before = ReparseOnDemand(get_format(work.parsing.format)), Counter[str]()
    for number, group in groupby(rows, lambda row: row["shard"]):
        log, read = logs[number], 0
        for part in _parts(group, warn):
            batch = part.batch(log, before[log])
            read += part.read
            yield log, batch, from_wire(part.packed, again)
        before[log] += read


def _parts(rows: Iterable[RayRow], warn: WarnFunction) -> Iterator[_ParsedBlock]:
    for row in rows:
        outcome: _Outcome = pickle.loads(row["outcome"])  # noqa: S301  made by our own code, on Ray
        if isinstance(outcome, LogmlmError):
            raise outcome
        if isinstance(outcome, str):
            warn(outcome)
        else:
            yield outcome


def _with_ends(
    parts: Iterable[tuple[str, LineBatch, ParsedBatch]],
) -> Iterator[tuple[LineBatch, ParsedBatch]]:
    """The batches, of which the last one of each log says so."""
    for part, following in pairwise(chain(parts, [None])):
        if part is not None:
            log, batch, found = part
            yield replace(batch, last=following is None or following[0] != log), found
