"""`logmlm alerts`, `silence` and `feedback` over the state of a daemon."""

import csv
import io
import json
import time
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from http_parts import alert
from offline_parts import logmlm

from logmlm.alerting.delivery import Receiver
from logmlm.alerting.dispatcher import AlertDispatcher
from logmlm.alerting.grouping import GroupingPolicy
from logmlm.alerting.store.database import StateDatabase
from logmlm.evaluation.labels import Labels
from logmlm.records import DeliveryResult

ODD, ERROR = "ODD one", "ODD two"


class Daemon:
    """Alerting over a state directory, with receivers that take or refuse everything."""

    def __init__(self, directory):
        self.directory = directory
        self.sent = []
        self.refusing = True
        self.made = {}

    def run(self, *alerts, receivers=("good", "bad")):
        by_text = dict(alerts)
        with closing(StateDatabase(self.directory / "state.db")) as state:
            alerting = AlertDispatcher(
                state,
                [Receiver(name, getattr(self, name)) for name in receivers],
                make=lambda found: by_text[found.text],
                random=lambda: 1.0,
            )
            made = alerting.update([Odd(text) for text in by_text], time.time())
            left = [each for each in made if not alerting.is_settled(each.id)]
            alerting.close(time.time())
        return left

    def good(self, notification):
        self.sent += notification.alerts
        return DeliveryResult("accepted")

    def bad(self, notification):
        if not self.refusing:
            return self.good(notification)
        return DeliveryResult("refused", "HTTP 401 Unauthorized")


class Odd:
    is_anomaly = True

    def __init__(self, text):
        self.text = text


@pytest.fixture
def daemon(tmp_path):
    return Daemon(tmp_path)


@pytest.fixture
def ask(tmp_path):
    return lambda *words: logmlm(*words, "--state-dir", tmp_path)


def rows(outcome):
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_alerts_are_listed_shown_and_exported_with_what_became_of_them(daemon, ask):
    first, second = alert(ODD), alert(ERROR, level="ERROR", first=99)
    daemon.run((ODD, first))
    daemon.run((ERROR, second), receivers=("good",))
    listed = ask("alerts", "list")
    later, earlier = listed.out.splitlines()
    assert later.startswith(f"{second.id}  1970-01-01T00:16:40Z  sent         critical  1 of 1")
    assert earlier.startswith(f"{first.id}  1970-01-01T00:16:40Z  dead         warning ")
    found = rows(ask("alerts", "export"))
    assert [row["id"] for row in found] == [second.id, first.id]
    assert found[1]["dead"] == [{"sink": "bad", "reason": "HTTP 401 Unauthorized"}]
    assert found[1]["annotations"]["lines"] == f"> {ODD}"
    assert rows(ask("alerts", "list", "--dead", "--output", "json")) == found[1:]
    assert rows(ask("alerts", "list", "--waiting", "--output", "json")) == []
    assert listed.err == ""
    latest = ask("alerts", "list", "--limit", 1)
    assert latest.out.splitlines() == [later]
    assert latest.err == "the latest 1 are shown; --limit shows more\n"
    shown = ask("alerts", "show", first.id[:8]).out
    assert "dead letter of bad: HTTP 401 Unauthorized" in shown
    assert "model: m" in shown
    assert rows(ask("alerts", "show", first.id, "--output", "json")) == found[1:]


def test_dead_letters_are_sent_again_when_that_is_asked(daemon, ask):
    first, second = alert(ODD), alert(ERROR, first=99)
    daemon.run((ODD, first), (ERROR, second), receivers=("bad",))
    daemon.refusing = False
    daemon.run(receivers=("bad",))
    assert daemon.sent == []
    assert "1 dead letters wait" in ask("alerts", "retry", first.id).err
    assert rows(ask("alerts", "list", "--waiting", "--output", "json"))[0]["id"] == first.id
    daemon.run(receivers=("bad",))
    assert [each.id for each in daemon.sent] == [first.id]
    assert "1 dead letters wait" in ask("alerts", "retry", "--all").err
    daemon.run(receivers=("bad",))
    assert [each.id for each in daemon.sent] == [first.id, second.id]
    assert {row["status"] for row in rows(ask("alerts", "export"))} == {"sent"}
    assert ask("alerts", "retry", first.id).code == 64


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("alerts", "show", "f00"), 64, "no alert's id begins with 'f00'"),
        (("alerts", "show", ""), 64, "no alert's id begins"),
        (("alerts", "retry"), 64, "name alerts, or give --all"),
        (("alerts", "retry", "x", "--all"), 64, "name alerts, or give --all"),
        (("silence", "add", "a=b"), 64, "give either --for or --until"),
        (("silence", "add", "a=b", "--for", "soon"), 64, "--for: 'soon' is no duration"),
        (("silence", "add", "a=b", "--for", "36526d"), 64, "is more than a hundred years"),
        (("silence", "add", "a=b", "--for", "2"), 64, "--for: 2 of what? say 2h, 2m or 2s"),
        (("feedback", "f00", "--false-alarm", "--for", "1.5"), 64, "say 1.5h, 1.5m or 1.5s"),
        (("silence", "add", "a=b", "--until", "soon"), 64, "--until: 'soon' is no time"),
        (("silence", "add", "a=b", "--until", "2001-01-01"), 64, "end has to be after now"),
        (("silence", "add", "a~b", "--for", "2h"), 64, "'a~b' is no matcher"),
        (("silence", "add", "a=~(", "--for", "2h"), 64, "'(' is no regular expression"),
        (("silence", "add", "a=~.*", "--for", "2h"), 64, "does not match every alert"),
        (("silence", "expire", "f00"), 64, "no silence's id begins with 'f00'"),
        (("feedback", "f00", "--true"), 64, "no alert's id begins with 'f00'"),
        (("feedback", "f00", "--false-alarm", "--for", "0"), 64, "--for 0 mutes nothing"),
        (("feedback", "f00"), 64, "give either --false-alarm or --true"),
        (("feedback", "f00", "--true", "--false-alarm"), 64, "give either"),
        (("alerts", "list", "--config", "c.yaml"), 64, "give --state-dir or --config, not both"),
    ],
)
def test_words_that_make_no_sense_are_told(daemon, ask, words, code, sentence):
    daemon.run()
    outcome = ask(*words)
    assert (outcome.code, outcome.out) == (code, "")
    assert sentence in outcome.err


def test_a_directory_without_state_is_told(ask, tmp_path):
    outcome = ask("alerts", "list")
    assert outcome.code == 74
    assert f"there is no {tmp_path}/state.db; give the daemon's --state-dir" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_the_state_is_found_by_the_config_or_where_run_has_it(daemon, tmp_path, monkeypatch):
    daemon.run((ODD, alert(ODD)), receivers=("good",))
    config = tmp_path / "run.yaml"
    config.write_text(f"model: {{path: m}}\nsource: {{stdin: }}\nstate_dir: {tmp_path}\n")
    assert len(rows(logmlm("alerts", "export", "--config", config))) == 1
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert len(rows(logmlm("alerts", "export"))) == 1


def test_secrets_that_systemd_gives_to_the_daemon_alone_are_not_asked_for(daemon, tmp_path):
    daemon.run((ODD, alert(ODD)), receivers=("good",))
    config = tmp_path / "run.yaml"
    config.write_text(
        f"model: {{path: m}}\nsource: {{stdin: }}\nstate_dir: {tmp_path}\n"
        "http: {token_file: '${CREDENTIALS_DIRECTORY}/http-token'}\n"
    )
    assert len(rows(logmlm("alerts", "export", "--config", config))) == 1


def test_a_silence_mutes_its_alerts_until_it_ends(daemon, ask):
    daemon.run()
    added = ask("silence", "add", "model=~m|n", "source!=x", "--for", "2h", "--comment", "deploy")
    identity = added.out.split()[0]
    assert 'model=~"m|n" source!="x"' in added.out
    assert daemon.run((ODD, alert(ODD))) == []
    assert daemon.sent == []
    assert rows(ask("alerts", "export"))[0]["status"] == "silenced"
    (row,) = rows(ask("silence", "list", "--output", "json"))
    assert (row["id"], row["active"], row["comment"]) == (identity, True, "deploy")
    assert "ended" in ask("silence", "expire", identity[:6]).out
    assert ask("silence", "list").out == ""
    assert identity in ask("silence", "list", "--expired").out
    assert ask("silence", "expire", identity).code == 64
    daemon.run((ERROR, alert(ERROR, first=99)))
    assert len(daemon.sent) == 1


def test_a_silence_has_an_end_as_a_time_and_an_author(daemon, ask):
    daemon.run()
    words = ("--until", "2999-01-01", "--author", "me", "--output", "json")
    (row,) = rows(ask("silence", "add", 'host="a b"', *words))
    assert (row["ends_at"], row["created_by"]) == ("2999-01-01T00:00:00Z", "me")
    assert row["matchers"] == ['host="a b"']


def test_the_like_of_a_false_alarm_pages_nobody_until_it_is_taken_back(daemon, ask):
    first = alert(ODD)
    daemon.run((ODD, first), receivers=("good",))
    said = ask("feedback", first.id, "--false-alarm", "--for", "1h")
    assert f"alert {first.id} was a false alarm; its like is mute until" in said.err
    like, other = alert("fine", ODD, first=500), alert(ODD, complete=False, first=900)
    assert like.annotations["pattern"] == first.annotations["pattern"]
    daemon.run((ODD, like), receivers=("good",))
    assert [each.id for each in daemon.sent] == [first.id]
    assert rows(ask("alerts", "show", like.id, "--output", "json"))[0]["status"] == "false alarm"
    assert ask("feedback", like.id, "--true").code == 0
    daemon.run((ODD, other), receivers=("good",))
    assert len(daemon.sent) == 2


def test_feedback_is_listed_with_what_is_mute_now(daemon, ask):
    first, like, second = alert(ODD), alert("fine", ODD, first=500), alert(ERROR, first=99)
    daemon.run((ODD, first), (ERROR, second), receivers=("good",))
    daemon.run((ODD, like), receivers=("good",))
    assert ask("feedback", "list").out == ""
    ask("feedback", first.id, "--false-alarm", "--for", "1h")
    ask("feedback", second.id, "--true")
    listed = rows(ask("feedback", "list", "--output", "json"))
    assert [(row["alert"], row["verdict"]) for row in listed] == [
        (first.id, "false alarm"),
        (second.id, "true"),
    ]
    assert [row["summary"] for row in listed] == [
        each.annotations["summary"] for each in (first, second)
    ]
    assert parsed(listed[0]["mute_until"]) - parsed(listed[0]["at"]) == timedelta(hours=1)
    assert listed[1]["mute_until"] is None
    text = ask("feedback", "list").out.splitlines()
    assert f"{first.id}  {listed[0]['at']}  false alarm  its like is mute until" in text[0]
    assert f"{second.id}  {listed[1]['at']}  true  mutes none  1 of" in text[1]
    ask("feedback", like.id, "--true")  # takes it back
    assert [row["mute_until"] for row in rows(ask("feedback", "list", "--output", "json"))] == (
        [None] * 3
    )
    refused = ask("feedback", "list", "--true")
    assert (refused.code, "takes neither --false-alarm nor --true" in refused.err) == (64, True)


def parsed(text):
    return datetime.fromisoformat(text)


def test_feedback_is_exported_as_labels_that_training_takes(daemon, ask, tmp_path):
    first, second = alert(ODD), alert(ERROR, first=99)
    daemon.run((ODD, first), (ERROR, second), receivers=("good",))
    ask("feedback", first.id, "--true")
    ask("feedback", second.id, "--false-alarm")
    outcome = ask("feedback", "export")
    (row,) = csv.DictReader(io.StringIO(outcome.out))
    assert (row["alert"], row["start"], row["end"]) == (first.id,) + ("1970-01-01T00:16:40Z",) * 2
    assert "1 true alerts of 2" in outcome.err
    labels = tmp_path / "labels.csv"
    labels.write_text(outcome.out)
    assert [interval.name for interval in Labels.read(labels).intervals] == [row["name"]]


def test_a_grouped_sink_gets_a_dead_letter_on_its_own(daemon, ask, tmp_path):
    first = alert(ODD)
    daemon.run((ODD, first), receivers=("bad",))
    ask("alerts", "retry", "--all")
    with closing(StateDatabase(tmp_path / "state.db")) as state:
        receiver = Receiver("bad", daemon.good, grouping=GroupingPolicy(("model",)))
        AlertDispatcher(state, [receiver], make=None, random=lambda: 1.0).deliver(time.time())
    assert [each.id for each in daemon.sent] == [first.id]
