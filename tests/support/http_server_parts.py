"""A daemon behind the HTTP server."""

import threading

from logmlm.config.server import ServerAddress

LOCAL = ServerAddress("127.0.0.1", 0)


TOKEN = "hunter2"  # noqa: S105  a test's


class Daemon:
    """What is asked, by a test's word."""

    def __init__(self):
        self.healthy = self.ready = True
        self.complaint = ""
        self.reloads = self.asking = 0
        self.answered = threading.Event()
        self.answered.set()

    def metrics(self):
        self.asking += 1
        self.answered.wait(10)
        return b"m 1\n", "text/plain; version=0.0.4"

    def is_healthy(self):
        return self.healthy

    def is_ready(self):
        return self.ready

    def reload(self):
        self.reloads += 1
        return self.complaint
