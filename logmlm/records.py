"""The records that flow through the house, each holding the one before it.

    LogLine -> Event -> Window -> Score -> Alert -> Notification

All are frozen (those of which every window has one for the type checker alone): a later step can
show what an earlier one saw, and never change it. Those of which every line has one are tuples,
which are made by the thousand in one step (`make_records`).
Times are UTC epoch seconds; surprisal is in nats, and high means odd.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

Row = TypeVar("Row", bound=tuple[Any, ...])

if TYPE_CHECKING:
    from dataclasses import dataclass as fast_frozen
else:

    def fast_frozen(**_: Any) -> Any:
        """As `dataclass(frozen=True, slots=True)`, but that nothing stops who changes one.

        A class that watches over itself while the program runs takes four times as long to make.
        """
        return dataclass(slots=True, unsafe_hash=True)


def make_records(kind: type[Row], *columns: Iterable[object]) -> list[Row]:
    """Records of a kind that is a named tuple, of all its columns; `repeat` what all share.

    They end with the shortest column. It takes a third of the time of making one after the other.
    """
    return list(map(partial(tuple.__new__, kind), zip(*columns, strict=False)))


ClosedBy = Literal["idle", "length", "age", "span", "end"]
GroupStatus = Literal["firing", "resolved"]
ScoringStage = Literal["known", "screened", "strided", "exact", "checked", "missed"]
"""How a window was scored: its exact numbers came with the model; one look was
enough; exactly; one look was enough, as an exact score found; or it was not, as that found."""
END_TOKEN = "[END]"  # noqa: S105  a word of the model's vocabulary, not a password
UNKNOWN_TEMPLATE = ""
"""The template id of a line that matches no learned template."""


WINDOW_RULES = 2
"""Version of the rules by which windows are made: what was reached by others says nothing. Version
1 cut all sessions at the same multiples of their age."""
NO_ATTRIBUTES: Mapping[str, str] = {}


class LogLine(NamedTuple):
    """One raw line, as its source handed it over (continuation lines joined by newlines).

    `partition` is a file's fingerprint or a topic/number; `start` is the line's position in
    it and `end` is where the NEXT read starts. `number` counts lines from 1 where the source
    is a file read from its beginning, and is 0 elsewhere. `written_at` is the time that the
    source itself knows for the line; `attributes` are what it knows of the line beside its text
    (a record's key and headers), by name: they stand before what the text says. `is_whole` says
    that the line is a message by itself, and goes on with none before it.
    """

    text: str
    partition: str
    start: int
    end: int
    received_at: float
    number: int = 0
    written_at: float | None = None
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    is_whole: bool = False


class BlankLines(LogLine):
    """A run of empty lines that are dealt with at once; each takes `line_bytes` bytes.

    All but `end` is that of the first of them, its empty text too.
    """

    __slots__ = ()
    line_bytes = len("\n")

    @property
    def lines(self) -> int:
        """How many lines these are."""
        return (self.end - self.start) // self.line_bytes

    def part(self, first: int, last: int) -> BlankLines:
        """Return those with the places from `first` on and before `last`, counted from 0."""
        start = self.start + first * self.line_bytes
        end = self.start + last * self.line_bytes
        number = self.number and self.number + first
        return self._replace(start=start, end=end, number=number)

    def each(self) -> Iterator[LogLine]:
        """Return the lines, each by itself."""
        for place in range(self.lines):
            yield LogLine(*self.part(place, place + 1))


class BlankCrlfLines(BlankLines):
    """A run of empty lines that end with a carriage return and a newline."""

    __slots__ = ()
    line_bytes = len("\r\n")


def line_count(lines: Sequence[LogLine]) -> int:
    """Return how many lines these are, those of runs counted one by one."""
    kinds = set(map(type, lines))
    if kinds <= {LogLine}:
        return len(lines)
    return sum(line.lines if isinstance(line, BlankLines) else 1 for line in lines)


def one_by_one(lines: Iterable[LogLine]) -> Iterator[LogLine]:
    """Return the same lines, with those of runs each by itself."""
    for line in lines:
        if isinstance(line, BlankLines):
            yield from line.each()
        else:
            yield line


@fast_frozen(frozen=True, slots=True)
class Fields:
    """What a line format found in a line.

    `timestamp` is None where the line has none; `level` is upper case, or empty; `label` is
    the alert column of BGL and Thunderbird ("-" is normal), None elsewhere; `partial` says that
    the message goes on in the next line of its stream.
    """

    timestamp: float | None
    level: str
    message: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    partial: bool = False

    @property
    def fields(self) -> Fields:
        """Itself, as all is found already."""
        return self


class DeferredFields(Protocol):
    """Finds in a line again what was not kept of it: few are ever asked."""

    def fields(self, line: LogLine) -> Fields:
        """All fields."""
        ...

    def message(self, line: LogLine) -> str:
        """The message alone."""
        ...


class Event(NamedTuple):
    """A line matched to its template.

    `timestamp` is the line's own, or that of the line before it, or `received_at`.
    `key` is what windows group by. `template_id` is `UNKNOWN_TEMPLATE` where nothing learned
    matches. `parsed` is what was found in the line, or finds it again: it makes no two events
    differ.
    """

    line: LogLine
    parsed: Fields | DeferredFields
    timestamp: float
    key: str
    template_id: str

    @property
    def fields(self) -> Fields:
        """The fields that the line format found, parsed now if they were deferred."""
        found = self.parsed
        return found if isinstance(found, Fields) else found.fields(self.line)

    def __eq__(self, other: object) -> bool:
        """Whether all but `parsed` is the same."""
        return isinstance(other, Event) and (self.line, *self[2:]) == (other.line, *other[2:])

    def __ne__(self, other: object) -> bool:
        """Whether they differ; a tuple would look at `parsed` too."""
        return not self == other

    def __hash__(self) -> int:
        """Of what makes events differ."""
        return hash((self.line.text, self.line.start, *self[2:]))


@fast_frozen(frozen=True, slots=True)
class Window:
    """Events of one key that are scored together, in the order of their lines.

    `complete` says that nothing was cut off its end, so that the end token is scored too. `begun`
    says the same of its beginning: no line before its first one may belong to it.
    """

    partition: str
    key: str
    events: tuple[Event, ...]
    closed_by: ClosedBy
    complete: bool
    begun: bool = True

    @property
    def start(self) -> float:
        """Earliest event time in the window."""
        return min(event.timestamp for event in self.events)

    @property
    def end(self) -> float:
        """Latest event time in the window."""
        return max(event.timestamp for event in self.events)

    @property
    def first_position(self) -> int:
        """Position of the window's oldest line."""
        return min(event.line.start for event in self.events)

    @property
    def last_position(self) -> int:
        """Position of the window's newest line."""
        return max(event.line.start for event in self.events)


@fast_frozen(frozen=True, slots=True)
class SurgeState:
    """How far evidence for a surge of odd windows has risen in a partition.

    `level` is in nats. Windows have been odd since the event time `since`, the start of the first
    of them; `windows` counts all from that one on, `odd` those that speak for a surge.
    """

    level: float
    since: float
    windows: int
    odd: int


@fast_frozen(frozen=True, slots=True)
class Score:
    """A window's score.

    `surprisals` and `bag_surprisals` hold one number in nats for each event, then one for
    the end token if the window is complete: as the lines came, and as an unordered bag.
    `value` 1.0 is the calibrated threshold; `p_value` is the share of normal windows that
    are at least as odd. `surge` is there if the window alarms only together with those before.
    Of a window that was `screened` all these are what one look says:
    surprisals are lower than the exact ones, and the value is below 1.
    """

    window: Window
    surprisals: tuple[float, ...]
    bag_surprisals: tuple[float, ...]
    value: float
    p_value: float
    surge: SurgeState | None = None
    stage: ScoringStage = "exact"

    @property
    def is_exact(self) -> bool:
        """Whether each event was hidden by itself when it was asked for."""
        return self.stage not in ("screened", "strided", "checked")

    @property
    def pll(self) -> float:
        """Pseudo-log-likelihood of the window as it came, in nats (Salazar et al., ACL 2020)."""
        return -sum(self.surprisals)

    @property
    def is_anomaly(self) -> bool:
        """Whether the window reaches the calibrated threshold."""
        return self.value >= 1.0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a position held, and what the model expected in its place.

    `index` counts the window's events from 0; the end token has the index after the last.
    `expected` pairs a template's text with its probability, the most probable first.
    """

    index: int
    surprisal: float
    odd: bool
    expected: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """A window that operators should look at.

    `id` is that of its window (`window_id`), so a replay makes the same id; `fingerprint` is a
    hash of the labels alone. `ends_at` is None while the alert fires. `score` is None for an
    alert that was read back from the outbox: what is sent stands in its labels and annotations.
    """

    id: str
    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: float
    ends_at: float | None
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """What a sink sends: alerts of one group.

    `group_labels` are the labels that made them one; `truncated` counts those left out.
    """

    group_key: str
    status: GroupStatus
    alerts: tuple[Alert, ...]
    group_labels: Mapping[str, str] = field(default_factory=dict)
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of a notification: accepted, to be tried again later, or refused for good.

    `retry_after` is how many seconds the receiver asked to be left alone; `reason` holds no
    secret.
    """

    outcome: Literal["accepted", "later", "refused"]
    reason: str = ""
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A read position of one partition.

    `safe` is the start of the oldest line still in an open window, where reading starts
    again; everything before `reached` was handed over before; `watermark` is the event time
    as it stood at the safe position (None before the first line). `rise` is what was counted of a
    surge over the windows handed over before.
    """

    safe: int
    reached: int
    watermark: float | None
    rise: SurgeState | None = None

    def rewound(self) -> Checkpoint:
        """Where to read again if nothing counts as handed over before."""
        return Checkpoint(self.safe, self.safe, self.watermark)
