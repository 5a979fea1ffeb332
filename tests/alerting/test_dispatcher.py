"""Alerts are stored before they are sent, tried again later, and never sent twice for a replay."""

import pytest
from daemon_parts import explain, score

from logmlm.alerting import outbox
from logmlm.alerting.alert_builder import build_alert
from logmlm.alerting.delivery import MAX_RETRY_AFTER_S, MAX_RETRY_S, Receiver, backoff
from logmlm.alerting.dispatcher import AlertDispatcher
from logmlm.alerting.queries import retry_dead_letters
from logmlm.alerting.store.database import StateDatabase
from logmlm.detection.windows import window_id
from logmlm.errors import StorageError
from logmlm.records import DeliveryResult

ACCEPTED, LATER = DeliveryResult("accepted"), DeliveryResult("later", "HTTP 503")


class Hook:
    """A receiver that answers as it is told, then accepts."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.sent = []

    def __call__(self, notification):
        self.sent.append(notification)
        return self.answers.pop(0) if self.answers else ACCEPTED

    @property
    def ids(self):
        return [alert.id for notification in self.sent for alert in notification.alerts]


class Desk:
    def __init__(self, directory, **hooks):
        self.directory = directory
        self.hooks = hooks
        self.jitter = 1.0
        self.began = []
        self.state = None
        self.start()

    def start(self, max_retries=3):
        self.close()
        self.state = StateDatabase(self.directory / "state.db")
        self.alerting = AlertDispatcher(
            self.state,
            [Receiver(name, hook, max_retries) for name, hook in self.hooks.items()],
            make=lambda found: build_alert(
                found,
                explain(found),
                digest="d",
                labels={"b": "2", "a": '1"'},
                origin="",
                description="",
            ),
            random=lambda: self.jitter,
            on_new_alert=self.began.append,
        )

    def close(self):
        if self.state is not None:
            self.state.close()

    def dead(self):
        return self.state.select("dead")


@pytest.fixture
def hook():
    return Hook()


@pytest.fixture
def make_desk(tmp_path):
    desks = []

    def make(**hooks):
        desks.append(Desk(tmp_path, **hooks))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(make_desk, hook):
    return make_desk(hook=hook)


def test_an_anomaly_is_sent_once_and_a_normal_window_never(desk, hook):
    desk.alerting.update([score("ODD"), score("fine", value=0.999, first=50)], 0.0)
    desk.alerting.deliver(0.0)
    desk.alerting.deliver(1.0)
    (notification,) = hook.sent
    assert notification.status == "firing"
    assert notification.alerts[0].annotations["lines"] == "> ODD"
    assert notification.group_key == (
        '{}:{a="1\\"", alertname="LogAnomaly", b="2", severity="warning"}'
    )


def test_what_waits_is_counted_for_each_receiver(tmp_path):
    desk = Desk(tmp_path, slow=Hook(LATER), quick=Hook())
    desk.alerting.update([score("ODD")], 0.0)
    assert desk.alerting.waiting() == {"slow": 1, "quick": 1}
    desk.alerting.deliver(0.0)
    assert desk.alerting.waiting() == {"slow": 1, "quick": 0}


def test_an_alert_begins_once_however_often_it_is_made_again(desk):
    for _ in range(2):
        desk.alerting.update([score("ODD"), score("ODD", first=50)], 0.0)
        desk.start()
        desk.alerting.update([score("ODD")], 1.0)
    assert [alert.id for alert in desk.began] == [
        window_id("d", score("ODD", first=first).window) for first in (0, 50)
    ]


def test_an_alert_is_durable_before_anything_is_sent(desk, hook):
    desk.alerting.update([score("ODD")], 0.0)
    desk.start()
    desk.alerting.deliver(0.0)
    assert len(hook.ids) == 1


def test_a_replayed_alert_is_not_sent_again(desk, hook):
    for _ in range(3):
        desk.alerting.update([score("ODD")], 0.0)
        desk.alerting.deliver(0.0)
        desk.start()
    assert len(hook.ids) == 1


def test_other_lines_in_the_same_place_are_no_replay(desk, hook):
    for text in ("ODD on Monday", "ODD on Tuesday"):  # of a topic or a file that was made anew
        desk.alerting.update([score(text)], 0.0)
        desk.alerting.deliver(0.0)
        desk.start()
    assert len(set(hook.ids)) == 2


def test_a_failure_is_a_later_time_and_each_wait_is_longer(desk, hook):
    hook.answers = [LATER, LATER, LATER]
    desk.alerting.update([score("ODD")], 0.0)
    tries = []
    for tick in range(100):
        before = len(hook.sent)
        desk.alerting.deliver(tick / 10)
        tries += [tick / 10] * (len(hook.sent) - before)
    assert tries == [0.0, 1.0, 3.0, 7.0]
    assert not desk.dead()


def test_jitter_halves_the_wait_at_most_and_the_wait_is_bounded():
    assert [backoff(n, 1.0) for n in range(4)] == [1.0, 2.0, 4.0, 8.0]
    assert backoff(3, 0.0) == 4.0
    assert backoff(10_000, 1.0) == MAX_RETRY_S


def test_the_receivers_wish_to_be_left_alone_is_honoured_within_bounds(desk, hook):
    hook.answers = [
        DeliveryResult("later", "HTTP 429", 30.0),
        DeliveryResult("later", "HTTP 429", 1e9),
    ]
    desk.alerting.update([score("ODD")], 0.0)
    desk.alerting.deliver(0.0)
    desk.alerting.deliver(29.0)
    assert len(hook.sent) == 1
    desk.alerting.deliver(30.0)
    assert len(hook.sent) == 2
    desk.alerting.deliver(30.0 + MAX_RETRY_AFTER_S - 1)
    assert len(hook.sent) == 2
    desk.alerting.deliver(30.0 + MAX_RETRY_AFTER_S)
    assert len(hook.sent) == 3


def test_a_clock_set_back_does_not_hold_up_retries(desk, hook):
    hook.answers = [LATER]
    desk.alerting.update([score("ODD")], 1e6)
    desk.alerting.deliver(1e6)
    desk.alerting.deliver(0.0)
    assert len(hook.sent) == 2


def test_what_is_refused_goes_to_the_dead_letters_at_once(desk, hook):
    hook.answers = [DeliveryResult("refused", "HTTP 400 Bad Request")]
    desk.alerting.update([score("ODD"), score("ODD", first=9)], 7.0)
    desk.alerting.deliver(7.0)
    assert len(hook.sent) == 2
    (letter,) = desk.dead()
    assert (letter["reason"], letter["at"], letter["sink"]) == ("HTTP 400 Bad Request", 7.0, "hook")
    assert letter["alert"] == hook.ids[0]
    desk.start()
    desk.alerting.deliver(8.0)
    assert len(hook.sent) == 2


def test_dead_letters_are_counted_for_each_sink_as_they_come_and_go(make_desk):
    refusing = Hook(*[DeliveryResult("refused", "HTTP 400")] * 3)
    desk = make_desk(good=Hook(), bad=refusing)
    assert desk.alerting.dead() == {}
    for number in range(3):
        desk.alerting.update([score("ODD", first=9 * number)], 7.0)
        desk.alerting.deliver(7.0)
        assert desk.alerting.dead() == {"bad": number + 1}
    retry_dead_letters(desk.state, None)
    desk.alerting.deliver(8.0)
    assert desk.alerting.dead() == {}


def test_after_so_many_retries_an_alert_goes_to_the_dead_letters(desk, hook):
    hook.answers = [LATER] * 7
    desk.alerting.update([score("ODD"), score("ODD", first=9)], 0.0)
    for tick in range(100):
        desk.alerting.deliver(float(tick))
    assert [letter["reason"] for letter in desk.dead()] == ["HTTP 503"]
    first, second = dict.fromkeys(hook.ids)
    assert hook.ids == [first, second] * 4


def test_one_receiver_out_of_reach_does_not_hold_up_another(make_desk):
    good, bad = Hook(), Hook(*[LATER] * 10)
    desk = make_desk(bad=bad, good=good)
    desk.alerting.update([score("ODD", first=first) for first in (0, 9)], 0.0)
    desk.alerting.deliver(0.0)
    assert len(good.ids) == 2
    assert len(bad.ids) == 1


def test_alerts_of_a_sink_that_is_gone_and_those_too_many_go_to_the_dead_letters(
    desk, hook, monkeypatch
):
    monkeypatch.setattr(outbox, "MAX_WAITING", 40)
    desk.alerting.update([score("ODD")], 0.0)
    desk.hooks = {"new": hook}
    desk.start()
    desk.alerting.update([], 1.0)
    assert "no such sink" in desk.dead()[0]["reason"]
    many = [score("ODD", first=first) for first in range(1, 43)]
    desk.alerting.update(many, 1.0)
    assert ["too many" in letter["reason"] for letter in desk.dead()] == [False, True, True]
    desk.alerting.deliver(1.0)
    assert len(hook.ids) == 40


def test_a_dead_letter_of_a_sink_that_is_gone_is_dead_again_though_somebody_queued_it(
    desk, hook, caplog
):
    desk.alerting.update([score("ODD", first=first) for first in (0, 9, 20)], 0.0)
    desk.hooks = {"new": hook}
    desk.start()
    assert len(desk.dead()) == 3
    assert sum("dead letters for sink hook" in line for line in caplog.messages) == 1
    assert retry_dead_letters(desk.state, None) == 3
    desk.alerting.deliver(5.0)
    assert desk.dead() == []
    desk.alerting.deliver(10.0)
    assert len(desk.dead()) == 3


def test_what_was_accepted_before_the_output_broke_is_not_sent_again(desk, hook):
    desk.alerting.update([score("ODD", first=first) for first in (0, 9)], 0.0)
    original = hook.__class__.__call__

    class Breaking(Hook):
        def __call__(self, notification):
            if self.sent:
                raise StorageError("can't write")
            return original(self, notification)

    desk.hooks = {"hook": Breaking()}
    desk.start()
    with pytest.raises(StorageError):
        desk.alerting.deliver(0.0)
    first = desk.hooks["hook"].ids
    desk.hooks = {"hook": hook}
    desk.start()
    desk.alerting.deliver(0.0)
    assert len(hook.ids) == 1
    assert hook.ids != first


def test_update_tells_which_alerts_there_are_and_stores_each_once(desk, hook):
    hook.answers = [LATER]
    found = [score("ODD"), score("fine", value=0.5, first=50)]
    (made,) = desk.alerting.update(found, 0.0)
    assert not desk.alerting.is_settled(made.id)
    desk.alerting.deliver(0.0)
    assert [again.id for again in desk.alerting.update(found * 2, 0.5)] == [made.id]
    assert desk.alerting.waiting() == {"hook": 1}
    desk.alerting.deliver(1.0)
    assert desk.alerting.is_settled(made.id)
    assert [again.id for again in desk.alerting.update(found, 2.0)] == [made.id]
    assert desk.alerting.waiting() == {"hook": 0}
    assert desk.alerting.waiting() == {"hook": 0}


def test_one_receiver_is_enough_to_settle_an_alert_and_all_dead_letters_are_too(make_desk):
    bad, worse = (
        Hook(DeliveryResult("refused", "HTTP 400")),
        Hook(LATER, DeliveryResult("refused", "HTTP 400")),
    )
    desk = make_desk(bad=bad, worse=worse)
    (made,) = desk.alerting.update([score("ODD")], 0.0)
    desk.alerting.deliver(0.0)
    assert not desk.alerting.is_settled(made.id)
    desk.alerting.deliver(1.0)
    assert desk.alerting.is_settled(made.id)
    worse.answers = [LATER]
    (other,) = desk.alerting.update([score("ODD", first=9)], 2.0)
    desk.alerting.deliver(2.0)
    assert desk.alerting.is_settled(other.id)
