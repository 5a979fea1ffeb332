"""Visitors of the shop: each a session from an address of its own."""

from __future__ import annotations

import http.client
import random
import re
import time
from dataclasses import dataclass, field
from urllib.parse import urlencode

from common import Traffic
from ngx_server import PORT

MOZILLA = "Mozilla/5.0 "
WEBKIT = " AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 "
AGENTS = (
    MOZILLA + "(X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0",
    MOZILLA + "(Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/120.0.0.0 Safari/537.36",
    MOZILLA + "(Macintosh; Intel Mac OS X 10_15_7)" + WEBKIT + "Safari/605.1.15",
    MOZILLA + "(iPhone; CPU iPhone OS 17_1 like Mac OS X)" + WEBKIT + "Mobile/15E148 Safari/604.1",
)
SITE = "http://shop.example.org"
WORDS = ("lamp", "chair", "table", "shelf", "rug", "mug")
DATES: dict[str, str] = {}  # Last-Modified of the assets, for those who were here before
Headers = dict[str, str]
FAILURES = (OSError, http.client.HTTPException)


def address() -> str:
    """A source address out of 127.0.0.0/8."""
    return f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


@dataclass
class Browser:
    """One visitor: keep-alive connection, cookie, cache, referring page."""

    source: str = field(default_factory=address)
    agent: str = field(default_factory=lambda: random.choice(AGENTS))
    user: str = field(default_factory=lambda: f"user{random.randint(1, 200)}")
    known: set[str] = field(default_factory=set)  # assets seen on this visit
    cached: bool = field(default_factory=lambda: random.random() < 0.3)  # seen before it
    cookie: str = ""
    referer: str = ""
    think: tuple[float, float] = (0.02, 0.22)
    wire: http.client.HTTPConnection | None = None

    def connect(self, timeout: float = 8.0) -> http.client.HTTPConnection:
        """The keep-alive connection from the visitor's own address."""
        if self.wire is None:
            self.wire = http.client.HTTPConnection(
                "127.0.0.1", PORT, timeout, source_address=(self.source, 0)
            )
        return self.wire

    def close(self) -> None:
        """Hang up."""
        if self.wire is not None:
            self.wire.close()
            self.wire = None

    def headers(self) -> dict[str, str]:
        """What a browser sends along."""
        found = {"User-Agent": self.agent, "Host": "shop.example.org"}
        found |= {"Cookie": self.cookie} if self.cookie else {}
        return found | ({"Referer": SITE + self.referer} if self.referer else {})

    def send(
        self, method: str, path: str, body: bytes | None = None, more: Headers | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request and its answer."""
        wire = self.connect()
        wire.request(method, path, body, self.headers() | (more or {}))
        answer = wire.getresponse()
        data = answer.read()
        if answer.will_close:
            self.close()
        self.cookie = (answer.headers["Set-Cookie"] or self.cookie).split(";")[0]
        return answer, data

    def get(self, path: str) -> int:
        """Read a page, then what it links and is not yet known."""
        time.sleep(random.uniform(*self.think))
        answer, data = self.send("GET", path)
        self.referer = path
        if random.random() < 0.03:  # a browser short of room drops its cache
            self.known.clear()
        for asset in re.findall(rb'<link href="([^"]+)">', data):
            self._asset(asset.decode())
        if answer.status == 302:
            self.get(answer.headers["Location"])
        return answer.status

    def _asset(self, path: str) -> None:
        if path in self.known:
            return
        self.known.add(path)
        date = DATES.get(path, "") if self.cached else ""
        more = {"If-Modified-Since": date} if date else {}
        answer, _ = self.send("GET", path, more=more)
        DATES[path] = answer.headers["Last-Modified"] or date

    def post(self, path: str, **form: str) -> int:
        """Send a form and follow where the answer leads."""
        time.sleep(random.uniform(*self.think))
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        answer, _ = self.send("POST", path, urlencode(form).encode(), kind)
        if answer.status == 303:
            self.get(answer.headers["Location"])
        return answer.status

    def login(self) -> None:
        """The form, now and then a wrong password, then the right one."""
        self.get("/login")
        while random.random() < 0.12:
            self.post("/login", user=self.user, password="forgotten")
        self.post("/login", user=self.user, password=f"{self.user}-secret")


def browse(visitor: Browser) -> None:
    """Lists, products, the odd search and the odd dead link."""
    for _ in range(random.choice((1, 2, 2, 3, 4))):
        if random.random() < 0.7:
            page = random.randint(1, 9)
            visitor.get("/products" if page < 5 else f"/products?page={page}")
        else:
            _search(visitor)
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            dead = random.random() < 0.02
            visitor.get(f"/products/{random.randint(901, 999) if dead else random.randint(1, 200)}")


def _search(visitor: Browser) -> None:
    word = random.choice(WORDS)
    for length in range(1, random.randint(2, 4)):
        visitor.send("GET", f"/api/suggest?q={word[:length]}")
    visitor.get(f"/search?q={word}")


def buy(visitor: Browser) -> None:
    """Fill the cart and check out; some press the button twice."""
    for _ in range(random.choice((1, 1, 2, 3))):
        number = random.randint(1, 200)
        visitor.get(f"/products/{number}")
        visitor.post("/cart/add", item=str(number))
    if random.random() < 0.75:
        visitor.get("/checkout")
        visitor.post("/checkout", card="valid")
        if random.random() < 0.05:
            visitor.referer = "/checkout"
            visitor.post("/checkout", card="valid")


def visit() -> None:
    """A whole session: arrive, look around, perhaps buy, leave."""
    visitor = Browser()
    try:
        if random.random() < 0.85:
            visitor.get("/")
        if random.random() < 0.12:
            visitor.send("GET", "/favicon.ico")
        browse(visitor)
        if random.random() < 0.5:
            visitor.login()
            random.choice((buy, buy, buy, browse, _orders))(visitor)
            if random.random() < 0.4:
                visitor.post("/logout")
    finally:
        visitor.close()


def _orders(visitor: Browser) -> None:
    for number in random.sample(range(1, 5000), random.randint(1, 3)):
        visitor.get(f"/orders/{number}")
        visitor.referer = "/account"


def _plain(agent: str, source: str) -> Browser:
    return Browser(source=source, agent=agent, cached=False, known=set())


def health() -> None:
    """The monitor's check."""
    probe = _plain("monitor/1.0", "127.0.0.2")
    probe.send("GET", "/healthz")
    probe.close()


def crawl() -> None:
    """A search engine's crawler, which also knows some dead links."""
    crawler = _plain("ExampleBot/2.1 (+http://bot.example.org/)", "127.0.0.3")
    crawler.send("GET", "/robots.txt")
    for number in random.sample(range(1, 200), 6):
        dead = random.random() < 0.25
        crawler.send("GET", f"/sale/{number}" if dead else f"/products/{number}")
        time.sleep(0.1)
    crawler.close()


TRAFFIC: tuple[Traffic, ...] = (
    (visit, 10, (0.2, 2.0)),
    (health, 1, (1.8, 2.2)),
    (crawl, 1, (4.0, 9.0)),
)
