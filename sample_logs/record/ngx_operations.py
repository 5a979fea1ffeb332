"""Everyday operations around nginx: none of them is a fault."""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from ngx_clients import Browser
from ngx_server import Server


def _basic(password: str) -> dict[str, str]:
    token = base64.b64encode(f"export:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def _tool(source: str, agent: str) -> Browser:
    return Browser(source=source, agent=agent, cached=False)


def backup() -> None:
    """The nightly export is fetched; now and then with an old password first."""
    fetcher = _tool("127.0.0.4", "curl/7.88.1")
    if random.random() < 0.4:
        fetcher.send("GET", "/export/orders.csv", more=_basic("last-year"))
    for name in ("orders.csv", "customers.csv", "products.csv"):
        fetcher.send("GET", f"/export/{name}", more=_basic("export-pw"))
    fetcher.close()


def batch() -> None:
    """The warehouse reports its stock."""
    job = _tool("127.0.0.5", "warehouse-sync/3.2")
    job.send("GET", "/api/stock")
    for number in random.sample(range(1, 200), random.randint(8, 14)):
        job.send("PUT", f"/api/stock/{number}", b"17")
        time.sleep(0.03)
    job.send("GET", "/api/stock")
    job.close()


def upload() -> None:
    """Somebody uploads three pictures."""
    visitor = Browser()
    visitor.login()
    for _ in range(3):
        visitor.send("POST", "/upload", b"\xff" * random.randint(60_000, 300_000))
        time.sleep(0.1)
    visitor.close()


def too_large() -> None:
    """Somebody tries to upload far too much, then something smaller."""
    visitor = Browser()
    visitor.login()
    answer = visitor.connect()
    answer.putrequest("POST", "/upload", skip_host=True)
    for name, value in (visitor.headers() | {"Content-Length": "9000000"}).items():
        answer.putheader(name, value)
    answer.endheaders()
    answer.getresponse().read()
    visitor.close()


def gone_away() -> None:
    """Visitors who do not wait for the answer."""
    for _ in range(random.randint(1, 3)):
        visitor = Browser()
        visitor.get("/")
        for _ in range(4):
            wire = visitor.connect()
            wire.request("GET", "/search?q=lamp", headers=visitor.headers())
            time.sleep(0.001)
            visitor.close()


def wrong_password() -> None:
    """Somebody needs several attempts to log in."""
    visitor = Browser()
    visitor.get("/login")
    for _ in range(random.randint(1, 3)):
        visitor.post("/login", user=visitor.user, password="forgotten")
    visitor.post("/login", user=visitor.user, password=f"{visitor.user}-secret")
    visitor.close()


def scanner() -> None:
    """A passing scanner asks for what is not there."""
    robot = _tool("127.0.0.9", "zgrab/0.x")
    for path in ("/wp-login.php", "/.env", "/static/", "/static/old.css"):
        robot.send("GET", path)
    robot.close()


def link_check() -> None:
    """A partner's link checker, HEAD only."""
    robot = _tool("127.0.0.6", "LinkChecker/10.1")
    for number in random.sample(range(1, 200), 5):
        robot.send("HEAD", f"/products/{number}")
    robot.close()


@dataclass
class Keeper:
    """The operations on nginx itself."""

    server: Server

    def reload(self) -> None:
        """The configuration is read again."""
        self.server.ask("reload")

    def reopen(self) -> None:
        """What logrotate asks for."""
        self.server.ask("reopen")

    def restart(self) -> None:
        """A clean restart."""
        self.server.restart()

    def gentle(self) -> list[Callable[[], None]]:
        """All that goes on during faults too."""
        return [
            backup,
            batch,
            upload,
            too_large,
            gone_away,
            wrong_password,
            scanner,
            link_check,
            batch,
            upload,
            gone_away,
            wrong_password,
            self.reopen,
        ]

    def disruptive(self) -> list[Callable[[], None]]:
        """What would mix with a fault."""
        return [self.reload, self.restart]
