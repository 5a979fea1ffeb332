"""The loop stores alerts before it commits positions, and a replay changes nothing."""

import os
import shutil

import pytest
from daemon_parts import FakeDetector

from logmlm.config.sources import FileSourceConfig
from logmlm.config.training import FormatConfig
from logmlm.daemon.pipeline import COMMIT_EVERY_S, ENOUGH_LINES, Pipeline, StepResult
from logmlm.detection.surges import SurgeMonitor, SurgeRule
from logmlm.detection.windows import Windower
from logmlm.errors import StorageError
from logmlm.parsing.event_parser import EventParser
from logmlm.parsing.formats import get_format
from logmlm.records import Alert, Checkpoint, LogLine
from logmlm.sources.base import NoRebalance, PartitionChanges
from logmlm.sources.file.checkpoints import CheckpointStore
from logmlm.sources.file.source import FileSource


class ListSource(NoRebalance):
    """Hands over batches, and notes what is committed among the other steps."""

    name = "list"
    replayable = True

    def __init__(self, steps, batches, at=None):
        self.steps = steps
        self.batches = list(batches)
        self.at = at or {"p": Checkpoint(0, 0, None)}
        self.ends = False
        self.keeps = True
        self.clock = self.came_at = 100.0

    @property
    def exhausted(self):
        return self.ends and not self.batches

    def poll(self, timeout):
        self.clock += timeout
        batch = self.batches.pop(0) if self.batches else []
        self.came_at = self.clock if batch else self.came_at
        return [LogLine(text, "p", start, start + 1, self.clock) for start, text in batch]

    def checkpoints(self):
        return self.at

    def idle(self, partitions):
        return dict.fromkeys(partitions, self.clock - self.came_at)

    def is_idle(self):
        return not self.batches

    def commit(self, checkpoints):
        self.at = {**self.at, **checkpoints}
        self.steps.append(("commit", dict(checkpoints)))
        return self.keeps

    def describe(self, partition):
        return partition

    def close(self):
        self.steps.append("close")


class ListAlerting:
    def __init__(self, steps):
        self.steps = steps
        self.broken = False
        self.queue = []

    def update(self, scores, _now):
        if self.broken:
            raise StorageError("disk full")
        for score in scores:
            texts = [event.line.text for event in score.window.events]
            self.steps.append(("store", "".join(texts), score.window.closed_by))
        return []

    def deliver(self, _now):
        self.steps.append("deliver")

    def is_settled(self, _alert_id):
        return True

    def is_behind(self, _now):
        return bool(self.queue)

    def waiting(self):
        return {"sink": self.queue.pop(0)}


def told(source):
    return {"monotonic": lambda: source.clock}


class Desk:
    def __init__(self, *batches, at=None):
        self.steps = []
        self.source = ListSource(self.steps, batches, at)
        self.alerting = ListAlerting(self.steps)
        self.detector = FakeDetector()
        self.windower = self.detector.windower()
        self.pipeline = Pipeline(
            self.source,
            self.detector.event_parser(),
            self.windower,
            SurgeMonitor(self.detector.score),
            self.alerting,
            lambda: self.source.clock,
            monotonic=lambda: self.source.clock,
        )

    def told(self, *kinds):
        return [step for step in self.steps if step[0] in kinds]


def stop_after(turns):
    left = iter([False] * turns)
    return lambda: next(left, True)


def test_alerts_are_stored_then_delivered_then_positions_are_committed():
    desk = Desk([(0, "a"), (1, "b"), (2, "c")])
    desk.pipeline.run(stop_after(1))
    assert desk.steps == [
        ("store", "ab", "length"),
        "deliver",
        ("commit", {"p": Checkpoint(2, 3, 100.5)}),
    ]


def test_nothing_is_committed_when_alerts_can_not_be_stored():
    desk = Desk([(0, "a"), (1, "b")])
    desk.alerting.broken = True
    with pytest.raises(StorageError):
        desk.pipeline.run(stop_after(5))
    assert desk.steps == []


def test_a_stop_leaves_open_windows_open_and_a_restart_makes_them_whole():
    desk = Desk([(0, "a"), (1, "b"), (2, "c")])
    desk.pipeline.run(stop_after(3))
    again = Desk([(2, "c"), (3, "d")], at=desk.source.at)
    again.pipeline.run(stop_after(1))
    assert again.told("store") == [("store", "cd", "length")]


def test_a_stop_closes_the_windows_of_what_can_not_be_read_again():
    desk = Desk([(0, "a"), (1, "b"), (2, "c")])
    desk.source.replayable = False
    desk.pipeline.run(stop_after(1))
    assert [step[1:] for step in desk.told("store")] == [("ab", "length"), ("c", "end")]


def test_windows_that_were_scored_before_are_dropped_in_a_replay():
    desk = Desk([(0, "a"), (1, "b"), (2, "c"), (3, "d")], at={"p": Checkpoint(0, 2, None)})
    desk.pipeline.run(stop_after(1))
    assert desk.told("store") == [("store", "cd", "length")]


def surging():
    """Each of the fake detector's windows speaks a little for a surge; five make one."""
    return SurgeMonitor(FakeDetector().score, SurgeRule(4.0, 0.001))


class Kept(ListAlerting):
    def update(self, scores, _now):
        self.steps += [("surge", s.window.first_position) for s in scores if s.surge]
        return []


def test_a_surge_goes_on_after_a_restart_as_if_nothing_had_been_interrupted():
    batches = [[(2 * i, "a"), (2 * i + 1, "b")] for i in range(12)]

    def run(source):
        detector = FakeDetector()
        parts = detector.event_parser(), detector.windower(), surging(), Kept(source.steps)
        Pipeline(source, *parts, lambda: source.clock).run(lambda: not source.batches)
        return [step for step in source.steps if step[0] == "surge"]

    whole = run(ListSource([], batches))
    assert whole == [("surge", 8), ("surge", 18)]
    first = ListSource([], batches[:7])
    assert run(first) == [("surge", 8)]
    assert first.at["p"].rise is not None
    assert run(ListSource([], batches[7:], first.at)) == [("surge", 18)]
    forgotten = ListSource([], batches[7:], {"p": first.at["p"].rewound()})
    assert run(forgotten) == [("surge", 22)]


def test_positions_are_committed_every_few_seconds_and_at_the_stop():
    desk = Desk()
    turns = int(COMMIT_EVERY_S / 0.5)
    desk.pipeline.run(stop_after(2 * turns + 1))
    assert len(desk.told("commit")) == 3
    assert desk.told("commit")[0] == ("commit", {"p": Checkpoint(0, 0, None)})


def test_a_clock_set_back_does_not_hold_up_the_commits():
    desk = Desk()
    desk.source.clock -= 50
    desk.pipeline.step()
    assert len(desk.told("commit")) == 1


def test_the_end_of_the_input_closes_all_windows():
    desk = Desk([(0, "a")])
    desk.source.ends = True
    desk.pipeline.run(lambda: False)
    assert desk.told("store") == [("store", "a", "end")]
    assert desk.source.at == {"p": Checkpoint(1, 1, 100.5)}


def test_when_nothing_came_for_so_long_the_windows_are_closed_and_the_loop_ends():
    desk = Desk([(0, "a"), (1, "b"), (2, "c")], [], [], [(3, "d"), (4, "e")])
    desk.pipeline.run(lambda: False, stop_when_idle=3.0)
    assert [step[1:] for step in desk.told("store")] == [
        ("ab", "length"),
        ("cd", "length"),
        ("e", "end"),
    ]
    assert desk.source.clock == 100 + 4 * 0.5 + 3.0


class HeldSource(ListSource):
    """Hands over nothing while it is held, as Kafka's does."""

    is_held = False

    def pause(self, held):
        self.is_held = held

    def poll(self, timeout):
        if not self.is_held:
            return super().poll(timeout)
        self.clock += timeout
        return []


@pytest.mark.parametrize(("queue", "made"), [([*range(20, 0, -1)], ["length"]), ([5] * 20, [])])
def test_a_source_that_is_held_ends_only_where_receivers_take_nothing_and_closes_nothing(
    queue, made
):
    desk = Desk()
    desk.source = HeldSource(desk.steps, [[(0, "a")], [(1, "b")]])
    desk.alerting.queue = queue
    parts = (
        desk.windower,
        SurgeMonitor(desk.detector.score),
        desk.alerting,
        lambda: desk.source.clock,
    )
    pipeline = Pipeline(desk.source, desk.detector.event_parser(), *parts, **told(desk.source))
    pipeline.run(lambda: False, stop_when_idle=3.0)
    assert [step[2] for step in desk.told("store")] == made


def test_slow_scoring_is_no_idleness():
    desk = Desk([(0, "a"), (1, "b")], [(2, "c"), (3, "d")])

    def slow(windows):
        desk.source.clock += 60 * len(windows)
        return desk.detector.score(windows)

    desk.pipeline._surge_monitor = SurgeMonitor(slow)
    desk.pipeline.run(lambda: False, stop_when_idle=3.0)
    assert len(desk.told("store")) == 2


def test_partitions_that_the_source_forgot_are_dropped():
    desk = Desk([(0, "a")])
    desk.windower.resume("gone", Checkpoint(0, 0, None))
    desk.pipeline.run(stop_after(1))
    assert desk.windower.partitions == ("p",)


def test_delivery_is_tried_in_every_turn_though_nothing_comes():
    desk = Desk()
    desk.pipeline.run(stop_after(3))
    assert desk.steps.count("deliver") == 3


def test_each_turn_says_what_it_did():
    desk = Desk([(0, "a"), (1, "b")], [])
    turns = []
    desk.pipeline.run(stop_after(11), after_turn=turns.append)
    assert turns[:2] == [StepResult(2, committed=False), StepResult(0, committed=False)]
    assert [turn.committed for turn in turns].index(True) == COMMIT_EVERY_S / 0.5 - 1


def test_a_commit_that_failed_is_none_and_is_tried_again_in_time():
    desk = Desk()
    desk.source.keeps = False
    turns = []
    desk.pipeline.run(stop_after(int(2 * COMMIT_EVERY_S / 0.5)), after_turn=turns.append)
    assert not any(turn.committed for turn in turns)
    assert len(desk.told("commit")) == 3


def test_another_model_deals_with_the_open_windows_before_positions_are_committed():
    desk = Desk([(0, "a"), (1, "b"), (2, "c"), (3, "d")])
    old = FakeDetector(size=3)
    first = (
        desk.source,
        old.event_parser(),
        old.windower(),
        SurgeMonitor(old.score),
        desk.alerting,
    )
    pipeline = Pipeline(*first, lambda: desk.source.clock)
    pipeline.step()
    del desk.steps[:]
    new = FakeDetector(size=2)
    other = ListAlerting([])
    pipeline.change_alerting(other)
    pipeline.change_model(new.event_parser(), new.windower(), SurgeMonitor(new.score))
    assert desk.steps == [("commit", {"p": Checkpoint(3, 3, 100.5)})]
    desk.source.batches.append([(4, "e")])
    pipeline.step()
    assert other.steps == ["deliver", ("store", "de", "length"), "deliver"]


def test_the_real_windower_is_what_it_runs_with():
    assert isinstance(Desk().windower, Windower)


def test_following_logs_of_another_format_is_warned_of(caplog):
    desk = Desk([(i, "no json") for i in range(ENOUGH_LINES)])
    foreign = EventParser(get_format(FormatConfig(name="json")), None, str.upper)
    parts = (
        desk.windower,
        SurgeMonitor(desk.detector.score),
        desk.alerting,
        lambda: desk.source.clock,
    )
    Pipeline(desk.source, foreign, *parts).run(stop_after(2))
    assert "100 of 100 lines are not of the model's line format 'json'" in caplog.text


NOTHING = {"q": Checkpoint(0, 0, None)}


class MovingSource(ListSource):
    """A source whose partitions come and go; each batch is (changes, lines)."""

    def __init__(self, steps, batches, at=None):
        super().__init__(steps, batches, at)
        self.moved = PartitionChanges()
        self.noted, self.held = {}, False

    def poll(self, timeout):
        self.clock += timeout
        self.moved, lines = self.batches.pop(0) if self.batches else (PartitionChanges(), [])
        self.at = {name: c for name, c in self.at.items() if name not in self.moved.lost}
        self.at |= self.moved.gained
        self.came_at = self.clock if lines else self.came_at
        return [LogLine(text, "p", start, start + 1, self.clock) for start, text in lines]

    def changes(self):
        return self.moved

    def set_pending(self, positions):
        self.noted = dict(positions())

    def pause(self, held):
        self.held = held


class SlowAlerting(ListAlerting):
    """Makes an alert of every window; none is settled until it is said."""

    def __init__(self, steps):
        super().__init__(steps)
        self.settled = set()

    def update(self, scores, now):
        super().update(scores, now)
        return [
            Alert(f"{each.window.first_position}", "f", {}, {}, 0.0, None, each) for each in scores
        ]

    def is_settled(self, alert_id):
        return alert_id in self.settled


def moving(*batches, at=None):
    steps = []
    source = MovingSource(steps, batches, at)
    alerting, detector = SlowAlerting(steps), FakeDetector()
    parts = detector.event_parser(), detector.windower(), SurgeMonitor(detector.score), alerting
    return Pipeline(source, *parts, lambda: source.clock, **told(source)), source, alerting


def stored(source):
    return [text for kind, text, _ in (step for step in source.steps if step[0] == "store")]


def test_a_lost_partitions_open_window_goes_and_a_gained_ones_lines_start_anew():
    again = PartitionChanges(frozenset("p"), {"p": Checkpoint(5, 5, None)})
    pipeline, source, _ = moving((PartitionChanges(), [(0, "a")]), (again, [(5, "x"), (6, "y")]))
    pipeline.step()
    pipeline.step()
    assert stored(source) == ["xy"]


def test_a_partition_that_is_gone_is_neither_noted_nor_committed():
    pipeline, source, _ = moving(
        (PartitionChanges(), [(0, "a"), (1, "b"), (2, "c")]), (PartitionChanges(frozenset("p")), [])
    )
    pipeline.step()
    pipeline.step()
    pipeline.commit()
    assert source.noted == {}
    assert source.steps[-1] == ("commit", {})


def test_a_gained_partitions_windows_that_were_scored_before_are_dropped():
    gained = PartitionChanges(gained={"p": Checkpoint(0, 2, None)})
    pipeline, source, _ = moving((gained, [(0, "a"), (1, "b"), (2, "c"), (3, "d")]), at=NOTHING)
    pipeline.step()
    assert stored(source) == ["cd"]


def test_positions_wait_for_alerts_that_nobody_has_accepted():
    pipeline, source, alerting = moving(
        (PartitionChanges(), [(0, "a"), (1, "b")]), (PartitionChanges(), [])
    )
    pipeline.step()
    assert source.noted == {}
    alerting.settled = {"0"}
    pipeline.step()
    assert source.noted == {"p": Checkpoint(2, 2, 100.5)}
    pipeline.commit()
    assert source.steps[-1] == ("commit", source.noted)


def test_positions_go_past_what_became_no_event_unless_something_is_held_back():
    source = MovingSource([], [(PartitionChanges(), [(0, '{"message": "a"}'), (1, "no json")])])
    source.ahead = {"p": 7, "unknown": 3}
    source.consumed_positions = lambda: source.ahead
    events = EventParser(get_format(FormatConfig(name="json")), None, str.upper)
    detector, alerting = FakeDetector(), SlowAlerting([])
    parts = (
        events,
        detector.windower(),
        SurgeMonitor(detector.score),
        alerting,
        lambda: source.clock,
    )
    pipeline = Pipeline(source, *parts, **told(source))
    pipeline.step()
    assert source.noted["p"] == Checkpoint(0, 7, None), "the open window is read again"
    held = EventParser(get_format(FormatConfig(name="iso8601")), None, str.upper)
    source.batches = [
        (PartitionChanges(), [(8, "2024-05-06T07:08:09Z INFO held back")]),
        (PartitionChanges(), []),
    ]
    pipeline._reader, source.ahead = held, {"p": 12}
    pipeline.step()
    assert source.noted["p"].reached == 7
    source.clock += 60.0
    alerting.settled = {"0"}
    pipeline.step()
    pipeline.step()
    assert source.noted["p"] == Checkpoint(12, 12, 1_714_979_289.0)


def test_a_source_is_held_while_its_alerts_are_behind_and_let_go_again():
    pipeline, source, alerting = moving((PartitionChanges(), [(0, "x")]), (PartitionChanges(), []))
    alerting.is_behind = lambda now: now < 101.0
    pipeline.step()
    assert source.held
    pipeline.step()
    assert not source.held


def test_what_waits_for_its_alerts_while_the_model_changes_is_scored_anew_after_a_crash():
    lines = [(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "e")]
    pipeline, source, alerting = moving(
        (PartitionChanges(), lines[:1]), (PartitionChanges(), lines[1:])
    )
    pipeline.step()
    pipeline.step()
    new = FakeDetector(size=3)
    pipeline.change_model(new.event_parser(), new.windower(), SurgeMonitor(new.score))
    assert source.steps[-1] == ("commit", {"p": Checkpoint(0, 0, None)})
    alerting.settled = {"0", "2"}
    pipeline.commit()
    assert source.steps[-1] == ("commit", {"p": Checkpoint(4, 4, 101.0)})


def test_windows_of_a_partition_that_ended_are_closed_and_scored():
    ended = PartitionChanges(ended=frozenset("p"))
    pipeline, source, alerting = moving(
        (PartitionChanges(), [(0, "a"), (1, "b"), (2, "c")]), (ended, [])
    )
    pipeline.step()
    pipeline.step()
    assert alerting.steps[-2:] == [("store", "c", "end"), "deliver"]
    alerting.settled = {"0", "2"}
    pipeline.commit()
    assert source.at == {"p": Checkpoint(3, 3, 100.5)}


def test_a_line_held_back_of_a_partition_that_ended_is_scored_once_it_is_an_event():
    lines = [(0, "2024-05-06T07:08:09Z INFO a")]
    pipeline, source, alerting = moving(
        (PartitionChanges(ended=frozenset("p")), lines), (PartitionChanges(), [])
    )
    pipeline._reader = EventParser(get_format(FormatConfig(name="iso8601")), None, str.upper)
    pipeline.step()
    assert not stored(source)
    source.moved, source.clock = PartitionChanges(), source.clock + 60.0
    pipeline.step()
    assert [step[2] for step in alerting.steps if step[0] == "store"] == ["end"]


def rotate(log, how):
    aside = log.with_name("app.log.1")
    if how == "rename":
        log.rename(aside)
    elif how == "delete":
        log.unlink()
    else:
        shutil.copy(log, aside)
        os.truncate(log, 0)


@pytest.mark.parametrize("include", ["app.log", "app.log*"])
@pytest.mark.parametrize("how", ["rename", "delete", "copy and truncate"])
@pytest.mark.parametrize("form", ["plain", "iso8601"])
def test_the_last_lines_of_a_file_that_is_rotated_are_scored_whatever_the_windows(
    tmp_path, include, how, form
):
    log, now, detector, steps = tmp_path / "app.log", [1e9], FakeDetector(size=50), []
    line = "2024-05-06T07:08:09Z INFO {} {}\n".format
    log.write_text("".join(line("old", i) for i in range(107)))
    source = FileSource(
        FileSourceConfig(include=str(tmp_path / include), start_at="beginning"),
        CheckpointStore(tmp_path / "state.json"),
        clock=lambda: now[0],
        wait=lambda _: None,
        monotonic=lambda: now[0],
    )
    reader = EventParser(get_format(FormatConfig(name=form)), None, str.upper)
    parts = detector.windower(), SurgeMonitor(detector.score), ListAlerting(steps), lambda: now[0]
    pipeline = Pipeline(source, reader, *parts, monotonic=lambda: now[0])

    def go_round(turns):
        for _ in range(turns):
            now[0] += 1.1
            pipeline.step()
        return "".join(step[1] for step in steps if step[0] == "store")

    go_round(10)
    rotate(log, how)
    go_round(1)
    log.write_text("".join(line("new", i) for i in range(20)))
    scored = go_round(70)
    assert scored.count("old") == 107
    assert scored.count("new") == 0, "more may come"
    rotate(log, "delete")
    scored = go_round(50)
    assert (scored.count("old"), scored.count("new")) == (107, 20)
    pipeline.commit()
    assert all(at.safe == at.reached for at in source.checkpoints().values())
