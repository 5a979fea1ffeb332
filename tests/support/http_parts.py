"""A real HTTP receiver on this machine, and an alert to send to it."""

import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from daemon_parts import explain, score

from logmlm.alerting.alert_builder import build_alert
from logmlm.records import UNKNOWN_TEMPLATE


class Call(NamedTuple):
    """A request as it came."""

    path: str
    headers: dict
    json: object
    body: bytes


@contextmanager
def served(*answers, certificate=None, keep=lambda call: call):
    """A receiver that gives these answers (status, headers), then 200; yields its calls.

    `certificate` are the files of its own certificate and key, and of those it asks of others.
    `keep` makes of each call what is kept of it.
    """
    calls, answers = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # whoever sent it was killed meanwhile
                return
            calls.append(keep(Call(self.path, dict(self.headers), json.loads(body), body)))
            status, headers = answers.pop(0) if answers else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[0], certificate[1])
        context.load_verify_locations(certificate[2])
        context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}/hook", calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def alert(*texts, labels=None, **changes):
    """An alert of a window with these lines, none of which has a template."""
    found = score(*(texts or ("one", "ODD")), **changes)
    events = tuple(each._replace(template_id=UNKNOWN_TEMPLATE) for each in found.window.events)
    found = replace(found, window=replace(found.window, events=events))
    every = {"source": "file", "model": "m"} | (labels or {})
    return build_alert(
        found, explain(found), digest="d", labels=every, origin="o", description="long"
    )
