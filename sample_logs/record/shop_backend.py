"""The small real web shop behind nginx. Run: shop_backend.py PORT.

SIGUSR1 puts a broken release of the page template in place (no style sheet, no
scripts, no pictures are linked any more); SIGUSR2 puts the right one back.
"""

from __future__ import annotations

import itertools
import random
import signal
import sys
import threading
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PRODUCTS = 200
RELEASE = {"assets": True}
LOCK = threading.Lock()
VISITS: dict[str, dict[str, Any]] = {}
ORDERS = itertools.count(5001)
ASSETS = ("/static/app.css", "/static/app.js", "/static/img/logo.png")


def password(user: str) -> str:
    """The right password of a user."""
    return f"{user}-secret"


def page(title: str, pictures: tuple[str, ...] = ()) -> bytes:
    """A page that links its assets."""
    links = "".join(f'<link href="{asset}">' for asset in (*ASSETS, *pictures))
    body = f"<h1>{title}</h1>" + "<p>lorem ipsum</p>" * random.randint(20, 60)
    return f"<html>{links if RELEASE['assets'] else ''}{body}</html>".encode()


class Handler(BaseHTTPRequestHandler):
    """Answers one request; the cart and the user hang on the cookie `sid`."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: nginx writes the log."""

    def do_GET(self) -> None:
        self._route("get")

    def do_POST(self) -> None:
        self._route("post")

    def do_PUT(self) -> None:
        self._route("put")

    def do_HEAD(self) -> None:
        self._answer(200)

    def _route(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        parts = urlsplit(self.path).path.strip("/").split("/")
        self.query = parse_qs(urlsplit(self.path).query)
        self.form = parse_qs(body.decode("latin-1")) if length < 1000 else {}
        self.rest = parts[1:]
        act = getattr(self, f"{method}_{parts[0] or 'home'}", None)
        time.sleep(random.uniform(0.001, 0.02))
        act() if act else self._answer(404, b"not found")

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "text/html")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _visit(self) -> dict[str, Any]:
        cookie = SimpleCookie(self.headers.get("Cookie") or "").get("sid")
        return VISITS.get(cookie.value if cookie else "", {"cart": [], "user": ""})

    def get_home(self) -> None:
        self._answer(200, page("home", ("/static/img/offer.jpg",)))

    def get_login(self) -> None:
        self._answer(200, page("login"))

    def post_login(self) -> None:
        user = self.form.get("user", [""])[0]
        if self.form.get("password", [""])[0] != password(user):
            self._answer(401, page("wrong password"))
            return
        sid = f"{random.getrandbits(64):016x}"
        with LOCK:
            VISITS[sid] = {"cart": [], "user": user}
        self._answer(303, Location="/account", Set_Cookie=f"sid={sid}")

    def get_account(self) -> None:
        if self._visit()["user"]:
            self._answer(200, page("account"))
        else:
            self._answer(302, Location="/login")

    def get_products(self) -> None:
        if not self.rest:
            self._answer(200, page("products", ("/static/img/list.jpg",)))
        elif self.rest[0].isdigit() and 1 <= int(self.rest[0]) <= PRODUCTS:
            picture = f"/static/img/p{int(self.rest[0]) % 12}.jpg"
            self._answer(200, page("product", (picture,)))
        else:
            self._answer(404, page("no such product"))

    def get_search(self) -> None:
        time.sleep(random.choice((0.02, 0.05, 0.3)))
        self._answer(200, page("found"))

    def get_api(self) -> None:
        self._answer(200, b'{"ok": true, "stock": 17}')

    def put_api(self) -> None:
        self._answer(204)

    def get_cart(self) -> None:
        self._answer(200, page("cart"))

    def post_cart(self) -> None:
        self._visit()["cart"].append(self.form.get("item", ["1"])[0])
        self._answer(303, Location="/cart")

    def get_checkout(self) -> None:
        self._answer(200, page("checkout"))

    def post_checkout(self) -> None:
        """Order what is in the cart, or what the form names directly."""
        visit = self._visit()
        if not visit["cart"] and "item" not in self.form:
            self._answer(409, page("cart is empty"))
            return
        visit["cart"].clear()
        self._answer(303, Location=f"/orders/{next(ORDERS)}")

    def get_orders(self) -> None:
        if self._visit()["user"]:
            self._answer(200, page("order"))
        else:
            self._answer(302, Location="/login")

    def post_logout(self) -> None:
        self._answer(303, Location="/")

    def get_healthz(self) -> None:
        self._answer(200, b"ok")

    def get_export(self) -> None:
        self._answer(200, b"order;total\n" * random.randint(2000, 9000))

    def post_upload(self) -> None:
        self._answer(201, b"stored")


class Server(ThreadingHTTPServer):
    """One thread for each connection."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


def main() -> None:
    """Serve until killed."""
    signal.signal(signal.SIGUSR1, lambda *_: RELEASE.update(assets=False))
    signal.signal(signal.SIGUSR2, lambda *_: RELEASE.update(assets=True))
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()


if __name__ == "__main__":
    main()
