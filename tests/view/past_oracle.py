"""What tables hold, in the bytes in which the service tells it."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from watcher import wire
from watcher.changes import InvalidText, Value
from watcher.hub import Hub
from watcher.view.past import Past


class Held(NamedTuple):
    """A table.

    Args:
        sql: the statement that made it.
        columns: names of its columns.
        rows: key and columns of each row as JSON, in the order of their keys.
    """

    sql: str
    columns: tuple[str, ...]
    rows: list[tuple[bytes, bytes]]


def held(path: Path) -> dict[str, Held]:
    """Reads all tables."""
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = _text
        tables = db.execute("SELECT name, sql FROM sqlite_schema WHERE type='table'").fetchall()
        return {name: _table(db, name, sql) for name, sql in tables}


def _text(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return InvalidText(data)


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _table(db: sqlite3.Connection, name: str, sql: str) -> Held:
    info = db.execute(f"PRAGMA table_xinfo({_quote(name)})").fetchall()
    columns = tuple(row[1] for row in info)
    key = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
    # The key's own collation, where it has one.
    (collation,) = re.findall("PRIMARY KEY\\(k COLLATE (\\w+)\\)", sql) or ["BINARY"]
    known = ", ".join(map(_quote, key))
    if collation != "BINARY":
        known += f" COLLATE {collation}"
    source = f"FROM {_quote(name)}"
    all_columns = ", ".join(map(_quote, columns))
    if not key:
        queries = [f"SELECT rowid, {all_columns} {source} ORDER BY rowid"]
    else:
        null = " OR ".join(f"{_quote(column)} IS NULL" for column in key)
        queries = [f"SELECT NULL, {all_columns} {source} WHERE NOT ({null}) ORDER BY {known}"]
        if "WITHOUT ROWID" not in sql:
            queries.append(f"SELECT rowid, {all_columns} {source} WHERE {null} ORDER BY rowid")
    rows = []
    for query in queries:
        for rowid, *values in db.execute(query):
            row = dict(zip(columns, values, strict=True))
            names = {"$rowid": rowid} if rowid is not None else {c: row[c] for c in key}
            rows.append((_json(names), _json(row)))
    return Held(sql, columns, rows)


def _json(row: dict[str, Value]) -> bytes:
    return wire.encode_json({name: wire.encode_value(v, _leave) for name, v in row.items()})


def _leave(sha256: str, kind: str, data: bytes) -> None:
    """What is large is told by its digest."""


async def told(past: Past, table: str, at: str, limit: int) -> tuple[tuple[str, ...], list[Any]]:
    """Reads a table as it was, page by page: its columns and rows."""
    rows: list[tuple[bytes, bytes]] = []
    after = None
    while True:
        page = await past.page(table, at, after=after, limit=limit)
        assert len(page.rows) <= limit
        rows += [(bytes(row.key), bytes(row.row)) for row in page.rows]
        if page.next is None:
            return page.columns, rows
        assert page.next != after
        after = page.next


async def position_when(hub: Hub, number: int) -> str:
    """Waits until the table `clock` holds a number; the position of that state."""
    while True:
        wake = hub.wake
        rows = await hub.rows("clock")
        if b'"n":%d}' % number in rows.inserts:
            return rows.position
        await hub.woken(wake)
