"""The daemon as a process of its own, its log, and a manager's socket to tell."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager

import daemon_parts
import requests

CONFIG = """\
model: {{path: '{model}'}}
state_dir: {directory}/state
source: {{file: {{include: '{directory}/app.log*', start_at: beginning}}}}
labels: {{service: {service}}}
http: {{listen: '127.0.0.1:0', token_file: {directory}/token}}
"""
TOKEN = "hunter2"  # noqa: S105  a test's
PATIENCE_S = 60
"""A machine that is shared with much else may stand still for many seconds."""


class Process:
    """The daemon as a process of its own, with a manager's socket to tell."""

    def __init__(self, directory):
        self.directory = directory
        self.config = directory / "run.yaml"
        self.log = directory / "app.log"
        self.log.touch()
        self.written, self.line = 0, lambda number: f"ODD {number}"
        (directory / "token").write_text(TOKEN)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(directory / "notify"))
        self.manager.settimeout(20)
        self.messages = []
        self.configure()

    def configure(self, model="2", service="first", more=""):
        text = CONFIG.format(directory=self.directory, model=model, service=service)
        self.config.write_text(text + more)

    @contextmanager
    def running(self, **environment):
        given = {"NOTIFY_SOCKET": str(self.directory / "notify"), **environment}
        command = [sys.executable, daemon_parts.__file__, str(self.config)]
        with (
            (self.directory / "out").open("w") as out,
            (self.directory / "err").open("w") as err,
            subprocess.Popen(command, stdout=out, stderr=err, env=os.environ | given) as child,
        ):
            try:
                self.hear("READY=1")
                yield child
            finally:
                child.kill()
                self.manager.close()

    def hear(self, word):
        """Wait until the manager is told `word`; the lines of that message."""
        while True:
            message = self.manager.recv(4096).decode().splitlines()
            self.messages.append(message)
            if word in message:
                return message

    def write(self, count):
        numbers = range(self.written, self.written + count)
        self.write_line("\n".join(map(self.line, numbers)))
        self.written += count

    def write_line(self, text):
        with self.log.open("a") as stream:
            stream.write(text + "\n")

    def said(self):
        return [json.loads(line) for line in (self.directory / "err").read_text().splitlines()]

    def messages_at(self, level):
        return [found["message"] for found in self.said() if found["level"] == level]

    def alerts(self):
        return [json.loads(line) for line in (self.directory / "out").read_text().splitlines()]

    def numbers(self):
        lines = "\n".join(alert["annotations"]["lines"] for alert in self.alerts())
        return Counter(map(int, re.findall(r"ODD (\d+)", lines)))

    def wait_for(self, numbers):
        self.wait_until(lambda: len(self.numbers()) >= numbers)

    def wait_until(self, holds, every_s=0.02):
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, "the daemon does not come"
            time.sleep(every_s)

    @property
    def url(self):
        (listens,) = [text for text in self.messages_at("info") if "metrics are on" in text]
        return listens.split()[-1].removesuffix("/metrics")

    def metric(self, name):
        text = requests.get(f"{self.url}/metrics", timeout=PATIENCE_S).text
        return float(re.search(rf"^logmlm_{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


def stop(child):
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    status = child.wait(20)
    assert status == 0, f"it ended with {status}"
    return time.monotonic() - began
