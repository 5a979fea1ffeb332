"""What is muted while it waits is not told, and everything else is, once."""

from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from http_parts import alert
from hypothesis import given, settings
from hypothesis import strategies as st

from logmlm.alerting.feedback import give_feedback
from logmlm.alerting.grouping import GroupingPolicy
from logmlm.alerting.label_matchers import LabelMatcher
from logmlm.alerting.muting import Muter
from logmlm.alerting.notification import PendingNotification
from logmlm.alerting.outbox import Outbox
from logmlm.alerting.silences import add_silence
from logmlm.alerting.store.database import StateDatabase

HOSTS, TEXTS = ("x", "y", "z"), ("ODD a", "ODD b", "ODD c")
kinds = st.tuples(st.sampled_from(HOSTS), st.sampled_from(TEXTS))


@contextmanager
def kept():
    with (
        TemporaryDirectory() as directory,
        closing(StateDatabase(Path(directory) / "state.db")) as state,
    ):
        yield state


def made(kind, number):
    host, text = kind
    return alert(text, labels={"host": host}, first=number * 50, value=3.0 + number % 3 / 10)


def mute(state, host=None, text=None):
    if host is not None:
        add_silence(state, [LabelMatcher("host", "=", host)], 0.0, (0.0, 1e9))
    if text is not None:
        give_feedback(state, made((HOSTS[0], text), 0), "false alarm", 0.0, 1e9)


def told_of(box, now):
    """How many alerts of each host the sink is told of, all of it accepted."""
    counts = Counter()
    while isinstance(pending := box.notifications.next("g", now), PendingNotification):
        for one in pending.notification.alerts:
            counts[one.labels["host"]] += int(one.annotations["count"])
        box.ack(pending, now)
    return counts


@settings(max_examples=30)  # each makes a database
@given(st.lists(kinds, min_size=1, max_size=12), st.sampled_from(HOSTS), st.sampled_from(TEXTS))
def test_of_a_new_group_exactly_what_is_not_muted_is_told_and_nothing_waits(kinds, host, text):
    with kept() as state:
        box = Outbox(state, {"g": GroupingPolicy(("model",))})
        alerts = [made(kind, number) for number, kind in enumerate(kinds)]
        box.store([(one, "sent") for one in alerts], 0.0)
        mute(state, host, text)
        expected = Counter(kind[0] for kind in kinds if kind[0] != host and kind[1] != text)
        assert told_of(box, 30.0) == expected
        assert all(box.is_settled(one.id) for one in alerts)
        verdicts = {one.id: Muter.at(state, 0.0).status(one) for one in alerts}
        assert {row["id"]: row["verdict"] for row in state.select("alerts")} == verdicts


@settings(max_examples=30)  # each makes a database
@given(st.lists(kinds, min_size=1, max_size=6), st.lists(kinds, max_size=6), st.data())
def test_of_a_group_that_fires_what_is_new_and_not_muted_is_told(first, later, data):
    host, text = data.draw(st.sampled_from(HOSTS)), data.draw(st.sampled_from(TEXTS))
    with kept() as state:
        box = Outbox(state, {"g": GroupingPolicy(("model",), resolve_after=1e6)})
        box.store([(made(kind, number), "sent") for number, kind in enumerate(first)], 0.0)
        told_of(box, 30.0)
        more = [(made(kind, 100 + number), "sent") for number, kind in enumerate(later)]
        box.store(more, 40.0)
        mute(state, host, text)
        news = {kind for kind in set(later) - set(first) if kind[0] != host and kind[1] != text}
        told = told_of(box, 330.0)
        assert bool(told) == bool(news)
        assert {kind[0] for kind in news} <= set(told)
        assert host not in told
        assert state.count("queue") == state.count("waiting") == 0


@settings(max_examples=30)  # each makes a database
@given(st.lists(kinds, min_size=1, max_size=8))
def test_alerts_of_one_kind_are_muted_alike(kinds):
    with kept() as state:
        mute(state, "x", "ODD a")
        mutes = Muter.at(state, 0.0)
        assert bool(mutes)
        for number, kind in enumerate(kinds):
            expected = {"x": "silenced"}.get(kind[0], "sent")
            if expected == "sent" and kind[1] == "ODD a":
                expected = "false alarm"
            assert mutes.status(made(kind, number)) == expected
        assert not Muter.at(state, 1e10)
