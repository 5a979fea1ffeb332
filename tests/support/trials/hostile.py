"""HTTP receivers that refuse, hang, or lead astray, and the daemon as a process of its own."""

import json
import threading
import time
from collections import defaultdict
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from daemon_process import stop
from trials.receiver import MAX_MEMORY, wait_until

from logmlm.alerting.store.database import StateDatabase

HANGS_S = 1.0
"""What the daemon gives one that hangs."""
BODY = 100 * 1024**2
"""Bytes that nobody should read."""
LATE_S = 30.0
"""A machine that is shared with much else takes its time; being held up would take an hour."""
BAD_WHILE_DOWN = {
    "fails": (500, {}),
    "asks-to-wait": (429, {"Retry-After": "30"}),
    "hangs": None,
    "floods": (503, {"Content-Length": str(BODY)}),
}
BAD_FOR_EVER = {
    "locked": (401, {}),
    "leads-nowhere": (302, {"Location": "http://["}),
    "leads-to-bytes": (302, {"Location": "/\xff\xfe"}),
    "leads-astray": (302, {"Location": "/trap", "Content-Length": str(BODY)}),
}
GOOD = ("well", "slow")
SINK = "{{webhook: {{name: {name}, url: 'http://127.0.0.1:{port}/{name}', grouped: false{more}}}}}"


class Site:
    """Receivers by path; `came` holds when each one first accepted an alert, by its id."""

    def __init__(self):
        self.is_down, self.came, self.trapped = True, defaultdict(dict), 0

    def answer(self, name):
        """What a receiver answers: status and headers, or None if it does not."""
        if name in BAD_FOR_EVER:
            return BAD_FOR_EVER[name]
        if name in BAD_WHILE_DOWN and self.is_down:
            return BAD_WHILE_DOWN[name]
        return 200, {}

    def take(self, name, body):
        if name == "trap":
            self.trapped += 1
            return
        for one in json.loads(body)["alerts"]:
            self.came[name].setdefault(one["annotations"]["window"], time.monotonic())


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's `site` says."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        name, site = self.path.strip("/"), self.server.site
        answer = site.answer(name)
        if name == "slow":
            time.sleep(0.1)
        if answer is None:
            time.sleep(5 * HANGS_S)
            return
        if answer[0] == 200:
            site.take(name, body)
        self._answer(*answer)

    def do_GET(self):
        """Take what comes of a redirect that was followed."""
        self.do_POST()

    def _answer(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        with suppress(OSError):  # the daemon has hung up, as it should
            self.end_headers()
            for _ in range(int(headers.get("Content-Length", 0)) // 2**20):
                self.wfile.write(b"x" * 2**20)

    def log_message(self, *_):
        pass


@contextmanager
def served(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site = site
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def down(process, *, seconds, alerts, speed):
    """So long, by the daemon's clock, which is so fast, receivers are down; then for 10 minutes."""
    site = Site()
    with served(site) as port:
        process.configure(more=_sinks(port))
        with process.running(DAEMON_PARTS_SPEED=str(speed)) as child:
            _write(process)
            wait_until(lambda: len(site.came["well"]) == 1, LATE_S)
            before, written = memory(child.pid, "VmRSS"), []
            for _ in range(alerts - 1):
                time.sleep(seconds / speed / alerts)
                written.append(_write(process))
            late = _late(site, written)
            took = _caught_up_in(site, alerts, max(LATE_S, 600 / speed)) * speed
            wait_until(lambda: _dead(process) == dict.fromkeys(BAD_FOR_EVER, alerts), LATE_S)
            more = memory(child.pid, "VmHWM") - before
            stop(child)
    assert site.trapped == 0, "a redirect was followed"
    assert more < MAX_MEMORY, f"the daemon's memory up by {more:,} bytes"
    said = f"{alerts} alerts to {len(BAD_WHILE_DOWN) + len(GOOD)} HTTP receivers, 0 lost"
    said += f", the good one's {late:.1f} s late at most, caught up with in {took / 60:.1f} min"
    return f"{said}, the daemon's memory up by {more / 2**20:.1f} MiB"


def _late(site, written):
    """How late the good one was told at most, while the others were down."""
    for name in GOOD:
        wait_until(lambda name=name: len(site.came[name]) == len(written) + 1, LATE_S)
    told = {name: len(site.came[name]) for name in BAD_WHILE_DOWN}
    assert not any(told.values()), f"one that is down was told: {told}"
    _, *came = sorted(site.came["well"].values())
    return max(at - due for at, due in zip(came, written, strict=True))


def _caught_up_in(site, alerts, seconds):
    site.is_down, began = False, time.monotonic()
    for name in BAD_WHILE_DOWN:
        wait_until(lambda name=name: len(site.came[name]) == alerts, seconds)
    return time.monotonic() - began


def memory(pid, what):
    """Bytes that a process has now (`VmRSS`) or had at most (`VmHWM`)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {what} of {pid}")


def _sinks(port):
    sinks = []
    for name in (*GOOD, *BAD_WHILE_DOWN, *BAD_FOR_EVER):
        more = f", timeout: {HANGS_S}s" if name == "hangs" else ""
        sinks.append(SINK.format(name=name, port=port, more=more))
    return f"sinks: [{', '.join(sinks)}]\n"


def _write(process):
    """Write a window that alarms; when that was."""
    at = time.monotonic()
    process.write(2)
    return at


def _dead(process):
    with closing(StateDatabase(process.directory / "state" / "state.db")) as state:
        sinks = [row["sink"] for row in state.select("dead")]
    return {name: sinks.count(name) for name in sinks}
