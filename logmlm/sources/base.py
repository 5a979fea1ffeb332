"""What every source promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from logmlm.records import Checkpoint, LogLine


class Source(Protocol):
    """Hands over lines, and remembers how far they were dealt with.

    Lines of one partition come in the order of their positions, each once; after a stop, from
    the `safe` position that was committed last, or from where reading first began. Lines of
    different partitions come in any order, none of them starved. A partial last line waits
    for its newline.
    """

    name: str
    """The kind of source, for the alerts' `source` label."""

    replayable: bool
    """Whether lines can be read again after a stop; if not, open windows are scored at a stop."""

    discarded: Counter[str]
    """What was cut, dropped or skipped since the start, by reason (one word of few)."""

    @property
    def exhausted(self) -> bool:
        """Whether no line can ever come again."""
        ...

    def poll(self, timeout: float) -> list[LogLine]:
        """Lines that are there now; if there are none, wait for some, `timeout` seconds at most.

        A batch is bounded in bytes. Bad input is counted and handed over as well as it can be.
        """
        ...

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Every partition at hand, with the position that was committed last."""
        ...

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        """Keep these positions durably; those of partitions no longer at hand are ignored."""
        ...

    def lag(self) -> Mapping[str, int]:
        """How much is still to be read, by partition, in bytes or entries, where it is known.

        Cheap enough to be asked every few seconds.
        """
        ...

    def origin(self, partition: str) -> str:
        """Where a partition's lines come from, for people: a file's path."""
        ...

    def close(self) -> None:
        """Let go of files and connections; nothing is committed."""
        ...


def decode(raw: bytes, max_line_bytes: int) -> str:
    r"""Text of a raw line without its line end, cut to `max_line_bytes`; bad UTF-8 as `\xNN`."""
    line = raw.removesuffix(b"\n").removesuffix(b"\r")
    return line[:max_line_bytes].decode("utf-8", errors="backslashreplace")
