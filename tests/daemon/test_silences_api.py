"""Silences over HTTP, asked for by Alertmanager's own tool and by hand."""

import json
import shutil
import subprocess
import time
from contextlib import closing

import pytest
import requests
from http_server_parts import LOCAL, TOKEN, Daemon
from metrics_parts import Clock

from logmlm.alerting.silences import active_silences
from logmlm.alerting.store.database import StateDatabase
from logmlm.daemon.http_server import HttpServer
from logmlm.daemon.silences_api import ALL, ONE, SilencesApi

AMTOOL = shutil.which("amtool")
HOST = {"name": "host", "value": "web.*", "isRegex": True}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def clock():
    clock = Clock()
    clock.now = 1_700_000_000.0
    return clock


@pytest.fixture
def state(tmp_path):
    with closing(StateDatabase(tmp_path / "state.db")) as opened:
        yield opened


@pytest.fixture
def api(tmp_path, clock):
    return SilencesApi(tmp_path / "state.db", clock)


def asked(starts="2023-11-14T22:13:20Z", ends="2023-11-15T00:00:00Z", matchers=(HOST,), **more):
    every = {"matchers": list(matchers), "startsAt": starts, "endsAt": ends}
    return json.dumps(every | {"createdBy": "me", "comment": "why"} | more).encode()


def add(api, **more):
    status, said = api.answer("POST", ALL, asked(**more))
    assert status == 200, said
    return said["silenceID"]


def test_a_silence_is_made_shown_heeded_and_ended(api, state, clock):
    made = add(api)
    (active,) = active_silences(state, clock.now)
    assert active.id == made
    assert active.mutes({"host": "web1"})
    assert not active.mutes({"host": "db1"})
    shown = api.answer("GET", f"{ONE}{made}", b"")
    assert shown == (200, api.answer("GET", ALL + "?filter=a", b"")[1][0])
    assert shown[1] == {
        "id": made,
        "status": {"state": "active"},
        "updatedAt": "2023-11-14T22:13:20Z",
        "startsAt": "2023-11-14T22:13:20Z",
        "endsAt": "2023-11-15T00:00:00Z",
        "createdBy": "me",
        "comment": "why",
        "matchers": [HOST | {"isEqual": True}],
    }
    clock.now += 1
    assert api.answer("DELETE", f"{ONE}{made}", b"") == (200, {})
    assert active_silences(state, clock.now) == []
    assert api.answer("GET", f"{ONE}{made}", b"")[1]["status"] == {"state": "expired"}


def test_one_that_begins_later_waits_for_it(api, state, clock):
    add(api, starts="2023-11-14T23:00:00Z")
    assert api.answer("GET", ALL, b"")[1][0]["status"] == {"state": "pending"}
    assert active_silences(state, clock.now) == []
    clock.now += 3600
    assert len(active_silences(state, clock.now)) == 1


def test_all_four_kinds_of_matchers_come_back_as_they_were(api):
    matchers = [
        {"name": "a", "value": "x", "isRegex": regex, "isEqual": equal}
        for regex in (True, False)
        for equal in (True, False)
    ]
    made = add(api, matchers=matchers)
    assert api.answer("GET", f"{ONE}{made}", b"")[1]["matchers"] == matchers


def test_an_id_that_is_given_is_put_in_another_ones_place(api, state, clock):
    old = add(api)
    clock.now += 1
    new = add(api, id=old, ends="2023-11-16T00:00:00Z")
    assert [one.id for one in active_silences(state, clock.now)] == [new]
    assert api.answer("POST", ALL, asked(id="nothing"))[0] == 404


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "the body: Invalid JSON"),
        (b"{}", "matchers: Field required"),
        (asked(matchers=[]), "a silence needs a matcher"),
        (asked(matchers=[HOST | {"value": ".*"}]), "a silence needs a matcher"),
        (asked(matchers=[HOST | {"value": "("}]), "'(' is no regular expression"),
        (asked(matchers=[HOST | {"name": "a b"}]), "matchers.0.name: String should match"),
        (asked(ends="2023-11-14T00:00:00Z"), "a silence's end has to be after now"),
        (asked(ends="2023-11-15T00:00:00"), "endsAt: Input should have timezone info"),
    ],
)
def test_what_can_not_be_used_is_refused_with_a_sentence(api, state, clock, body, said):
    status, sentence = api.answer("POST", ALL, body)
    assert status == 400
    assert said in sentence
    assert active_silences(state, clock.now) == []


def test_what_is_not_there_is_told(api):
    assert api.answer("GET", f"{ONE}none", b"")[0] == 404
    assert api.answer("DELETE", f"{ONE}none", b"")[0] == 404
    assert api.answer("GET", "/api/v2/silencers", b"")[0] == 404
    assert api.answer("DELETE", ALL, b"")[0] == 405


def test_a_damaged_state_is_told_without_a_traceback(tmp_path, clock):
    (tmp_path / "state.db").write_bytes(b"nothing of the kind" * 1000)
    status, sentence = SilencesApi(tmp_path / "state.db", clock).answer("GET", ALL, b"")
    assert status == 500
    assert "state.db" in sentence


@pytest.fixture
def served(api, clock):
    clock.now = 1_800_000_000.0
    daemon = Daemon()
    daemon.silences = api.answer
    server = HttpServer(LOCAL, daemon, TOKEN)
    try:
        yield daemon, f"http://{server.address}"
    finally:
        server.close()


def test_the_endpoint_wants_the_token_for_each_request(served, state, clock):
    _, url = served
    body = asked(ends="2030-01-01T00:00:00Z")
    for method, path in (("GET", ALL), ("POST", ALL), ("DELETE", f"{ONE}x")):
        assert requests.request(method, url + path, data=body, timeout=5).status_code == 401
    assert active_silences(state, clock.now) == []
    made = requests.post(url + ALL, data=body, headers=BEARER, timeout=5)
    assert made.headers["Content-Type"] == "application/json"
    assert [one.id for one in active_silences(state, clock.now)] == [made.json()["silenceID"]]
    listed = requests.get(url + ALL, headers=BEARER, timeout=5).json()
    assert [one["comment"] for one in listed] == ["why"]
    gone = requests.delete(url + ONE + made.json()["silenceID"], headers=BEARER, timeout=5)
    assert gone.status_code == 200
    assert requests.delete(f"{url}/metrics", headers=BEARER, timeout=5).status_code == 405


def test_a_daemon_that_is_not_ready_keeps_no_silences_yet(served):
    daemon, url = served
    daemon.ready = False
    assert requests.get(url + ALL, headers=BEARER, timeout=5).status_code == 503


@pytest.mark.skipif(AMTOOL is None, reason="needs amtool (Debian: prometheus-alertmanager)")
def test_alertmanagers_own_tool_adds_lists_and_ends_silences(served, state, clock, tmp_path):
    config = tmp_path / "http.yml"
    config.write_text(f"authorization: {{credentials: {TOKEN}}}\n")

    def amtool(*words):
        asked = [AMTOOL, f"--alertmanager.url={served[1]}", f"--http.config.file={config}"]
        done = subprocess.run(
            [*asked, "silence", *words], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.strip()

    clock.now = time.time()
    made = amtool("add", "--author=me", "--comment=planned work", "host=~web.*", "-d", "2h")
    (active,) = active_silences(state, clock.now + 60)
    assert (active.id, active.comment) == (made, "planned work")
    assert made in amtool("query")
    amtool("expire", made)
    assert active_silences(state, clock.now + 60) == []
