"""What every source promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from logmlm.records import Checkpoint, LogLine
from logmlm.system.line_text import strip_controls


@dataclass(frozen=True, slots=True)
class Handover:
    """What the next owner of a partition is told: where to read, and which alerts are delivered.

    `delivered` are ids of alerts that reading on from `checkpoint` makes once more.
    """

    checkpoint: Checkpoint
    delivered: tuple[str, ...] = ()


HandOver = Callable[[Collection[str], float], Mapping[str, Handover]]
"""Says of partitions that are being taken away what to hand over, within so many seconds."""


@dataclass(frozen=True, slots=True)
class PartitionChanges:
    """Partitions that were taken away, and those that came, each where its reading starts.

    A partition in both was lost and then came back: what is held of it is from before. To those
    that `ended` hardly a line comes any more: what is open of them is to be dealt with. `follows`
    names, of partitions gained now or at the start, the one that each goes on from: a rotated log.
    """

    lost: frozenset[str] = frozenset()
    gained: Mapping[str, Checkpoint] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    delivered: frozenset[str] = frozenset()
    """Ids of alerts of the gained partitions that the owner before has delivered."""
    follows: Mapping[str, str] = field(default_factory=dict)


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

    def begin(self) -> None:
        """Find the positions where reading starts; called once, before the daemon says "ready".

        Each line that is written after this returns is read, whatever `start_at` says. It takes
        seconds at most.

        Raises:
            StorageError: positions can't be kept.

        """
        ...

    def poll(self, timeout: float) -> list[LogLine]:
        """Lines that are there now; if there are none, wait for some, `timeout` seconds at most.

        A batch is bounded in bytes. Bad input is counted and handed over as well as it can be.
        """
        ...

    def changes(self) -> PartitionChanges:
        """Partitions lost, gained and ended since the last call; asked after each poll.

        The lines of that poll are those of the partitions as they are now, from the gained
        checkpoints on: what is held of a lost partition has to go before they are dealt with,
        and what is held of one that ended has to be dealt with after them.
        """
        ...

    def consumed_positions(self) -> Mapping[str, int]:
        """Positions up to which all is handed over, or kept as unreadable, by partition.

        Partitions may be left out where it costs nothing to read again what was no event.
        """
        ...

    def idle(self, partitions: Collection[str]) -> Mapping[str, float]:
        """Return for how many seconds nothing more has waited to be read, by partition.

        Only of those of `partitions` for which the source knows it from a look of its own, and
        knows it now. A partition that lags, is held, is not looked at or is out of reach is left
        out, and counts from 0 again. The seconds are those of a monotonic clock; see `IdleTimes`.
        What the last poll handed over is counted as read.
        """
        ...

    def is_idle(self) -> bool:
        """Whether the source knows that nothing waits to be read in any partition."""
        ...

    def set_pending(self, positions: Callable[[], Mapping[str, Checkpoint]]) -> None:
        """Keep in mind, without any I/O, what may be committed when a partition is taken away.

        `positions` is called by a source whose partitions can be taken away: it costs a look at
        each of them.
        """
        ...

    def share(self, on_handover: HandOver) -> None:
        """Ask `on_handover` for the positions of partitions when they are taken away.

        Another thread may call it, while the loop waits in `poll` or `close`.
        """
        ...

    def pause(self, held: bool) -> None:
        """Whether to hand over nothing for now: what was handed over waits for its receivers.

        Only a source that keeps what is not read does so (Kafka). All others go on: files and
        journals may be deleted meanwhile, and who writes to us must not be held up.
        """
        ...

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Every partition at hand, with the position that was committed last."""
        ...

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> bool:
        """Keep these positions durably; those of partitions no longer at hand are ignored.

        Returns whether all is kept now; what is not is tried again with the next commit.
        """
        ...

    def lag(self) -> Mapping[str, int]:
        """How much is still to be read, by partition, in bytes or entries, where it is known.

        Cheap enough to be asked every few seconds.
        """
        ...

    def describe(self, partition: str) -> str:
        """Where a partition's lines come from, for people: a file's path.

        Of a partition that is not at hand any more, what is still known.
        """
        ...

    def model_changed(self, digest: str) -> None:
        """Commit positions from now on as those of the model with this digest."""
        ...

    def close(self) -> None:
        """Let go of files and connections; nothing is committed."""
        ...


class NoRebalance:
    """What a source does that shares its partitions with no other process."""

    def begin(self) -> None:
        """Do nothing: the positions were found when the source was opened."""

    def changes(self) -> PartitionChanges:
        """Return none: what is at hand stays."""
        return PartitionChanges()

    def consumed_positions(self) -> Mapping[str, int]:
        """Return none: the next line takes the position past all that was no event."""
        return {}

    def set_pending(self, positions: Callable[[], Mapping[str, Checkpoint]]) -> None:
        """Do nothing: no partition is ever taken away."""

    def share(self, on_handover: HandOver) -> None:
        """Do nothing: no partition is ever taken away."""

    def model_changed(self, digest: str) -> None:
        """Do nothing: the daemon keeps the digest beside positions that lie here."""

    def pause(self, held: bool) -> None:
        """Go on: what is not read may be gone later, and the alerts of what is read are kept."""


def decode_line(raw: bytes, max_line_bytes: int) -> str:
    r"""Text of a raw line without its line end, cut to `max_line_bytes`; bad UTF-8 as `\xNN`.

    NULs before it and terminal control sequences in it are no text.
    """
    line = raw.removesuffix(b"\n").removesuffix(b"\r").lstrip(b"\0")
    return strip_controls(line[:max_line_bytes].decode("utf-8", "backslashreplace"))
