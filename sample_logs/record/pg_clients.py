"""The shop's ordinary clients of PostgreSQL: visitors, batch jobs, a monitor."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg2
from common import Traffic
from pg_server import BIN, PORT, client, login

Rows = list[tuple[object, ...]]


class Session:
    """One short-lived connection that thinks a little before each statement."""

    def __init__(self, role: str, database: str = "shop") -> None:
        self.connection = psycopg2.connect(**login(role, database))
        self.connection.autocommit = True

    def run(self, sql: str, *values: object) -> Rows:
        time.sleep(random.uniform(0.002, 0.03))
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def session(role: str, database: str = "shop") -> Iterator[Session]:
    """A session that is closed in good order."""
    opened = Session(role, database)
    try:
        yield opened
    finally:
        opened.connection.close()


def visit() -> None:
    """One request of the shop's web application: connect, serve, disconnect."""
    customer = random.randint(1, 500)
    with session("app") as db:
        db.run("SELECT id, name FROM customers WHERE email = %s", f"c{customer}@example.org")
        page = random.choices(PAGES, weights=[30, 25, 16, 14, 9, 6])[0]
        page(db, customer)


def _event(db: Session, customer: int, action: str) -> None:
    db.run("INSERT INTO events (customer_id, action) VALUES (%s, %s)", customer, action)


def catalogue(db: Session, customer: int) -> None:
    """List a category, look at one to three products."""
    category = random.randint(0, 11)
    db.run("SELECT count(*) FROM products WHERE category = %s", category)
    db.run("SELECT id, name, price FROM products WHERE category = %s LIMIT 20", category)
    for _ in range(random.choice((1, 1, 2, 3))):
        product(db, customer)


def product(db: Session, customer: int) -> None:
    """One product page, often with its reviews."""
    number = random.randint(1, 200)
    db.run("SELECT name, price, stock FROM products WHERE id = %s", number)
    if random.random() < 0.6:
        db.run("SELECT stars, body FROM reviews WHERE product_id = %s LIMIT 5", number)
    _event(db, customer, "view")


def fill_cart(db: Session, customer: int) -> None:
    """Put one to three products in the cart and show it."""
    for _ in range(random.choice((1, 1, 2, 3))):
        number = random.randint(1, 200)
        db.run("SELECT name, price, stock FROM products WHERE id = %s", number)
        sql = "INSERT INTO cart (customer_id, product_id, quantity) VALUES (%s, %s, %s)"
        db.run(sql, customer, number, random.randint(1, 3))
    _show_cart(db, customer)
    _event(db, customer, "cart")


def _show_cart(db: Session, customer: int) -> None:
    db.run("SELECT product_id, quantity FROM cart WHERE customer_id = %s", customer)


def checkout(db: Session, customer: int) -> None:
    """Order one to four products in a transaction."""
    _show_cart(db, customer)
    db.run("BEGIN")
    sql = "INSERT INTO orders (customer_id, total) VALUES (%s, %s) RETURNING id"
    order = db.run(sql, customer, random.randint(5, 200))[0][0]
    for number in sorted(random.sample(range(1, 201), random.randint(1, 4))):
        db.run("SELECT stock FROM products WHERE id = %s FOR UPDATE", number)
        db.run("INSERT INTO order_items VALUES (%s, %s, %s)", order, number, 1)
        db.run("UPDATE products SET stock = stock - 1 WHERE id = %s", number)
    db.run("INSERT INTO payments VALUES (%s, %s)", order, random.randint(5, 200))
    db.run("DELETE FROM cart WHERE customer_id = %s", customer)
    db.run("COMMIT")
    _event(db, customer, "order")


def account(db: Session, customer: int) -> None:
    """The customer's latest orders, one to three of them in full."""
    sql = "SELECT id, total, placed FROM orders WHERE customer_id = %s ORDER BY id DESC LIMIT 3"
    for row in db.run(sql, customer)[: random.randint(1, 3)]:
        db.run("SELECT product_id, quantity FROM order_items WHERE order_id = %s", row[0])
    _event(db, customer, "account")


def sign_in(db: Session, customer: int) -> None:
    """Note the login and greet."""
    db.run("UPDATE customers SET last_login = now() WHERE id = %s", customer)
    _show_cart(db, customer)
    _event(db, customer, "login")


def sign_up(db: Session, customer: int) -> None:
    """A new customer; now and then the address is taken already."""
    address = f"c{random.randint(501, 9999999)}@example.org"
    if random.random() < 0.2:
        address = f"c{customer}@example.org"
    sql = "INSERT INTO customers (email, name) VALUES (%s, %s)"
    try:
        db.run(sql, address, "new customer")
    except psycopg2.IntegrityError:
        db.run("SELECT id FROM customers WHERE email = %s", address)
    _event(db, customer, "signup")


PAGES = (catalogue, product, fill_cart, sign_in, account, sign_up)
ORDERING = (checkout,)


def order() -> None:
    """A request that places an order."""
    customer = random.randint(1, 500)
    with session("app") as db:
        db.run("SELECT id, name FROM customers WHERE email = %s", f"c{customer}@example.org")
        checkout(db, customer)


REPORT = (
    "BEGIN",
    "CREATE TEMP TABLE day_totals (category int, sold bigint) ON COMMIT DROP",
    "INSERT INTO day_totals SELECT p.category, sum(i.quantity) FROM order_items i "
    "JOIN products p ON p.id = i.product_id GROUP BY 1",
    "ANALYZE day_totals",
    "DELETE FROM report WHERE day = current_date",
    "INSERT INTO report SELECT current_date, category, sold FROM day_totals",
    "INSERT INTO audit (job, note) VALUES ('report', 'done')",
    "COMMIT",
    "SELECT count(*) FROM report WHERE day = current_date",
)
IMPORT = (
    "BEGIN",
    "CREATE TEMP TABLE staging (id int, price numeric) ON COMMIT DROP",
    "INSERT INTO staging SELECT i, i % 90 + 5 FROM generate_series(1, 200) i",
    "SELECT count(*) FROM staging WHERE price < 0",
    "ANALYZE staging",
    "UPDATE products p SET price = s.price FROM staging s WHERE s.id = p.id AND p.price <> s.price",
    "INSERT INTO audit (job, note) VALUES ('import', 'done')",
    "COMMIT",
)
CLEANUP = (
    "SELECT count(*) FROM cart WHERE added < now() - interval '1 minute'",
    "BEGIN",
    "DELETE FROM cart WHERE added < now() - interval '1 minute'",
    "DELETE FROM audit WHERE at < now() - interval '2 minutes'",
    "INSERT INTO audit (job, note) VALUES ('cleanup', 'done')",
    "COMMIT",
    "ANALYZE cart",
)
JOBS = (REPORT, IMPORT, CLEANUP)


def steps(job: Sequence[str]) -> None:
    """Run a batch job's steps one after another in a session."""
    with session("batch") as db:
        for sql in job:
            db.run(sql.replace("%", "%%"))


def batch() -> None:
    """One of the batch jobs, as it should be."""
    steps(random.choice(JOBS))


def health() -> None:
    """The monitor's check."""
    with session("monitor") as db:
        db.run("SELECT 1")
        if random.random() < 0.3:
            db.run("SELECT count(*) FROM pg_stat_activity WHERE state = 'active'")
            db.run("SELECT pg_database_size('shop')")


def bench() -> None:
    """Pgbench with a new connection for every transaction."""
    where = ("-h", "127.0.0.1", "-p", str(PORT), "-U", "bench", "bench")
    client("bench", str(BIN / "pgbench"), "-n", "-C", "-c", "2", "-R", "1.4", "-T", "20", *where)


TRAFFIC: tuple[Traffic, ...] = (
    (visit, 3, (0.3, 1.4)),
    (order, 1, (0.4, 2.6)),
    (batch, 1, (1.5, 4.0)),
    (health, 1, (1.5, 2.5)),
    (bench, 1, (0.1, 0.5)),
)
