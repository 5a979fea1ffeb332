"""The faults that the nginx recording causes."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from common import NEW_LINES, ORDINARY, Fault, fill, for_seconds
from ngx_clients import FAILURES, Browser, address
from ngx_operations import upload
from ngx_server import PORT, Server

LENGTH = 22.0  # seconds that most faults last
GUESSED = tuple(address() for _ in range(8))


def _repeat(work: Callable[[], None], crews: int, pause: tuple[float, float]) -> None:
    for_seconds(work, LENGTH, crews, FAILURES, pause)


def guess() -> None:
    """Four clients from eight addresses sent 20 to 40 wrong passwords to /login in each session."""
    _repeat(_guess, 4, (0.1, 0.8))


def _guess() -> None:
    guesser = Browser(source=random.choice(GUESSED), think=(0.02, 0.1))
    guesser.get("/login")
    for _ in range(random.randint(20, 40)):
        guesser.post("/login", user=guesser.user, password=str(random.random()))
    guesser.close()


def direct_orders() -> None:
    """Four robots logged in and posted /checkout 4 to 10 times in each session, without product
    pages or a cart.
    """
    _repeat(_direct, 4, (0.1, 0.6))


def _direct() -> None:
    robot = Browser(think=(0.02, 0.1))
    robot.login()
    for _ in range(random.randint(4, 10)):
        robot.referer = "/checkout"
        robot.post("/checkout", item="17", card=str(random.random()))
    robot.close()


def slow_heads() -> None:
    """Clients began some 560 requests without ending them, more than worker_connections (256
    each).
    """
    end = time.monotonic() + LENGTH
    held: list[socket.socket] = []
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            held.append(_half_request())
        time.sleep(0.01 if len(held) < 560 else 0.1)
    for wire in held:
        wire.close()


def _half_request() -> socket.socket:
    wire = socket.create_connection(("127.0.0.1", PORT), 1.0, (address(), 0))
    wire.sendall(b"GET / HTTP/1.1\r\nHost: shop.exa")
    return wire


@dataclass
class Faults:
    """The faults that are done to nginx and its backend."""

    server: Server

    def down(self) -> None:
        """The backend was killed with kill -9 and started again at the end."""
        self.server.tell_backend(signal.SIGKILL)
        time.sleep(LENGTH)
        self.server.start_backend()

    def hung(self) -> None:
        """The backend was stopped with SIGSTOP and went on at the end."""
        self.server.tell_backend(signal.SIGSTOP)
        time.sleep(LENGTH)
        self.server.tell_backend(signal.SIGCONT)
        time.sleep(3.0)

    def no_assets(self) -> None:
        """A broken release of the page template linked no style sheet, script or picture, so no
        visitor asked for them.
        """
        self.server.tell_backend(signal.SIGUSR1)
        time.sleep(LENGTH + 4)
        self.server.tell_backend(signal.SIGUSR2)

    def wrong_root(self) -> None:
        """A configuration with a wrong root for static files was reloaded, then put right."""
        self.server.configure(self.server.work / "www_new")
        self.server.ask("reload")
        time.sleep(LENGTH)
        self.server.configure(self.server.work / "www")
        self.server.ask("reload")
        time.sleep(2.0)

    def full_disk(self) -> None:
        """The tmpfs for request bodies was filled by a stray file while two clients uploaded
        pictures.
        """
        stray = self.server.work / "small/stray"
        fill(stray)
        _repeat(upload, 2, (0.2, 1.0))
        stray.unlink()

    def all(self) -> list[Fault]:
        """The faults in the order in which they are caused."""
        return [
            Fault("password-guessing", ORDINARY, guess),
            Fault("upstream-down", NEW_LINES, self.down),
            Fault("assets-not-requested", ORDINARY, self.no_assets),
            Fault("upstream-hung", NEW_LINES, self.hung),
            Fault("direct-orders", ORDINARY, direct_orders),
            Fault("wrong-root", NEW_LINES, self.wrong_root),
            Fault("disk-full", NEW_LINES, self.full_disk),
            Fault("connections-exhausted", NEW_LINES, slow_heads),
        ]
