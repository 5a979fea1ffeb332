"""The journal of systemd: every entry a line, each once, in the order of its numbers."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from logmlm.config.sources import JournaldSourceConfig
from logmlm.errors import StorageError
from logmlm.records import Checkpoint, LogLine
from logmlm.sources.base import NoRebalance, PartitionChanges
from logmlm.sources.idle import IdleTimes
from logmlm.sources.journald import journalctl
from logmlm.sources.journald.entry import Entry, SequencePlace, read_entry, sequence_position
from logmlm.sources.journald.journalctl import Journalctl
from logmlm.sources.journald.state import CursorHistory, JournalState, SequencePosition, load, save
from logmlm.sources.lines import RawLine

ENTRY_ROOM = 8
"""An entry may have so many times `max_line_bytes`: bytes take 4 characters each in JSON."""
ENTRY_BASE = 1 << 20
VERIFY_EVERY_S = 10.0
ASK_LAG_EVERY_S = 30.0
CHECK_IDLE_EVERY_S, LOOK_SHARE, LOOK_AT_LEAST_EVERY_S = 1.0, 0.125, 10.0
"""How often the journal is asked whether it was read to its end: less often with each answer."""
MAX_BACK_OFF_S = 60.0
SEEN_EVERY_S = 3600.0
FORGET_AFTER_S = 7 * 86400.0

logger = logging.getLogger(__name__)


class JournaldSource(NoRebalance):
    """Follows the journal with journalctl; the state in `path` says where it goes on.

    A partition is a sequence of entries that one journal numbered (its sequence number id), and
    positions are those numbers: an entry has the same ones whenever it is read. Entries of
    `own_units` are left out. A journalctl that ends is started again, later each time.

    `discarded` counts entries whose message was over `max_line_bytes` (`cut`); entries left
    out: `own_unit`, `too_long` to be read at all, `unreadable` as JSON, `out_of_order`; and
    every `gap`: entries were vacuumed before they could be read; and `unsure_gap`: whether that
    was before or after they were read could not be told any more. A partition that nothing came
    to for `FORGET_AFTER_S`, while others went on, has ended.

    `clock` tells UTC epoch seconds; `wait` waits so many seconds, or less.

    Raises:
        StorageError: there is no journalctl, the journal can't be read, or the state is damaged.

    """

    name = "journald"
    exhausted = False
    replayable = True

    def __init__(  # noqa: PLR0913  clocks, wait and program are handed in, each by its name
        self,
        config: JournaldSourceConfig,
        path: Path,
        *,
        clock: Callable[[], float],
        wait: Callable[[float], object],
        own_units: Iterable[str] = (),
        program: str = journalctl.PROGRAM,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.discarded: Counter[str] = Counter()
        self._config = config
        self._path = path
        self._clock = clock
        self._wait = wait
        self._own_units = frozenset(own_units)
        self._program = journalctl.find_journalctl(program)
        self._journal = journalctl.journal_options(config)
        self._child: Journalctl | None = None
        self._start_at = clock()
        self._failures = 0
        self._checked_at = self._asked_lag_at = float("-inf")
        self._lag: Mapping[str, int] = {}
        self._silence = IdleTimes(monotonic)
        self._idle: dict[str, float] = {}
        self._is_silent = False
        self._newest: SequencePlace | None = None
        self._suspect: tuple[str, SequencePlace] | None = None
        self._missed: str | None = None
        self._ended: set[str] = set()
        self._told: set[str] = set()
        state = load(path)
        self._saved = state or self._first_state()
        if state is None:  # the next start goes on here, though nothing is committed till then
            save(path, self._saved)
        self._sequences = dict(self._saved.sequences)
        self._trail = CursorHistory(self._saved.cursor)
        self._read_to = {name: each.checkpoint.safe for name, each in self._sequences.items()}
        self._begin_at = dict(self._read_to)

    def poll(self, timeout: float) -> list[LogLine]:
        """Lines that are there now; if there are none, wait for some, `timeout` seconds at most."""
        now = self._clock()
        if self._child is None and self._is_due(now):
            self._start()
        if self._child is None:
            self._wait(timeout)
            return []
        read = self._child.read(timeout)
        self._is_silent = not read
        found = [self._line(raw, now) for raw in read]
        self._check_suspect(now)
        if self._child.ended is not None:
            self._try_later(f"journalctl ended {self._child.ended}")
        return [line for line in found if line is not None]

    def idle(self, partitions: Collection[str]) -> Mapping[str, float]:
        """Return for how long nothing more has waited in sequences, as the journal itself says.

        A silent journalctl may be slow. So its silence counts only up to the last time that the
        journal, when asked, had no newer entry than those that were read.
        """
        if self._child is None or not self._is_silent:
            return {}
        for name in self._sequences:
            self._silence.confirm(name, self._read_to.get(name, 0))
        silence = self._silence.of(partitions)
        if any(self._is_look_due(name, seconds) for name, seconds in silence.items()):
            self._idle = dict(silence) if self._is_read() else {}
        return {name: self._idle[name] for name in partitions if name in self._idle}

    def is_idle(self) -> bool:
        """Whether journalctl is silent, and the journal has nothing newer than what was read."""
        if not self._sequences:
            return self._child is not None and self._is_silent
        return bool(self.idle(self._sequences))

    def _is_look_due(self, partition: str, silent_s: float) -> bool:
        known = self._idle.get(partition, 0.0)
        pause = min(LOOK_AT_LEAST_EVERY_S, max(CHECK_IDLE_EVERY_S, LOOK_SHARE * known))
        return silent_s - known >= pause

    def _is_read(self) -> bool:
        """Whether the journal has nothing newer than what was read; where it fails, no."""
        lag = self._ask_lag()
        if lag is None or any(lag.values()):
            self._silence.forget_all()
            return False
        return True

    def changes(self) -> PartitionChanges:
        """Sequences that have ended; none comes from elsewhere, or goes there."""
        ended, self._ended = frozenset(self._ended), set()
        self._told |= ended
        return PartitionChanges(ended=ended)

    def checkpoints(self) -> Mapping[str, Checkpoint]:
        """Every known sequence, with the position that was committed last."""
        return {name: each.checkpoint for name, each in self._sequences.items()}

    def commit(self, checkpoints: Mapping[str, Checkpoint]) -> bool:
        """Keep these positions durably.

        Raises:
            StorageError: they can't be written.

        """
        for name, checkpoint in checkpoints.items():
            if name in self._sequences:
                known = self._sequences[name]
                self._sequences[name] = replace(known, checkpoint=checkpoint)
        self._forget_old()
        safe = {name: each.checkpoint.safe for name, each in self._sequences.items()}
        state = JournalState(self._trail.cursor(safe), dict(self._sequences))
        if state != self._saved:
            save(self._path, state)
            self._saved = state
        return True

    def lag(self) -> Mapping[str, int]:
        """Entries of the newest sequence that were not read yet, those of other units too.

        The journal is asked every `ASK_LAG_EVERY_S` seconds at most.
        """
        now = self._clock()
        if not 0 <= now - self._asked_lag_at < ASK_LAG_EVERY_S:
            self._asked_lag_at = now
            self._lag = self._ask_lag() or {}
        return self._lag

    def describe(self, partition: str) -> str:
        """Say whose journal it is."""
        known = self._sequences.get(partition)
        return f"journal of {(known and known.host) or 'an unnamed host'}"

    def close(self) -> None:
        """End journalctl."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _first_state(self) -> JournalState:
        """Begin behind the newest entry, or at the oldest."""
        if self._config.start_at == "beginning":
            return JournalState(None, {})
        newest, _ = journalctl.first_entry(self._program, self._journal)
        place = sequence_position(newest)
        if newest is None or place is None:
            return JournalState(None, {})
        name, number = place
        behind = Checkpoint(number + 1, number + 1, None)
        host = str(newest.get("_HOSTNAME", ""))
        return JournalState(
            newest["__CURSOR"], {name: SequencePosition(behind, host, self._clock())}
        )

    def _is_due(self, now: float) -> bool:
        # A clock that was set back must not hold it up.
        return not 0 < self._start_at - now <= MAX_BACK_OFF_S

    def _start(self) -> None:
        options = [*self._journal, *journalctl.match_options(self._config)]
        cursor = self._trail.newest
        room = ENTRY_BASE + ENTRY_ROOM * self._config.max_line_bytes
        self._begin_at = dict(self._read_to)
        try:
            if cursor is not None:
                self._check(cursor)
                options.append(f"--cursor={cursor}")
            self._child = Journalctl(self._program, options, room)
        except StorageError as error:
            self._try_later(str(error))

    def _try_later(self, why: str) -> None:
        delay = min(MAX_BACK_OFF_S, 2.0**self._failures)
        self._failures += 1
        logger.warning("%s; trying again in %.0f s", why, delay)
        self._child = None
        self._silence.forget_all()
        self._idle.clear()
        self._start_at = self._clock() + delay

    def _line(self, raw: RawLine, now: float) -> LogLine | None:
        entry = None if raw.cut else read_entry(raw.text, self._config.max_line_bytes)
        if entry is None:
            self.discarded["too_long" if raw.cut else "unreadable"] += raw.lines
            return None
        self._failures = 0
        if not self._is_next(entry, now):
            return None
        if not self._own_units.isdisjoint(entry.units):
            self.discarded["own_unit"] += 1
            self._trail.skip(entry.cursor)
            return None
        self.discarded["cut"] += entry.cut
        self._trail.add(entry.sequence, entry.number, entry.cursor)
        return LogLine(entry.text, entry.sequence, entry.number, entry.number + 1, now)

    def _is_next(self, entry: Entry, now: float) -> bool:
        """Whether an entry lies behind all of its sequence that were read."""
        name, number = entry.sequence, entry.number
        if number < self._read_to.get(name, 0):
            self.discarded["out_of_order"] += number >= self._begin_at.get(name, 0)
            return False
        before = self._trail.newest
        if self._newest not in (None, (name, number - 1)) and self._suspect is None and before:
            self._suspect = before, (name, number)
        self._newest = name, number
        self._read_to[name] = number + 1
        self._idle.pop(name, None)
        first = SequencePosition(Checkpoint(number, number, None), entry.host, now)
        known = self._sequences.setdefault(name, first)
        if abs(now - known.seen_at) > SEEN_EVERY_S:
            self._sequences[name] = replace(known, seen_at=now)
        return True

    def _check_suspect(self, now: float) -> None:
        """Look whether entries that were not handed over are of other units, or are gone."""
        if self._suspect is not None and not 0 <= now - self._checked_at < VERIFY_EVERY_S:
            self._checked_at = now
            try:
                self._check(*self._suspect)
            except StorageError as error:
                logger.warning("can't see whether the journal has a gap: %s", error)
            self._suspect = None

    def _check(self, cursor: str, following: SequencePlace | None = None) -> None:
        """Count a gap if the entry of `cursor` is gone, unless the one after it is there.

        Where the one that was read after it (`following`) is gone too, the journal was vacuumed
        after that was read, which says nothing about those between them.
        """
        first, _ = journalctl.first_entry(self._program, [*self._journal, f"--cursor={cursor}"])
        before, there = sequence_position({"__CURSOR": cursor}), sequence_position(first)
        if before is None or cursor == self._missed:
            return
        name, number = before
        if there in (before, (name, number + 1)):
            return
        self._missed = cursor
        if following is not None and _is_past(there, following):
            self.discarded["unsure_gap"] += 1
            logger.warning(
                "the journal is vacuumed as fast as it is read: whether it has a gap after entry"
                " %d of %s can't be told",
                *(number, name),
            )
            return
        self.discarded["gap"] += 1
        is_same = there is not None and there[0] == name
        logger.warning(
            "the journal has a gap: after entry %d of %s, %s were vacuumed before they were read",
            *(number, name),
            f"up to {there[1] - number - 1} entries" if there and is_same else "entries",
        )

    def _ask_lag(self) -> Mapping[str, int] | None:
        """Entries of the newest sequence that were not read yet; None if the journal fails."""
        try:
            options = [*self._journal, *journalctl.match_options(self._config)]
            newest, _ = journalctl.first_entry(self._program, options)
        except StorageError:
            return None
        place = sequence_position(newest)
        if place is None:
            return {}
        name, number = place
        return {name: max(0, number + 1 - self._read_to.get(name, 0))}

    def _forget_old(self) -> None:
        """Say of old sequences that they ended, and drop those of which that was said."""
        newest = max((each.seen_at for each in self._sequences.values()), default=0.0)
        for name, each in list(self._sequences.items()):
            if newest - each.seen_at <= FORGET_AFTER_S:
                self._told.discard(name)
            elif name in self._told:
                self._told.discard(name)
                del self._sequences[name]
            else:
                self._ended.add(name)


def _is_past(first: SequencePlace | None, place: SequencePlace) -> bool:
    """Whether a journal that begins with the entry at `first` has lost the one at `place`."""
    return first is None or (first[0] == place[0] and first[1] > place[1])
