"""Processes that parse lines, beside the one that makes windows of them.

Parsing is where most of the time goes, and no line's parsing hangs on another line's: batches go
to one process after the other, and come back in their order, so that what is made of them is the
same however many processes there are. They import neither torch nor what the scores need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection

from logmlm.errors import LogmlmError
from logmlm.parsing.batches import LineBatch, ParserSpec, ReparseOnDemand, WireColumns, from_wire
from logmlm.parsing.formats import get_format
from logmlm.parsing.parsed import ParsedBatch
from logmlm.parsing.shape_parser import to_columns
from logmlm.records import LogLine
from logmlm.system.processes import available_cpus, interrupts_ignored

SMALL_LINES = 100_000
"""Lines that are parsed in this process before others are started: these take a second to come."""

_END_S = 5.0
"""How long a process may take over its last batch."""


class ParallelParser:
    """Parse batches of lines with `workers` processes (default: one per CPU but this one's).

    The first `small` lines, and all of them without workers, are parsed in this process.
    """

    def __init__(
        self, parsing: ParserSpec, workers: int | None = None, small: int = SMALL_LINES
    ) -> None:
        self._parsing = parsing
        self._workers = available_cpus() - 1 if workers is None else workers
        self._small = small
        self._again = ReparseOnDemand(get_format(parsing.format))
        self._parse = parsing.parser().parse

    def read(self, lines: Iterable[LogLine]) -> Iterator[tuple[LineBatch, ParsedBatch]]:
        """All lines, those of one message joined, in batches as `parse` gives them."""
        return self.parse(self._parsing.batched(lines))

    def parse(self, batches: Iterable[LineBatch]) -> Iterator[tuple[LineBatch, ParsedBatch]]:
        """Each batch with the fields of its lines (None: it does not match), in the order given.

        Fields that came from a process, or by a line's shape, are `ParsedLine`. An error that
        `batches` raises comes after all batches before it.

        Raises:
            LogmlmError: a process died.

        """
        rest, lines = iter(batches), 0
        while not self._workers or lines < self._small:
            batch = next(rest, None)
            if batch is None:
                return
            yield batch, self._parse(*to_columns(batch.lines))
            lines += len(batch.lines)
        yield from self._shared(rest)

    def _shared(self, batches: Iterator[LineBatch]) -> Iterator[tuple[LineBatch, ParsedBatch]]:
        errors: list[LogmlmError] = []
        waiting: deque[tuple[LineBatch, _ParserProcess]] = deque()
        with ExitStack() as started:
            for batch in _stop_at_error(batches, errors):
                if len(waiting) < self._workers:
                    worker = started.enter_context(_ParserProcess(self._parsing))
                    worker.send(batch)
                    waiting.append((batch, worker))
                    continue
                done, worker = waiting.popleft()
                packed = worker.receive()
                worker.send(batch)  # it goes on before this process looks at its result
                waiting.append((batch, worker))
                yield done, from_wire(packed, self._again)
            for done, worker in waiting:
                yield done, from_wire(worker.receive(), self._again)
        if errors:
            raise errors[0]


def _stop_at_error(batches: Iterator[LineBatch], errors: list[LogmlmError]) -> Iterator[LineBatch]:
    try:
        yield from batches
    except LogmlmError as error:
        errors.append(error)


class _ParserProcess:
    """One process, which is sent a batch and answers before it is sent the next one."""

    def __init__(self, parsing: ParserSpec) -> None:
        context = get_context("spawn")
        self._connection, self._theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(parsing, self._theirs), daemon=True)

    def __enter__(self) -> _ParserProcess:
        with interrupts_ignored():
            self._process.start()
        self._theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()  # which is what it ends at
        self._process.join(_END_S)
        self._process.kill()
        self._process.join()

    def send(self, batch: LineBatch) -> None:
        with suppress(BrokenPipeError):  # `receive` says so
            self._connection.send(to_columns(batch.lines))

    def receive(self) -> WireColumns:
        try:
            found: WireColumns = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise LogmlmError(
                f"a process that parses lines died (exit code {self._process.exitcode}); if memory"
                " ran out, give it fewer CPUs (taskset -c 0 logmlm …) and start again"
            ) from error
        return found


def _work(parsing: ParserSpec, connection: Connection) -> None:
    """In the process: parse what comes, until nobody sends any more."""
    pack = parsing.packer()
    with suppress(EOFError, ConnectionError):
        while True:
            texts, times = connection.recv()
            connection.send(pack(texts, times))
