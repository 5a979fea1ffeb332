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
from logmlm.parsing.batches import Again, Batch, Packed, Parsing, unpacked
from logmlm.parsing.formats import get_format
from logmlm.parsing.parsed import Found
from logmlm.parsing.shape_parser import columns
from logmlm.records import LogLine
from logmlm.system.processes import available_cpus, interrupts_ignored

SMALL_LINES = 100_000
"""Lines that are parsed in this process before others are started: these take a second to come."""

_END_S = 5.0
"""How long a process may take over its last batch."""


class Crew:
    """Parses batches of lines, with `workers` processes (by default one a CPU but this one's).

    The first `small` lines, and all of them without workers, are parsed in this process.
    """

    def __init__(
        self, parsing: Parsing, workers: int | None = None, small: int = SMALL_LINES
    ) -> None:
        self._parsing = parsing
        self._workers = available_cpus() - 1 if workers is None else workers
        self._small = small
        self._again = Again(get_format(parsing.format))
        self._parse = parsing.parser().parse

    def read(self, lines: Iterable[LogLine]) -> Iterator[tuple[Batch, Found]]:
        """All lines, those of one message joined, in batches as `parse` gives them."""
        return self.parse(self._parsing.batched(lines))

    def parse(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Found]]:
        """Each batch with the fields of its lines (None: it does not match), in the order given.

        Fields that came from a process, or by a line's shape, are `Parsed`. An error that `batches`
        raises comes after all batches before it.

        Raises:
            LogmlmError: a process died.

        """
        rest, lines = iter(batches), 0
        while not self._workers or lines < self._small:
            batch = next(rest, None)
            if batch is None:
                return
            yield batch, self._parse(*columns(batch.lines))
            lines += len(batch.lines)
        yield from self._shared(rest)

    def _shared(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Found]]:
        errors: list[LogmlmError] = []
        waiting: deque[tuple[Batch, _Worker]] = deque()
        with ExitStack() as started:
            for batch in _until_error(batches, errors):
                if len(waiting) < self._workers:
                    worker = started.enter_context(_Worker(self._parsing))
                    worker.send(batch)
                    waiting.append((batch, worker))
                    continue
                done, worker = waiting.popleft()
                packed = worker.receive()
                worker.send(batch)  # it goes on before this process looks at its result
                waiting.append((batch, worker))
                yield done, unpacked(packed, self._again)
            for done, worker in waiting:
                yield done, unpacked(worker.receive(), self._again)
        if errors:
            raise errors[0]


def _until_error(batches: Iterator[Batch], errors: list[LogmlmError]) -> Iterator[Batch]:
    try:
        yield from batches
    except LogmlmError as error:
        errors.append(error)


class _Worker:
    """One process, which is sent a batch and answers before it is sent the next one."""

    def __init__(self, parsing: Parsing) -> None:
        context = get_context("spawn")
        self._connection, self._theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(parsing, self._theirs), daemon=True)

    def __enter__(self) -> _Worker:
        with interrupts_ignored():
            self._process.start()
        self._theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()  # which is what it ends at
        self._process.join(_END_S)
        self._process.kill()
        self._process.join()

    def send(self, batch: Batch) -> None:
        with suppress(BrokenPipeError):  # `receive` says so
            self._connection.send(columns(batch.lines))

    def receive(self) -> Packed:
        try:
            found: Packed = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise LogmlmError(
                f"a process that parses lines died (exit code {self._process.exitcode}); if memory"
                " ran out, give it fewer CPUs (taskset -c 0 logmlm …) and start again"
            ) from error
        return found


def _work(parsing: Parsing, connection: Connection) -> None:
    """In the process: parse what comes, until nobody sends any more."""
    pack = parsing.packer()
    with suppress(EOFError, ConnectionError):
        while True:
            texts, times = connection.recv()
            connection.send(pack(texts, times))
