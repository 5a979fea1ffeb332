"""Session, count and time windows over events, with the positions from which a replay is exact.

Windows close by event time: each partition has a watermark, the largest event time read so far
(Akidau et al., "The Dataflow Model", VLDB 2015), so the same lines always make the same windows. An
event is assigned to its own time or, if it is late, to the watermark. The end of a window depends
on no line older than the first of its run, which makes a replay exact.

Also: the id of a window, equal on every replay and every machine.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import groupby, takewhile
from math import inf
from operator import attrgetter, length_hint

from logmlm.config.training import WindowConfig
from logmlm.detection.watermark import LOOKAHEAD_EVENTS, ClockOutliers, host_of
from logmlm.detection.window_policies import Rule, rule_of
from logmlm.records import Checkpoint, ClosedBy, Event, Window

_PARTITION = attrgetter("line.partition")
AUDIT_ONE_IN = 1_000

_FILE_NUMBER = re.compile("-[0-9]+$")
"""Suffix that numbers files with equal first bytes; partitions of a topic have none."""


class Windower:
    """Groups the events of each partition into windows, by one rule.

    - `session`: the lines of one key, empty keys together, that form a *run*: no `gap` seconds
      of event time between them and no multiple of `max_age` (since the epoch, plus an offset
      that a checksum of the key gives, so that not all runs are cut at once). A run is over
      when the watermark passes its newest line by more than `gap` (`idle`, complete), or when
      a line of its key lies past the multiple (`age`, cut). Every `size` lines of a run,
      counted from its start, make a window (`length`, cut). At the end of the input: complete.
      A window has not `begun` where a cut, by age or length, lies right before it, or where it
      may have begun before the first line that was read: within `gap` of that one, if reading
      began in the midst of a partition.
    - `time`: the lines whose own times lie in one span, a multiple of `span` seconds long
      since the epoch, and have one key if the rule has a key. It closes when the watermark
      reaches the end of the span (`span`, complete), and is cut at `size` lines (`length`),
      as the model takes no more. At the end of the input: cut.
    - `count`: every `size` lines of a partition, whatever their keys (`length`, cut). At the
      end of the input, the rest: cut.

    Late events are never lost. In a session a late line joins the open run of its key, or
    opens one, and counts as if it had come at the watermark. In `time`, the late lines of a
    closed span make a window of their own, which closes with the span that is open.

    Order: windows come as the events that close them; those closed together as time alone would
    have closed them, and those due at once by their first lines. So each has its turn by itself,
    whatever else is open (see `turns`). An event costs O(1) amortised and a checkpoint O(1),
    whatever is open; an open run holds less than `size` events. Events must come in the order of
    their positions, with finite times.

    An event whose clock is wrong, far ahead of those around it, counts at the watermark, which it
    does not move (see `watermark`): it stays in its place. Until the events after one that is far
    ahead have told, it and they are held back, `LOOKAHEAD_EVENTS` at most; no checkpoint passes
    them.
    """

    def __init__(self, config: WindowConfig, *, is_part: bool = False) -> None:
        """Take the window policy from `config`.

        With `is_part`, only some events of a partition are added, each after `advance_watermark`.
        """
        self.outliers = ClockOutliers(config, is_part=is_part)
        self._rule = rule_of(config)
        self._size = config.size
        self._partitions: dict[str, _Partition] = {}
        self._after: dict[str, str] = {}

    @property
    def partitions(self) -> tuple[str, ...]:
        """Names of the partitions that were added to or resumed, and not dropped."""
        return tuple(self._partitions)

    @property
    def open_windows(self) -> int:
        """Number of windows that hold an event and are not closed, in all partitions."""
        return sum(partition.open_windows for partition in self._partitions.values())

    @property
    def open_partitions(self) -> list[str]:
        """Names of the partitions with windows that time alone may close."""
        return [name for name, state in self._partitions.items() if state.is_open]

    def add(self, events: Iterable[Event]) -> list[Window]:
        """Take events, and return the windows that they close, in the order of closing."""
        windows: list[Window] = []
        events = list(events)
        self.outliers.count_ahead_of_receipt(events)
        for name, group in groupby(events, _PARTITION):
            windows += (self._partitions.get(name) or self._started(name)).add(group)
        return windows

    def advance_watermark(self, partition: str, watermark: float) -> list[Window]:
        """Advance a partition's watermark for lines added elsewhere; return closed windows.

        If a partition's lines are divided by `Rule.shard_key`, and each is added in order after the
        watermark at that line, the windows are the same as if all lines had been added here.
        """
        state = self._partitions.get(partition) or self._started(partition)
        return state.advance_watermark(watermark)

    def close_due(self, idle: Mapping[str, float]) -> list[Window]:
        """Close the windows of partitions that have gone quiet, as if event time had gone on.

        `idle` says for how many seconds nothing more has waited in a partition (see
        `Source.idle`). A partition is quiet when that is more than `gap` (`session`) or `span`
        (`time`); `count` has no time and never is. A partition that is still being read again is
        not quiet: more lines are known to come.

        These are the windows that the partition's next line would have closed, if no line is
        written more than `gap` later than its time says, compared with the lines before it.
        Otherwise that line may open a new window, which a replay from an older checkpoint joins
        to the closed one.
        """
        windows: list[Window] = []
        for name, seconds in idle.items():
            partition = self._partitions.get(name)
            if partition is not None and partition.is_quiet(seconds):
                self._find_seams(name)
                windows += partition.close_all(self._rule.ended, complete=True)
        return windows

    def close_all(self, partition: str | None = None) -> list[Window]:
        """Close every window, of one partition or of all: the input has ended."""
        windows: list[Window] = []
        for name, state in self._partitions.items():
            if partition in (None, name):
                self._find_seams(name)
                windows += state.close_all("end", self._rule.complete_at_end)
        return windows

    def close_ended(self, partition: str) -> list[Window]:
        """Close the windows of a partition that gets no more lines, unless time closes them.

        Time does not close `count` windows, nor those of a partition that ends during a replay.
        """
        state = self._partitions.get(partition)
        if state is None or state.ends_by_time:
            return []
        self._find_seams(partition)
        return state.close_all("end", self._rule.complete_at_end)

    def checkpoint(self, partition: str) -> Checkpoint | None:
        """Where to read again so that every window not yet returned comes out whole.

        `safe` is the start of the oldest run that is not over: its open window may start later,
        but cuts by length count from the run's start. It never goes back, and in `session` lies
        less than `max_age` + 2 `gap` seconds of watermark behind. Of a run that a cut by age began
        it is the last line before the cut, so that a replay knows of it; of one that may have begun
        before the first line that was read, it is that line, and `watermark` None. `reached` is the
        end of the last event, or what was advanced to. The three belong together: to hold a commit
        back, commit an older one whole. None for a partition that was neither added to nor resumed.
        """
        state = self._partitions.get(partition)
        return None if state is None else state.checkpoint()

    def resume(self, partition: str, checkpoint: Checkpoint) -> None:
        """Start a partition anew at `checkpoint`; its lines from `safe` on are added next.

        Without a watermark nothing was read before, and reading begins in the midst of the
        partition if `safe` is not 0. Windows closed by an event that starts before `reached` are
        dropped, as they were returned before; all others are as if nothing had been interrupted.
        The same rule must have made the checkpoint: after a change of it, resume with `reached` =
        `safe`, or windows that the new rule closes earlier would be missing.
        """
        self._partitions[partition] = _Partition(
            partition, self._rule, self._size, checkpoint, self.outliers
        )

    def follow(self, partition: str, before: str) -> None:
        """Declare a partition the continuation of another one, `before`: a log was rotated.

        Sessions within `gap` of its first line may have begun before; and those that are open where
        the other one ends are cut there, if its first line comes before they are over. It must
        have been resumed, and nothing added to it since.
        """
        self._partitions[partition].is_continued()
        self._after[before] = partition

    def join_partitions(self, partition: str, begins: float | None, goes_on: float | None) -> None:
        """Declare the neighbours of a partition of finished logs, before any event is added.

        `begins` is the time of its first line if it continues another partition, and `goes_on` the
        time of the first line of the partition that continues it; UTC epoch seconds.
        """
        self._started(partition).adjoin(begins, goes_on)

    def ignore_processed_until(self, partition: str, until: int) -> None:
        """Report `reached` = `safe` in checkpoints as long as `safe` is before `until`.

        Another window policy was used up to there, so it is unknown which lines were scored.
        """
        self._partitions[partition].doubted = until

    def advance(self, partition: str, position: int) -> None:
        """Advance the position past lines that produced no event, up to `position`."""
        state = self._partitions.get(partition)
        if state is not None:
            state.advance(position)

    def drop(self, partition: str) -> None:
        """Drop the state of a revoked partition; its new owner reads from `safe`."""
        self._partitions.pop(partition, None)
        self._after.pop(partition, None)

    def _find_seams(self, partition: str) -> None:
        """Record the first watermark of the partition that continues this one, if it has begun."""
        after = self._partitions.get(self._after.get(partition, ""))
        if after is not None:
            self._partitions[partition].goes_on = after.first

    def _started(self, partition: str) -> _Partition:
        self.resume(partition, Checkpoint(0, 0, None))
        return self._partitions[partition]


@dataclass(slots=True)
class _OpenWindow:
    """An open run: its events since the last cut by length.

    `before` is the watermark before the line at `start`, `last` that after the newest line. Before
    the watermark passes `whole_until`, no line cuts the run. `newest` is the position of the newest
    line that was already returned in a window. `begun`: the beginning of the held events was seen.
    `tail` is the newest line, for policies with a pause per host.
    """

    group: Hashable
    start: int
    before: float | None
    last: float
    whole_until: float
    events: list[Event]
    phase: float
    begun: bool
    newest: int = -1
    tail: Event | None = None


class _Partition:
    """Open runs of one partition, ordered by start and by newest line."""

    def __init__(
        self, name: str, rule: Rule, size: int, checkpoint: Checkpoint, outliers: ClockOutliers
    ) -> None:
        self.open_windows = self.doubted = 0
        self._name = name
        self._rule = rule
        self._size = size
        self._position = checkpoint.safe
        self._reached = checkpoint.reached
        self._watermark = checkpoint.watermark
        self._outliers = outliers
        self._held: list[Event] = []
        """An event far ahead, and those after it, until they decide whether its clock is right."""
        self._calm_until = -inf
        """Until the watermark passes this, no run is over and no event is far ahead."""
        is_midst = rule.detects_cuts and checkpoint.watermark is None and checkpoint.safe > 0
        self._begin, self._unseen_until = checkpoint.safe, inf if is_midst else -inf
        """Runs that start before the watermark passes this may have begun before `_begin`."""
        self._anchors: list[tuple[int, float | None, int, _OpenWindow]] = []
        """Heap of (position, watermark) from which runs without a seen beginning are replayed."""
        self.first = None if checkpoint.watermark is None else -inf
        """The watermark at the first line; -inf after a resume, which does not know it."""
        self.goes_on: float | None = None
        self._by_start: OrderedDict[Hashable, _OpenWindow] = OrderedDict()
        self._by_last: OrderedDict[Hashable, _OpenWindow] = OrderedDict()

    def add(self, events: Iterable[Event], *, is_last: bool = False) -> list[Window]:  # noqa: C901, PLR0912  calls would cost as much again
        windows: list[Window] = []
        runs, rule, size = self._by_start, self._rule, self._size
        move, group_of, tolerance = self._by_last.move_to_end, rule.group, self._outliers.tolerance
        line, watermark, counts_pauses = None, self._watermark, rule.pause < inf
        events = [*self._held, *events]
        left = iter(events)
        self._held = []
        for event in left:
            before, watermark = watermark, event.timestamp
            if before is not None and before > watermark:
                watermark = before
            closed: list[Window] = []
            if watermark > self._calm_until:
                if before is None or watermark > before + tolerance:
                    place = len(events) - length_hint(left) - 1
                    ahead = events[place : place + 1 + LOOKAHEAD_EVENTS]
                    watermark = self._outliers.watermark_after(ahead, before, is_last=is_last)
                    if watermark is None:
                        self._held, watermark = ahead, before
                        break
                closed = self._end_over(watermark)
            line = event.line
            group = group_of(event)
            run, aged = runs.get(group), None
            if counts_pauses and run and _is_over(run, event, watermark, rule.pause):
                closed += self._end([run], rule.ended, complete=True)
                run = None
            if run and watermark >= run.whole_until and rule.is_cut(run.last, watermark, run.phase):
                closed += self._end([run], "age", complete=False)
                run, aged = None, run
            if run is None:
                run = self._track_begin(group, line.start, before, watermark, aged)
                runs[group] = self._by_last[group] = run
            else:
                run.last = watermark
                move(group)
            if counts_pauses:
                run.tail = event
            held = run.events
            if not held:
                self.open_windows += 1
            held.append(event)
            if len(held) == size:
                cut = self._take if rule.outlives_length else self._end
                closed += cut([run], "length", complete=False)
            if closed and line.start >= self._reached:
                windows += closed
        if line is not None:
            self._position = line.end
        self._watermark = watermark
        return windows

    def _track_begin(
        self,
        group: Hashable,
        start: int,
        before: float | None,
        watermark: float,
        aged: _OpenWindow | None,
    ) -> _OpenWindow:
        """Begin a run with the line at `start`; a cut by age ended the run `aged` right before."""
        if self.first is None:
            self.first = watermark
        if self._unseen_until == inf:
            self._unseen_until = watermark + self._rule.quiet
        phase = self._rule.phase(group) if aged is None else aged.phase
        whole_until = self._rule.whole_until(watermark, phase)
        run = _OpenWindow(group, start, before, watermark, whole_until, [], phase, begun=True)
        if watermark <= self._unseen_until:
            run.begun = False
            heappush(self._anchors, (self._begin, None, start, run))
        elif aged is not None:
            run.begun = False
            heappush(self._anchors, (aged.newest, aged.last, start, run))
        return run

    def advance_watermark(self, watermark: float) -> list[Window]:
        self._watermark = watermark if self._watermark is None else max(self._watermark, watermark)
        return self._end_over(watermark)

    def advance(self, position: int) -> None:
        if not self._held:
            self._position = max(self._position, position)

    def is_continued(self) -> None:
        """Declare that this partition continues another one."""
        if self._rule.detects_cuts and self._watermark is None:
            self._unseen_until = inf

    def adjoin(self, begins: float | None, goes_on: float | None) -> None:
        """See `Windower.join_partitions`."""
        if self._rule.detects_cuts and begins is not None:
            self._unseen_until = begins + self._rule.quiet
        self.goes_on = goes_on

    @property
    def ends_by_time(self) -> bool:
        position = self._held[-1].line.end if self._held else self._position
        return position >= self._reached and self._rule.quiet < inf

    @property
    def is_open(self) -> bool:
        return bool(self._by_start or self._held) and self.ends_by_time

    def is_quiet(self, idle_s: float) -> bool:
        return self.ends_by_time and idle_s > self._rule.quiet

    def close_all(self, closed_by: ClosedBy, complete: bool) -> list[Window]:
        began = self._watermark is not None
        windows = self.add((), is_last=True) if self._held else []
        if not began and closed_by != "end":
            # The clock of the first lines may be wrong: do not keep their watermark.
            self._watermark, self._calm_until = None, -inf
        goes_on, due = self.goes_on, self._rule.closes_at
        cut = set()
        if complete and goes_on is not None and self._rule.detects_cuts:
            cut = {run.group for run in self._by_start.values() if goes_on <= due(run.last)}
        ended = self._end(list(self._by_start.values()), closed_by, complete)
        windows += [replace(each, complete=False) if each.key in cut else each for each in ended]
        for runs in (self._by_start, self._by_last):
            runs.clear()  # a dict keeps its largest capacity until it is cleared
        self._anchors.clear()
        if self._watermark is not None:
            self._unseen_until = -inf  # as a replay from here will have it
        return windows

    def checkpoint(self) -> Checkpoint:
        safe, watermark = self._position, self._watermark
        for oldest in self._by_start.values():
            safe, watermark = oldest.start, oldest.before
            break
        anchors = self._anchors
        while anchors and self._by_start.get(anchors[0][3].group) is not anchors[0][3]:
            heappop(anchors)  # that run is over
        if anchors and anchors[0][0] < safe:
            safe, watermark, *_ = anchors[0]
        reached = safe if safe < self.doubted else max(self._position, self._reached)
        return Checkpoint(safe, reached, watermark)

    def _end_over(self, watermark: float) -> list[Window]:
        over: list[_OpenWindow] = []
        oldest = watermark
        for run in self._by_last.values():
            if not self._rule.is_closed(run.last, watermark):
                oldest = run.last
                break
            over.append(run)
        self._calm_until = min(self._rule.lasts_until(oldest), watermark + self._outliers.tolerance)
        return self._end(over, self._rule.ended, complete=True) if over else []

    def _end(self, runs: list[_OpenWindow], closed_by: ClosedBy, complete: bool) -> list[Window]:
        for run in runs:
            del self._by_start[run.group], self._by_last[run.group]
        return self._take(runs, closed_by, complete)

    def _take(self, runs: list[_OpenWindow], closed_by: ClosedBy, complete: bool) -> list[Window]:
        keyed, due = self._rule.keyed, self._rule.closes_at
        held = [run for run in runs if run.events]
        held.sort(key=lambda run: (due(run.last), run.events[0].line.start))
        windows = [
            Window(
                self._name,
                run.events[0].key if keyed else "",
                tuple(run.events),
                closed_by,
                complete,
                run.begun,
            )
            for run in held
        ]
        for run in held:  # what comes next follows a cut
            run.newest, run.events, run.begun = run.events[-1].line.start, [], False
        self.open_windows -= len(windows)
        return windows


def _is_over(run: _OpenWindow, event: Event, watermark: float, pause: float) -> bool:
    """Return true if more than `pause` seconds lie before an event, by its host's own clock.

    Times of another host, or of a wrong clock, do not measure the pause.
    """
    tail, time = run.tail, event.timestamp
    if tail is None or time <= tail.timestamp + pause or time > watermark:
        return False
    host = host_of(event)
    if host_of(tail) != host:
        return False
    own = takewhile(lambda other: host_of(other) == host, reversed(run.events))
    return time > max(other.timestamp for other in (tail, *own)) + pause


def window_id(model_digest: str, window: Window) -> str:
    """Return 16 hex digits of a SHA-256 over the model's digest and the window.

    The hash covers the partition (without the number of a file with equal first bytes), the key,
    the first and last position, and the first line of each event; continuation lines may come
    late. The id is the same on every replay, and differs if other lines are at the same positions,
    as after a topic was recreated.
    """
    place = _FILE_NUMBER.sub("", window.partition), window.key
    positions = str(window.first_position), str(window.last_position)
    lines = (event.line.text.partition("\n")[0] for event in window.events)
    parts = "\0".join((model_digest, *place, *positions, *lines))
    return hashlib.sha256(parts.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def is_audited(window: Window) -> bool:
    """Return true for about one window in `AUDIT_ONE_IN`, which is always scored exactly.

    Partition, key and position decide, so that a replay audits the same windows.
    """
    place = f"{window.partition}\0{window.key}\0{window.events[0].line.start}"
    return zlib.crc32(place.encode("utf-8", "backslashreplace")) % AUDIT_ONE_IN == 0
