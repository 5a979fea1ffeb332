"""The same lines make the same windows, whenever they are read.

Lines are written when their times come; the loop reads them late, in pieces, after pauses, kills,
holds, steps of the wall clock.
"""

from types import SimpleNamespace

from hypothesis import example, given
from hypothesis import strategies as st

from logmlm.config.training import WindowConfig
from logmlm.daemon.pipeline import CHECK_PARTITIONS_EVERY_S, Pipeline
from logmlm.detection.surges import SurgeMonitor
from logmlm.detection.windows import Windower
from logmlm.records import Checkpoint, Event, Fields, LogLine
from logmlm.sources.base import NoRebalance
from logmlm.sources.idle import IdleTimes

GAP = 5.0
RULES = (
    WindowConfig(kind="session", key=r"(k\d)", gap=GAP, size=4),
    WindowConfig(kind="session", key=r"(k\d)", gap=GAP, size=50, max_age=60.0),
    WindowConfig(kind="time", span=GAP, size=50),
)
BEGIN = 1000.0


class LiveLog(NoRebalance):
    """Lines in two partitions, each there once its time has come, and read in small batches."""

    name = "live"
    replayable = True
    exhausted = False

    def __init__(self, lines):
        self.lines = lines
        self.now = BEGIN
        self.wall_step = 0.0
        self.held = False
        self.batch = 3
        self.at = {name: Checkpoint(0, 0, None) for name in lines}
        self.start()

    def start(self):
        self.position = {name: at.safe for name, at in self.at.items()}
        self.times = IdleTimes(lambda: self.now)

    def unread(self, name):
        there = sum(BEGIN + at <= self.now for at, _ in self.lines[name])
        return range(self.position[name], there)

    def poll(self, timeout):
        if self.held:
            self.now += timeout
            return []
        for name in sorted(self.lines, key=lambda name: -len(self.unread(name))):
            places = self.unread(name)[: self.batch]
            if places:
                self.position[name] = places[-1] + 1
                return [self.line(name, i) for i in places]
        self.now += timeout
        return []

    def line(self, name, i):
        at, key = self.lines[name][i]
        return LogLine(f"{at} {key}", name, i, i + 1, self.now + self.wall_step)

    def pause(self, held):
        self.held = held

    def idle(self, partitions):
        for name in partitions:
            if self.held or self.unread(name):
                self.times.forget([name])
            else:
                self.times.confirm(name, self.position[name])
        return self.times.of(partitions)

    def is_idle(self):
        return not any(self.unread(name) for name in self.lines)

    def checkpoints(self):
        return self.at

    def commit(self, checkpoints):
        self.at = {**self.at, **checkpoints}
        return True


class Reader:
    def feed(self, lines):
        events = []
        for line in lines:
            at, key = line.text.split()
            time = BEGIN + float(at)
            events.append(Event(line, Fields(time, "", line.text), time, key, "t1"))
        return events

    def flush_due(self, _idle):
        return []

    def flush(self):
        return []

    def held(self):
        return []

    def has_pending(self, _partition):
        return False

    def is_inside(self, _partition, _position):
        return False

    def drop(self, _partition):
        """Nothing is held back."""

    def warn_of_misfits(self, _least):
        """Every line fits."""


class Kept:
    """Keeps what was scored; while it is `behind`, the source is held."""

    def __init__(self):
        self.windows, self.behind = set(), False

    def update(self, scores, _now):
        self.windows |= {place(score.window) for score in scores}
        return []

    def deliver(self, _now):
        """Nobody is told."""

    def is_settled(self, _alert):
        return True

    def is_behind(self, _now):
        return self.behind

    def waiting(self):
        return {}


def place(window):
    return window.partition, window.key, tuple(event.line.start for event in window.events)


def score(windows):
    return [SimpleNamespace(window=window, is_anomaly=False) for window in windows]


class Loop:
    def __init__(self, rule, lines):
        self.rule, self.source, self.kept = rule, LiveLog(lines), Kept()
        self.start()

    def start(self):
        self.source.start()
        parts = Reader(), Windower(self.rule), SurgeMonitor(score), self.kept
        source = self.source
        clock = lambda: source.now + source.wall_step  # noqa: E731  a clock in a line
        self.pipeline = Pipeline(source, *parts, clock, monotonic=lambda: source.now)

    def act(self, what, amount):
        if what == "pause":
            self.source.now += amount
        elif what == "steps":
            for _ in range(int(amount)):
                self.pipeline.step()
        elif what == "kill":
            self.source.now += amount
            self.start()
        elif what == "clock":
            self.source.wall_step += (amount - 15.0) * 1000.0
        elif what == "batch":
            self.source.batch = 1 + int(amount)
        else:
            self.kept.behind = not self.kept.behind

    def finish(self):
        self.kept.behind = False
        for _ in range(int(20 * GAP / CHECK_PARTITIONS_EVERY_S) + 400):
            self.pipeline.step()


def undisturbed(rule, lines):
    found = set()
    for name in lines:
        windower, source = Windower(rule), LiveLog(lines)
        events = Reader().feed([source.line(name, i) for i in range(len(lines[name]))])
        found |= {place(window) for window in windower.add(events) + windower.close_all()}
    return found


def written(steps):
    """Lines that follow one another after so many tenths of a second."""
    at, lines = 0.0, []
    for tenths, key in steps:
        at = round(at + tenths / 10, 1)
        lines.append((at, f"k{key}"))
    return lines


STEPS = st.lists(st.tuples(st.integers(0, 80), st.integers(0, 2)), min_size=1, max_size=25)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["pause", "steps", "steps", "kill", "clock", "batch", "hold"]),
        st.floats(0.0, 30.0),
    ),
    max_size=25,
)
PAUSED = [("steps", 2.0), ("pause", 29.0), ("steps", 30.0)]


@given(st.sampled_from(RULES), STEPS, STEPS, ACTIONS)
@example(RULES[0], [(0, 0)], [(0, 0), (66, 0)], [])
@example(RULES[0], [(0, 0), *[(10, 0)] * 20], [(0, 1), *[(10, 1)] * 20], PAUSED)
def test_the_same_lines_make_the_same_windows_whenever_they_are_read(rule, one, other, actions):
    lines = {"p": written(one), "q": written(other)}
    loop = Loop(rule, lines)
    for what, amount in actions:
        loop.act(what, amount)
    loop.finish()
    assert loop.kept.windows == undisturbed(rule, lines)
