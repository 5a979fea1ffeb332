"""Positions wait for alerts that nobody has accepted; a replay makes every one of those again."""

from hypothesis import given
from hypothesis import strategies as st

from logmlm.daemon.commit_tracker import CommitTracker
from logmlm.records import Checkpoint


def at(position):
    return Checkpoint(position, position, float(position))


class Receivers:
    def __init__(self):
        self.settled = set()
        self.asked = 0

    def __call__(self, alert):
        self.asked += 1
        return alert in self.settled


def test_without_alerts_the_newest_checkpoint_is_safe():
    points = CommitTracker(Receivers())
    assert points.committable("p") is None
    points.add("p", at(1), [])
    points.add("p", at(2), [])
    assert points.committable("p") == at(2)


def test_an_alert_holds_back_its_own_checkpoint_and_all_later_ones():
    receivers = Receivers()
    points = CommitTracker(receivers)
    for position, alerts in ((1, []), (2, ["a"]), (3, []), (4, ["b"]), (5, [])):
        points.add("p", at(position), alerts)
    assert points.committable("p") == at(1)
    receivers.settled = {"b"}
    assert points.committable("p") == at(1)
    receivers.settled = {"a", "b"}
    assert points.committable("p") == at(5)


def test_checkpoints_between_two_alerts_are_safe_once_the_first_is_settled():
    receivers = Receivers()
    points = CommitTracker(receivers)
    for position, alerts in ((1, ["a"]), (2, []), (3, ["b"]), (4, [])):
        points.add("p", at(position), alerts)
    receivers.settled = {"a"}
    assert points.committable("p") == at(2)


def test_what_waits_costs_one_question_each_time():
    receivers = Receivers()
    points = CommitTracker(receivers)
    for step in range(10):
        points.add("p", at(step), [f"{step}.{alert}" for alert in range(100)])
    receivers.asked = 0
    assert points.committable("p") is None
    assert receivers.asked == 1


def test_partitions_hold_back_only_themselves_and_are_forgotten_alone():
    points = CommitTracker(Receivers())
    points.add("p", at(1), ["a"])
    points.add("q", at(7), [])
    assert (points.committable("p"), points.committable("q")) == (None, at(7))
    points.drop(["p", "never seen"])
    points.add("p", at(9), [])
    assert (points.committable("p"), points.committable("q")) == (at(9), at(7))


def test_what_another_rule_made_is_made_anew_whether_it_was_settled_or_not():
    receivers = Receivers()
    points = CommitTracker(receivers)
    points.add("p", Checkpoint(1, 4, None), [])
    points.add("p", Checkpoint(2, 6, 5.0), ["a"])
    points.add("q", Checkpoint(3, 9, 7.0), ["b"])
    points.rewind()
    assert (points.committable("p"), points.committable("q")) == (Checkpoint(1, 1, None), None)
    receivers.settled = {"a", "b"}
    assert points.committable("p") == Checkpoint(2, 2, 5.0)
    assert points.committable("q") == Checkpoint(3, 3, 7.0)
    points.add("p", Checkpoint(4, 8, 9.0), [])
    assert points.committable("p") == Checkpoint(4, 8, 9.0)


@st.composite
def histories(draw):
    """For each step, the alerts that it makes, and those that are settled after it."""
    steps, made = [], []
    for number in range(draw(st.integers(1, 12))):
        new = [f"{number}.{i}" for i in range(draw(st.integers(0, 2)))]
        made += new
        steps.append((new, draw(st.sets(st.sampled_from(made))) if made else set()))
    return steps


@given(histories())
def test_a_replay_from_what_is_committed_makes_every_unsettled_alert_again(history):
    receivers = Receivers()
    points = CommitTracker(receivers)
    points.add("p", at(0), [])
    made_after = {}
    for number, (new, settled) in enumerate(history, start=1):
        points.add("p", at(number), new)
        made_after |= dict.fromkeys(new, number)
        receivers.settled |= settled
        committed = points.committable("p").safe
        again = {alert for alert, step in made_after.items() if step > committed}
        unsettled = set(made_after) - receivers.settled
        assert unsettled <= again
        held = [step for alert, step in made_after.items() if alert in unsettled]
        assert committed == min(held, default=number + 1) - 1


def test_what_a_replay_makes_again_is_known_with_what_is_settled_of_it():
    receivers = Receivers()
    points = CommitTracker(receivers)
    receivers.settled = {"a", "c", "e"}
    for position, alerts in ((1, ["a"]), (2, ["b", "c"]), (3, []), (4, ["d"]), (5, ["e"])):
        points.add("p", at(position), alerts)
    assert points.committable("p") == at(1)
    assert points.held_back("p") == ["b", "c", "d", "e"]
    receivers.settled |= {"b"}
    assert points.committable("p") == at(3)
    assert points.held_back("p") == ["d", "e"]
    assert points.held_back("another") == []
