"""A shop's database and its day: what the pictures of the page show.

`python -m tests.browser.shop FILE` goes on trading until it is ended, some commits a second.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

_SCHEMA = """
PRAGMA journal_mode=wal;
CREATE TABLE products(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  price REAL NOT NULL CHECK (price > 0),
  stock INTEGER NOT NULL DEFAULT 0 CHECK (stock >= 0),
  attributes TEXT,
  photo BLOB
);
CREATE TABLE orders(
  id INTEGER PRIMARY KEY,
  product INTEGER NOT NULL REFERENCES products,
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  total REAL GENERATED ALWAYS AS (round(quantity * unit_price, 2)) VIRTUAL,
  unit_price REAL NOT NULL,
  state TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'paid', 'packed', 'sent', 'returned')),
  placed TEXT NOT NULL,
  note TEXT
);
CREATE INDEX orders_by_state ON orders(state);
CREATE TABLE readings(
  sensor TEXT NOT NULL,
  at INTEGER NOT NULL,
  celsius REAL NOT NULL,
  PRIMARY KEY(sensor, at)
) WITHOUT ROWID;
CREATE TABLE settings(key TEXT PRIMARY KEY, value);
CREATE TABLE stock_moves(product INTEGER NOT NULL, change INTEGER NOT NULL, why TEXT NOT NULL);
"""
_KINDS = ("Desk lamp", "Floor lamp", "Pendant", "Wall light", "Reading light", "Lantern")
_FINISHES = ("brass", "black", "white", "oak", "copper", "smoked glass", "linen", "concrete")
_SENSORS = ("cellar", "showroom", "window", "workshop")
_NEXT = {"new": "paid", "paid": "packed", "packed": "sent"}
_NOTES = (None, None, None, "Gift wrap, please", "Leave at the back door", "Second bulb free")
_PAUSE = 0.2


def make_shop(path: Path, *, readings: int) -> None:
    """Makes the database.

    Args:
        path: where; nothing is there yet.
        readings: rows of its largest table.
    """
    chance = random.Random(7)
    shop = sqlite3.connect(path)
    shop.executescript(_SCHEMA)
    with shop:
        shop.executemany(
            "INSERT INTO products(name, price, stock, attributes, photo) VALUES (?, ?, ?, ?, ?)",
            [(f"{kind}, {finish}", *_details(chance)) for kind in _KINDS for finish in _FINISHES],
        )
        shop.executemany(
            "INSERT INTO orders(product, quantity, unit_price, state, placed, note)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [_order(chance, number) for number in range(1, 1201)],
        )
        shop.executemany(
            "INSERT INTO readings VALUES (?, ?, ?)",
            (
                (_SENSORS[number % 4], 1_700_000_000 + number // 4 * 60, 18 + number % 97 / 10)
                for number in range(readings)
            ),
        )
        shop.executemany(
            "INSERT INTO settings VALUES (?, ?)",
            [("currency", "EUR"), ("vat", 0.19), ("open", 1), ("last_invoice", 2**53 + 7)],
        )
    shop.close()


def trade(path: Path) -> None:
    """Goes on with the day until the process is ended."""
    chance = random.Random(11)
    shop = sqlite3.connect(path, isolation_level=None, timeout=10)
    steps = (_place, _advance, _advance, _advance, _measure, _restock, _tidy)
    while True:
        step: Callable[[sqlite3.Connection, random.Random], None] = chance.choice(steps)
        shop.execute("BEGIN IMMEDIATE")
        step(shop, chance)
        shop.execute("COMMIT")
        time.sleep(_PAUSE)


def _details(chance: random.Random) -> tuple[float, int, str, bytes | None]:
    attributes = {"watt": chance.choice([4, 7, 11]), "dimmable": chance.random() < 0.5}
    photo = chance.randbytes(96) if chance.random() < 0.4 else None
    return round(chance.uniform(19, 390), 2), chance.randrange(80), json.dumps(attributes), photo


def _order(chance: random.Random, number: int) -> tuple[int, int, float, str, str, str | None]:
    placed = f"2026-11-{1 + number // 60:02} {8 + number % 10:02}:{number % 60:02}"
    state = chance.choice(["paid", "packed", "sent", "sent", "sent"])
    price = round(chance.uniform(19, 390), 2)
    return (
        chance.randrange(1, 49),
        chance.randrange(1, 5),
        price,
        state,
        placed,
        chance.choice(_NOTES),
    )


def _place(shop: sqlite3.Connection, chance: random.Random) -> None:
    product, quantity = chance.randrange(1, 49), chance.randrange(1, 4)
    shop.execute(
        "INSERT INTO orders(product, quantity, unit_price, placed, note)"
        " SELECT id, ?, price, datetime('now', 'localtime'), ? FROM products WHERE id = ?",
        (quantity, chance.choice(_NOTES), product),
    )
    shop.execute("UPDATE products SET stock = max(0, stock - ?) WHERE id = ?", (quantity, product))
    shop.execute("INSERT INTO stock_moves VALUES (?, ?, 'order')", (product, -quantity))


def _advance(shop: sqlite3.Connection, chance: random.Random) -> None:
    found = shop.execute(
        "SELECT id, state FROM orders WHERE state IN ('new', 'paid', 'packed')"
        " ORDER BY id DESC LIMIT 12"
    ).fetchall()
    if found:
        number, state = chance.choice(found)
        shop.execute("UPDATE orders SET state = ? WHERE id = ?", (_NEXT[state], number))


def _measure(shop: sqlite3.Connection, chance: random.Random) -> None:
    now = int(time.time())
    shop.executemany(
        "INSERT OR REPLACE INTO readings VALUES (?, ?, ?)",
        [(sensor, now, round(chance.uniform(17, 27), 1)) for sensor in _SENSORS],
    )


def _restock(shop: sqlite3.Connection, chance: random.Random) -> None:
    product, change = chance.randrange(1, 49), chance.randrange(5, 30)
    shop.execute("UPDATE products SET stock = stock + ? WHERE id = ?", (change, product))
    shop.execute("INSERT INTO stock_moves VALUES (?, ?, 'delivery')", (product, change))


def _tidy(shop: sqlite3.Connection, _: random.Random) -> None:
    shop.execute(
        "DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE state = 'sent'"
        " ORDER BY random() LIMIT 2)"
    )


if __name__ == "__main__":
    trade(Path(sys.argv[1]))
