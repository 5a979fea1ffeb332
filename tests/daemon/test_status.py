"""`logmlm status` tells a person what a running daemon's metrics say."""

import json
from contextlib import closing, contextmanager

import pytest
from http_parts import alert
from metrics_parts import worked
from offline_parts import logmlm

from logmlm.alerting.outbox import Outbox
from logmlm.alerting.store.database import StateDatabase
from logmlm.config.server import ServerAddress
from logmlm.daemon.http_server import HttpServer
from logmlm.daemon.metrics import CONTENT_TYPE, DaemonMetrics
from logmlm.daemon.status import ReceiverStatus, Scrape, address_url, fetch, format_status
from logmlm.errors import UnreachableError


class Daemon:
    """Metrics as they are made, behind a real endpoint."""

    def __init__(self):
        self.made = DaemonMetrics("1.2.3", lambda: 1000.0)
        self.ready = True

    def metrics(self):
        return self.made.exposition(), CONTENT_TYPE

    def is_healthy(self):
        return True

    def is_ready(self):
        return self.ready

    def reload(self):
        return ""

    @contextmanager
    def served(self):
        server = HttpServer(ServerAddress("127.0.0.1", 0), self, None)
        try:
            yield f"http://{server.address}"
        finally:
            server.close()


@pytest.fixture
def daemon():
    return Daemon()


def test_everything_that_the_metrics_say_is_in_it(daemon):
    worked(daemon.made)

    def meanwhile(_seconds):
        daemon.made.read(50)
        daemon.ready = False

    with daemon.served() as url:
        found = fetch(url, 0.5, meanwhile)
    assert found.as_dict() == {
        "url": url,
        "version": "1.2.3",
        "ready": False,
        "healthy": True,
        "model": "m",
        "templates": 12,
        "lines": 57,
        "lines_per_s": 100.0,
        "windows": 1,
        "windows_per_s": 0.0,
        "unknown_share": 0.0,
        "lag": {"file": 99.0},
        "discarded": {"blank": 4},
        "committed_s_ago": 0.0,
        "last_reload_took_effect": True,
        "alerts": {"firing": 1, "resolved": 0},
        "scores": {**dict.fromkeys(found.scores, 0), "1.5": 1},
        "receivers": {
            "hook": {"sent": 0, "failures": {"server_error": 1}, "waiting": 3, "dead": 2}
        },
    }


def test_a_person_reads_it_on_one_screen(daemon):
    worked(daemon.made)
    with daemon.served() as url:
        text = format_status(fetch(url, 1.0, lambda _: None))
    assert text.splitlines() == [
        f"logmlm 1.2.3 at {url}: ready, healthy",
        "",
        "model      m, 12 templates",
        "lines      7 read, 0/s, lag 99 (file), 4 left out (blank 4)",
        "windows    1 scored, 0.0/s, 0.0% of the last lines unknown",
        "positions  committed 0 s ago",
        "config     in force",
        "alerts     1 began, 0 ended",
        "",
        "scores of windows (an alert from 1.0 on)",
        "    to 1.5  ████████████████████████████████████████ 1",
        "",
        "receivers",
        "  hook: WAITING, 0 sent, 3 waiting, 2 dead letters, 1 tries failed (server_error 1)",
    ]


def test_a_daemon_that_just_began_and_one_in_trouble_are_told_too(daemon):
    daemon.ready = False
    daemon.made.reloaded(False)
    with daemon.served() as url:
        text = format_status(fetch(url, 1.0, lambda _: None))
    for words in ("NOT READY", "model      none yet", "lag unknown", "  none yet", "it starts"):
        assert words in text
    daemon.made.model("m", "d" * 64, 3)
    with daemon.served() as url:
        assert "config     LAST RELOAD REFUSED" in format_status(fetch(url, 1.0, lambda _: None))


def test_bars_are_as_long_as_their_counts_and_none_that_counts_is_invisible(daemon):
    with daemon.served() as url:
        found = fetch(url, 1.0, lambda _: None)
    counts = {"0.1": 0, "0.5": 4000, "1.0": 0, "2.0": 1, "+Inf": 1000, "x": 0}
    changed = type(found)(
        **{**vars_of(found), "scores": counts, "receivers": {"a": ReceiverStatus(5)}}
    )
    rows = format_status(changed).splitlines()
    start = rows.index("scores of windows (an alert from 1.0 on)") + 1
    assert rows[start : start + 4] == [
        f"    to 0.5  {'█' * 40} 4,000",
        "    to 1.0   0",
        "    to 2.0  █ 1",
        f"      over  {'█' * 10} 1,000",
    ]
    assert rows[-1] == "  a: ok, 5 sent, 0 waiting"


def vars_of(status):
    return {name: getattr(status, name) for name in status.__slots__}


@pytest.mark.parametrize(
    ("text", "said"),
    [("a{", "gives no metrics"), ("<html>", "gives no metrics"), ("up 1\n", "is no logmlm")],
)
def test_what_is_no_logmlm_is_told(text, said):
    with pytest.raises(UnreachableError, match=said):
        Scrape(text)


def test_an_address_that_stands_for_all_is_asked_on_this_machine():
    assert address_url(ServerAddress("0.0.0.0", 1)) == "http://127.0.0.1:1"  # noqa: S104  what is tested
    assert address_url(ServerAddress("::", 1)) == "http://[::1]:1"
    assert address_url(ServerAddress("10.0.0.1", 1)) == "http://10.0.0.1:1"


def test_the_command_asks_where_the_config_says(daemon, tmp_path):
    worked(daemon.made)
    config = tmp_path / "c.yaml"
    with daemon.served() as url:
        config.write_text(
            "model: {path: m}\nsource: {stdin: {}}\n"
            f"http: {{listen: '{url.removeprefix('http://')}',"
            " token_file: '${CREDENTIALS_DIRECTORY}/t'}\n"
        )
        told = logmlm("status", "--config", config, "--interval", "0.1", "--output", "json")
        by_url = logmlm("status", "--url", url + "/", "--interval", "0.1")
        as_json = logmlm("status", "--url", url, "--interval", "0.1", "--output", "json")
    assert (told.code, told.err) == (0, "")
    assert json.loads(told.out)["lines"] == 7
    assert by_url.out.startswith(f"logmlm 1.2.3 at {url}: ready")
    assert by_url.out.endswith("\nlast alerts are in its state: --state-dir DIR\n")
    assert json.loads(as_json.out)["last_alerts"] == []


def test_the_last_alerts_are_told_where_their_state_is(daemon, tmp_path):
    with closing(StateDatabase(tmp_path / "state.db")) as state, state.transaction():
        made = [alert(f"ODD {number}", first=100 * number) for number in range(7)]
        outbox = Outbox(state, {"hook": None})
        for number, each in enumerate(made):
            outbox.store([(each, "sent")], 1000.0 + number)
    with daemon.served() as url:
        asked = ["status", "--url", url, "--interval", "0.1", "--state-dir", tmp_path]
        told, plain = logmlm(*asked, "--output", "json"), logmlm(*asked)
        nowhere = logmlm(*asked[:-1], tmp_path / "none")
    last = [each["id"] for each in json.loads(told.out)["last_alerts"]]
    assert last == [each.id for each in reversed(made[2:])]
    assert plain.out.splitlines()[-6:][0] == "last alerts"
    assert f"{made[6].id}  1970-01-01T00:16:40Z  waiting" in plain.out.splitlines()[-5]
    assert plain.out.splitlines()[-5].endswith("1 of 1 log lines are unusual: ODD 6")
    assert nowhere.code == 74
    assert "there is no" in nowhere.err


def test_where_nothing_answers_the_exit_code_is_69():
    outcome = logmlm("status", "--url", "http://127.0.0.1:9", "--interval", "0.1")
    assert outcome.code == 69
    assert "nothing answers at http://127.0.0.1:9; does the daemon run" in outcome.err


@pytest.mark.parametrize("url", ["nonsense", "file:///etc/passwd"])
def test_what_is_no_address_is_told(url):
    outcome = logmlm("status", "--url", url, "--interval", "0.1")
    assert outcome.code == 64
    assert f"'{url}' is no address such as http://" in outcome.err


def test_another_server_is_told_by_its_answer(daemon):
    with daemon.served() as url:
        outcome = logmlm("status", "--url", f"{url}/elsewhere", "--interval", "0.1")
    assert outcome.code == 69
    assert "/elsewhere/metrics answers with HTTP 404" in outcome.err


def test_words_that_leave_it_open_where_to_ask_are_refused(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("model: {path: m}\nsource: {stdin: {}}\n")
    assert logmlm("status", "--config", config, "--url", "http://h").code == 64
    off = logmlm("status", "--config", config)
    assert off.code == 78
    assert "'http.listen' is off" in off.err
