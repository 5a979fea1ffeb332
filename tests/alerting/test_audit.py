"""Secrets planted in lines: trained on, scored, alerted, and looked for in every byte that left."""

import json
import random
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import offline_parts
import pytest
from offline_parts import logmlm, service_log, write_log

PLANTED = {
    "email": "maria.lopez@corp-mail.example",
    "password": "hunter2-swordfish",
    "card": "4111 1111 1111 1111",
    "api-key": "AKIAQ7ZB4MXKPLANTED0",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJwbGFudGVkIjoxfQ.c2lnbmF0dXJl",
    "authorization": "cGxhbnRlZDpzZWNyZXQ=",
    "url-credentials": "svc:Pl4ntedUrlPw",
    "password-in-sql": "'planted in sql'",
}
LINES = (
    "user {email} signed in",
    "login with password={password} accepted",
    "paid with card {card} for the order",
    "upload with key {api-key} done",
    "session of {jwt} renewed",
    "Authorization: Basic {authorization} sent",
    "connected to postgres://{url-credentials}@db/shop",
    "statement: ALTER USER app WITH PASSWORD {password-in-sql}",
)
MORE = ("basic dXNlcjpwbGFudGVkUHcx", "password planted3xyz", "otp=9081726354", "AccountKey=plk1==")
"""Said in odd lines alone, behind all else."""
NEEDLES = [word.encode() for secret in PLANTED.values() for word in {secret, *secret.split()}]
NEEDLES += [text.replace("=", " ", 1).split()[1].encode() for text in MORE]
NEEDLES = [word for word in NEEDLES if len(word) > 4 and word not in (b"planted", b"in", b"sql'")]


def planted_log(path, odd=()):
    """A service's log in which each session says secrets too, and odd ones in odd lines."""
    luck = random.Random(1)  # noqa: S311  a log, no secret
    lines = []
    for line in service_log(odd=odd):
        lines.append(line)
        if "answered" in line:
            stamp, _, rest = line.partition(" INFO ")
            key = rest.split()[0]
            lines.append(f"{stamp} INFO {key} {luck.choice(LINES).format(**PLANTED)}")
        if "disk failure" in line or "replica lost" in line:
            lines[-1] += " " + " ".join((*LINES, *MORE)).format(**PLANTED)
    return write_log(path, lines)


class Receiver:
    """A webhook's receiver that keeps all that it is sent."""

    def __init__(self):
        kept = self.kept = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append(str(self.headers).encode() + body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """All that training and the daemon wrote and sent, by name."""
    place = tmp_path_factory.mktemp("planted")
    log, odd = planted_log(place / "a.log"), planted_log(place / "odd.log", odd=range(3, 160, 12))
    trained = logmlm("train", log, "--out", place / "model", *offline_parts.TRAIN)
    assert trained.code == 0, trained.err
    receiver = Receiver()
    try:
        config = place / "run.yaml"
        config.write_text(
            f"model: {{path: {place}/model}}\n"
            f"source: {{file: {{include: {odd}, start_at: beginning}}}}\n"
            f"state_dir: {place}/state\n"
            f"sinks: [{{stdout: }}, {{file: {{path: {place}/alerts.jsonl}}}},"
            f" {{webhook: {{url: '{receiver.url}', grouped: false}}}},"
            f" {{webhook: {{name: groups, url: '{receiver.url}'}}}}]\n"
        )
        words = [sys.executable, "-m", "logmlm", "run", "--config", config]
        ran = subprocess.run(
            [*words, "--stop-when-idle", "1"], capture_output=True, check=False, timeout=300
        )
    finally:
        receiver.close()
    assert ran.returncode == 0, ran.stderr.decode()
    found = {"out": ran.stdout, "err": ran.stderr, "train": (trained.out + trained.err).encode()}
    found |= {f"sent {n}": body for n, body in enumerate(receiver.kept)}
    for path in place.rglob("*"):
        if path.is_file() and path not in (log, odd, config):
            found[str(path.relative_to(place))] = path.read_bytes()
    return place, found


def test_no_byte_that_was_written_or_sent_holds_a_planted_secret(outcome):
    _, found = outcome
    assert any(name.startswith("sent ") for name in found)
    assert {"model/templates.json", "state/state.db", "alerts.jsonl"} <= set(found)
    held = [(name, needle) for name, data in found.items() for needle in NEEDLES if needle in data]
    assert held == []


def test_the_alerts_tell_of_lines_with_secrets_and_say_what_was_taken_out(outcome):
    _, found = outcome
    sent = b"".join(data for name, data in found.items() if name.startswith("sent "))
    for text in (sent, found["out"], found["alerts.jsonl"]):
        for rule in PLANTED:
            assert f"[{rule}]".encode() in text, rule


def test_audit_finds_nothing_in_them(outcome):
    place, _ = outcome
    for directory in ("model", "state"):
        told = logmlm("audit", place / directory)
        assert (told.code, told.out) == (0, ""), told.out
        assert told.err == f"nothing found in {place / directory}\n"


def test_audit_says_what_a_model_holds_that_was_trained_without_rules(outcome, tmp_path):
    """As directories of earlier versions hold it; the secret itself is never shown."""
    place, _ = outcome
    config = tmp_path / "train.yaml"
    rules = "[" + ", ".join(PLANTED) + ", password-argument, bearer, basic, cookie]"
    config.write_text(
        f"logs: {place}/a.log\nout: {tmp_path}/model\nredact: {{disable: {rules}}}\n"
        "templates: {examples: true}\n"
        f"window: {{kind: session, key: '{offline_parts.KEY}', gap: 30s}}\n"
        "model: {epochs: 1}\nthreshold: {folds: 0, false_alarm_rate: 0.1}\n"
    )
    trained = logmlm("train", "--config", config)
    assert trained.code == 0, trained.err
    told = logmlm("audit", tmp_path / "model", "--output", "json")
    assert told.code == 1
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert {row["rule"] for row in rows} >= set(PLANTED)
    assert {row["file"] for row in rows} == {"templates.json"}
    assert all(row["of"].startswith("template ") and row["field"] for row in rows)
    assert not any(needle.decode() in told.out + told.err for needle in NEEDLES)
    assert f"{len(rows)} findings" in told.err
    text = logmlm("audit", tmp_path / "model")
    assert len(text.out.splitlines()) == len(rows)
    quiet = logmlm("audit", tmp_path / "model", "--config", config)
    assert (quiet.code, quiet.out) == (0, "")


def test_audit_says_which_alert_of_a_state_holds_what(outcome, tmp_path):
    from logmlm.alerting.store.database import StateDatabase

    place, _ = outcome
    state = shutil.copytree(place / "state", tmp_path / "state")
    opened = StateDatabase(state / "state.db")
    body = json.dumps({"annotations": {"lines": f"> password={PLANTED['password']}"}})
    with opened.transaction():
        opened.put("alerts", id="abcd", at=1.0, verdict="sent", body=body)
    opened.close()
    told = logmlm("audit", state)
    assert told.code == 1
    assert told.out == "password  state.db  alerts abcd  body.annotations.lines\n"


def test_audit_of_something_else_is_refused(tmp_path):
    told = logmlm("audit", tmp_path)
    assert told.code == 64
    assert "is neither a model directory nor a state directory" in told.err
